//! Listening at a server of 2026-07-28: one `subscriptions/listen`, from the request to its end.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::sleep;
use tokio_util::sync::{CancellationToken, DropGuard};
use toolbus_model::json::Edit;
use toolbus_model::{Error, Method, Notice, Object, Raw};
use toolbus_protocol::{Envelope, meta};

use super::connect::Means;
use super::dialect;
use super::ear::Ear;
use super::link::{Connection, Lists};
use super::news::News;
use super::outgoing::Outgoing;

/// How long a listen is still read when it is to end. Where each has a connection of its own, what was told before its
/// successor was there may be under way.
const OVERLAP: Duration = Duration::from_millis(100);

const METHOD: &str = "subscriptions/listen";

/// What is to be told.
#[derive(Debug, Clone, Default)]
pub(super) struct Wish {
    pub(super) lists: Lists,
    pub(super) uris: Vec<Arc<str>>,
    pub(super) tasks: Vec<Arc<str>>,
}

/// What a server said that it will tell.
#[derive(Debug, Default)]
pub(super) struct Granted {
    pub(super) lists: Lists,
    uris: HashSet<Arc<str>>,
    pub(super) tasks: Vec<Arc<str>>,
}

/// How far it is.
#[derive(Debug, Clone)]
enum State {
    Asked,
    Granted(Arc<Granted>),
    /// With the server's error, if it gave one.
    Ended(Option<Error>),
}

/// Who hears what comes.
#[derive(Debug)]
pub(super) enum Hearer {
    /// Everyone who listens to what changes.
    All(Arc<News>),
    /// One listener, who waits for tasks.
    One(mpsc::Sender<Notice>, CancellationToken),
}

/// The hearing side of a listen.
#[derive(Debug)]
pub(super) struct Hearing {
    id: u64,
    /// It shares its stream with other listens.
    shares_stream: bool,
    wish: Wish,
    state: watch::Sender<State>,
    hearer: Hearer,
}

/// A listen at a server. Dropped, it is ended.
#[derive(Debug)]
pub(super) struct Listen {
    state: watch::Receiver<State>,
    _end: DropGuard,
}

impl Listen {
    /// Asks a server to tell of what is wished, for a client of these capabilities.
    pub(super) fn begin(
        connection: &Arc<Connection>,
        means: &Means,
        wish: &Wish,
        capabilities: &Raw,
        hearer: Hearer,
    ) -> Self {
        let (sender, state) = watch::channel(State::Asked);
        let (id, revision) = (means.ids.next(), connection.peer.revision);
        let hearing = Arc::new(Hearing {
            id,
            shares_stream: !connection.link.cancels_by_closing(revision),
            wish: wish.clone(),
            state: sender,
            hearer,
        });
        let wanted = wish.to_object();
        let members = [("notifications", Edit::Put(wanted.bytes()))];
        let outgoing = Outgoing {
            id,
            revision,
            method: Method::parse(METHOD),
            target: None,
            headers: Vec::new(),
            body: dialect::body_for(capabilities.bytes(), revision, id, METHOD, &members),
            ear: Some(Ear::Changes(Arc::clone(&hearing))),
        };
        let end = CancellationToken::new();
        means.tasks.spawn(carry(
            Arc::clone(connection),
            outgoing,
            hearing,
            end.clone(),
        ));
        Self {
            state,
            _end: end.drop_guard(),
        }
    }

    /// Waits until the server has said what it will tell, or that it will not.
    pub(super) async fn granted(&self) -> Result<Arc<Granted>, Option<Error>> {
        let mut state = self.state.clone();
        let said = state.wait_for(|state| !matches!(state, State::Asked)).await;
        match said.as_deref() {
            Ok(State::Granted(granted)) => Ok(Arc::clone(granted)),
            Ok(State::Ended(error)) => Err(error.clone()),
            Ok(State::Asked) | Err(_) => Err(None),
        }
    }

    /// Waits until it has ended.
    pub(super) async fn ended(&self) {
        let mut state = self.state.clone();
        // Its end, or that of whoever would have told of it.
        let _ = state
            .wait_for(|state| matches!(state, State::Ended(_)))
            .await;
    }
}

