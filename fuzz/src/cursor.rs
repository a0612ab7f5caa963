//! List cursors: the ones that we gave lead on, everything else is refused, also what names an entry that the caller may
//! not see.

use std::sync::{Arc, OnceLock};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;
use toolbus_gateway::audit::Audit;
use toolbus_gateway::policy::{Policy, Rules};
use toolbus_gateway::{Gateway, Scope, Server, ServerSettings, Setup, Shelf};
use toolbus_model::{
    Backend, BoxFuture, Call, Caller, Error, Health, Item, Kind, Object, Offer, Outcome, Request,
    ServerName,
};

/// More tools than two pages hold.
const TOOLS: usize = 2_500;

/// The caller who may see half of them.
const HALF: &str = "half";

pub(crate) fn check(data: &[u8]) {
    let gateway = gateway();
    let cursor = String::from_utf8_lossy(data);
    for shelf in [
        Shelf::Tools,
        Shelf::Prompts,
        Shelf::Resources,
        Shelf::Templates,
    ] {
        for caller in [Caller::local(), Caller::named(HALF)] {
            for text in [&*cursor, &URL_SAFE_NO_PAD.encode(data)] {
                asked(gateway, &caller, shelf, text);
            }
        }
    }
}

fn asked(gateway: &Gateway, caller: &Caller, shelf: Shelf, cursor: &str) {
    let page = match gateway.list(&Scope::All, caller, shelf, Some(cursor)) {
        Ok(page) => page,
        Err(Error::Unknown {
            kind: Kind::Cursor, ..
        }) => return,
        Err(error) => panic!("{error:?}"),
    };
    let decoded = URL_SAFE_NO_PAD.decode(cursor).expect("base64");
    let decoded = String::from_utf8(decoded).expect("text");
    let (member, name) = decoded.split_once(':').expect("a list and a name");
    assert_eq!(member, shelf.member(), "a cursor is good for its own list");
    let number: usize = name[1..].parse().expect("one of our names");
    assert!(is_seen(caller, number));
    let first = (number + 1..TOOLS).find(|number| is_seen(caller, *number));
    let expected = first.map(|number| format!("t{number}"));
    assert_eq!(
        page.entries.first().map(|entry| entry.name.to_string()),
        expected
    );
}

fn is_seen(caller: &Caller, number: usize) -> bool {
    number < TOOLS && (*caller == Caller::local() || number.is_multiple_of(2))
}

/// A gateway before one server, and the runtime that keeps its catalog.
fn gateway() -> &'static Gateway {
    static GATEWAY: OnceLock<(Arc<Gateway>, Runtime)> = OnceLock::new();
    let (gateway, _) = GATEWAY.get_or_init(|| {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build();
        let runtime = runtime.expect("a runtime");
        let _guard = runtime.enter();
        let odd = ["many.*1", "many.*3", "many.*5", "many.*7", "many.*9"].map(str::to_owned);
        let name = ServerName::parse("many").expect("a name");
        let gateway = Gateway::open(Setup {
            servers: vec![Server::new(
                name,
                Arc::new(Many::new()),
                ServerSettings::default(),
            )],
            policy: Policy::new([
                (Caller::local(), Rules::new("local", None, Vec::new(), 8)),
                (Caller::named(HALF), Rules::new(HALF, None, odd.to_vec(), 8)),
            ]),
            audit: Audit::none(),
            prefix: false,
        });
        runtime.block_on(gateway.started());
        (gateway, runtime)
    });
    gateway
}

/// A server with many tools.
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
        Box::pin(async { Ok(Outcome::Complete(request.params)) })
    }

    fn stop(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }
}
