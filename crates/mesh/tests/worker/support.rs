//! A peer that speaks the wire as it is written.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::time::timeout;
use toolbus_mesh::bus::local::{Hub, LocalBus};
use toolbus_mesh::bus::{Bus, Headers, Message, Subscription};
use toolbus_mesh::subject::Subjects;
use toolbus_mesh::worker::{Settings, Worker};
use toolbus_model::{Backend, CallId, ServerName};

use crate::puppet::Puppet;

/// Longer than anything takes here on a paused clock.
pub(crate) const LONG: Duration = Duration::from_secs(120);

/// A worker, its back end, and whoever asks it.
pub(crate) struct Stage {
    pub(crate) worker: Worker,
    /// The worker's connection.
    pub(crate) bus: Arc<LocalBus>,
    pub(crate) puppet: Arc<Puppet>,
    pub(crate) peer: Peer,
}

/// Whoever asks.
pub(crate) struct Peer {
    pub(crate) bus: Arc<LocalBus>,
    replies: Subscription,
    pub(crate) inbox: String,
}

/// A request on its way to be sent.
#[derive(Clone)]
pub(crate) struct Ask {
    pub(crate) subject: String,
    pub(crate) call: String,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Bytes,
    pub(crate) reply: &'static str,
}

/// What came.
#[derive(Debug)]
pub(crate) struct Got {
    /// At which of the peer's subjects.
    pub(crate) at: String,
    pub(crate) frame: String,
    pub(crate) headers: Headers,
    pub(crate) payload: Bytes,
}

impl Got {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.payload).expect("JSON")
    }
}

pub(crate) fn subjects() -> Subjects {
    Subjects::new("toolbus", "_").expect("subjects")
}

pub(crate) async fn stage() -> Stage {
    stage_with(Puppet::new(), Settings::default()).await
}

pub(crate) async fn stage_with(puppet: Arc<Puppet>, settings: Settings) -> Stage {
    let hub = Hub::new();
    let bus = hub.connect();
    let peer = Peer::new(hub.connect()).await;
    let math = ServerName::parse("math").expect("a name");
    let backend: Arc<dyn Backend> = Arc::clone(&puppet) as _;
    let servers = vec![(
        math,
        backend,
        toolbus_mesh::worker::ServerOptions::default(),
    )];
    let on: Arc<dyn Bus> = Arc::clone(&bus) as _;
    let worker = Worker::start(on, subjects(), servers, settings).await;
    let worker = worker.expect("it starts");
    let stage = Stage {
        worker,
        bus,
        puppet,
        peer,
    };
    stage.registered().await;
    stage
}

impl Stage {
    /// Waits until the worker's record is there.
    pub(crate) async fn registered(&self) {
        let key = format!("_.{}", self.worker.id());
        for _ in 0..400 {
            if self.value("WORKERS", &key).await.is_some() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("the worker did not register");
    }

    /// A value of a bucket.
    pub(crate) async fn value(&self, bucket: &str, key: &str) -> Option<Value> {
        let name = format!("TOOLBUS_{bucket}");
        let bucket = self.peer.bus.bucket(&name, Default::default()).await;
        let value = bucket.expect("a bucket").get(key).await.expect("readable");
        value.map(|value| serde_json::from_slice(&value).expect("JSON"))
    }

    /// What is asked of a tool, by the queue group's subject.
    pub(crate) fn ask(&self, tool: &str, start: &str, arguments: Value) -> Ask {
        let params = json!({"name": tool, "arguments": arguments});
        let subject = format!("toolbus.v1.tool._.math=2E{tool}.invoke");
        ask(subject, "tools/call", start, &params)
    }

    /// Says something to the worker, and hears what it answers.
    pub(crate) async fn say(&mut self, control: &str, ask: &Ask, attempt: &str) -> Message {
        let mut headers = Headers::default();
        headers.put("Toolbus-Wire", "1");
        headers.put("Toolbus-Control", control.to_owned());
        headers.put("Toolbus-Call", ask.call.clone());
        headers.put("Toolbus-Attempt", attempt.to_owned());
        let subject = format!("toolbus.v1.ctl._.{}", self.worker.id());
        self.peer.request(subject, headers).await
    }

    /// Asks a tool and waits for the last frame.
    pub(crate) async fn call(&mut self, tool: &str, arguments: Value) -> Got {
        let ask = self.ask(tool, "direct", arguments);
        self.peer.send(&ask);
        self.peer.last().await
    }

    pub(crate) async fn end(self) {
        self.worker.drain().await;
    }
}

/// A request for a method at a subject.
pub(crate) fn ask(subject: String, method: &'static str, start: &str, params: &Value) -> Ask {
    let call = CallId::new().to_string();
    let headers = vec![
        ("Toolbus-Wire", "1".to_owned()),
        ("Toolbus-Call", call.clone()),
        ("Toolbus-Start", start.to_owned()),
        ("Mcp-Method", method.to_owned()),
    ];
    let body = json!({"jsonrpc": "2.0", "id": 7, "method": method, "params": params});
    Ask {
        subject,
        call,
        headers,
        body: body.to_string().into(),
        reply: "r",
    }
}

impl Ask {
    pub(crate) fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.retain(|(known, _)| *known != name);
        self.headers.push((name, value.to_owned()));
        self
    }

