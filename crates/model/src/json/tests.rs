//! What must hold for every JSON text that passes through.

use super::*;
use proptest::prelude::*;

fn object(text: &str) -> Object {
    Object::parse(Bytes::copy_from_slice(text.as_bytes())).expect("an object")
}

fn rewritten(text: &str, edits: &[(&str, Edit<'_>)]) -> String {
    let mut out = Vec::new();
    object(text).rewrite(edits, &mut out);
    String::from_utf8(out).expect("UTF-8")
}

#[test]
fn members_keep_their_spelling() {
    let text = r#" { "b" : 1.0 , "a":18446744073709551617, "\u0063": "\ud83d\ude00\/", "n":{"$defs":{}} } "#;
    let cut = object(text);
    assert_eq!(cut.get("b"), Some(&b"1.0"[..]));
    assert_eq!(cut.get("a"), Some(&b"18446744073709551617"[..]));
    assert_eq!(
        cut.get("c"),
        Some(&br#""\ud83d\ude00\/""#[..]),
        "an escaped key is found by its meaning"
    );
    assert_eq!(
        rewritten(text, &[("b", Edit::Put(b"2"))]),
        r#"{"b":2,"a":18446744073709551617,"\u0063":"\ud83d\ude00\/","n":{"$defs":{}}}"#
    );
}

#[test]
fn an_unchanged_object_is_copied_whole() {
    let text = "{ \"a\" : [ 1 ,2 ] }";
    assert_eq!(
        rewritten(text, &[("x", Edit::Drop), ("a", Edit::Default(b"0"))]),
        text
    );
    assert_eq!(rewritten("{}", &[]), "{}");
    assert_eq!(rewritten(" { } ", &[("a", Edit::Put(b"1"))]), r#"{"a":1}"#);
}

#[test]
fn duplicates_are_named() {
    let cut = object(r#"{"name":"a","n\u0061me":"b","x":1,"x":2}"#);
    assert_eq!(cut.duplicate(&["name"]), Some("name"));
    assert_eq!(cut.duplicate(&["other"]), None);
}

#[test]
fn depth_is_bounded_and_brackets_in_strings_do_not_count() {
    let nested = |n: usize| format!("{{\"a\":{}{}}}", "[".repeat(n), "]".repeat(n));
    assert!(Object::parse(nested(MAX_DEPTH - 1).into()).is_ok());
    assert_eq!(
        Object::parse(nested(MAX_DEPTH).into()),
        Err(JsonError::TooDeep)
    );
    assert!(Object::parse(format!("{{\"a\":\"\\\"{}\"}}", "[".repeat(5000)).into()).is_ok());
}

#[test]
fn what_is_not_an_object_is_told_apart_from_what_is_not_json() {
    assert!(matches!(
        Object::parse("[1]".into()),
        Err(JsonError::Shape(_))
    ));
    assert!(matches!(
        Object::parse("{\"a\":}".into()),
        Err(JsonError::Syntax(_))
    ));
    assert!(matches!(
        Object::parse("{} {}".into()),
        Err(JsonError::Syntax(_))
    ));
    assert!(matches!(
        Object::parse(Bytes::from_static(b"{\"a\":\"\xff\"}")),
        Err(JsonError::Syntax(_))
    ));
}

/// Any JSON text, with odd numbers, escapes, unicode and white space.
pub(crate) fn any_json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("1.0".to_owned()),
        Just("-0".to_owned()),
        Just("123456789012345678901234567890".to_owned()),
        Just("1e400".to_owned()),
        Just(r#""\ud83d\ude00 \u0000 \/""#.to_owned()),
        any::<i64>().prop_map(|n| n.to_string()),
        any::<String>().prop_map(|s| serde_json::to_string(&s).expect("a string")),
    ];
    leaf.prop_recursive(6, 64, 6, |inner| {
        let key = prop_oneof![
            Just("$defs".to_owned()),
            Just("_meta".to_owned()),
            "\\PC{0,6}".prop_map(|s| s)
        ];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6)
                .prop_map(|v| format!("[ {} ]", v.join(" ,"))),
            prop::collection::vec((key, inner), 0..6).prop_map(|v| {
                let members: Vec<_> = v
                    .iter()
                    .map(|(k, v)| format!("{} :{v}", serde_json::to_string(k).expect("a string")))
                    .collect();
                format!("{{{}}}", members.join(", "))
            }),
        ]
    })
}

proptest! {
    #[test]
    fn payloads_survive_a_splice(before in any_json(), payload in any_json(), after in any_json()) {
        let text = format!(r#"{{"x" : {before},"arguments":{payload} , "name":"old", "y":{after}}}"#);
        let out = rewritten(&text, &[("name", Edit::Put(b"\"new\"")), ("z", Edit::Put(b"1"))]);
        prop_assert_eq!(out, format!(r#"{{"x":{before},"arguments":{payload},"name":"new","y":{after},"z":1}}"#));
    }

    #[test]
    fn what_is_json_is_what_serde_says(value in any_json(), at in any::<prop::sample::Index>(), byte in prop::option::of(any::<u8>())) {
        let mut text = value.into_bytes();
        // Broken in one place or cut off: both must agree on whether it is still JSON.
        match byte {
            Some(byte) => { let at = at.index(text.len()); text[at] = byte; }
            None => text.truncate(at.index(text.len()) + 1),
        }
        let serde = serde_json::from_slice::<&serde_json::value::RawValue>(&text).is_ok();
        prop_assert_eq!(Raw::parse(text.clone().into()).is_ok(), serde, "{}", String::from_utf8_lossy(&text));
    }

    #[test]
    fn odd_pieces_are_judged_as_serde_judges_them(pieces in prop::collection::vec(prop_oneof![
        Just("{"), Just("}"), Just("["), Just("]"), Just(","), Just(":"), Just("\""), Just("\\"), Just("\\u12"), Just("ab"),
        Just("-"), Just("0"), Just("1"), Just("."), Just("e"), Just("+"), Just("true"), Just("null"), Just(" "), Just("\n"),
        Just("\"a\""), Just("\"a\":"), Just("\u{7f}"), Just("é"), Just("12345678"),
    ], 0..14)) {
        let text = pieces.concat();
        let serde = serde_json::from_str::<&serde_json::value::RawValue>(&text).is_ok();
        prop_assert_eq!(Raw::parse(text.clone().into()).is_ok(), serde, "{}", text);
    }

    #[test]
    fn cutting_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Object::parse(bytes.into());
    }

    #[test]
    fn the_whole_of_an_object_is_its_text(value in any_json()) {
        let text = format!("{{\"a\":{value}}}");
        let cut = object(&format!("  {text}\n"));
        prop_assert_eq!(cut.bytes(), text.as_bytes());
    }
}
