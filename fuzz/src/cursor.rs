//! List cursors: the ones that we gave lead on, everything else is refused, also what names an entry that the caller may
//! not see.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use toolbus_gateway::{Gateway, Scope, Shelf};
use toolbus_model::{Caller, Error, Kind};

use crate::rig::{HALF, TOOLS, rig};

pub(crate) fn check(data: &[u8]) {
    let gateway = &rig().gateway;
    let cursor = String::from_utf8_lossy(data);
    for shelf in [
        Shelf::Tools,
        Shelf::Prompts,
        Shelf::Resources,
        Shelf::Templates,
    ] {
        for caller in [Caller::local(), Caller::named(HALF)] {
            for text in [&*cursor, &URL_SAFE_NO_PAD.encode(data)] {
                asked(gateway, &caller, shelf, text);
            }
        }
    }
}

fn asked(gateway: &Gateway, caller: &Caller, shelf: Shelf, cursor: &str) {
    let page = match gateway.list(&Scope::All, caller, shelf, Some(cursor)) {
        Ok(page) => page,
        Err(Error::Unknown {
            kind: Kind::Cursor, ..
        }) => return,
        Err(error) => panic!("{error:?}"),
    };
    let decoded = URL_SAFE_NO_PAD.decode(cursor).expect("base64");
    let decoded = String::from_utf8(decoded).expect("text");
    let (member, name) = decoded.split_once(':').expect("a list and a name");
    assert_eq!(member, shelf.member(), "a cursor is good for its own list");
    let number: usize = name[1..].parse().expect("one of our names");
    assert!(is_seen(caller, number));
    let first = (number + 1..TOOLS).find(|number| is_seen(caller, *number));
    let expected = first.map(|number| format!("t{number}"));
    assert_eq!(
        page.entries.first().map(|entry| entry.name.to_string()),
        expected
    );
}

fn is_seen(caller: &Caller, number: usize) -> bool {
    number < TOOLS && (*caller == Caller::local() || number.is_multiple_of(2))
}