    /// The same call, dispatched again.
    pub(crate) fn again(&self, attempt: u32, reply: &'static str) -> Self {
        let mut ask = self.clone();
        ask.headers.push(("Toolbus-Attempt", attempt.to_string()));
        ask.reply = reply;
        ask
    }
}

impl Peer {
    pub(crate) async fn new(bus: Arc<LocalBus>) -> Self {
        let inbox = bus.inbox();
        let replies = bus.subscribe(&format!("{inbox}.*"), None, 4_096).await;
        Self {
            replies: replies.expect("subscribed"),
            bus,
            inbox,
        }
    }

    pub(crate) fn send(&self, ask: &Ask) {
        let mut headers = Headers::default();
        for (name, value) in &ask.headers {
            headers.put(*name, value.clone());
        }
        let message = Message {
            subject: ask.subject.clone(),
            reply: Some(format!("{}.{}", self.inbox, ask.reply)),
            headers,
            payload: ask.body.clone(),
            no_responders: false,
        };
        self.bus.send(message).expect("sent");
    }

    /// The next frame.
    pub(crate) async fn next(&mut self) -> Got {
        self.within(LONG).await.expect("a frame in time")
    }

    pub(crate) async fn within(&mut self, limit: Duration) -> Option<Got> {
        let message = timeout(limit, self.replies.next()).await.ok()??;
        if message.no_responders {
            return Some(Got {
                at: message.subject,
                frame: "503".to_owned(),
                headers: message.headers,
                payload: message.payload,
            });
        }
        let frame = message.headers.get("Toolbus-Frame").unwrap_or("plain");
        Some(Got {
            at: message
                .subject
                .rsplit('.')
                .next()
                .expect("a token")
                .to_owned(),
            frame: frame.to_owned(),
            headers: message.headers,
            payload: message.payload,
        })
    }

    /// The last frame of one request; nothing may come after it.
    pub(crate) async fn last(&mut self) -> Got {
        loop {
            let got = self.next().await;
            if ["end", "err", "busy", "late", "503"].contains(&got.frame.as_str()) {
                assert_eq!(got.header("Toolbus-Wire").unwrap_or("1"), "1");
                return got;
            }
        }
    }

    /// Nothing comes for a while.
    pub(crate) async fn silence(&mut self, limit: Duration) {
        let got = self.within(limit).await;
        assert!(got.is_none(), "{got:?}");
    }

    pub(crate) async fn request(&self, subject: String, headers: Headers) -> Message {
        let inbox = self.bus.inbox();
        let mut answers = self
            .bus
            .subscribe(&inbox, None, 1)
            .await
            .expect("subscribed");
        let message = Message {
            subject,
            reply: Some(inbox),
            headers,
            ..Message::default()
        };
        self.bus.send(message).expect("sent");
        let answer = timeout(LONG, answers.next()).await;
        answer.expect("an answer in time").expect("an answer")
    }
}
