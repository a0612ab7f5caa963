//! A layer that checks arguments before anything runs, and results before they leave.
//!
//! `compile` reads a schema once for each version of a tool (`kept`), and refuses what cannot be bounded; `run` holds a value
//! against it within a number of steps; `answer` words what was found.

use std::sync::Arc;

use tokio::sync::watch;
use toolbus_model::{
    Backend, BoxFuture, Call, CallSeed, Error, Filter, Listening, Method, Offer, Outcome, Request,
};

mod answer;
mod compile;
mod kept;
mod keywords;
mod number;
mod pattern;
mod problem;
mod resources;
mod run;
mod schema;
mod set;
mod uri;
mod value;
mod ways;

use kept::{Kept, Side, Tool};
use run::{Verdict, check};
use value::{Bounds, Value};

/// What arguments and results may consist of to be checked: as much as keeps a check within milliseconds and megabytes.
const BOUNDS: Bounds = Bounds {
    values: 200_000,
    depth: 128,
};

/// Checks what goes to a back end's tools, and what comes from them.
pub struct Checked {
    server: Arc<str>,
    inner: Arc<dyn Backend>,
    kept: Kept,
}

impl Checked {
    /// A layer around the back end of this server.
    pub fn around(server: &str, inner: Arc<dyn Backend>) -> Arc<Self> {
        Arc::new(Self {
            server: server.into(),
            kept: Kept::new(inner.offer()),
            inner,
        })
    }

    async fn call(&self, request: Request, call: &Call) -> Result<Outcome, Error> {
        let tool = request
            .target
            .as_deref()
            .and_then(|name| self.kept.tool(name));
        let Some(tool) = tool else {
            return self.inner.serve(request, call).await;
        };
        // What the caller used: an alias, or a name that a gateway made unique.
        let asked = request.params.str("name").map(|name| name.as_ref().into());
        let asked: Arc<str> = asked.unwrap_or_else(|| Arc::clone(&tool.name));
        if let Some(wrong) = self.wrong_arguments(&tool, &asked, &request) {
            return Ok(wrong);
        }
        let outcome = self.inner.serve(request, call).await?;
        Ok(self
            .wrong_result(&tool, &asked, &outcome)
            .unwrap_or(outcome))
    }

    /// The answer to arguments that do not fit. Arguments that cannot be checked are refused: otherwise whoever wants to
    /// be unchecked would only have to send more.
    fn wrong_arguments(&self, tool: &Tool, asked: &str, request: &Request) -> Option<Outcome> {
        let schema = tool.schema(Side::Input, &self.server, &self.kept)?;
        let raw = request.params.get("arguments").unwrap_or(b"{}");
        let value = match Value::read(raw, BOUNDS) {
            Ok(value) => value,
            Err(unread) => return Some(answer::unread_arguments(asked, unread)),
        };
        match check(&schema, &value) {
            Verdict::Fits => None,
            Verdict::Wrong(problems) => Some(answer::wrong_arguments(asked, &problems)),
            Verdict::TooCostly => {
                tool.tell_once(|| {
                    tracing::warn!(
                        server = &*self.server,
                        tool = &*tool.name,
                        "arguments were refused, because checking them takes too long; with `validate = false` nothing is checked"
                    );
                });
                Some(answer::costly_arguments(asked))
            }
        }
    }

    /// The answer in place of a result that is not what the tool's schema promises. A result that cannot be checked
    /// passes: the work is done, and its caller did not choose its size.
    fn wrong_result(&self, tool: &Tool, asked: &str, outcome: &Outcome) -> Option<Outcome> {
        let Outcome::Complete(result) = outcome else {
            return None;
        };
        let content = result.get("structuredContent")?;
        if outcome.is_tool_error() {
            return None;
        }
        let schema = tool.schema(Side::Output, &self.server, &self.kept)?;
        let verdict = Value::read(content, BOUNDS).map(|value| check(&schema, &value));
        match verdict {
            Ok(Verdict::Fits) => None,
            Ok(Verdict::Wrong(problems)) => {
                let what = problems.lines();
                tracing::warn!(server = &*self.server, tool = &*tool.name, %what, "a result does not fit the tool's outputSchema");
                Some(answer::wrong_result(asked, &problems))
            }
            Ok(Verdict::TooCostly) | Err(_) => {
                tool.tell_once(|| {
                    tracing::warn!(
                        server = &*self.server,
                        tool = &*tool.name,
                        "a result is too large to be checked, and passed"
                    );
                });
                None
            }
        }
    }
}

impl Backend for Checked {
    fn offer(&self) -> watch::Receiver<Arc<Offer>> {
        self.inner.offer()
    }

    fn serve<'a>(
        &'a self,
        request: Request,
        call: &'a Call,
    ) -> BoxFuture<'a, Result<Outcome, Error>> {
        match request.method {
            Method::ToolsCall => Box::pin(self.call(request, call)),
            _ => self.inner.serve(request, call),
        }
    }

    fn listen<'a>(
        &'a self,
        filter: Filter,
        seed: &'a CallSeed,
    ) -> BoxFuture<'a, Result<Listening, Error>> {
        self.inner.listen(filter, seed)
    }

    fn holds(&self, request: &Request) -> bool {
        self.inner.holds(request)
    }

    fn is_awaited(&self) -> bool {
        self.inner.is_awaited()
    }

    fn stop(&self) -> BoxFuture<'_, ()> {
        self.inner.stop()
    }
}

#[cfg(test)]
mod tests;
