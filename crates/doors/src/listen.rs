//! `subscriptions/listen` of 2026-07-28: what is wanted, and the messages of its stream
//! (basic/patterns/subscriptions).

use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt as _};
use serde_json::{Map, Value};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use toolbus_gateway::{Change, Gateway, Subscription, Wanted};
use toolbus_model::json::Edit;
use toolbus_model::{Error, Object, Raw};
use toolbus_protocol::{Envelope, meta, sse, trace, write};

use crate::encode;
use crate::exchange::Terms;
use crate::stream::KEEP_ALIVE;

/// The method's name.
pub(crate) const METHOD: &str = "subscriptions/listen";

const LISTS: [&str; 3] = [
    "toolsListChanged",
    "promptsListChanged",
    "resourcesListChanged",
];
const RESOURCES: &str = "resourceSubscriptions";
const TASK_IDS: &str = "taskIds";

/// A stream that tells of changes.
pub(crate) struct Listening {
    pub(crate) id: Raw,
    acknowledged: bool,
    subscription: Subscription,
}

impl Listening {
    /// Begins to listen.
    pub(crate) async fn open(
        gateway: &Arc<Gateway>,
        terms: &Terms,
        envelope: &Envelope,
        id: Raw,
    ) -> Result<Self, Error> {
        let wanted = wanted(&envelope.params)?;
        let seed = terms.seed(None, trace::read(&envelope.meta, None));
        let subscription = gateway.listen(terms.scope.clone(), wanted, &seed).await?;
        Ok(Self {
            id,
            acknowledged: false,
            subscription,
        })
    }

    /// The next message; the first one says what will be told. `None` when nothing more will be.
    pub(crate) async fn next(&mut self) -> Option<Vec<u8>> {
        if !std::mem::replace(&mut self.acknowledged, true) {
            let honoured = Object::of(
                &serde_json::json!({"notifications": said(&self.subscription.honoured)}),
            );
            return Some(self.tagged("notifications/subscriptions/acknowledged", &honoured));
        }
        let (method, params) = match self.subscription.next().await? {
            Change::Tools => ("notifications/tools/list_changed", Object::empty()),
            Change::Prompts => ("notifications/prompts/list_changed", Object::empty()),
            Change::Resources => ("notifications/resources/list_changed", Object::empty()),
            Change::Resource(params) => ("notifications/resources/updated", params),
            Change::Task(params) => ("notifications/tasks", params),
        };
        Some(self.tagged(method, &params))
    }

    /// What older readings of the revision expect before that response, where there is one line for everything.
    pub(crate) fn cancelled(&self) -> Vec<u8> {
        let id = Object::empty().edited(&[("requestId", Edit::Put(self.id.bytes()))]);
        let size = id.bytes().len();
        write::notification(
            "notifications/cancelled",
            |out| out.extend_from_slice(id.bytes()),
            size,
        )
    }

    /// The response that ends the stream in good order.
    pub(crate) fn end(&self) -> Vec<u8> {
        let tag = encode::own_meta_with(meta::SUBSCRIPTION, &self.id);
        let result = Object::empty().edited(&[
            ("resultType", Edit::Put(br#""complete""#)),
            ("_meta", Edit::Put(tag.bytes())),
        ]);
        let size = result.bytes().len();
        write::result(&self.id, |out| out.extend_from_slice(result.bytes()), size)
    }

    /// The stream's events, until the client or `ending` ends it.
    pub(crate) fn events(self, ending: CancellationToken) -> BoxStream<'static, Bytes> {
        let state = Some((self, ending));
        stream::unfold(state, |state| async move {
            let (mut listening, ending) = state?;
            let next = ending.run_until_cancelled(timeout(KEEP_ALIVE, listening.next()));
            match next.await {
                Some(Ok(Some(message))) => {
                    Some((sse::event(&message).into(), Some((listening, ending))))
                }
                Some(Err(_)) => Some((
                    Bytes::from_static(sse::KEEP_ALIVE),
                    Some((listening, ending)),
                )),
                Some(Ok(None)) | None => Some((sse::event(&listening.end()).into(), None)),
            }
        })
        .boxed()
    }

    fn tagged(&self, method: &str, params: &Object) -> Vec<u8> {
        let meta = match params.object("_meta") {
            Some(Ok(meta)) => meta,
            _ => Object::empty(),
        };
        let meta = meta.edited(&[(meta::SUBSCRIPTION, Edit::Put(self.id.bytes()))]);
        let edits = [("_meta", Edit::Put(meta.bytes()))];
        let size = params.bytes().len() + meta.bytes().len() + 16;
        write::notification(method, |out| params.rewrite(&edits, out), size)
    }
}

/// Reads what is wanted.
fn wanted(params: &Object) -> Result<Wanted, Error> {
    let invalid = |why: &str| Error::InvalidParams(format!("Invalid params: {why}"));
    let filter = params
        .object("notifications")
        .and_then(Result::ok)
        .ok_or_else(|| invalid("\"notifications\" must be an object"))?;
    let flag = |member: &str| match filter.get(member) {
        None | Some(b"false") => Ok(false),
        Some(b"true") => Ok(true),
        Some(_) => Err(invalid(&format!("{member:?} must be true or false"))),
    };
    let texts = |member: &str| -> Result<Vec<Arc<str>>, Error> {
        let Some(value) = filter.raw(member) else {
            return Ok(Vec::new());
        };
        let texts: Vec<String> = value
            .read()
            .map_err(|_| invalid(&format!("{member:?} must be a list of strings")))?;
        Ok(texts.into_iter().map(Arc::from).collect())
    };
    Ok(Wanted {
        tools: flag(LISTS[0])?,
        prompts: flag(LISTS[1])?,
        resources: flag(LISTS[2])?,
        uris: texts(RESOURCES)?,
        tasks: texts(TASK_IDS)?,
    })
}

/// What will be told, as the acknowledgement says it: what is not honoured is left out.
fn said(honoured: &Wanted) -> Value {
    let flags = [honoured.tools, honoured.prompts, honoured.resources];
    let mut said: Map<String, Value> = LISTS
        .into_iter()
        .zip(flags)
        .filter(|(_, honoured)| *honoured)
        .map(|(name, _)| (name.to_owned(), true.into()))
        .collect();
    for (name, named) in [(RESOURCES, &honoured.uris), (TASK_IDS, &honoured.tasks)] {
        if !named.is_empty() {
            let named: Vec<Value> = named.iter().map(|name| name.as_ref().into()).collect();
            said.insert(name.to_owned(), named.into());
        }
    }
    said.into()
}
