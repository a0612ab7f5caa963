//! Opening a connection to a URL: over Streamable HTTP, or where that is not known over HTTP with SSE of 2024-11-05.

use std::sync::Arc;

use tokio::time::timeout;
use toolbus_model::{Cause, Era, Error, Object};

use super::{Means, START_WITHIN};
use crate::mcp::client::Failure;
use crate::mcp::greeting::{self, discovered, initialized, offers_ours, opened};
use crate::mcp::http::{HttpLink, HttpTarget};
use crate::mcp::link::{Connection, Link};
use crate::mcp::old_sse::OldSse;
use crate::mcp::outgoing::Ids;

/// Connects to a URL. `known` is the era it spoke before.
pub(in crate::mcp) async fn http(
    target: &HttpTarget,
    known: Option<Era>,
    means: &Means,
) -> Result<Connection, Error> {
    let link = HttpLink::new(target.clone(), Arc::clone(&means.news))?;
    if known != Some(Era::Legacy) {
        let ask = || bounded(&link, link.open(greeting::discover(&means.ids)));
        let answer = match ask().await {
            Err(failure) if offers_ours(&failure.error) => ask().await,
            first => first,
        };
        match answer.map(|(result, _)| discovered(&result)) {
            Ok(Some(peer)) => return Ok(Connection::new(peer, Link::Http(Arc::new(link)))),
            Err(failure) if !is_older_servers(&failure) => return Err(failure.error),
            Ok(None) | Err(_) => {}
        }
    }
    let nothing = Object::empty();
    match initialize(link.beside(), &nothing, means).await {
        Ok(connection) => Ok(connection),
        Err(Failure {
            status: Some(status),
            error,
        }) if matches!(status.as_u16(), 400 | 404 | 405) => {
            if let Some(older) = link.old_sse(&means.tasks).await {
                return initialize_old_sse(older, &nothing, &means.ids).await;
            }
            let remedy = "check that the URL is that of the server's MCP endpoint; with the older HTTP+SSE it is that of \
                          the stream, which mostly ends in /sse";
            let what = format!("the server did not open: {error}");
            let cause = Cause {
                remedy: Some(remedy.to_owned()),
                ..link.cause(&what)
            };
            Err(Error::Unavailable(cause.into()))
        }
        Err(Failure {
            error: error @ (Error::Unavailable(_) | Error::Busy { .. }),
            ..
        }) => Err(error),
        Err(Failure { error, .. }) => {
            let what = format!("the server did not open: {error}");
            Err(Error::Unavailable(link.cause(&what).into()))
        }
    }
}

/// Opens a session of an older revision.
pub(super) async fn initialize(
    link: HttpLink,
    capabilities: &Object,
    means: &Means,
) -> Result<Connection, Failure> {
    let opening = link.open(greeting::initialize(capabilities, &means.ids));
    let (result, session) = bounded(&link, opening).await?;
    let (peer, link) = (opened(&result)?, link.with_session(session));
    link.notify(peer.revision, initialized()).await?;
    let connection = Connection::new(peer, Link::Http(Arc::new(link))).hear(&means.tasks);
    if !capabilities.is_empty() {
        connection.telling.can_ask().await;
    }
    Ok(connection)
}

/// Opens a session over HTTP with SSE of 2024-11-05.
pub(super) async fn initialize_old_sse(
    link: Arc<OldSse>,
    capabilities: &Object,
    ids: &Ids,
) -> Result<Connection, Error> {
    let opening = async {
        let result = link
            .exchange(greeting::initialize(capabilities, ids))
            .await?;
        let peer = opened(&result)?;
        link.notify(peer.revision, initialized()).await?;
        Ok(peer)
    };
    let why = match timeout(START_WITHIN, opening).await {
        Ok(Ok(peer)) => return Ok(Connection::new(peer, Link::OldSse(link))),
        Ok(Err(Error::OutcomeUnknown(cause) | Error::Unavailable(cause))) => {
            return Err(Error::Unavailable(cause));
        }
        Ok(Err(error)) => format!("the server did not open: {error}"),
        Err(_) => format!(
            "the server did not answer within {} s",
            START_WITHIN.as_secs()
        ),
    };
    Err(Error::Unavailable(link.cause(&why).into()))
}

async fn bounded<T>(
    link: &HttpLink,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let late = |_| {
        let what = format!(
            "the server did not answer within {} s",
            START_WITHIN.as_secs()
        );
        Error::Unavailable(link.cause(&what).into())
    };
    timeout(START_WITHIN, work).await.map_err(late)?
}

/// A refusal of `server/discover` that an older server may have made. What stands in the way of any request (missing
/// credentials, too many requests, no connection) is none.
fn is_older_servers(failure: &Failure) -> bool {
    match (&failure.error, failure.status.map(|status| status.as_u16())) {
        (_, Some(401 | 403 | 429)) => false,
        // The codes of the modern era: the server knows it, and refuses something else.
        (
            Error::Upstream {
                code: -32020 | -32021,
                ..
            },
            _,
        ) => false,
        (Error::Upstream { .. }, _) | (_, Some(400..500)) => true,
        _ => false,
    }
}
