//! Requests to one runner over HTTP, and what an answer means that is none of a tool.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use toolbus_model::{Cause, Error, Object};
use toolbus_protocol::gather::Gather;

use super::child::Life;
use crate::mcp::outgoing::MAX_MESSAGE;
use crate::pool::{Pool, chain};
use crate::pulse;

/// How much of an unexpected answer is shown.
const SHOWN: usize = 300;

/// When a runner that has no room may be asked again, if it does not say.
const AGAIN: Duration = Duration::from_secs(1);

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Both forms of an answer.
pub(super) const BOTH: HeaderValue =
    HeaderValue::from_static("application/x-ndjson, application/json");

/// The way to one runner.
#[derive(Debug)]
pub(super) struct Way {
    /// Connections, or why there can be none.
    pool: Result<Pool, String>,
    base: String,
    headers: HeaderMap,
    shown: Arc<str>,
    /// The process that we have started, where it is ours.
    child: Option<Arc<Life>>,
}

impl Way {
    /// To a URL.
    pub(super) fn to(url: &Uri, headers: HeaderMap) -> Self {
        let base = url.to_string();
        Self {
            pool: Pool::to(url),
            shown: base.as_str().into(),
            base: base.trim_end_matches('/').to_owned(),
            headers,
            child: None,
        }
    }

    /// To a Unix socket.
    pub(super) fn at(path: PathBuf, headers: HeaderMap) -> Self {
        Self {
            shown: format!("unix:{}", path.display()).into(),
            pool: Ok(Pool::at(path)),
            base: "http://localhost".to_owned(),
            headers,
            child: None,
        }
    }

    /// The same way; what is asked there is shown as this.
    pub(super) fn of_child(self, shown: Arc<str>, child: Arc<Life>) -> Self {
        Self {
            shown,
            child: Some(child),
            ..self
        }
    }

    /// A process of ours that has not answered yet is on its way.
    pub(super) fn is_starting(&self) -> bool {
        self.child.as_ref().is_some_and(|child| child.is_starting())
    }

    /// It has answered.
    pub(super) fn has_answered(&self) {
        if let Some(child) = &self.child {
            child.has_answered();
        }
    }

    /// Asks for what is at a path.
    pub(super) async fn get(&self, path: &str) -> Result<Response<Incoming>, Error> {
        let mut request = self.request(Method::GET, path, Bytes::new())?;
        request.headers_mut().insert(ACCEPT, JSON);
        self.send(request).await
    }

    /// Sends JSON to a path.
    pub(super) async fn post(
        &self,
        path: &str,
        body: Vec<u8>,
        accept: HeaderValue,
    ) -> Result<Response<Incoming>, Error> {
        let mut request = self.request(Method::POST, path, body.into())?;
        let fields = request.headers_mut();
        fields.insert(CONTENT_TYPE, JSON);
        fields.insert(ACCEPT, accept);
        self.send(request).await
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<Request<Full<Bytes>>, Error> {
        let uri: Uri = format!("{}{path}", self.base)
            .parse()
            .map_err(|error| self.unavailable(&format!("its URL cannot be used: {error}")))?;
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        request.headers_mut().clone_from(&self.headers);
        Ok(request)
    }

    async fn send(&self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Error> {
        let pool = self.pool.as_ref();
        let pool = pool.map_err(|why| self.unavailable(why))?;
        pool.send(request).await.map_err(|error| {
            if !error.is_connect() {
                return self.lost(&chain(&error));
            }
            let what = format!("the runner cannot be reached: {}", chain(&error));
            let remedy = match self.child {
                None => "check that it runs, and that `url` or `socket` is right",
                Some(_) => {
                    "it is started again by itself; run the command by hand to see what it lacks"
                }
            };
            let cause = Cause {
                remedy: Some(remedy.to_owned()),
                ..self.cause(&what)
            };
            Error::Unavailable(cause.into())
        })
    }

    /// A whole body, within bounds.
    pub(super) async fn read_all(&self, mut body: Incoming) -> Result<Bytes, Error> {
        let mut gather = Gather::new(MAX_MESSAGE);
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| self.lost(&chain(&error)))?;
            if let Ok(data) = frame.into_data() {
                gather.push(data).map_err(|_| too_large())?;
            }
        }
        Ok(gather.finish())
    }

    /// The connection was lost in mid-request.
    pub(super) fn lost(&self, why: &str) -> Error {
        self.unknown(&format!("the connection was lost: {why}"))
    }

    /// It may have run: what is known of why.
    pub(super) fn unknown(&self, what: &str) -> Error {
        Error::OutcomeUnknown(self.cause(what).into())
    }

    /// It has not run.
    pub(super) fn unavailable(&self, what: &str) -> Error {
        Error::Unavailable(self.cause(what).into())
    }

    pub(super) fn cause(&self, what: &str) -> Cause {
        let child = self.child.as_ref();
        Cause {
            command: Some(Arc::clone(&self.shown)),
            status: child.and_then(|child| child.ended()),
            stderr: child.and_then(|child| child.last_words()),
            ..Cause::new(what)
        }
    }

    /// What an answer means that is no success.
    pub(super) fn refused(&self, status: StatusCode, fields: &HeaderMap, body: &Bytes) -> Error {
        let said = Object::parse(body.clone()).ok();
        let error = said.and_then(|said| said.object("error")?.ok());
        if let Some(upstream) = error.as_ref().and_then(pulse::upstream)
            && status != StatusCode::SERVICE_UNAVAILABLE
        {
            return upstream;
        }
        let text = error.and_then(|error| Some(error.str("message")?.into_owned()));
        let text = text.unwrap_or_else(|| {
            let shown = String::from_utf8_lossy(&body[..body.len().min(SHOWN)]);
            shown.trim().to_owned()
        });
        let cause = self.cause(&format!("the runner answered {status}: {text}"));
        match status.as_u16() {
            401 | 403 => {
                let had = match self.headers.contains_key(AUTHORIZATION) {
                    true => {
                        "it does not take these credentials: check `bearer` or `headers` of this server"
                    }
                    false => "it wants credentials: set `bearer` or `headers` of this server",
                };
                let remedy = Some(had.to_owned());
                Error::Unavailable(Cause { remedy, ..cause }.into())
            }
            429 => Error::Busy {
                what: cause.to_string(),
                retry_after: retry_after(fields),
            },
            // What a runner says before it runs anything, or a proxy before one that is not there.
            404 | 405 | 415 | 502 | 503 => Error::Unavailable(cause.into()),
            400..500 => Error::InvalidRequest(cause.to_string()),
            _ => Error::OutcomeUnknown(cause.into()),
        }
    }
}

fn retry_after(fields: &HeaderMap) -> Duration {
    let seconds = || fields.get(RETRY_AFTER)?.to_str().ok()?.parse().ok();
    seconds().map_or(AGAIN, Duration::from_secs)
}

pub(super) fn too_large() -> Error {
    Error::TooLarge {
        what: "runner's answer",
        limit: MAX_MESSAGE,
    }
}