/// Carries a listen from its request to its end, whoever brings it about.
async fn carry(
    connection: Arc<Connection>,
    outgoing: Outgoing,
    hearing: Arc<Hearing>,
    end: CancellationToken,
) {
    let (id, revision, by_closing) = (outgoing.id, outgoing.revision, !hearing.shares_stream);
    let told_to_end = async {
        end.cancelled().await;
        if by_closing {
            sleep(OVERLAP).await;
        }
    };
    let answer = tokio::select! {
        answer = connection.link.exchange(outgoing) => answer.err(),
        () = told_to_end => {
            if !by_closing {
                // A server that is gone needs no telling.
                let _ = connection.link.notify(revision, dialect::cancelled(id)).await;
            }
            None
        }
        _ = connection.link.lost() => None,
    };
    hearing.end(answer);
}

impl Hearing {
    /// Takes what a server says on this subscription.
    pub(super) fn hear(&self, said: &Envelope) {
        if said.method == "notifications/subscriptions/acknowledged" {
            return self.acknowledge(&said.params);
        }
        let said = untagged(said);
        match &self.hearer {
            Hearer::All(news) => news.take_from(self.id, &said),
            Hearer::One(notices, gone) if said.method == "notifications/tasks" => {
                let Some(task) = said.params.str("taskId") else {
                    return;
                };
                let notice = Notice::Task(task.into(), said.params.clone());
                if notices.try_send(notice).is_err() {
                    // It does not read, or is gone.
                    gone.cancel();
                }
            }
            Hearer::One(..) => {}
        }
    }
}

impl Hearing {
    fn acknowledge(&self, params: &Object) {
        let granted = State::Granted(Arc::new(Granted::read(params, &self.wish)));
        let is_first = self.state.send_if_modified(|state| {
            let is_first = matches!(state, State::Asked);
            if is_first {
                *state = granted;
            }
            is_first
        });
        if let (true, Hearer::All(news)) = (is_first, &self.hearer) {
            news.turn_to(self.id, self.shares_stream);
        }
    }

    fn end(&self, error: Option<Error>) {
        if let Hearer::All(news) = &self.hearer {
            news.over(self.id);
        }
        self.state.send_replace(State::Ended(error));
    }
}

/// A notice as it would have come to whoever asked for it. The mark of our own subscription says nothing to others.
fn untagged(said: &Envelope) -> Envelope {
    let meta = said.meta.edited(&[(meta::SUBSCRIPTION, Edit::Drop)]);
    let edit = match meta.is_empty() {
        true => Edit::Drop,
        false => Edit::Put(meta.bytes()),
    };
    Envelope {
        params: said.params.edited(&[("_meta", edit)]),
        meta: meta.clone(),
        ..said.clone()
    }
}

impl Wish {
    fn to_object(&self) -> Object {
        let mut wish = serde_json::Map::new();
        let lists = [
            ("toolsListChanged", self.lists.tools),
            ("promptsListChanged", self.lists.prompts),
            ("resourcesListChanged", self.lists.resources),
        ];
        for (name, _) in lists.into_iter().filter(|(_, wanted)| *wanted) {
            wish.insert(name.to_owned(), true.into());
        }
        let names = |names: &[Arc<str>]| {
            names
                .iter()
                .map(|name| (**name).into())
                .collect::<Vec<serde_json::Value>>()
        };
        for (name, list) in [
            ("resourceSubscriptions", &self.uris),
            ("taskIds", &self.tasks),
        ] {
            if !list.is_empty() {
                wish.insert(name.to_owned(), names(list).into());
            }
        }
        Object::of(&wish)
    }
}

impl Granted {
    /// It will tell of this resource.
    pub(super) fn has(&self, uri: &str) -> bool {
        self.uris.contains(uri)
    }

    /// What an acknowledgment names of what was wished.
    fn read(params: &Object, wish: &Wish) -> Self {
        let said = params.object("notifications").and_then(Result::ok);
        let Some(said) = said else {
            return Self::default();
        };
        let list = |name: &str| said.get(name) == Some(b"true");
        let names = |name: &str, wished: &[Arc<str>]| -> Vec<Arc<str>> {
            let named = said.raw(name).and_then(|named| named.read().ok());
            let named: HashSet<String> = named.unwrap_or_default();
            let both = wished.iter().filter(|name| named.contains(&***name));
            both.cloned().collect()
        };
        Self {
            lists: Lists {
                tools: wish.lists.tools && list("toolsListChanged"),
                prompts: wish.lists.prompts && list("promptsListChanged"),
                resources: wish.lists.resources && list("resourcesListChanged"),
            },
            uris: names("resourceSubscriptions", &wish.uris)
                .into_iter()
                .collect(),
            tasks: names("taskIds", &wish.tasks),
        }
    }
}
