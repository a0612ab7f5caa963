//! Whether the gateway lives, whether it is ready, and what it counts.

use http::{Response, StatusCode, header};
use serde_json::json;
use toolbus_gateway::Gateway;
use toolbus_model::Health;

use crate::stream::Body;

/// The gateway lives.
pub(crate) fn health() -> Response<Body> {
    json_response(
        StatusCode::OK,
        &json!({"status": "ok", "version": env!("CARGO_PKG_VERSION")}),
    )
}

/// Every server has been asked once. Which ones there are is told to callers only.
/// Servers that are down do not make the gateway unready: the others are served.
pub(crate) fn ready(gateway: &Gateway, in_detail: bool) -> Response<Body> {
    let offers = gateway.offers();
    let servers: serde_json::Map<_, _> = offers
        .iter()
        .map(|(name, offer)| {
            let state = match &offer.health {
                Health::Starting => "starting",
                Health::Resting => "resting",
                Health::Up => "up",
                Health::Down(_) => "down",
            };
            (name.as_str().to_owned(), state.into())
        })
        .collect();
    let is_ready = gateway.is_settled();
    let status = if is_ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let mut state = json!({ "ready": is_ready });
    let troubles: serde_json::Map<_, _> = offers
        .iter()
        .filter_map(|(name, offer)| {
            let trouble = offer.trouble.as_deref()?;
            Some((name.as_str().to_owned(), trouble.into()))
        })
        .collect();
    if in_detail {
        state["servers"] = servers.into();
    }
    if in_detail && !troubles.is_empty() {
        state["troubles"] = troubles.into();
    }
    json_response(status, &state)
}

/// What is counted, in the Prometheus text form.
pub(crate) fn metrics(gateway: &Gateway) -> Response<Body> {
    let mut response = Response::new(Body::of(gateway.metrics.render()));
    let text = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, header::HeaderValue::from_static(text));
    response
}

pub(crate) fn json_response(status: StatusCode, value: &serde_json::Value) -> Response<Body> {
    let mut response = Response::new(Body::of(value.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        header::HeaderValue::from_static("application/json"),
    );
    response
}
