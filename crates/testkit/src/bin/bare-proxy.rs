//! A bare forwarding proxy, the yardstick of the bench: hyper in front, hyper-util's client behind, nothing read.
//!
//! `bare-proxy --to http://127.0.0.1:PORT [--port N]` prints its URL as the first line on stdout. Method, path,
//! headers and bodies pass as they are; what costs more than this, a gateway adds.

use http::{Request, Response, StatusCode, Uri, header, uri};
use http_body_util::{Either, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use toolbus_testkit::bench::serve::{Failure, listen, serve};

/// More than the bench ever opens, so that no connection is opened twice.
const MAX_IDLE: usize = 1024;

type Upstream = Client<HttpConnector, Incoming>;
type Reply = Response<Either<Incoming, Empty<Bytes>>>;

// The runtime of a gateway, not a faster one: with one core in its affinity mask it has one worker.
#[tokio::main]
async fn main() -> Result<(), Failure> {
    let (port, authority) = options()?;
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let upstream: Upstream = Client::builder(TokioExecutor::new())
        .pool_max_idle_per_host(MAX_IDLE)
        .build(connector);
    let service = service_fn(move |request| forward(request, upstream.clone(), authority.clone()));
    serve(listen(port).await?, service).await
}

fn options() -> Result<(u16, uri::Authority), Failure> {
    let mut port = 0;
    let mut target = None;
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let value = arguments
            .next()
            .ok_or_else(|| format!("{argument} needs a value"))?;
        match argument.as_str() {
            "--port" => port = value.parse()?,
            "--to" => target = value.parse::<Uri>()?.into_parts().authority,
            other => {
                return Err(format!("unknown option {other}; known: --to URL, --port N").into());
            }
        }
    }
    let target = target.ok_or("--to needs a URL such as http://127.0.0.1:9000")?;
    Ok((port, target))
}

async fn forward(
    mut request: Request<Incoming>,
    upstream: Upstream,
    authority: uri::Authority,
) -> Result<Reply, Failure> {
    let mut parts = std::mem::take(request.uri_mut()).into_parts();
    parts.scheme = Some(uri::Scheme::HTTP);
    parts.authority = Some(authority);
    *request.uri_mut() = Uri::from_parts(parts)?;
    // The upstream's own name and our own connection: the client writes both anew.
    request.headers_mut().remove(header::HOST);
    request.headers_mut().remove(header::CONNECTION);
    match upstream.request(request).await {
        Ok(response) => Ok(response.map(Either::Left)),
        Err(_) => {
            let mut refusal = Response::new(Either::Right(Empty::new()));
            *refusal.status_mut() = StatusCode::BAD_GATEWAY;
            Ok(refusal)
        }
    }
}
