//! Calls of plain workers, and everything that may come of them.

use super::*;

const ALIAS: &str = "acme-solver-add-v1";

/// What becomes of a call that the worker answers like this.
async fn answered(
    answer: impl Fn(&Value) -> Option<Vec<u8>> + Send + Sync + 'static,
) -> Result<Value, Error> {
    let hub = Hub::new();
    let _worker = Plain::start(&hub, &[URN], answer).await;
    let foreign = open(&hub);
    offers(&foreign, &[ALIAS]).await;
    call(&*foreign, ALIAS, json!({"a": 1, "b": 2})).await
}

#[tokio::test(start_paused = true)]
async fn a_plain_worker_is_found_and_called_as_it_expects() {
    let hub = Hub::new();
    let mut worker = Plain::start(&hub, &[URN], sum).await;
    let foreign = open(&hub);
    offers(&foreign, &[ALIAS]).await;
    let claims = Claims {
        tenant: Some("acme".into()),
        spiffe_id: Some("spiffe://acme/x".into()),
    };
    let caller = Caller::named("ci").with_claims(claims);
    let params = json!({"name": ALIAS, "arguments": {"a": 1, "b": 2, "tenant_cid": "acme"}, "_meta": {"toolbus/state": {"n": 1}}});
    let result = call_as(&*foreign, caller, ALIAS, &params)
        .await
        .expect("a result");
    assert_eq!(result["content"][0]["text"], "3");
    let asked = worker.asked.recv().await.expect("a request");
    let text = String::from_utf8(asked.payload.to_vec()).expect("UTF-8");
    let id = serde_json::from_str::<Value>(&text).expect("JSON")["id"].to_string();
    let expected = format!(
        r#"{{"id":{id},"jsonrpc":"2.0","method":"tools/call","params":{{"_meta":{{"toolbus/state":{{"n":1}}}},"arguments":{},"name":"{URN}"}}}}"#,
        params["arguments"]
    );
    assert_eq!(text, expected);
    let header = |name| asked.headers.get(name);
    assert_eq!(header("X-Tenant-CID"), Some("acme"));
    assert_eq!(header("X-SPIFFE-ID"), Some("spiffe://acme/x"));
    assert_eq!(
        header("X-Source-URN"),
        Some("urn:toolbus:instance:test-one")
    );
}

#[tokio::test(start_paused = true)]
async fn equal_calls_at_once_have_ids_of_their_own() {
    let hub = Hub::new();
    let mut worker = Plain::start(&hub, &[URN], sum).await;
    let foreign = open(&hub);
    offers(&foreign, &[ALIAS]).await;
    let one = || call(&*foreign, ALIAS, json!({"a": 1, "b": 2}));
    let (first, second) = tokio::join!(one(), one());
    assert!(first.is_ok() && second.is_ok());
    let mut ids = Vec::new();
    for _ in 0..2 {
        let asked = worker.asked.recv().await.expect("a request");
        ids.push(serde_json::from_slice::<Value>(&asked.payload).expect("JSON")["id"].clone());
    }
    assert_ne!(ids[0], ids[1]);
}

