//! Offers as they are shown.

use std::sync::atomic::{AtomicUsize, Ordering};

use toolbus_model::Object;

use super::*;

/// A place with these tools, which counts how often it is stopped.
struct Place(watch::Sender<Arc<Offer>>, AtomicUsize);

impl Place {
    fn of(names: &[&str]) -> Arc<Self> {
        let item = |name: &&str| Item {
            key: (*name).into(),
            definition: Object::of(&serde_json::json!({
                "name": name, "description": "Its own.",
                "annotations": {"title": "T", "readOnlyHint": true}, "x-more": [1.5],
            })),
        };
        let offer = Offer {
            tools: names.iter().map(item).collect(),
            capabilities: Some(Object::empty()),
            health: Health::Up,
            ..Offer::default()
        };
        let offers = watch::Sender::new(Arc::new(offer));
        Arc::new(Self(offers, AtomicUsize::new(0)))
    }
}

impl Backend for Place {
    fn offer(&self) -> watch::Receiver<Arc<Offer>> {
        self.0.subscribe()
    }

    fn serve<'a>(&'a self, request: Request, _: &'a Call) -> BoxFuture<'a, Result<Outcome, Error>> {
        Box::pin(async move { Ok(Outcome::Complete(request.params)) })
    }

    fn stop(&self) -> BoxFuture<'_, ()> {
        self.1.fetch_add(1, Ordering::Relaxed);
        Box::pin(async {})
    }
}

/// Key and name of each tool that is shown.
fn shown(settings: Settings, names: &[&str]) -> Vec<(String, String)> {
    let edited = Edited::around("s", settings, Place::of(names));
    let offer = edited.offer().borrow().clone();
    let pair = |tool: &Item| {
        let name = tool.definition.str("name").unwrap_or_default();
        (tool.key.to_string(), name.into_owned())
    };
    offer.tools.iter().map(pair).collect()
}

fn aliases(pairs: &[(&str, &str)]) -> Settings {
    let edits = |name: &str| Edits {
        name: Some(name.to_owned()),
        ..Edits::default()
    };
    let tools = pairs.iter();
    Settings {
        tools: tools
            .map(|(tool, name)| ((*tool).to_owned(), edits(name)))
            .collect(),
        ..Settings::default()
    }
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    let own = expected.iter();
    own.map(|(a, b)| ((*a).to_owned(), (*b).to_owned()))
        .collect()
}

#[tokio::test]
async fn an_alias_is_the_name_in_the_definition_and_the_key_stays() {
    let (add, sub, all) = ("math.add", "math.sub", ["math.add", "math.sub"]);
    let given = shown(aliases(&[(add, "sum")]), &all);
    assert_eq!(given, pairs(&[(add, "sum"), (sub, sub)]));
    let swapped = shown(aliases(&[(add, sub), (sub, add)]), &all);
    assert_eq!(swapped, pairs(&[(add, sub), (sub, add)]));
    let taken = shown(aliases(&[(add, sub)]), &all);
    assert_eq!(
        taken,
        pairs(&[(add, add), (sub, sub)]),
        "no tool takes another's name"
    );
    let freed = Settings {
        hide: vec![sub.into()],
        ..aliases(&[(add, sub)])
    };
    assert_eq!(shown(freed, &all), pairs(&[(add, sub)]));
}

#[tokio::test]
async fn what_is_changed_is_changed_and_nothing_else() {
    let edits = Edits {
        name: Some("sum".into()),
        title: Some("Sum \"it\"".into()),
        extra_description: Some("More.".into()),
        annotations: [("readOnlyHint", false), ("idempotentHint", true)].into(),
        ..Edits::default()
    };
    let settings = Settings {
        tools: [("a".to_owned(), edits)].into(),
        ..Settings::default()
    };
    let edited = Edited::around("s", settings, Place::of(&["a"]));
    let offer = edited.offer().borrow().clone();
    let definition = offer.tools[0].definition.to_raw();
    let definition: serde_json::Value = definition.read().expect("JSON");
    let expected = serde_json::json!({
        "name": "sum", "title": "Sum \"it\"", "description": "Its own.\n\nMore.", "x-more": [1.5],
        "annotations": {"title": "T", "readOnlyHint": false, "idempotentHint": true},
    });
    assert_eq!(definition, expected);
}

#[tokio::test]
async fn patterns_show_and_hide() {
    let own = |all: &[&str]| all.iter().map(|&s| s.to_owned()).collect::<Vec<_>>();
    let all = ["math.add", "math.sub", "text.upper"];
    let keys = |show: Option<&[&str]>, hide: &[&str]| {
        let settings = Settings {
            show: show.map(own),
            hide: own(hide),
            ..Settings::default()
        };
        let shown = shown(settings, &all);
        shown.into_iter().map(|(key, _)| key).collect::<Vec<_>>()
    };
    assert_eq!(keys(Some(&["math.*"]), &[]), ["math.add", "math.sub"]);
    assert_eq!(keys(None, &["*.sub"]), ["math.add", "text.upper"]);
    assert_eq!(keys(Some(&["math.*"]), &["*.sub"]), ["math.add"]);
    assert!(keys(Some(&[]), &[]).is_empty());
}

#[tokio::test]
async fn changes_of_the_place_are_followed() {
    let place = Place::of(&["a"]);
    let inner: Arc<dyn Backend> = Arc::clone(&place) as _;
    let edited = Edited::around("s", aliases(&[("b", "second")]), inner);
    let mut offers = edited.offer();
    assert_eq!(offers.borrow_and_update().tools.len(), 1);
    let next = Place::of(&["a", "b"]).0.borrow().clone();
    place.0.send_replace(next);
    offers.changed().await.expect("news");
    let offer = offers.borrow().clone();
    assert_eq!(
        offer.tools[1].definition.str("name").as_deref(),
        Some("second")
    );
}

#[tokio::test]
async fn a_place_is_stopped_with_the_last_who_holds_it() {
    let place = Place::of(&["a"]);
    let ground = crate::layer::Ground::new(Arc::clone(&place) as _);
    let (first, second) = (ground.hold(), ground.hold());
    first.stop().await;
    first.stop().await;
    assert_eq!(place.1.load(Ordering::Relaxed), 0, "another one holds it");
    second.stop().await;
    second.stop().await;
    assert_eq!(place.1.load(Ordering::Relaxed), 1);
}
