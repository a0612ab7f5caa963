//! `[capabilities]`, whose keys are settings and URNs, and `[federation]`.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use indexmap::IndexMap;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};

use super::values::{Secret, Span, Url};

/// `[capabilities]`
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Capabilities {
    /// Holds requests to the strict form of URNs, and their parameters to strict bounds.
    pub(crate) strict: bool,
    /// How long a call may take.
    pub(crate) timeout: Option<Span>,
    /// Addresses and networks of proxies whose `x-jwt-payload` counts.
    pub(crate) trusted_peers: Vec<String>,
    /// Where `/api/v1/auth/status` is asked.
    pub(crate) sidecar: Option<Url>,
    /// URNs that tools have.
    pub(crate) urns: IndexMap<String, Binding>,
}

/// `[capabilities."urn:..."]`
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Binding {
    /// The tool, as `server.tool`.
    pub(crate) tool: String,
}

/// `[federation]`
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Federation {
    /// What this gateway is called by its peers and in receipts. It is `toolbus` where it is not set.
    pub(crate) instance: Option<String>,
    /// The peers, by name. What is called there appears as the tools of a server of this name.
    pub(crate) peers: IndexMap<String, Peer>,
}

/// `[federation.peers.NAME]`
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Peer {
    /// What the peer calls itself. The section's name where it is not set.
    pub(crate) instance: Option<String>,
    /// The agreement's id, which both sides name.
    pub(crate) agreement: Secret,
    /// URNs that the peer may call here, where `*` stands for any text. None where it is not set.
    #[serde(default)]
    pub(crate) shares: Vec<String>,
    /// URNs that can be called at the peer.
    #[serde(default)]
    pub(crate) capabilities: Vec<String>,
    /// For which tenant the peer calls here.
    pub(crate) tenant: Option<String>,
}

/// How much a caller may know of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Clearance {
    /// What is public.
    Public,
    /// What is confidential, too.
    Confidential,
    /// Everything.
    Restricted,
}

const FIELDS: [&str; 4] = ["strict", "timeout", "trusted_peers", "sidecar"];

impl Capabilities {
    /// How long a call may take.
    pub(crate) fn limit(&self) -> Duration {
        let limit = self.timeout.and_then(Span::limit);
        limit.unwrap_or(toolbus_doors::capability::TIMEOUT)
    }
}

enum Key {
    Strict,
    Timeout,
    TrustedPeers,
    Sidecar,
    Urn(String),
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let key = String::deserialize(deserializer)?;
        match key.as_str() {
            "strict" => Ok(Self::Strict),
            "timeout" => Ok(Self::Timeout),
            "trusted_peers" => Ok(Self::TrustedPeers),
            "sidecar" => Ok(Self::Sidecar),
            urn if urn.starts_with("urn:") => Ok(Self::Urn(key)),
            _ => Err(D::Error::unknown_field(&key, &FIELDS)),
        }
    }
}

struct Keys;

impl<'de> Visitor<'de> for Keys {
    type Value = Capabilities;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the section [capabilities]")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Capabilities, A::Error> {
        let mut read = Capabilities::default();
        while let Some(key) = map.next_key()? {
            match key {
                Key::Strict => read.strict = map.next_value()?,
                Key::Timeout => read.timeout = Some(map.next_value()?),
                Key::TrustedPeers => read.trusted_peers = map.next_value()?,
                Key::Sidecar => read.sidecar = Some(map.next_value()?),
                Key::Urn(urn) => drop(read.urns.insert(urn, map.next_value()?)),
            }
        }
        Ok(read)
    }
}

impl<'de> Deserialize<'de> for Capabilities {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Keys)
    }
}

impl JsonSchema for Capabilities {
    fn schema_name() -> Cow<'static, str> {
        "Capabilities".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let (span, url) = (
            generator.subschema_for::<Span>(),
            generator.subschema_for::<Url>(),
        );
        let binding = generator.subschema_for::<Binding>();
        json_schema!({
            "description": "`[capabilities]`",
            "type": "object",
            "properties": {
                "strict": {
                    "description": "Holds requests to the strict form of URNs, and their parameters to 10,000 values, depth 10 and strings of 10,000 characters.",
                    "type": "boolean",
                    "default": false,
                },
                "timeout": {"description": "How long a call of the capability API may take. 30s where it is not set.", "allOf": [span]},
                "trusted_peers": {
                    "description": "Addresses and networks of proxies whose x-jwt-payload counts.",
                    "type": "array",
                    "items": {"type": "string"},
                    "default": [],
                },
                "sidecar": {"description": "Where /api/v1/auth/status is asked. PYTHON_SIDECAR_URL, or http://localhost:8000, where it is not set.", "allOf": [url]},
            },
            "patternProperties": {"^urn:": binding},
            "additionalProperties": false,
        })
    }
}
