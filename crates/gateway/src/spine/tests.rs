//! Calls through the whole spine, with back ends that behave and that do not.

use super::*;
use crate::policy::Rules;
use std::io::Write;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::watch;
use toolbus_model::{BoxFuture, Item, Object, Revision, Trace};

/// Answers by the tool's name.
struct Puppet(watch::Sender<Arc<Offer>>, AtomicUsize);

impl Puppet {
    fn new() -> Arc<Self> {
        let item = |name: &str| Item {
            key: name.into(),
            definition: Object::of(&serde_json::json!({ "name": name })),
        };
        let tools = ["ok", "panic", "hang", "fail"].map(item).to_vec();
        let offer = Offer {
            tools,
            health: Health::Up,
            ..Offer::default()
        };
        Arc::new(Self(
            watch::Sender::new(Arc::new(offer)),
            AtomicUsize::new(0),
        ))
    }

    fn is(&self, health: Health) {
        self.0
            .send_modify(|offer| Arc::make_mut(offer).health = health);
    }

    /// How often it was stopped.
    fn stops(&self) -> usize {
        self.1.load(Ordering::Relaxed)
    }
}

impl Backend for Puppet {
    fn offer(&self) -> watch::Receiver<Arc<Offer>> {
        self.0.subscribe()
    }

    fn serve<'a>(
        &'a self,
        request: Request,
        call: &'a Call,
    ) -> BoxFuture<'a, Result<Outcome, Error>> {
        Box::pin(async move {
            match request.target.as_deref() {
                Some("panic") => panic!("as asked"),
                Some("fail") => Ok(Outcome::Complete(Object::of(
                    &serde_json::json!({"isError": true}),
                ))),
                Some("hang") => {
                    call.cancelled().await;
                    Err(Error::Cancelled)
                }
                _ => Ok(Outcome::Complete(request.params)),
            }
        })
    }

    fn stop(&self) -> BoxFuture<'_, ()> {
        self.1.fetch_add(1, Ordering::Relaxed);
        Box::pin(async {})
    }
}

mod replaced;

#[derive(Clone, Default)]
struct Paper(Arc<Mutex<Vec<u8>>>);

impl Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("paper").write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Paper {
    fn records(&self) -> Vec<serde_json::Value> {
        let text = String::from_utf8(self.0.lock().expect("paper").clone()).expect("UTF-8");
        text.lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON lines"))
            .filter(|line| line["event"] == "call")
            .collect()
    }
}

struct Fixture {
    gateway: Arc<Gateway>,
    paper: Paper,
}

async fn fixture(rules: Rules, in_flight: usize) -> Fixture {
    let paper = Paper::default();
    let settings = ServerSettings {
        in_flight,
        ..ServerSettings::default()
    };
    let gateway = Gateway::open(Setup {
        servers: vec![Server::new(
            ServerName::parse("puppet").expect("a name"),
            Puppet::new(),
            settings,
        )],
        policy: Policy::new([(Caller::local(), rules)]),
        audit: Audit::to_writer(paper.clone()).expect("a writer"),
        prefix: false,
        key: Key::new(&[7; 32]),
    });
    while gateway
        .list(&Scope::All, &Caller::local(), Shelf::Tools, None)
        .expect("a list")
        .entries
        .is_empty()
    {
        tokio::task::yield_now().await;
    }
    Fixture { gateway, paper }
}

fn open_rules() -> Rules {
    Rules::new("local", None, Vec::new(), 8)
}

impl Fixture {
    fn start(&self, tool: &str) -> Running {
        let request = Request {
            method: Method::ToolsCall,
            target: Some(tool.into()),
            params: Object::of(
                &serde_json::json!({"name": tool, "arguments": {"secret": "s3cret"}}),
            ),
            meta: Object::empty(),
        };
        let seed = CallSeed {
            caller: Caller::local(),
            revision: Revision::V2026_07_28,
            door: "test",
            capabilities: Object::empty().to_raw(),
            client: None,
            log_level: None,
            progress_token: None,
            trace: Trace::default(),
        };
        self.gateway.call(Scope::All, request, seed)
    }

