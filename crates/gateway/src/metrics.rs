//! What is counted, under the names of the OpenTelemetry conventions for MCP, in the Prometheus text form.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

/// Bucket borders in seconds: those the conventions advise, and finer ones below, where a gateway's own cost lies.
const BUCKETS: [f64; 17] = [
    0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0,
    300.0,
];

/// What one operation is counted under. Names come from the catalog only, so that a caller cannot make up new series.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Operation {
    pub(crate) mcp_method_name: String,
    pub(crate) server: String,
    pub(crate) gen_ai_tool_name: String,
    pub(crate) mcp_protocol_version: &'static str,
    pub(crate) error_type: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ServerLabel {
    server: String,
}

/// All that is counted.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    operations: Family<Operation, Histogram>,
    in_flight: Gauge,
    refused: Counter,
    up: Family<ServerLabel, Gauge>,
}

impl Default for Metrics {
    fn default() -> Self {
        let operations: Family<Operation, Histogram> =
            Family::new_with_constructor(|| Histogram::new(BUCKETS));
        let (in_flight, refused, up) = (Gauge::default(), Counter::default(), Family::default());
        let mut registry = Registry::default();
        let help = "Duration of MCP operations as the caller sees them";
        registry.register_with_unit(
            "mcp_server_operation_duration",
            help,
            Unit::Seconds,
            operations.clone(),
        );
        registry.register(
            "toolbus_calls_in_flight",
            "Calls under way",
            in_flight.clone(),
        );
        registry.register(
            "toolbus_requests_refused",
            "Requests refused before they became calls",
            refused.clone(),
        );
        registry.register(
            "toolbus_server_up",
            "1 where the server answered when last asked",
            up.clone(),
        );
        Self {
            registry,
            operations,
            in_flight,
            refused,
            up,
        }
    }
}

impl Metrics {
    /// The Prometheus text form.
    pub fn render(&self) -> String {
        let mut out = String::new();
        // Writing to a string cannot fail.
        let _ = encode(&mut out, &self.registry);
        out
    }

    /// Counts a request that a door refused.
    pub fn refused(&self) {
        self.refused.inc();
    }

    pub(crate) fn begin(&self) {
        self.in_flight.inc();
    }

    pub(crate) fn end(&self, operation: &Operation, took: Duration) {
        self.in_flight.dec();
        self.operations
            .get_or_create(operation)
            .observe(took.as_secs_f64());
    }

    pub(crate) fn server_is(&self, server: &str, up: bool) {
        self.up
            .get_or_create(&ServerLabel {
                server: server.to_owned(),
            })
            .set(i64::from(up));
    }

    pub(crate) fn server_is_gone(&self, server: &str) {
        self.up.remove(&ServerLabel {
            server: server.to_owned(),
        });
    }
}
