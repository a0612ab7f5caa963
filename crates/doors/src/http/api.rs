//! The capability API over HTTP: paths, methods, bodies and answers.

use std::sync::Arc;

use http::header::{CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use toolbus_model::{Caller, Error, Object};
use toolbus_protocol::capability::{Execution, Parties};
use toolbus_protocol::trace;

use super::endpoint::is_last;
use super::socket::Socket;
use super::{HttpDoor, endpoint};
use crate::capability::{
    Api, Asker, Executed, OPENAPI, Problem, Refused, check_size, establish, put_call,
};
use crate::guard::{Access, Refusal};
use crate::stream::Body;

/// What all paths of the API begin with.
pub(super) const ROOT: &str = "/api/v1/";

impl HttpDoor {
    /// Answers a request to the API. Every error is a problem (RFC 9457).
    pub(super) async fn api(
        &self,
        path: &str,
        access: &Access,
        request: Request<Incoming>,
        socket: &Socket,
    ) -> Response<Body> {
        let answer = match self.enter_api(access, request.headers(), socket) {
            Ok(caller) => self.api_at(path, caller, request, socket).await,
            Err(problem) => Err(problem),
        };
        answer.unwrap_or_else(|problem| {
            self.gateway.metrics.refused();
            problem.into_response()
        })
    }

    fn enter_api(
        &self,
        access: &Access,
        headers: &HeaderMap,
        socket: &Socket,
    ) -> Result<Caller, Box<Problem>> {
        let place = access.check_place(headers);
        let caller = place.and_then(|()| access.authenticate(headers));
        let caller = caller.map_err(|refusal| match refusal {
            Refusal::Forbidden(why) => Problem::forbidden("forbidden", why),
            Refusal::Unauthenticated(error) => Problem::of(&error, None),
        })?;
        let api = self.capabilities.load();
        establish(&api.settings, caller, headers, socket.peer())
    }

    async fn api_at(
        &self,
        path: &str,
        caller: Caller,
        request: Request<Incoming>,
        socket: &Socket,
    ) -> Result<Response<Body>, Box<Problem>> {
        let api = self.capabilities.load_full();
        match (path, request.method()) {
            ("capabilities/execute", &Method::POST) => {
                self.execute(&api, caller, request, socket).await
            }
            ("capabilities/execute", _) => Err(Problem::method("POST")),
            ("capabilities", &Method::GET) => {
                let cursor = cursor(request.uri().query());
                let page = api.list(&caller, cursor).await;
                let page = page.map_err(|error| Problem::of(&error, None))?;
                Ok(endpoint::whole(StatusCode::OK, page))
            }
            ("auth/status", &Method::GET) => Ok(api.sidecar.status().await),
            ("openapi.json", &Method::GET) => {
                Ok(endpoint::whole(StatusCode::OK, OPENAPI.as_bytes().to_vec()))
            }
            ("capabilities" | "auth/status" | "openapi.json", _) => Err(Problem::method("GET")),
            _ => Err(Problem::nowhere()),
        }
    }

    async fn execute(
        &self,
        api: &Arc<Api>,
        caller: Caller,
        request: Request<Incoming>,
        socket: &Socket,
    ) -> Result<Response<Body>, Box<Problem>> {
        let (head, body) = request.into_parts();
        let execution = self.execution(&head.headers, body).await?;
        let asker = Asker {
            caller,
            door: "capability",
            trace: trace::read(&Object::empty(), Some(&head.headers)),
            parties: Parties {
                agreement: String::new(),
                source: api.settings.instance.clone(),
                destination: api.settings.instance.clone(),
            },
        };
        let gone = async {
            if is_last(&head) {
                socket.gone().await;
            } else {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            biased;
            executed = api.execute(asker, execution) => answer(executed),
            () = gone => Ok(endpoint::whole(StatusCode::OK, Vec::new())), // To nobody.
        }
    }

    /// What a request wants executed.
    async fn execution(
        &self,
        headers: &HeaderMap,
        body: Incoming,
    ) -> Result<Execution, Box<Problem>> {
        if !is_json(headers) {
            let (status, kind) = (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type");
            let why = "Content-Type must be application/json";
            return Err(Problem::new(status, kind, "Not declared as JSON", why));
        }
        let read = async {
            let execution = Execution::parse(self.read(headers, body).await?)?;
            check_size(&execution)?;
            Ok(execution)
        };
        read.await.map_err(|error: Error| Problem::of(&error, None))
    }
}

/// The answer to an execution.
fn answer(executed: Result<Executed, Refused>) -> Result<Response<Body>, Box<Problem>> {
    let executed = executed.map_err(|refused| match refused {
        Refused::Tenant(why) => Problem::forbidden("tenant-mismatch", why),
        Refused::Error(error) => Problem::of(&error, None),
    })?;
    let result = executed.answer;
    let result = result.map_err(|error| Problem::of(&error, executed.call))?;
    let mut response = endpoint::whole(StatusCode::OK, result.bytes().to_vec());
    if let Some(call) = executed.call {
        put_call(response.headers_mut(), call);
    }
    Ok(response)
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    let kind = kind.and_then(|kind| kind.split(|byte| *byte == b';').next());
    kind.is_some_and(|kind| kind.trim_ascii().eq_ignore_ascii_case(b"application/json"))
}

/// Where a list goes on. Cursors hold nothing that a URL would have to escape.
fn cursor(query: Option<&str>) -> Option<&str> {
    let mut pairs = query?.split('&');
    pairs.find_map(|pair| pair.strip_prefix("cursor="))
}
