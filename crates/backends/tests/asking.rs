//! Servers at URLs that ask, and the back end in front of them, without a gateway.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use toolbus_backends::mcp::{HttpTarget, McpServer, Settings, Target};
use toolbus_model::{
    Backend as _, Call, CallEnd, CallSeed, Caller, Error, Method, Object, Outcome, Raw, Request,
    Revision, Trace,
};
use toolbus_testkit::fixture::{Era, Options, Running};

const MODERN: Revision = Revision::V2026_07_28;
const OLDER: Revision = Revision::V2025_11_25;

/// The fixture at a URL, and the back end for it.
struct Place {
    fixture: Running,
    server: Arc<McpServer>,
}

impl Place {
    async fn of(era: Era) -> Self {
        Self::with(era, Settings::default()).await
    }

    async fn with(era: Era, settings: Settings) -> Self {
        let options = Options {
            era,
            ..Options::default()
        };
        let fixture = Running::start(options, 0).await.expect("it starts");
        let target = HttpTarget {
            url: fixture.url().parse().expect("a URL"),
            headers: http::HeaderMap::new(),
        };
        let server = McpServer::start("fx", Target::Http(target), settings);
        Self { fixture, server }
    }

    async fn serve(&self, call: &Call, method: &str, params: Value) -> Result<Outcome, Error> {
        let params = Object::of(&params);
        let meta = params.object("_meta").and_then(Result::ok);
        let request = Request {
            method: Method::parse(method),
            target: params.str("name").map(|name| name.as_ref().into()),
            meta: meta.unwrap_or_else(Object::empty),
            params,
        };
        self.server.serve(request, call).await
    }

    /// A call of a tool, made and ended.
    async fn call(&self, client: &Client, params: Value) -> Result<Outcome, Error> {
        let (call, end) = client.call();
        let outcome = self.serve(&call, "tools/call", params).await;
        // As the gateway does it.
        end.cancel.cancel();
        outcome
    }

    /// How many calls were cancelled at the server.
    async fn cancelled(&self) -> u64 {
        let counts = text(
            &self
                .call(&Client::modern(json!({})), tool("test_counts"))
                .await,
        );
        let counts: Value = serde_json::from_str(&counts).expect("JSON");
        counts["cancelled"].as_u64().expect("a number")
    }

    async fn stop(self) {
        self.server.stop().await;
        self.fixture.stop().await;
    }
}

struct Client {
    revision: Revision,
    capabilities: Value,
    caller: Caller,
}

impl Client {
    fn modern(capabilities: Value) -> Self {
        let caller = Caller::local();
        Self {
            revision: MODERN,
            capabilities,
            caller,
        }
    }

    fn older(capabilities: Value) -> Self {
        Self {
            revision: OLDER,
            ..Self::modern(capabilities)
        }
    }

    fn call(&self) -> (Arc<Call>, CallEnd) {
        let seed = CallSeed {
            caller: self.caller.clone(),
            revision: self.revision,
            door: "test",
            capabilities: Raw::of(&self.capabilities),
            client: None,
            log_level: None,
            progress_token: None,
            trace: Trace::default(),
        };
        Call::begin(seed, CancellationToken::new())
    }
}

fn everything() -> Value {
    json!({"elicitation": {"form": {}, "url": {}}, "sampling": {}, "roots": {}})
}

fn tool(name: &str) -> Value {
    json!({"name": name, "arguments": {}})
}

fn ask() -> Value {
    json!({"name": "test_elicitation", "arguments": {"message": "who?"}})
}

/// The result of a call that asks.
fn asked(outcome: &Result<Outcome, Error>) -> Value {
    let Ok(Outcome::InputRequired(result)) = outcome else {
        panic!("{outcome:?}");
    };
    result.to_raw().read().expect("JSON")
}

/// The only question of a call that asks, with its key.
fn question(asked: &Value) -> (&String, &Value) {
    let all = asked["inputRequests"].as_object().expect("questions");
    assert_eq!(all.len(), 1, "{asked}");
    all.iter().next().expect("a question")
}

