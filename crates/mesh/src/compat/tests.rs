//! Foreign workers, the registry, peers and receipts, over the bus within the process.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use toolbus_model::{
    Backend, Call, CallSeed, Caller, Claims, Error, Method, Object, Outcome, Request, Revision,
    Trace,
};
use toolbus_protocol::urn::Urn;

use super::*;
use crate::bus::local::{Hub, LocalBus};
use crate::bus::{Bus, Headers, Message};

mod calls;
mod finding;
mod peers;
mod spooled;

const URN: &str = "urn:acme:actionspace:solver:add:v1";

fn urn(text: &str) -> Urn {
    Urn::parse(text).expect("a URN")
}

fn published() -> Published {
    Published::new("coreason").expect("a prefix")
}

fn message(subject: &str, body: &Value) -> Message {
    Message {
        subject: subject.to_owned(),
        payload: body.to_string().into(),
        ..Message::default()
    }
}

/// A plain worker: says what it serves when asked, and answers each call with `answer`.
struct Plain {
    bus: Arc<LocalBus>,
    /// What it was asked.
    asked: mpsc::Receiver<Message>,
}

impl Plain {
    async fn start(
        hub: &Arc<Hub>,
        urns: &[&str],
        answer: impl Fn(&Value) -> Option<Vec<u8>> + Send + Sync + 'static,
    ) -> Self {
        let (bus, answer) = (hub.connect(), Arc::new(answer));
        let (sender, asked) = mpsc::channel(64);
        let tasks = tokio_util::task::TaskTracker::new();
        for name in urns {
            let subject = published().invoke(&urn(name));
            let mut calls = bus.subscribe(&subject, None, 64).await.expect("subscribed");
            let (bus, answer, sender) = (Arc::clone(&bus), Arc::clone(&answer), sender.clone());
            tasks.spawn(async move {
                while let Some(call) = calls.next().await {
                    let body: Value = serde_json::from_slice(&call.payload).expect("JSON");
                    let reply = call.reply.clone().expect("a reply subject");
                    sender.send(call).await.expect("room");
                    if let Some(payload) = answer(&body) {
                        let payload = payload.into();
                        let answer = Message {
                            subject: reply,
                            payload,
                            ..Message::default()
                        };
                        bus.send(answer).expect("sent");
                    }
                }
            });
        }
        let mut asks = bus
            .subscribe(&published().discover(), None, 64)
            .await
            .expect("subscribed");
        let (teller, names): (_, Vec<String>) = (
            Arc::clone(&bus),
            urns.iter().map(|u| (*u).to_owned()).collect(),
        );
        tasks.spawn(async move {
            while let Some(ask) = asks.next().await {
                for name in &names {
                    let reply = ask.reply.as_deref().expect("a reply subject");
                    teller.send(message(reply, &described(name))).expect("sent");
                }
            }
        });
        Self { bus, asked }
    }
}

fn described(name: &str) -> Value {
    json!({"name": name, "description": "Adds", "inputSchema": {"type": "object", "title": "x"}})
}

/// The result of a sum, in MCP's form.
fn sum(body: &Value) -> Option<Vec<u8>> {
    let arguments = &body["params"]["arguments"];
    let sum = arguments["a"].as_i64()? + arguments["b"].as_i64()?;
    let result = json!({"content": [{"type": "text", "text": sum.to_string()}]});
    Some(
        json!({"jsonrpc": "2.0", "id": body["id"], "result": result})
            .to_string()
            .into(),
    )
}

fn open(hub: &Arc<Hub>) -> Arc<Foreign> {
    let mut settings = Settings::new(published(), "urn:toolbus:instance:test-one");
    settings.timeout = Duration::from_secs(2);
    Foreign::open(hub.connect(), settings)
}

/// Waits until exactly these tools are offered.
async fn offers(foreign: &Foreign, names: &[&str]) {
    let mut offer = foreign.offer();
    let mut wanted: Vec<&str> = names.to_vec();
    wanted.sort_unstable();
    let all = |offer: &Arc<toolbus_model::Offer>| {
        let mut seen: Vec<&str> = offer.tools.iter().map(|tool| &*tool.key).collect();
        seen.sort_unstable();
        seen == wanted
    };
    let found = tokio::time::timeout(Duration::from_secs(60), offer.wait_for(all)).await;
    assert!(
        found.is_ok(),
        "{names:?} instead of {:?}",
        foreign.offer().borrow().tools
    );
}

fn seed(caller: Caller) -> CallSeed {
    CallSeed {
        caller,
        revision: Revision::V2026_07_28,
        door: "test",
        capabilities: Object::empty().to_raw(),
        client: None,
        log_level: None,
        progress_token: None,
        trace: Trace::default(),
    }
}

fn request(tool: &str, params: &Value) -> Request {
    let params = Object::of(params);
    Request {
        method: Method::ToolsCall,
        target: Some(tool.into()),
        meta: params
            .object("_meta")
            .and_then(Result::ok)
            .unwrap_or_else(Object::empty),
        params,
    }
}

/// Calls a tool with these parameters, on behalf of a caller.
async fn call_as(
    backend: &dyn Backend,
    caller: Caller,
    tool: &str,
    params: &Value,
) -> Result<Value, Error> {
    let (call, _end) = Call::begin(seed(caller), CancellationToken::new());
    let outcome = backend.serve(request(tool, params), &call).await?;
    let Outcome::Complete(result) = outcome else {
        panic!("{outcome:?}");
    };
    Ok(result.to_raw().read().expect("JSON"))
}

async fn call(backend: &dyn Backend, tool: &str, arguments: Value) -> Result<Value, Error> {
    call_as(
        backend,
        Caller::local(),
        tool,
        &json!({"name": tool, "arguments": arguments}),
    )
    .await
}
