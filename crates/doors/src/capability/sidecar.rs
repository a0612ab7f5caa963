//! The sidecar, which is asked how authentication stands.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use toolbus_model::Raw;

use super::Problem;
use crate::stream::Body;

/// What is asked of it.
const PATH: &str = "/api/v1/auth/status";

/// The longest time that it may take.
const WITHIN: Duration = Duration::from_secs(10);

/// The largest answer, in bytes.
const LARGEST: usize = 1024 * 1024;

/// The way to the sidecar.
#[derive(Debug)]
pub(crate) struct Sidecar {
    base: Uri,
    client: Client<HttpConnector, Empty<Bytes>>,
}

impl Sidecar {
    pub(crate) fn new(base: Uri) -> Self {
        let client = Client::builder(TokioExecutor::new())
            // It may restart between two questions.
            .pool_max_idle_per_host(0)
            .build_http();
        Self { base, client }
    }

    /// Its status and its body, as they are. No header of the caller's goes there.
    pub(crate) async fn status(&self) -> Response<Body> {
        let asked = tokio::time::timeout(WITHIN, self.ask()).await;
        let late = |_| Err(format!("no answer within {} s", WITHIN.as_secs()));
        asked.unwrap_or_else(late).unwrap_or_else(|why| {
            let detail = format!("the sidecar at {} cannot be asked: {why}", self.base);
            let title = "The sidecar cannot be asked";
            Problem::new(
                StatusCode::BAD_GATEWAY,
                "sidecar-unavailable",
                title,
                detail,
            )
            .into_response()
        })
    }

    async fn ask(&self) -> Result<Response<Body>, String> {
        let base = self.base.to_string();
        let request = Request::get(format!("{}{PATH}", base.trim_end_matches('/')))
            .header(header::ACCEPT, "application/json")
            .body(Empty::new())
            .map_err(|error| error.to_string())?;
        let answer = self.client.request(request).await;
        let (head, body) = answer.map_err(|error| innermost(&error))?.into_parts();
        let body = Limited::new(body, LARGEST).collect().await;
        let body = body.map_err(|error| error.to_string())?.to_bytes();
        if Raw::parse(body.clone()).is_err() {
            return Err(format!("its answer ({}) is not JSON", head.status));
        }
        let mut response = Response::new(Body::of(body));
        *response.status_mut() = head.status;
        let json = header::HeaderValue::from_static("application/json");
        response.headers_mut().insert(header::CONTENT_TYPE, json);
        Ok(response)
    }
}

/// What is at the bottom of an error says most: `Connection refused`.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut deepest = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    deepest.to_string()
}