#[tokio::test(start_paused = true)]
async fn a_workers_error_passes_as_it_is() {
    let error = answered(|body| {
        let error = json!({"code": -32050, "message": "no", "data": {"why": 7}});
        Some(
            json!({"jsonrpc": "2.0", "id": body["id"], "error": error})
                .to_string()
                .into(),
        )
    });
    let Err(Error::Upstream {
        code,
        message,
        data,
    }) = error.await
    else {
        panic!("no error of the worker's");
    };
    assert_eq!((code, &*message), (-32050, "no"));
    assert_eq!(data.expect("data").bytes(), br#"{"why":7}"#);
}

#[tokio::test(start_paused = true)]
async fn results_that_are_not_mcps_become_ones() {
    let plain = |result: Value| {
        answered(move |body| {
            Some(
                json!({"jsonrpc": "2.0", "id": body["id"], "result": result})
                    .to_string()
                    .into(),
            )
        })
    };
    let object = plain(json!({"sum": 3})).await.expect("a result");
    assert_eq!(object["structuredContent"], json!({"sum": 3}));
    assert_eq!(object["content"][0]["text"], r#"{"sum":3}"#);
    let number = plain(json!(3)).await.expect("a result");
    assert_eq!(number["structuredContent"], json!({"result": 3}));
    let text = plain(json!("three")).await.expect("a result");
    assert_eq!(text["content"][0]["text"], "three");
    let failed = plain(json!({"isError": true, "why": "x"}))
        .await
        .expect("a result");
    assert_eq!(failed["isError"], true);
}

#[tokio::test(start_paused = true)]
async fn what_is_no_answer_is_said_to_be_none() {
    let cases: [(&str, &str); 5] = [
        ("{\"jsonrpc\":", "not valid JSON"),
        ("hello", "hello"),
        (
            r#"{"jsonrpc":"2.0","id":"another","result":{}}"#,
            "id is not the request's",
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"x"}"#,
            "it is a request",
        ),
        ("\u{0}\u{1}", "not valid JSON"),
    ];
    for (answer, why) in cases {
        let error = answered(move |_| Some(answer.as_bytes().to_vec()))
            .await
            .expect_err(answer);
        let text = error.to_string();
        assert!(
            matches!(error, Error::OutcomeUnknown(_)) && text.contains(why) && text.contains(URN),
            "{answer}: {text}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_does_not_answer_leaves_the_outcome_unknown() {
    let begun = tokio::time::Instant::now();
    let error = answered(|_| None).await.expect_err("no answer");
    let text = error.to_string();
    assert!(
        matches!(error, Error::OutcomeUnknown(_)) && text.contains("no answer within 2 s"),
        "{text}"
    );
    assert!(
        begun.elapsed() < Duration::from_secs(4),
        "{:?}",
        begun.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn with_nobody_left_the_caller_learns_it_at_once() {
    let hub = Hub::new();
    let worker = Plain::start(&hub, &[URN], sum).await;
    let foreign = open(&hub);
    offers(&foreign, &[ALIAS]).await;
    worker.bus.close().await;
    let begun = tokio::time::Instant::now();
    let error = call(&*foreign, ALIAS, json!({})).await.expect_err("nobody");
    assert!(matches!(error, Error::Unavailable(_)), "{error}");
    assert!(
        error.to_string().contains("nobody serves urn:acme"),
        "{error}"
    );
    assert!(
        begun.elapsed() <= Duration::from_millis(500),
        "{:?}",
        begun.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_is_not_sent() {
    let hub = Hub::new();
    let mut worker = Plain::start(&hub, &[URN], sum).await;
    let foreign = open(&hub);
    offers(&foreign, &[ALIAS]).await;
    let claims = Claims {
        tenant: Some("acme".into()),
        spiffe_id: None,
    };
    let params = json!({"name": ALIAS, "arguments": {"tenant_cid": "other"}});
    let forged = call_as(
        &*foreign,
        Caller::named("ci").with_claims(claims),
        ALIAS,
        &params,
    )
    .await;
    assert!(matches!(forged, Err(Error::InvalidParams(_))), "{forged:?}");
    let large = |size: usize| call(&*foreign, ALIAS, json!({"x": "x".repeat(size)}));
    let broker = large(2 * 1024 * 1024).await.expect_err("too large");
    assert!(broker.to_string().contains("1048576"), "{broker}");
    let contract = large(10_485_760).await.expect_err("too large");
    assert!(contract.to_string().contains("10485760"), "{contract}");
    let unknown = call(&*foreign, "nobody", json!({})).await;
    assert!(matches!(unknown, Err(Error::Unknown { .. })));
    assert!(worker.asked.try_recv().is_err());
}
