//! `subscriptions/listen` at a worker: notices of resources and tasks, until nobody wants them any more.

use std::sync::Arc;

use serde_json::json;
use toolbus_model::json::Edit;
use toolbus_model::{CallId, Error, Filter, Listening, Notice, Object, Outcome, Raw};
use toolbus_protocol::{meta, write};

use super::Shared;
use super::calls::{Running, Stop};
use super::terminal::Terminal;
use super::work::Work;
use crate::bus::BusError;

/// The method's name.
pub(super) const METHOD: &str = "subscriptions/listen";

const RESOURCES: &str = "resourceSubscriptions";
const TASKS: &str = "taskIds";

/// Resources and tasks that one listener may name, as at the gateway.
const MAX_NAMES: usize = 1_000;

/// Words of the server that nobody heard something, which wait to be read.
const WAITING: usize = 1_024;

/// Begins to hear from the server when nobody hears a stream of notices any more: a gateway that is gone cancels nothing.
pub(super) async fn open(shared: &Arc<Shared>) -> Result<(), BusError> {
    let subject = format!("{}.*", shared.inbox);
    let mut said = shared.bus.subscribe(&subject, None, WAITING).await?;
    let hearer = Arc::clone(shared);
    shared.tasks.spawn(async move {
        let reading = async {
            while let Some(message) = said.next().await {
                let id = message.subject.rsplit('.').next().and_then(CallId::parse);
                let running = id.and_then(|id| hearer.calls.get(id));
                if let Some(running) = running.filter(|_| message.no_responders) {
                    hearer.unheard(&running);
                }
            }
        };
        hearer.ending.run_until_cancelled(reading).await;
    });
    Ok(())
}

/// Tells of changes until the call is stopped, or there is no more to tell.
pub(super) async fn serve(shared: &Shared, running: &Running, work: Work) -> Terminal {
    match tell(shared, running, &work).await {
        Ok(()) => Terminal::end(&work.id, &end(&work.id), false),
        Err(error) => Terminal::err(&work.id, &error),
    }
}

async fn tell(shared: &Shared, running: &Running, work: &Work) -> Result<(), Error> {
    let filter = wanted(&work.request.params)?;
    let backend = &shared.servers[work.server].backend;
    let begun = running
        .cancel
        .run_until_cancelled(backend.listen(filter, &work.seed));
    let Some(begun) = begun.await else {
        return stopped(running);
    };
    let Listening {
        honoured,
        mut notices,
    } = begun?;
    let said = Object::of(&json!({"notifications": said(&honoured)}));
    let acknowledged = "notifications/subscriptions/acknowledged";
    shared.message(running, tagged(&work.id, acknowledged, &said));
    loop {
        let Some(notice) = running.cancel.run_until_cancelled(notices.recv()).await else {
            return stopped(running);
        };
        let (method, params) = match notice {
            Some(Notice::Resource(_, params)) => ("notifications/resources/updated", params),
            Some(Notice::Task(_, params)) => ("notifications/tasks", params),
            None => return Ok(()),
        };
        // Who misses one must ask anew: what it does not know of is not told again.
        if !shared.message(running, tagged(&work.id, method, &params)) {
            return Ok(());
        }
    }
}

fn stopped(running: &Running) -> Result<(), Error> {
    match running.stopped() {
        Some(Stop::Cancelled | Stop::Unheard) => Err(Error::Cancelled),
        // Who listens does so at another worker, or again.
        Some(Stop::Deadline | Stop::Drained) | None => Ok(()),
    }
}

fn wanted(params: &Object) -> Result<Filter, Error> {
    let invalid = |why: &str| Error::InvalidParams(format!("Invalid params: {why}"));
    let filter = params.object("notifications").and_then(Result::ok);
    let filter = filter.ok_or_else(|| invalid("\"notifications\" must be an object"))?;
    let texts = |member: &str| -> Result<Vec<Arc<str>>, Error> {
        let Some(value) = filter.raw(member) else {
            return Ok(Vec::new());
        };
        let texts: Vec<String> = value
            .read()
            .map_err(|_| invalid(&format!("{member:?} must be a list of strings")))?;
        Ok(texts.into_iter().map(Arc::from).collect())
    };
    let filter = Filter {
        resources: texts(RESOURCES)?,
        tasks: texts(TASKS)?,
    };
    if filter.resources.len() + filter.tasks.len() > MAX_NAMES {
        return Err(invalid(&format!(
            "one listener may name {MAX_NAMES} resources and tasks"
        )));
    }
    Ok(filter)
}

/// What will be told: what is not honoured is left out.
fn said(honoured: &Filter) -> serde_json::Value {
    let mut said = serde_json::Map::new();
    for (name, named) in [(RESOURCES, &honoured.resources), (TASKS, &honoured.tasks)] {
        if !named.is_empty() {
            let named: Vec<&str> = named.iter().map(AsRef::as_ref).collect();
            said.insert(name.to_owned(), named.into());
        }
    }
    said.into()
}

fn tagged(id: &Raw, method: &str, params: &Object) -> Vec<u8> {
    let meta = match params.object("_meta") {
        Some(Ok(meta)) => meta,
        _ => Object::empty(),
    };
    let meta = meta.edited(&[(meta::SUBSCRIPTION, Edit::Put(id.bytes()))]);
    let edits = [("_meta", Edit::Put(meta.bytes()))];
    let size = params.bytes().len() + meta.bytes().len() + 16;
    write::notification(method, |out| params.rewrite(&edits, out), size)
}

fn end(id: &Raw) -> Outcome {
    let meta = Object::empty().edited(&[(meta::SUBSCRIPTION, Edit::Put(id.bytes()))]);
    Outcome::Complete(Object::empty().edited(&[
        ("resultType", Edit::Put(br#""complete""#)),
        ("_meta", Edit::Put(meta.bytes())),
    ]))
}
