//! Names of tools: whatever a server calls them, clients get a name that all of them accept.

use toolbus_model::ServerName;
use toolbus_protocol::names;

pub(crate) fn check(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    for name in [names::fit(&text).into_owned(), names::with_hash(&text)] {
        let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
        assert!(
            (1..=64).contains(&name.len()) && name.bytes().all(fits),
            "{name:?}"
        );
        assert_eq!(names::fit(&name), name, "a name that fits is left alone");
    }
    let server = ServerName::from_foreign(&text);
    assert_eq!(ServerName::parse(server.as_str()), Ok(server));
}
