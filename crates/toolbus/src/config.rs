//! Configuration: one file, told once. Each section's type stands in a file of its own; here they are only put together.

mod capabilities;
mod clients;
mod content;
mod edits;
mod embedded;
mod load;
mod mesh;
mod runner;
mod script;
mod sections;
mod values;
mod warm;

pub(crate) use capabilities::{Capabilities, Clearance, Federation, Peer};
pub(crate) use embedded::Embedded;
pub(crate) use load::{Problem, Source, check, find, load, parse};
pub(crate) use mesh::{Mesh, ServerKind, Urls};
pub(crate) use sections::{Audit, Caller, Gateway, Http, Server, Sessions, Start, Stdio};
pub(crate) use values::{Secret, Span, Url};

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::Deserialize;

/// The configuration of Toolbus.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(title = "toolbus.toml")]
pub(crate) struct Config {
    /// The listener and what is common to all servers.
    pub(crate) gateway: Gateway,
    /// Who may call, by name. Without any, one local caller may use everything.
    pub(crate) callers: IndexMap<String, Caller>,
    /// Where records of calls go.
    pub(crate) audit: Audit,
    /// The capability API: its settings, and the URNs of tools.
    pub(crate) capabilities: Capabilities,
    /// Gateways of others, which call here and are called.
    pub(crate) federation: Federation,
    /// The mesh: servers that other processes and machines bring.
    pub(crate) mesh: Mesh,
    /// The servers, by name. Their order decides who holds a name that two of them use.
    pub(crate) servers: IndexMap<String, Server>,
}

/// The JSON Schema of the configuration, as text.
pub(crate) fn schema() -> String {
    let schema = schemars::schema_for!(Config);
    serde_json::to_string_pretty(&schema).unwrap_or_default()
}

#[cfg(test)]
mod tests;
