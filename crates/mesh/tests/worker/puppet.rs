//! A back end whose tools do what a test needs.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use toolbus_model::{
    Backend, BoxFuture, Call, CallSeed, Error, Event, EventKind, Filter, Health, Item, Listening,
    Notice, Object, Offer, Outcome, Request,
};

/// A back end of a test.
pub(crate) struct Puppet {
    pub(crate) offer: watch::Sender<Arc<Offer>>,
    /// How often a tool ran.
    pub(crate) runs: AtomicUsize,
    /// How often one was told to stop.
    pub(crate) stops: AtomicUsize,
    /// Who asked last.
    pub(crate) caller: std::sync::Mutex<String>,
    /// Where notices are told.
    pub(crate) notices: std::sync::Mutex<Option<mpsc::Sender<Notice>>>,
}

pub(crate) const TOOLS: [&str; 9] = [
    "echo", "hang", "stubborn", "sleep", "panic", "big", "progress", "ask", "fail",
];

pub(crate) fn tool(name: &str, description: &str) -> Item {
    let definition =
        json!({"name": name, "description": description, "inputSchema": {"type": "object"}});
    Item {
        key: name.into(),
        definition: Object::of(&definition),
    }
}

pub(crate) fn offer(tools: Vec<Item>) -> Offer {
    Offer {
        tools,
        prompts: vec![Item {
            key: "greet".into(),
            definition: Object::of(&json!({"name": "greet"})),
        }],
        capabilities: Some(Object::of(&json!({"tools": {}, "prompts": {}}))),
        health: Health::Up,
        ..Offer::default()
    }
}

impl Puppet {
    pub(crate) fn new() -> Arc<Self> {
        Self::with(TOOLS.iter().map(|name| tool(name, "a tool")).collect())
    }

    pub(crate) fn with(tools: Vec<Item>) -> Arc<Self> {
        Arc::new(Self {
            offer: watch::Sender::new(Arc::new(offer(tools))),
            runs: AtomicUsize::new(0),
            stops: AtomicUsize::new(0),
            caller: std::sync::Mutex::default(),
            notices: std::sync::Mutex::default(),
        })
    }

    pub(crate) fn runs(&self) -> usize {
        self.runs.load(Ordering::SeqCst)
    }

    pub(crate) fn stops(&self) -> usize {
        self.stops.load(Ordering::SeqCst)
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut Offer)) {
        self.offer.send_modify(|offer| change(Arc::make_mut(offer)));
    }

    async fn run(&self, request: &Request, call: &Call) -> Result<Outcome, Error> {
        let arguments = request.params.object("arguments");
        let arguments = arguments.and_then(Result::ok).unwrap_or_else(Object::empty);
        let number = |name| arguments.raw(name).and_then(|n| n.read::<u64>().ok());
        match request.target.as_deref().unwrap_or_default() {
            "hang" => {
                call.cancelled().await;
                self.stops.fetch_add(1, Ordering::SeqCst);
                return Err(Error::Cancelled);
            }
            "stubborn" => std::future::pending().await,
            "sleep" => {
                let wait = Duration::from_millis(number("ms").unwrap_or(100));
                tokio::time::sleep(wait).await;
            }
            "block" => std::thread::sleep(Duration::from_millis(number("ms").unwrap_or(30))),
            "panic" => panic!("a test's panic"),
            "big" => {
                let text = "x".repeat(usize::try_from(number("bytes").unwrap_or(0)).unwrap_or(0));
                return Ok(done(&json!({ "text": text })));
            }
            "progress" => {
                for step in 1..=3 {
                    let params = json!({"progressToken": "its own", "progress": step});
                    let params = Object::of(&params);
                    let kind = EventKind::Progress;
                    call.line().tell(Event { kind, params });
                }
            }
            "ask" => {
                let asks = json!({"resultType": "input_required", "requestState": "parked", "inputRequests": {}});
                return Ok(Outcome::InputRequired(Object::of(&asks)));
            }
            "fail" => {
                return Err(Error::Upstream {
                    code: -32602,
                    message: "its own words".to_owned(),
                    data: None,
                });
            }
            _ => {}
        }
        let arguments: Value = arguments.to_raw().read().unwrap_or_default();
        Ok(done(&arguments))
    }
}

fn done(structured: &Value) -> Outcome {
    Outcome::Complete(Object::of(
        &json!({"content": [], "structuredContent": structured}),
    ))
}

impl Backend for Puppet {
    fn offer(&self) -> watch::Receiver<Arc<Offer>> {
        self.offer.subscribe()
    }

    fn serve<'a>(
        &'a self,
        request: Request,
        call: &'a Call,
    ) -> BoxFuture<'a, Result<Outcome, Error>> {
        Box::pin(async move {
            self.runs.fetch_add(1, Ordering::SeqCst);
            let caller = call.seed.caller.as_str().to_owned();
            *self.caller.lock().expect("no panic") = caller;
            self.run(&request, call).await
        })
    }

    fn listen<'a>(
        &'a self,
        filter: Filter,
        _seed: &'a CallSeed,
    ) -> BoxFuture<'a, Result<Listening, Error>> {
        let (sender, notices) = mpsc::channel(8);
        *self.notices.lock().expect("no panic") = Some(sender);
        let honoured = Filter {
            resources: filter.resources,
            tasks: Vec::new(),
        };
        Box::pin(async { Ok(Listening { honoured, notices }) })
    }

    fn holds(&self, request: &Request) -> bool {
        request.params.str("requestState").as_deref() == Some("parked")
    }

    fn stop(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }
}
