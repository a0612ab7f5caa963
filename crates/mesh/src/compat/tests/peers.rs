//! Federated peers, from both sides.

use toolbus_protocol::capability::{Parties, Receipt, Status};

use super::*;
use crate::compat::federation::{self, Peer, PeerSettings};

fn settings() -> PeerSettings {
    PeerSettings {
        published: published(),
        parties: Parties {
            agreement: "agreement-7".into(),
            source: "here".into(),
            destination: "there.eu".into(),
        },
        capabilities: vec![urn(URN)],
        timeout: Duration::from_secs(2),
        source: "urn:toolbus:instance:here".into(),
        noted_by: &["capability"],
    }
}

/// The instance that is called, which answers with `answer`.
fn there(
    hub: &Arc<Hub>,
    answer: impl Fn(Value) -> Option<Vec<u8>> + Send + Sync + 'static,
) -> CancellationToken {
    let closing = CancellationToken::new();
    let answer = move |body: Bytes| -> toolbus_model::BoxFuture<'static, Option<Vec<u8>>> {
        let answer = answer(serde_json::from_slice(&body).expect("JSON"));
        Box::pin(async { answer })
    };
    let serving = federation::serve(
        hub.connect(),
        published(),
        "there.eu".into(),
        Arc::new(answer),
        closing.clone(),
    );
    tokio_util::task::TaskTracker::new().spawn(serving);
    closing
}

#[tokio::test(start_paused = true)]
async fn a_peer_is_called_under_the_agreement_and_its_receipt_is_written() {
    let hub = Hub::new();
    let _there = there(&hub, |body| {
        let said = json!({"source_instance": "here", "target_instance": "there.eu", "agreement_id": "agreement-7"});
        assert_eq!(
            (&body["federation"], &body["params"]["name"]),
            (&said, &json!(URN))
        );
        sum(&body)
    });
    let receipts = Receipts::open(None, WhenFull::Refuse).expect("opened");
    receipts
        .stream
        .send_replace(Some((hub.connect(), published())));
    let peer = Peer::open(hub.connect(), settings(), Some(Arc::clone(&receipts)));
    tokio::time::sleep(Duration::from_millis(10)).await;
    let alias = "acme-solver-add-v1";
    let result = call(&*peer, alias, json!({"a": 1, "b": 2}))
        .await
        .expect("a result");
    assert_eq!(result["content"][0]["text"], "3");
    assert!(
        call(&*peer, alias, json!({})).await.is_err(),
        "a peer that does not answer"
    );
    let (noted, _end) = Call::begin(
        CallSeed {
            door: "capability",
            ..seed(Caller::local())
        },
        CancellationToken::new(),
    );
    peer.serve(
        request(alias, &json!({"arguments": {"a": 1, "b": 1}})),
        &noted,
    )
    .await
    .expect("a result");
    receipts.close().await;
    let sent: Vec<Receipt> = hub
        .appended("coreason-federation-audit")
        .iter()
        .map(|message| serde_json::from_slice(&message.payload).expect("a receipt"))
        .collect();
    let seen: Vec<_> = sent.iter().map(|receipt| receipt.status).collect();
    assert_eq!(
        seen,
        [Status::Success, Status::Failed],
        "one for each call that no door notes"
    );
    assert_eq!(
        (&*sent[0].agreement_id, &*sent[0].urn),
        ("agreement-7", URN)
    );
    assert_eq!(
        (&*sent[0].source_instance, &*sent[0].destination_instance),
        ("here", "there.eu")
    );
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_nobody_serves_is_unavailable() {
    let hub = Hub::new();
    let peer = Peer::open(hub.connect(), settings(), None);
    let error = call(&*peer, "acme-solver-add-v1", json!({}))
        .await
        .expect_err("nobody");
    assert!(matches!(error, Error::Unavailable(_)), "{error}");
    assert!(
        error
            .to_string()
            .contains("coreason.federation.there_eu.invoke"),
        "{error}"
    );
    peer.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_too_large_is_said_to_be() {
    let hub = Hub::new();
    let _there = there(&hub, |_| Some(vec![b'x'; 2 * 1024 * 1024]));
    let peer = Peer::open(hub.connect(), settings(), None);
    tokio::time::sleep(Duration::from_millis(10)).await;
    let error = call(&*peer, "acme-solver-add-v1", json!({}))
        .await
        .expect_err("too large");
    assert!(
        matches!(error, Error::Upstream { code: -31005, .. }),
        "{error:?}"
    );
}
