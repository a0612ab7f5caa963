//! Bodies, claims, tenants, bounds and receipts.

use super::*;

fn parse(body: &str) -> Result<Execution, Error> {
    Execution::parse(Bytes::copy_from_slice(body.as_bytes()))
}

#[test]
fn an_execution_becomes_the_parameters_of_a_call() {
    let text = r#"{"toolName":"add","intent":{"b":2,"a":1.50},"state":{"run":"x"}}"#;
    let execution = parse(text).expect("an execution");
    let params =
        r#"{"name":"Add","arguments":{"b":2,"a":1.50},"_meta":{"toolbus/state":{"run":"x"}}}"#;
    assert_eq!(execution.params("Add").bytes(), params.as_bytes());
}

#[test]
fn what_is_wrong_with_a_body_is_said() {
    for (body, why) in [
        ("{", "Parse error"),
        ("[]", "an object is expected"),
        ("{}", "toolName"),
        (r#"{"toolName":"","intent":{},"state":{}}"#, "toolName"),
        (r#"{"toolName":7,"intent":{},"state":{}}"#, "toolName"),
        (r#"{"toolName":"a","state":{}}"#, "intent"),
        (r#"{"toolName":"a","intent":[],"state":{}}"#, "intent"),
        (r#"{"toolName":"a","intent":{},"state":null}"#, "state"),
        (
            r#"{"toolName":"a","intent":{},"state":{},"intent":{}}"#,
            "twice",
        ),
        (r#"{"tool_name":"a","intent":{},"state":{}}"#, "tool_name"),
    ] {
        let error = parse(body).expect_err(body).to_string();
        assert!(error.contains(why), "{body}: {error}");
    }
}

#[test]
fn claims_are_read_and_checked() {
    let encode = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let claims = read_claims(&encode(
        r#"{"sub":"acme","spiffe_id":"spiffe://x/y","iat":1}"#,
    ));
    let claims = claims.expect("claims");
    assert_eq!(claims.tenant.as_deref(), Some("acme"));
    assert_eq!(claims.spiffe_id.as_deref(), Some("spiffe://x/y"));
    for bad in [
        "",
        "{}",
        &encode("[]"),
        &encode(r#"{"sub":""}"#),
        &encode("{\"sub\":\"a\\r\\nb\"}"),
        &encode(r#"{"sub":7}"#),
    ] {
        assert!(read_claims(bad).is_err(), "{bad}");
    }
    let padded = format!("{}==", encode(r#"{"sub":"acme12"}"#));
    assert!(read_claims(&padded).is_ok());
}

#[test]
fn the_tenant_of_the_arguments_must_be_the_callers() {
    let claims = Claims {
        tenant: Some("acme".into()),
        spiffe_id: None,
    };
    let check = |claims, text: &str, is_needed| {
        let arguments = Raw::parse(Bytes::copy_from_slice(text.as_bytes())).expect("JSON");
        check_tenant(claims, Some(&arguments), is_needed).is_ok()
    };
    assert!(check(Some(&claims), r#"{"tenant_cid":"acme"}"#, true));
    assert!(check(Some(&claims), r#"{"tenant_cid":"\u0061cme"}"#, true));
    assert!(check(Some(&claims), "{}", true) && check(None, "{}", true));
    assert!(!check(Some(&claims), r#"{"tenant_cid":"other"}"#, false));
    assert!(!check(Some(&claims), r#"{"tenant_cid":null}"#, false));
    assert!(!check(
        Some(&claims),
        r#"{"tenant_cid":"other","tenant_cid":"acme"}"#,
        false
    ));
    assert!(!check(None, r#"{"tenant_cid":"acme"}"#, true));
    assert!(check(None, r#"{"tenant_cid":"acme"}"#, false));
}

#[test]
fn strict_bounds_are_counted() {
    let bounds = Bounds {
        nodes: 5,
        depth: 2,
        characters: 3,
    };
    let fine = [
        "{}",
        r#"{"a":[1,2],"b":null}"#,
        r#""äöü""#,
        "[[]]",
        "[1,2,3,4]",
    ];
    for text in fine {
        assert_eq!(bounds.check(text.as_bytes()), Ok(()), "{text}");
    }
    for (text, why) in [
        ("[1,2,3,4,5]", "more than 5 values"),
        ("[[[]]]", "nested deeper than 2"),
        (r#""abcd""#, "more than 3 characters"),
        (r#"{"abcd":1}"#, "more than 3 characters"),
        (r#"{"a":"\u0061bcd"}"#, "more than 3 characters"),
    ] {
        let error = bounds.check(text.as_bytes()).expect_err(text);
        assert!(error.contains(why), "{text}: {error}");
    }
}

#[test]
fn ids_are_integers_or_short_plain_text() {
    let check = |text: &str| {
        check_id(&Raw::parse(Bytes::copy_from_slice(text.as_bytes())).expect("JSON")).is_ok()
    };
    assert!(check("7") && check("-1") && check(r#""a.B_c:d-9""#));
    assert!(!check("1.5") && !check(r#""""#) && !check(r#""a b""#) && !check("null"));
    assert!(check(&format!("{:?}", "x".repeat(128))) && !check(&format!("{:?}", "x".repeat(129))));
}

#[test]
fn every_receipt_has_an_id_of_its_own_and_the_time() {
    let of = |status| Receipt::of(&Parties::default(), "urn:x", b"abc", status);
    let (one, two) = (of(Status::Success), of(Status::Failed));
    assert_ne!(one.receipt_id, two.receipt_id);
    for receipt in [one, two] {
        let hex = receipt.receipt_id.bytes().all(|b| b.is_ascii_hexdigit());
        assert!(hex && receipt.receipt_id.len() == 16, "{receipt:?}");
        assert!(receipt.timestamp.starts_with("20") && receipt.timestamp.ends_with('Z'));
    }
}

#[test]
fn a_receipt_has_the_fields_of_the_contract() {
    let receipt = Receipt {
        receipt_id: "0123456789abcdef".into(),
        agreement_id: String::new(),
        source_instance: "a".into(),
        destination_instance: "b".into(),
        urn: "urn:x".into(),
        timestamp: "2026-11-20T00:00:00.000Z".into(),
        status: Status::Success,
        payload_hash: payload_hash(b"abc"),
        dlp_passed: true,
    };
    let text = serde_json::to_string(&receipt).expect("JSON");
    // The hash is the one of FIPS 180-4's example.
    let expected = concat!(
        r#"{"receipt_id":"0123456789abcdef","agreement_id":"","source_instance":"a","destination_instance":"b","#,
        r#""urn":"urn:x","timestamp":"2026-11-20T00:00:00.000Z","status":"SUCCESS","#,
        r#""payload_hash":"ba7816bf8f01cfea","dlp_passed":true}"#
    );
    assert_eq!(text, expected);
}
