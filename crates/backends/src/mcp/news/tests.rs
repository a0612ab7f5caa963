//! Who hears what, and who is let go.

use toolbus_protocol::Message;

use super::*;

fn said(method: &str, params: &serde_json::Value) -> Envelope {
    let text = serde_json::json!({"jsonrpc": "2.0", "method": method, "params": params});
    match Message::parse(&text.to_string().into()).expect("a message") {
        Message::Call(envelope) => envelope,
        Message::Reply(_) => panic!("a notice"),
    }
}

fn updated(uri: &str) -> Envelope {
    said(
        "notifications/resources/updated",
        &serde_json::json!({"uri": uri, "more": 1}),
    )
}

fn uris(names: &[&str]) -> Vec<Arc<str>> {
    names.iter().map(|name| Arc::from(*name)).collect()
}

/// The URIs of the notices that wait.
fn heard(receiver: &mut mpsc::Receiver<Notice>) -> Vec<String> {
    let next = || match receiver.try_recv().ok()? {
        Notice::Resource(uri, params) => {
            assert_eq!(params.str("uri").as_deref(), Some(&*uri));
            Some(uri.to_string())
        }
        Notice::Task(..) => None,
    };
    std::iter::from_fn(next).collect()
}

async fn listener(news: &News, names: &[&str]) -> (Place, mpsc::Receiver<Notice>) {
    let (place, receiver) = news.join(&uris(names));
    news.decide(&news.wanted().open, |_| true);
    assert_eq!(news.honoured(place.id).await, uris(names));
    (place, receiver)
}

#[tokio::test]
async fn a_resource_is_told_to_those_who_listen_to_it_or_above_it() {
    let news = News::default();
    let (_a, mut whole) = listener(&news, &["file:///data"]).await;
    let (_b, mut folder) = listener(&news, &["file:///data/", "x:y"]).await;
    let (_c, mut one) = listener(&news, &["file:///data/a.txt"]).await;
    for uri in [
        "file:///data/a.txt",
        "file:///database",
        "x:y#part",
        "x:yz",
        "file:///data",
    ] {
        assert!(news.take(&updated(uri)));
    }
    assert_eq!(heard(&mut whole), ["file:///data/a.txt", "file:///data"]);
    assert_eq!(heard(&mut folder), ["file:///data/a.txt", "x:y#part"]);
    assert_eq!(heard(&mut one), ["file:///data/a.txt"]);
}

#[tokio::test]
async fn each_list_is_counted() {
    let news = News::default();
    for list in ["tools", "resources", "resources"] {
        assert!(news.take(&said(
            &format!("notifications/{list}/list_changed"),
            &serde_json::json!({})
        )));
    }
    assert!(!news.take(&said("notifications/progress", &serde_json::json!({}))));
    let expected = Changes {
        tools: 1,
        prompts: 0,
        resources: 2,
    };
    assert_eq!(news.changes(), expected);
    news.outdated().await;
}

#[tokio::test]
async fn what_nobody_wants_any_more_is_not_wanted() {
    let news = News::default();
    let (a, _first) = listener(&news, &["x:a", "x:b"]).await;
    let (b, _second) = news.join(&uris(&["x:b", "x:c"]));
    assert_eq!(
        news.wanted().open,
        uris(&["x:c"]),
        "x:b is honoured already"
    );
    news.decide(&uris(&["x:c"]), |_| false);
    assert_eq!(news.honoured(b.id).await, uris(&["x:b"]));
    let all = |news: &News| {
        let mut all: Vec<_> = news.wanted().all.into_iter().collect();
        all.sort();
        all
    };
    assert_eq!(
        all(&news),
        uris(&["x:a", "x:b"]),
        "what is refused is not asked for again"
    );
    news.leave(a.id);
    assert!(a.gone.is_cancelled() && !b.gone.is_cancelled());
    assert_eq!(all(&news), uris(&["x:b"]));
    news.leave(b.id);
    assert!(all(&news).is_empty() && !news.is_heard());
}

#[tokio::test]
async fn who_does_not_read_is_let_go_and_the_others_stay() {
    let news = News::default();
    let (slow, mut full) = listener(&news, &["x:a"]).await;
    let (_b, mut reading) = listener(&news, &["x:a"]).await;
    let mut count = 0;
    for _ in 0..=QUEUE {
        news.take(&updated("x:a"));
        count += heard(&mut reading).len();
    }
    assert_eq!(count, QUEUE + 1);
    assert!(slow.gone.is_cancelled());
    drop(slow);
    assert_eq!(heard(&mut full).len(), QUEUE);
    assert!(full.recv().await.is_none(), "its receiver ends");
}

#[tokio::test]
async fn after_a_loss_what_is_honoured_may_have_changed_and_the_rest_is_over() {
    let news = News::default();
    let (_a, mut kept) = listener(&news, &["x:a"]).await;
    let (over, mut ended) = listener(&news, &["x:b"]).await;
    news.lost();
    let mut open = news.wanted().open;
    open.sort();
    assert_eq!(open, uris(&["x:a", "x:b"]));
    news.decide(&open, |uri| uri == "x:a");
    assert_eq!(heard(&mut kept), ["x:a"]);
    assert!(over.gone.is_cancelled());
    drop(over);
    assert!(ended.recv().await.is_none());
    news.missed();
    assert_eq!(heard(&mut kept), ["x:a"]);
}
