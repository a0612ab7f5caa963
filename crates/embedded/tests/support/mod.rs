//! A server of a Python module that a test writes, and calls to it.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test file uses its own part"
)]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use toolbus_backends::tools::ToolServer;
use toolbus_embedded::{Embedded, Settings};
use toolbus_model::{
    Backend, Call, CallEnd, CallSeed, Caller, Error, Health, LogLevel, Method, Object, Offer,
    Outcome, Raw, Request, Revision, Trace,
};

/// Nothing in these tests takes longer than this unless it hangs.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The environment that the tests are run with.
pub fn venv() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.venv")
}

/// A module inside this process.
pub struct Module {
    pub server: Arc<ToolServer<Embedded>>,
    pub folder: TempDir,
}

impl Module {
    /// A server of a file with this code.
    pub fn new(code: &str) -> Self {
        Self::with(code, |settings| settings)
    }

    /// [`Module::new`] with other settings.
    pub fn with(code: &str, change: impl FnOnce(Settings) -> Settings) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("served.py");
        std::fs::write(&file, code).expect("written");
        let mut settings = Settings::new(file.to_str().expect("a path of UTF-8"));
        settings.venv = Some(venv());
        let server = Embedded::start("test", change(settings));
        let server = Arc::new(ToolServer(server));
        Self { server, folder }
    }

    /// The offer, once it is known how it went.
    pub async fn offer(&self) -> Arc<Offer> {
        let mut offer = self.server.offer();
        let settled = offer.wait_for(|offer| offer.health != Health::Starting);
        let settled = tokio::time::timeout(PATIENCE, settled).await;
        settled
            .expect("it is imported in time")
            .expect("it is there")
            .clone()
    }

    /// Calls a tool, and waits for its end.
    pub async fn call(&self, tool: &str, arguments: Value) -> Result<Outcome, Error> {
        let (call, _end) = begin(&json!({}));
        let request = request(&json!({"name": tool, "arguments": arguments}));
        let served = self.server.serve(request, &call);
        tokio::time::timeout(PATIENCE, served)
            .await
            .expect("it ends")
    }

    /// Calls a tool; the result as JSON.
    pub async fn result(&self, tool: &str, arguments: Value) -> Value {
        match self.call(tool, arguments).await {
            Ok(outcome) => outcome.object().to_raw().read().expect("JSON"),
            Err(error) => panic!("{tool}: {error:?}"),
        }
    }

    /// Calls a tool; the text that it shows.
    pub async fn text(&self, tool: &str, arguments: Value) -> String {
        let result = self.result(tool, arguments).await;
        let text = result["content"][0]["text"].as_str();
        text.unwrap_or_else(|| panic!("no text: {result}"))
            .to_owned()
    }

    /// Calls a tool until it shows this text.
    pub async fn eventually(&self, tool: &str, expected: &str) {
        let shows = async {
            while self.text(tool, json!({})).await != expected {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        if tokio::time::timeout(PATIENCE, shows).await.is_err() {
            panic!(
                "{tool} shows {:?}, not {expected:?}",
                self.text(tool, json!({})).await
            );
        }
    }

    /// Begins a call that is cancelled by the test.
    pub fn begin(&self, tool: &str, arguments: Value) -> Begun {
        let (call, end) = begin(&json!({"progress": true}));
        let meta = json!({"io.modelcontextprotocol/logLevel": "debug"});
        let request = request(&json!({"name": tool, "arguments": arguments, "_meta": meta}));
        let server = Arc::clone(&self.server);
        let tasks = tokio_util::task::TaskTracker::new();
        let ended = tasks.spawn(async move { server.serve(request, &call).await });
        Begun { ended, end }
    }
}

/// A call on its way.
pub struct Begun {
    pub ended: tokio::task::JoinHandle<Result<Outcome, Error>>,
    pub end: CallEnd,
}

impl Begun {
    /// How it ended.
    pub async fn outcome(self) -> Result<Outcome, Error> {
        let ended = tokio::time::timeout(PATIENCE, self.ended).await;
        ended.expect("it ends").expect("no panic")
    }

    /// Waits for its next notice.
    pub async fn notice(&mut self) -> Value {
        let event = tokio::time::timeout(PATIENCE, self.end.events.recv()).await;
        let event = event.expect("a notice comes").expect("before the end");
        event.params.to_raw().read().expect("JSON")
    }
}

/// A request of `tools/call` with these parameters.
pub fn request(params: &Value) -> Request {
    let params = Object::of(params);
    Request {
        method: Method::ToolsCall,
        target: params.str("name").map(|name| (*name).into()),
        meta: params
            .object("_meta")
            .and_then(Result::ok)
            .unwrap_or_else(Object::empty),
        params,
    }
}

/// A call of somebody who wants notices where `wants` is not empty.
pub fn begin(wants: &Value) -> (Arc<Call>, CallEnd) {
    let wanted = wants.as_object().is_some_and(|wants| !wants.is_empty());
    let seed = CallSeed {
        caller: Caller::local(),
        revision: Revision::V2026_07_28,
        door: "test",
        capabilities: Raw::of(&json!({"elicitation": {}})),
        client: None,
        log_level: wanted.then_some(LogLevel::Debug),
        progress_token: wanted.then(|| Raw::of("token")),
        trace: Trace::default(),
    };
    Call::begin(seed, CancellationToken::new())
}
