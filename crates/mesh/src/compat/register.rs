//! What the registry says of a capability: who may know of it, and whether it may be called.

use serde::{Deserialize, Serialize};
use toolbus_model::Object;
use toolbus_protocol::urn::Urn;

/// How much a caller must be cleared for. What nothing is said of is restricted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Clearance {
    /// Anybody.
    Public,
    /// Some.
    Confidential,
    /// Few.
    #[default]
    Restricted,
}

/// How well a capability is established.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[expect(missing_docs, reason = "the names are those of the published registry")]
pub enum Standing {
    #[default]
    Draft,
    SrbApproved,
    ClientApproved,
    Published,
    Deprecated,
    Quarantined,
    Retracted,
}

impl Standing {
    /// Nobody may call it.
    pub fn is_blocked(self) -> bool {
        matches!(self, Self::Quarantined | Self::Retracted)
    }
}

/// An entry of the registry.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Entry {
    /// Who may know of it.
    pub clearance: Clearance,
    /// Whether it may be called.
    pub epistemic_status: Standing,
    /// What is known of it besides.
    pub capability_metadata: serde_json::Map<String, serde_json::Value>,
    /// The digest of its content, where whoever registered it gave one.
    pub content_hash: String,
}

impl Entry {
    /// Reads an entry. One that cannot be read blocks its capability: what it says may be that.
    pub fn read(value: &[u8]) -> Self {
        serde_json::from_slice(value).unwrap_or_else(|error| {
            tracing::warn!(
                "an entry of the registry cannot be read, and its capability is not called: {error}"
            );
            Self {
                epistemic_status: Standing::Quarantined,
                ..Self::default()
            }
        })
    }

    /// The description that it holds, of the capability that its key stands for.
    pub(super) fn description(&self, key: &str) -> Option<(Urn, Object)> {
        let metadata = &self.capability_metadata;
        let named = ["name", "urn"]
            .into_iter()
            .filter_map(|member| metadata.get(member)?.as_str());
        let urn = named
            .filter_map(|name| Urn::parse(name).ok())
            .find(|urn| urn.subject() == key)?;
        Some((urn, Object::of(metadata)))
    }
}
