//! Every kind of line, and lines that are none.

use super::*;

fn read(line: &str) -> Result<Pulse, String> {
    Pulse::read(Bytes::copy_from_slice(line.as_bytes()))
}

fn sign(kind: EventKind, params: &str) -> Result<Pulse, String> {
    let params = Object::parse(params.to_owned().into()).expect("an object");
    Ok(Pulse::Sign(Event { kind, params }))
}

#[test]
fn signs_of_life() {
    assert_eq!(
        read("{\"heartbeat\": true}\n"),
        sign(EventKind::Progress, "{}")
    );
    let full = r#"{"progress":1.5,"total":3,"message":"on \"it\"","progressToken":"another's"}"#;
    let kept = r#"{"progress":1.5,"total":3,"message":"on \"it\""}"#;
    assert_eq!(read(full), sign(EventKind::Progress, kept));
    let null = r#"{"progress":0,"total":null,"message":null}"#;
    assert_eq!(read(null), sign(EventKind::Progress, r#"{"progress":0}"#));
}

#[test]
fn log_lines() {
    let log = r#"{"level":"warning","data":{"of":"it"},"logger":"me"}"#;
    assert_eq!(
        read(&format!("{{\"log\":{log}}}")),
        sign(EventKind::Log, log)
    );
    let bare = sign(EventKind::Log, r#"{"level":"info","data":"text"}"#);
    assert_eq!(read(r#"{"log":"text"}"#), bare);
    let unranked = sign(EventKind::Log, r#"{"data":1,"level":"info"}"#);
    assert_eq!(read(r#"{"log":{"data":1}}"#), unranked);
}

#[test]
fn ends() {
    let result = Raw::parse(r#"{"content":[]}"#.into()).expect("JSON");
    assert_eq!(
        read(r#" {"result":{"content":[]}} "#),
        Ok(Pulse::Result(result))
    );
    let error = Error::Upstream {
        code: -32602,
        message: "no".to_owned(),
        data: None,
    };
    let line = r#"{"error":{"code":-32602,"message":"no","data":null}}"#;
    assert_eq!(read(line), Ok(Pulse::Failed(error)));
}

#[test]
fn what_is_none_of_them_is_named() {
    let wrong = [
        ("nonsense", "the line nonsense is no JSON object"),
        ("[1]", "is no JSON object"),
        ("{}", "none of heartbeat, progress, log, result and error"),
        (r#"{"progress":"1"}"#, "\"progress\" is no number"),
        (r#"{"progress":null}"#, "\"progress\" is no number"),
        (r#"{"progress":1,"total":[]}"#, "\"total\" is no number"),
        (r#"{"log":{}}"#, "\"log\" has no data"),
        (
            r#"{"log":{"data":1,"level":"loud"}}"#,
            "\"loud\" is no log level",
        ),
        (r#"{"error":{}}"#, "no code and message"),
    ];
    for (line, why) in wrong {
        let said = read(line).expect_err(line);
        assert!(said.contains(why), "{line}: {said}");
    }
    let long = read(&"x".repeat(5000)).expect_err("no JSON");
    assert!(long.len() < 300, "{long}");
}
