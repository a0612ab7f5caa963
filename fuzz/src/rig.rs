//! A gateway before one server, for what can only be asked of a whole one.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use toolbus_doors::{Access, HttpDoor, Limits};
use toolbus_gateway::audit::Audit;
use toolbus_gateway::policy::{Policy, Rules};
use toolbus_gateway::{Gateway, Key, Scope, Server, ServerSettings, Setup, capability};
use toolbus_model::{
    Backend, BoxFuture, Call, CallSeed, Caller, Error, Health, Item, Method, Object, Offer,
    Outcome, Raw, Request, Revision, ServerName, Trace,
};

/// More tools than two pages hold.
pub(crate) const TOOLS: usize = 2_500;

/// The caller who may see half of them.
pub(crate) const HALF: &str = "half";

/// What the server wants to be told again, and how it calls its task.
pub(crate) const OWN: &str = "its own";

/// The gateway, its HTTP door, and the runtime that they live in.
pub(crate) struct Rig {
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) door: SocketAddr,
    runtime: Runtime,
}

/// The one there is.
pub(crate) fn rig() -> &'static Rig {
    static RIG: OnceLock<Rig> = OnceLock::new();
    RIG.get_or_init(Rig::start)
}

impl Rig {
    fn start() -> Self {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build();
        let runtime = runtime.expect("a runtime");
        let _guard = runtime.enter();
        let odd = ["many.*1", "many.*3", "many.*5", "many.*7", "many.*9"].map(str::to_owned);
        let name = ServerName::parse("many").expect("a name");
        let server = Server::new(name, Arc::new(Many::new()), ServerSettings::default());
        let gateway = Gateway::open(Setup {
            servers: vec![server],
            policy: Policy::new([
                (Caller::local(), Rules::new("local", None, Vec::new(), 8)),
                (Caller::named(HALF), Rules::new(HALF, None, odd.into(), 8)),
            ]),
            audit: Audit::none(),
            prefix: false,
            key: Key::new(&[7; Key::LEN]),
        });
        runtime.block_on(gateway.started());
        let access = Access::new([], false);
        let door = HttpDoor::new(Arc::clone(&gateway), access, Limits::default());
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"));
        let listener = listener.expect("a port");
        let address = listener.local_addr().expect("an address");
        runtime.spawn(door.serve(listener, CancellationToken::new()));
        drop(_guard);
        Self {
            gateway,
            door: address,
            runtime,
        }
    }

    /// A call of this caller, to its end.
    pub(crate) fn call(
        &self,
        caller: &Caller,
        method: Method,
        params: &Object,
    ) -> Result<Outcome, Error> {
        let capabilities = Raw::of(&serde_json::json!({"extensions": {capability::TASKS: {}}}));
        let request = Request {
            target: method
                .target_member()
                .and_then(|member| Some((*params.str(member)?).into())),
            method,
            params: params.clone(),
            meta: Object::empty(),
        };
        let seed = CallSeed {
            caller: caller.clone(),
            revision: Revision::V2026_07_28,
            door: "fuzz",
            capabilities,
            client: None,
            log_level: None,
            progress_token: None,
            trace: Trace::default(),
        };
        self.runtime.block_on(async {
            let mut running = self.gateway.call(Scope::All, request, seed);
            running.answer().await
        })
    }
}

/// A server with many tools. Each asks for input first, and is done once its state comes back.
struct Many(watch::Sender<Arc<Offer>>);

impl Many {
    fn new() -> Self {
        let item = |number| {
            let name = format!("t{number}");
            Item {
                key: name.as_str().into(),
                definition: Object::of(&serde_json::json!({ "name": name })),
            }
        };
        let offer = Offer {
            tools: (0..TOOLS).map(item).collect(),
            health: Health::Up,
            ..Offer::default()
        };
        Self(watch::Sender::new(Arc::new(offer)))
    }
}

impl Backend for Many {
    fn offer(&self) -> watch::Receiver<Arc<Offer>> {
        self.0.subscribe()
    }

    fn serve<'a>(
        &'a self,
        request: Request,
        _call: &'a Call,
    ) -> BoxFuture<'a, Result<Outcome, Error>> {
        let brought = request.params.raw("requestState");
        let outcome = match (request.method, brought) {
            (Method::Other(method), _) if !method.starts_with("tasks/") => {
                Outcome::Complete(Object::empty())
            }
            (Method::Other(_), _) => {
                assert_eq!(request.params.str("taskId").as_deref(), Some(OWN));
                Outcome::Complete(Object::of(&serde_json::json!({"taskId": OWN})))
            }
            (_, Some(state)) => {
                assert_eq!(state.as_str().as_deref(), Some(OWN));
                Outcome::Complete(request.params)
            }
            _ if request.params.get("task").is_some() => {
                let task = serde_json::json!({"resultType": "task", "taskId": OWN});
                Outcome::Task(Object::of(&task))
            }
            _ => {
                let asks = serde_json::json!({"resultType": "input_required", "requestState": OWN});
                Outcome::InputRequired(Object::of(&asks))
            }
        };
        Box::pin(async { Ok(outcome) })
    }

    fn stop(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }
}
