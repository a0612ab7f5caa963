//! Envelopes good and bad.

use super::*;
use proptest::prelude::*;

fn parse(text: &str) -> Result<Message, Refusal> {
    Message::parse(&Bytes::copy_from_slice(text.as_bytes()))
}

fn call(text: &str) -> Envelope {
    match parse(text) {
        Ok(Message::Call(envelope)) => envelope,
        other => panic!("not a call: {other:?}"),
    }
}

fn refused(text: &str) -> (String, Option<String>) {
    let refusal = parse(text).expect_err("refused");
    let id = refusal.id.map(|id| format!("{id:?}"));
    (format!("{}: {}", refusal.error.label(), refusal.error), id)
}

#[test]
fn a_request_is_cut_at_its_members() {
    let text = r#" {"id" : 18446744073709551617,"jsonrpc":"2.0","extra":[1],"method":"tools/call",
        "params":{"name":"n","arguments":{"x" : 1.0},"_meta":{"progressToken":1.0}}} "#;
    let envelope = call(text);
    assert_eq!(envelope.id.expect("an id").bytes(), b"18446744073709551617");
    assert_eq!(envelope.method, "tools/call");
    assert_eq!(
        envelope.params.get("arguments"),
        Some(&br#"{"x" : 1.0}"#[..])
    );
    assert_eq!(envelope.meta.get("progressToken"), Some(&b"1.0"[..]));
}

#[test]
fn ids_are_strings_or_integers() {
    for id in [
        "1",
        "-1",
        "1.0",
        "\"\"",
        "\"a\\u0000\"",
        "123456789012345678901234567890",
    ] {
        let envelope = call(&format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"x"}}"#));
        assert_eq!(envelope.id.expect("an id").bytes(), id.as_bytes());
    }
    for id in ["null", "1.5", "true", "{}", "[1]", "1e3"] {
        let (error, echoed) = refused(&format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"x"}}"#));
        assert_eq!(
            error,
            "invalid_request: Invalid request: member \"id\" must be a string or an integer"
        );
        assert_eq!(echoed, None);
    }
}

#[test]
fn refusals_name_the_member_and_keep_the_id() {
    let cases = [
        (
            "",
            "parse: Parse error: not valid JSON: EOF while parsing a value at line 1 column 0",
            None,
        ),
        (
            "{\"jsonrpc\":\"2.0\",",
            "parse: Parse error: not valid JSON: EOF while parsing an object at line 1 column 17",
            None,
        ),
        (
            "[]",
            "invalid_request: Invalid request: batches are not part of this revision; send one message at a time",
            None,
        ),
        (
            "7",
            "invalid_request: Invalid request: a message must be an object",
            None,
        ),
        (
            "[1] x",
            "parse: Parse error: not valid JSON: trailing characters at line 1 column 5",
            None,
        ),
        (
            r#"{"id":1,"method":"x"}"#,
            "invalid_request: Invalid request: member \"jsonrpc\" must be \"2.0\"",
            Some("1"),
        ),
        (
            r#"{"jsonrpc":2.0,"id":1,"method":"x"}"#,
            "invalid_request: Invalid request: member \"jsonrpc\" must be \"2.0\"",
            Some("1"),
        ),
        (
            r#"{"jsonrpc":"2.0","id":"a","method":7}"#,
            "invalid_request: Invalid request: member \"method\" must be a string",
            Some("\"a\""),
        ),
        (
            r#"{"jsonrpc":"2.0","id":1}"#,
            "invalid_request: Invalid request: member \"method\" is missing",
            Some("1"),
        ),
        (
            r#"{"jsonrpc":"2.0","method":"x","params":[1],"id":9}"#,
            "invalid_params: Invalid params: member \"params\" must be an object",
            Some("9"),
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"x","params":{"_meta":1}}"#,
            "invalid_params: Invalid params: \"_meta\" must be an object",
            Some("1"),
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"x","method":"y"}"#,
            "invalid_request: Invalid request: member \"method\" stands twice",
            Some("1"),
        ),
    ];
    for (text, error, id) in cases {
        assert_eq!(
            refused(text),
            (error.to_owned(), id.map(str::to_owned)),
            "for {text}"
        );
    }
}

#[test]
fn replies_are_told_apart_from_requests() {
    let Ok(Message::Reply(reply)) = parse(r#"{"jsonrpc":"2.0","id":3,"result":{"a":[1 , 2]}}"#)
    else {
        panic!()
    };
    assert_eq!(reply.result.expect("a result").bytes(), br#"{"a":[1 , 2]}"#);
    let text =
        r#"{"jsonrpc":"2.0","id":3,"error":{"code":-32042,"message":"m","data":{"k" : 1.0}}}"#;
    let Ok(Message::Reply(reply)) = parse(text) else {
        panic!()
    };
    let Err(Error::Upstream {
        code,
        message,
        data,
    }) = reply.result
    else {
        panic!()
    };
    assert_eq!(
        (code, message.as_str(), data.expect("data").bytes()),
        (-32042, "m", &br#"{"k" : 1.0}"#[..])
    );
}

proptest! {
    #[test]
    fn parsing_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = Message::parse(&bytes.into());
    }

    #[test]
    fn mangled_envelopes_never_panic(at in 0_usize..120, byte in any::<u8>()) {
        let mut text = br#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","arguments":{"x":[1,{"y":"\u00e9"}]},"_meta":{}}}"#.to_vec();
        if let Some(slot) = text.get_mut(at) { *slot = byte; }
        let _ = Message::parse(&text.into());
    }
}