/// The text of a call that is done.
fn text(outcome: &Result<Outcome, Error>) -> String {
    let Ok(Outcome::Complete(result)) = outcome else {
        panic!("{outcome:?}");
    };
    let result: Value = result.to_raw().read().expect("JSON");
    let text = result["content"][0]["text"].as_str();
    text.expect("text").to_owned()
}

fn retry(mut params: Value, asked: &Value, answer: Value) -> Value {
    params["requestState"] = asked["requestState"].clone();
    params["inputResponses"] = json!({question(asked).0: answer});
    params
}

fn refusal() -> Value {
    json!({"_meta": {"toolbus/error": {"code": -1, "message": "the user said no", "data": 7}}})
}

fn is_lost(outcome: &Result<Outcome, Error>) -> bool {
    matches!(outcome, Err(Error::StateLost(_)))
}

#[tokio::test]
async fn a_call_whose_caller_does_not_come_back_is_cancelled_at_the_server() {
    let settings = Settings {
        patience: Duration::from_secs(3),
        ..Settings::default()
    };
    let place = Place::with(Era::Legacy, settings).await;
    let client = Client::modern(everything());
    let first = asked(&place.call(&client, ask()).await);
    assert_eq!(place.cancelled().await, 0, "its first call has ended");
    let told = async {
        while place.cancelled().await == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let told = tokio::time::timeout(Duration::from_secs(20), told).await;
    assert!(told.is_ok(), "the server is told");
    let answer = json!({"action": "accept"});
    let late = place.call(&client, retry(ask(), &first, answer)).await;
    assert!(is_lost(&late), "{late:?}");
    place.stop().await;
}

#[tokio::test]
async fn a_call_that_waits_is_its_callers_alone() {
    let place = Place::of(Era::Legacy).await;
    let client = Client::modern(everything());
    let first = asked(&place.call(&client, ask()).await);
    let params = retry(ask(), &first, json!({"action": "decline"}));
    let other = Client {
        caller: Caller::named("other"),
        ..Client::modern(everything())
    };
    assert!(is_lost(&place.call(&other, params.clone()).await));
    let own = place.call(&client, params.clone()).await;
    assert!(text(&own).contains("decline"), "{own:?}");
    assert!(
        is_lost(&place.call(&client, params).await),
        "it serves once"
    );
    place.stop().await;
}

#[tokio::test]
async fn where_too_many_wait_the_server_is_told_that_nobody_can_be_asked() {
    let place = Place::of(Era::Legacy).await;
    let client = Client::modern(everything());
    let first = asked(&place.call(&client, ask()).await);
    for _ in 1..256 {
        asked(&place.call(&client, ask()).await);
    }
    let refused = text(&place.call(&client, ask()).await);
    assert!(refused.contains("too many calls wait"), "{refused}");
    let answer = json!({"action": "decline"});
    let freed = place.call(&client, retry(ask(), &first, answer)).await;
    assert!(text(&freed).contains("decline"), "{freed:?}");
    asked(&place.call(&client, ask()).await);
    place.stop().await;
}

#[tokio::test]
async fn a_refusal_reaches_an_older_server_as_the_error_that_it_was() {
    let place = Place::of(Era::Legacy).await;
    let client = Client::older(everything());
    let first = asked(&place.call(&client, ask()).await);
    let ended = place.call(&client, retry(ask(), &first, refusal())).await;
    assert_eq!(text(&ended), "the client refused: the user said no");
    place.stop().await;
}

#[tokio::test]
async fn a_refusal_towards_a_modern_server_cancels_an_elicitation_and_fails_what_else_it_asks() {
    let place = Place::of(Era::Modern).await;
    let client = Client::older(everything());
    let params = tool("test_elicitation_sep1034_defaults");
    let first = asked(&place.call(&client, params.clone()).await);
    let ended = place.call(&client, retry(params, &first, refusal())).await;
    assert!(text(&ended).contains("action=cancel"), "{ended:?}");

    let params = json!({"name": "test_sampling", "arguments": {"prompt": "p"}});
    let first = asked(&place.call(&client, params.clone()).await);
    let ended = place.call(&client, retry(params, &first, refusal())).await;
    let refused = Error::Upstream {
        code: -1,
        message: "the user said no".to_owned(),
        data: Some(Raw::of(&7)),
    };
    assert_eq!(ended, Err(refused));
    place.stop().await;
}

#[tokio::test]
async fn a_caller_is_served_in_its_own_era_where_the_server_can() {
    let page = async |place: &Place, client: Client| {
        let first = asked(&place.call(&client, tool("test_elicitation_url")).await);
        question(&first).1["params"].get("elicitationId").cloned()
    };
    let place = Place::of(Era::Both).await;
    let older = page(&place, Client::older(everything())).await;
    assert_eq!(older, Some(json!("page-1")), "only 2025-11-25 has such ids");
    assert_eq!(page(&place, Client::modern(everything())).await, None);
    place.stop().await;

    let place = Place::of(Era::Modern).await;
    for _ in 0..2 {
        let bridged = page(&place, Client::older(everything())).await;
        assert_eq!(bridged, None, "the server knows nothing older");
    }
    place.stop().await;

    let place = Place::of(Era::Legacy).await;
    let older = page(&place, Client::older(everything())).await;
    assert_eq!(older, Some(json!("page-1")));
    let modern = page(&place, Client::modern(everything())).await;
    assert_eq!(modern, None, "callers of 2026-07-28 have no use for it");
    place.stop().await;
}

#[tokio::test]
async fn a_server_that_restarts_loses_calls_that_wait_and_serves_new_ones() {
    let place = Place::of(Era::Legacy).await;
    let client = Client::modern(everything());
    let first = asked(&place.call(&client, ask()).await);
    let (url, server) = (place.fixture.url(), Arc::clone(&place.server));
    place.fixture.stop().await;
    let port = url.trim_end_matches("/mcp").rsplit(':').next();
    let port = port.and_then(|port| port.parse().ok()).expect("a port");
    let options = Options {
        era: Era::Legacy,
        ..Options::default()
    };
    let fixture = Running::start(options, port).await.expect("it starts");
    let place = Place { fixture, server };
    let answer = json!({"action": "accept"});
    let lost = place.call(&client, retry(ask(), &first, answer)).await;
    assert!(matches!(lost, Err(Error::OutcomeUnknown(_))), "{lost:?}");
    let again = asked(&place.call(&client, ask()).await);
    assert_eq!(question(&again).1["method"], "elicitation/create");
    place.stop().await;
}

#[tokio::test]
async fn a_task_is_named_in_the_headers_by_its_id() {
    let place = Place::of(Era::Modern).await;
    let client = Client::modern(json!({"extensions": {"io.modelcontextprotocol/tasks": {}}}));
    let params = json!({"name": "slow_compute", "arguments": {"seconds": 30}});
    let begun = place.call(&client, params).await;
    let Ok(Outcome::Task(task)) = &begun else {
        panic!("{begun:?}");
    };
    let id = task.str("taskId").expect("an id").into_owned();
    for method in ["tasks/get", "tasks/cancel"] {
        let (call, _end) = client.call();
        let done = place.serve(&call, method, json!({"taskId": id})).await;
        assert!(
            matches!(done, Ok(Outcome::Complete(_))),
            "{method}: {done:?}"
        );
    }
    let (call, _end) = client.call();
    let unknown = place.serve(&call, "tasks/get", json!({"taskId": "none"}));
    let unknown = unknown.await;
    assert!(
        matches!(unknown, Err(Error::Upstream { code: -32602, .. })),
        "{unknown:?}"
    );
    place.stop().await;
}
