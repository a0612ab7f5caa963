//! A request at a server: over which session it goes, and what becomes of it.

use std::sync::Arc;

use toolbus_model::{Call, Error, Method, Object, Outcome, Request};

use super::asked::{Conversation, Turn, input_required};
use super::ear::Ear;
use super::link::{Connection, Link};
use super::outgoing::Outgoing;
use super::server::McpServer;
use super::way::Way;
use super::{dialect, lock, retry};

/// What has become of a request.
enum End {
    Result(Object),
    /// A server of an older revision asks.
    Asked(Object),
}

impl McpServer {
    pub(super) async fn answer(&self, request: Request, call: &Call) -> Result<Outcome, Error> {
        if let Some(parked) = self.parked.take(&request, &call.seed.caller)? {
            return self.go_on(parked, &request, call).await;
        }
        let mut again = true;
        loop {
            let way = self.way(&request, call).await?;
            let connection = Arc::clone(way.connection());
            let error = match self.ask(way, &request, call).await {
                Ok(End::Result(result)) => {
                    let outcome = dialect::outcome(result, &request, call, &connection.peer)?;
                    self.works.note(&request, &outcome, &connection);
                    return Ok(outcome);
                }
                Ok(End::Asked(result)) => return Ok(Outcome::InputRequired(result)),
                Err(error) => error,
            };
            match error {
                // The server does not know the session, so it has run nothing: the request goes again in a new one.
                Error::SessionUnknown if again => {}
                // The process ended before it had read the request: another one gets it.
                Error::Unavailable(_) if again && !connection.link.is_alive() => {}
                // Our headers went by an old definition of the tool. It was refused before anything ran.
                Error::Upstream { code: -32020, .. } if again => drop(self.list().await),
                Error::SessionUnknown => {
                    let cause = connection.link.cause("the server keeps losing our session");
                    return Err(Error::Unavailable(cause.into()));
                }
                error => return dialect::failure(error, &request, call),
            }
            again = false;
        }
    }

    /// Goes on with a call that waited for its caller's answers.
    async fn go_on(
        &self,
        parked: Conversation,
        request: &Request,
        call: &Call,
    ) -> Result<Outcome, Error> {
        let answers = request.params.object("inputResponses");
        let answers = answers.and_then(Result::ok).unwrap_or_else(Object::empty);
        let connection = Arc::clone(parked.connection());
        let turn = parked.go_on(&answers, call).await;
        match self.settle(turn, call).await {
            Ok(End::Result(result)) => dialect::outcome(result, request, call, &connection.peer),
            Ok(End::Asked(result)) => Ok(Outcome::InputRequired(result)),
            Err(Error::SessionUnknown) => {
                let cause = connection
                    .link
                    .cause("the server lost the session in mid-call");
                Err(Error::OutcomeUnknown(cause.into()))
            }
            Err(error) => dialect::failure(error, request, call),
        }
    }

    async fn ask(&self, way: Way, request: &Request, call: &Call) -> Result<End, Error> {
        let connection = Arc::clone(way.connection());
        let request = retry::towards(connection.peer.revision, request, call)?;
        connection.tune(call.seed.log_level, &self.means.ids).await;
        let outgoing = self.outgoing(&connection, &request, call);
        match way {
            Way::Own(lease, abilities) if abilities.any() && connection.is_older() => {
                let begun =
                    Conversation::begin(lease, outgoing, call, abilities, &self.means.tasks);
                let turn = begun.listen(call).await;
                self.settle(turn, call).await
            }
            way => {
                let answer = exchange(&connection, outgoing, call).await;
                if answer == Err(Error::SessionUnknown) {
                    self.forget(&way);
                }
                answer.map(End::Result)
            }
        }
    }

    /// Parks a call whose server asks. Where there is no room, the server is told that nobody can be asked.
    async fn settle(&self, mut turn: Turn, call: &Call) -> Result<End, Error> {
        loop {
            let asks = match turn {
                Turn::Over(answer) => return answer.map(End::Result),
                Turn::Asks(asks) => asks,
            };
            let questions = asks.questions();
            match self.parked.park(asks) {
                Ok(state) => {
                    return Ok(End::Asked(input_required(
                        &questions,
                        &state,
                        call.seed.revision.era(),
                    )));
                }
                Err(asks) => {
                    asks.refuse("too many calls wait for answers of their callers")
                        .await;
                    turn = asks.listen(call).await;
                }
            }
        }
    }

    fn outgoing(&self, connection: &Connection, request: &Request, call: &Call) -> Outgoing {
        let (id, revision) = (self.means.ids.next(), connection.peer.revision);
        Outgoing {
            id,
            revision,
            method: request.method.clone(),
            target: named(request),
            headers: self.param_headers(connection, request),
            body: dialect::call_body(revision, id, request, call),
            ear: Some(Ear::Notices(call.line().clone())),
        }
    }

    fn param_headers(
        &self,
        connection: &Connection,
        request: &Request,
    ) -> Vec<(http::HeaderName, http::HeaderValue)> {
        if request.method != Method::ToolsCall || !matches!(connection.link, Link::Http(_)) {
            return Vec::new();
        }
        let known = lock(&self.headers);
        let headers = request
            .target
            .as_ref()
            .filter(|_| !known.is_empty())
            .and_then(|tool| known.get(tool));
        headers
            .map(|headers| headers.mirror(request.params.raw("arguments").as_ref()))
            .unwrap_or_default()
    }
}

/// Sends a request in whose course nothing can be asked, and waits for its answer.
async fn exchange(
    connection: &Connection,
    outgoing: Outgoing,
    call: &Call,
) -> Result<Object, Error> {
    let (id, revision) = (outgoing.id, outgoing.revision);
    tokio::select! {
        answer = connection.link.exchange(outgoing) => answer,
        () = call.cancelled() => {
            if !connection.link.cancels_by_closing(revision) {
                // A server that is gone needs no telling.
                let _ = connection.notify(dialect::cancelled(id)).await;
            }
            Err(Error::OutcomeUnknown(connection.link.cause("the server had not answered").into()))
        }
    }
}

/// What a request is for, as its headers say it: of a task its id (io.modelcontextprotocol/tasks, "Routing").
fn named(request: &Request) -> Option<Arc<str>> {
    match &request.method {
        Method::Other(name) if matches!(&**name, "tasks/get" | "tasks/update" | "tasks/cancel") => {
            request.params.str("taskId").map(|id| id.as_ref().into())
        }
        method => request
            .target
            .clone()
            .filter(|_| method.target_member().is_some()),
    }
}