    async fn ask(&self, tool: &str) -> Result<Outcome, Error> {
        self.start(tool).answer().await
    }

    async fn outcomes(self) -> Vec<String> {
        self.gateway.close().await;
        self.paper
            .records()
            .iter()
            .map(|r| r["outcome"].as_str().expect("an outcome").to_owned())
            .collect()
    }
}

#[tokio::test]
async fn every_call_ends_in_exactly_one_record() {
    let fixture = fixture(open_rules(), 8).await;
    assert!(fixture.ask("ok").await.is_ok());
    assert!(fixture.ask("fail").await.expect("a result").is_tool_error());
    assert!(matches!(
        fixture.ask("panic").await,
        Err(Error::Internal(_))
    ));
    assert!(matches!(
        fixture.ask("nothing").await,
        Err(Error::Unknown { .. })
    ));
    drop(fixture.start("hang"));
    assert!(fixture.ask("ok").await.is_ok(), "a panic harms nobody else");
    let paper = fixture.paper.clone();
    let mut outcomes = fixture.outcomes().await;
    outcomes.sort();
    assert_eq!(
        outcomes,
        ["cancelled", "internal", "ok", "ok", "tool_error", "unknown"]
    );
    let text = paper.0.lock().expect("paper").clone();
    assert!(
        !String::from_utf8(text).expect("UTF-8").contains("s3cret"),
        "no payload in the record"
    );
}

#[tokio::test]
async fn what_is_denied_looks_unknown_and_only_the_record_tells() {
    let fixture = fixture(
        Rules::new("local", None, vec!["puppet.ok".to_owned()], 8),
        8,
    )
    .await;
    let denied = fixture.ask("ok").await.expect_err("denied");
    let unknown = fixture.ask("no").await.expect_err("unknown");
    assert_eq!(denied.to_string().replace("ok", "no"), unknown.to_string());
    let page = fixture
        .gateway
        .list(&Scope::All, &Caller::local(), Shelf::Tools, None)
        .expect("a list");
    assert!(
        page.entries.iter().all(|entry| &*entry.name != "ok"),
        "lists answer the same question"
    );
    assert_eq!(fixture.outcomes().await, ["denied", "unknown"]);
}

#[tokio::test]
async fn a_full_server_refuses_at_once_and_recovers() {
    let fixture = fixture(open_rules(), 1).await;
    let hanging = fixture.start("hang");
    while fixture.gateway.servers()[0].gate.in_flight() == 0 {
        tokio::task::yield_now().await;
    }
    let refusal = fixture.ask("ok").await.expect_err("busy");
    assert!(
        matches!(&refusal, Error::Busy { what, .. } if what.contains("server \"puppet\"")),
        "{refusal}"
    );
    drop(hanging);
    while fixture.gateway.servers()[0].gate.in_flight() > 0 {
        tokio::task::yield_now().await;
    }
    assert!(fixture.ask("ok").await.is_ok());
    assert_eq!(fixture.outcomes().await, ["busy", "cancelled", "ok"]);
}

#[tokio::test]
async fn calls_are_refused_rather_than_unrecorded() {
    /// A disk that is full.
    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::Error::new(
                std::io::ErrorKind::StorageFull,
                "no space left",
            ))
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut fixture = fixture(open_rules(), 8).await;
    let gateway = Gateway::open(Setup {
        servers: vec![Server::new(
            ServerName::parse("puppet").expect("a name"),
            Puppet::new(),
            ServerSettings::default(),
        )],
        policy: Policy::new([(Caller::local(), open_rules())]),
        audit: Audit::to_writer(Full).expect("a writer"),
        prefix: false,
        key: Key::new(&[7; 32]),
    });
    fixture.gateway = gateway;
    let mut calls = 0;
    let refusal = loop {
        match fixture.ask("ok").await {
            Err(Error::Busy { what, .. }) => break what,
            _ => calls += 1,
        }
        assert!(calls < 100_000, "the audit has a bound");
    };
    assert!(refusal.contains("no call goes unrecorded"), "{refusal}");
}
