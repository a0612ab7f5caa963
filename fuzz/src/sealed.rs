//! Sealed texts (session ids, `requestState`): only what was sealed, for the same purpose, opens.

use toolbus_gateway::Key;

pub(crate) fn check(data: &[u8]) {
    let foreign = String::from_utf8_lossy(data);
    // Nothing is sealed with this key: a fuzzer remembers what it has seen.
    let unused = Key::new(&[9; Key::LEN]);
    assert_eq!(unused.open("fuzz", &foreign), None, "nobody sealed it");
    let key = Key::new(&[7; Key::LEN]);
    let Some(sealed) = key.seal("fuzz", data) else {
        panic!("not sealed")
    };
    assert!(
        sealed.bytes().all(|byte| matches!(byte, 0x21..=0x7e)),
        "it travels in a header"
    );
    assert_eq!(key.open("fuzz", &sealed).as_deref(), Some(data));
    assert_eq!(key.open("other", &sealed), None);
    assert_eq!(Key::new(&[8; Key::LEN]).open("fuzz", &sealed), None);
    bent(&key, &sealed, data);
}

/// One character changed, left out or added, at a place that the input chooses.
fn bent(key: &Key, sealed: &str, data: &[u8]) {
    let place = data.iter().fold(7_usize, |sum, byte| {
        sum.wrapping_mul(31) + usize::from(*byte)
    });
    let at = place % sealed.len();
    let by = char::from(data.last().copied().unwrap_or(b'A') & 0x7f);
    let (before, after) = sealed.split_at(at);
    for other in [
        format!("{before}{by}{}", &after[1..]),
        format!("{before}{}", &after[1..]),
        format!("{before}{by}{after}"),
        before.to_owned(),
        format!("{sealed}{by}"),
    ] {
        assert!(
            other == sealed || key.open("fuzz", &other).is_none(),
            "{other}"
        );
    }
}
