//! One execution: from what was asked to its answer and its receipt.

use std::sync::Arc;

use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use toolbus_gateway::catalog::Shelf;
use toolbus_gateway::{Running, Scope};
use toolbus_model::{
    CallId, CallSeed, Caller, Error, Kind, Method, Object, Outcome, Request, Revision, ServerName,
    Trace,
};
use toolbus_protocol::capability::{
    Execution, LARGEST, META_PLAIN, Parties, Receipt, Status, check_tenant,
};

use super::Api;

/// How an execution ended.
#[derive(Debug)]
pub(crate) struct Executed {
    /// The call, where it became one.
    pub(crate) call: Option<CallId>,
    /// Its result, or why there is none.
    pub(crate) answer: Result<Object, Error>,
}

/// Why an execution is not even tried.
#[derive(Debug)]
pub(crate) enum Refused {
    /// The arguments name another tenant.
    Tenant(String),
    /// Any other reason.
    Error(Error),
}

/// Who wants something executed.
#[derive(Debug, Clone)]
pub(crate) struct Asker {
    pub(crate) caller: Caller,
    pub(crate) door: &'static str,
    pub(crate) trace: Trace,
    pub(crate) parties: Parties,
}

impl Api {
    /// Executes on behalf of somebody. Whoever drops the future has left; the call is cancelled then, and its receipt
    /// is written all the same.
    pub(crate) async fn execute(
        self: &Arc<Self>,
        asker: Asker,
        execution: Execution,
    ) -> Result<Executed, Refused> {
        if let Some(receipts) = &self.ledger.receipts {
            receipts.room().map_err(Refused::Error)?;
        }
        let left = CancellationToken::new();
        let _leaving = left.clone().drop_guard();
        let (sender, answer) = oneshot::channel();
        let api = Arc::clone(self);
        self.ledger.calls.spawn(async move {
            // Nobody may be waiting any more; the receipt has been written all the same.
            let _ = sender.send(api.conduct(asker, execution, &left).await);
        });
        answer.await.unwrap_or_else(|_| {
            let lost = Error::Internal("the call was lost".to_owned());
            Err(Refused::Error(lost))
        })
    }

    /// An execution up to its receipt.
    async fn conduct(
        &self,
        asker: Asker,
        execution: Execution,
        left: &CancellationToken,
    ) -> Result<Executed, Refused> {
        let parties = asker.parties.clone();
        let named = match self.prepare(&asker, &execution) {
            Ok(()) => self.find(&execution.tool).await.map_err(Refused::Error),
            Err(refused) => Err(refused),
        };
        let name = match named {
            Ok(name) => name,
            Err(refused) => {
                self.receipt(&parties, &execution, None, Status::Failed);
                return Err(refused);
            }
        };
        let running = self.begin(asker, &execution, &name);
        let call = running.id;
        let answer = ended(running, left).await;
        self.receipt(&parties, &execution, Some(&name), Status::of(&answer));
        Ok(Executed {
            call: Some(call),
            answer: answer
                .and_then(plain)
                .map_err(|error| as_asked(error, &execution.tool)),
        })
    }

    /// What is refused before anybody is asked.
    fn prepare(&self, asker: &Asker, execution: &Execution) -> Result<(), Refused> {
        let (claims, arguments) = (asker.caller.claims(), execution.intent.to_raw());
        check_tenant(claims, Some(&arguments), self.settings.tenants).map_err(Refused::Tenant)?;
        let Some(bounds) = self.bounds() else {
            return Ok(());
        };
        for (member, value) in [("intent", &execution.intent), ("state", &execution.state)] {
            bounds.check(value.bytes()).map_err(|why| {
                let text = format!("Invalid params: {member}: {why} (strict bounds are on)");
                Refused::Error(Error::InvalidParams(text))
            })?;
        }
        Ok(())
    }

    fn begin(&self, asker: Asker, execution: &Execution, name: &Arc<str>) -> Running {
        let seed = CallSeed {
            caller: asker.caller,
            revision: Revision::V2026_07_28,
            door: asker.door,
            capabilities: Object::empty().to_raw(),
            client: None,
            log_level: None,
            progress_token: None,
            trace: asker.trace,
        };
        let request = Request {
            method: Method::ToolsCall,
            target: Some(Arc::clone(name)),
            params: execution.params(name),
            meta: execution.meta(),
        };
        let limit = Some(self.settings.timeout);
        self.gateway.call_within(Scope::All, request, seed, limit)
    }

    fn receipt(
        &self,
        parties: &Parties,
        execution: &Execution,
        name: Option<&Arc<str>>,
        status: Status,
    ) {
        let Some(receipts) = &self.ledger.receipts else {
            return;
        };
        let server = name.and_then(|name| self.server_of(name));
        let abroad = server.and_then(|server| self.settings.abroad.get(&server));
        let directory = self.directory();
        let urn = name.and_then(|name| directory.urn(name));
        let urn = urn.map_or(&*execution.tool, |urn| urn.as_str());
        // What somebody asked for need not be a name at all.
        let urn: String = urn.chars().take(256).collect();
        let (parties, payload) = (abroad.unwrap_or(parties), execution.intent.bytes());
        receipts.record(Receipt::of(parties, &urn, payload, status));
    }

    fn server_of(&self, name: &str) -> Option<ServerName> {
        let catalog = self.gateway.catalog();
        let entry = catalog.view(&Scope::All).ok()?.find(Shelf::Tools, name)?;
        Some(entry.server.clone())
    }
}

/// Waits for a call; one whose caller has left is told to stop.
async fn ended(mut running: Running, left: &CancellationToken) -> Result<Outcome, Error> {
    tokio::select! {
        biased;
        answer = running.answer() => return answer,
        () = left.cancelled() => running.cancel(),
    }
    running.answer().await
}

/// The result as the worker wrote it.
fn plain(outcome: Outcome) -> Result<Object, Error> {
    let Outcome::Complete(result) = outcome else {
        let why = "the server asks for what callers of this API did not declare that they can do";
        return Err(Error::Internal(why.to_owned()));
    };
    let meta = result.object("_meta").and_then(Result::ok);
    let is_plain = meta.is_some_and(|meta| meta.get(META_PLAIN) == Some(b"true"));
    match result.object("structuredContent") {
        Some(Ok(own)) if is_plain => Ok(own),
        _ => Ok(result),
    }
}

/// What is denied and what is missing read alike, in the caller's own words.
fn as_asked(error: Error, asked: &str) -> Error {
    match error {
        Error::Unknown {
            kind: Kind::Tool, ..
        } => Error::Unknown {
            kind: Kind::Tool,
            name: asked.to_owned(),
        },
        other => other,
    }
}

/// The request is larger than is carried, once it is encoded.
pub(crate) fn check_size(execution: &Execution) -> Result<(), Error> {
    let encoded = execution.intent.bytes().len() + execution.state.bytes().len() + 512;
    if encoded > LARGEST {
        return Err(Error::TooLarge {
            what: "encoded request",
            limit: LARGEST,
        });
    }
    Ok(())
}
