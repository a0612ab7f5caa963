//! The published subjects, from the gateway's side: plain foreign workers as tools, federated peers, and receipts.
//!
//! Whoever speaks there knows nothing else of Toolbus: a JSON-RPC request, and one plain reply.

mod descriptor;
mod discovery;
mod exchange;
pub mod federation;
mod foreign;
mod mailbox;
mod receipts;
mod register;
mod shelf;
mod spool;
mod wire;

use toolbus_protocol::urn::Urn;

use crate::subject;

pub use discovery::{DISCOVER_EVERY, GATHER};
pub use foreign::{Foreign, Settings};
pub use receipts::{Receipts, WhenFull};
pub use register::{Clearance, Entry, Standing};

/// How long a plain worker is waited for, where nothing else is configured.
pub const TIMEOUT: std::time::Duration = std::time::Duration::from_secs(30);

/// Where everything is under one prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    prefix: String,
}

impl Published {
    /// The subjects under a prefix, which is a single plain token such as `coreason`.
    pub fn new(prefix: &str) -> Result<Self, String> {
        // The same rule as for the prefix of the mesh.
        subject::Subjects::new(prefix, subject::NO_TENANT)?;
        Ok(Self {
            prefix: prefix.to_owned(),
        })
    }

    /// The prefix.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Where a capability is called.
    pub fn invoke(&self, urn: &Urn) -> String {
        format!("{}.tool.{}.invoke", self.prefix, urn.subject())
    }

    /// Where workers are asked what they serve.
    pub fn discover(&self) -> String {
        format!("{}.tool.discover", self.prefix)
    }

    /// Where workers say it unasked.
    pub fn update(&self) -> String {
        format!("{}.registry.update", self.prefix)
    }

    /// Where an instance is called by its peers.
    pub fn federation(&self, instance: &str) -> String {
        format!(
            "{}.federation.{}.invoke",
            self.prefix,
            instance.replace('.', "_")
        )
    }

    /// Where receipts go.
    pub fn audit(&self) -> String {
        format!("{}.federation.audit", self.prefix)
    }

    /// The stream that keeps them.
    pub fn audit_stream(&self) -> String {
        format!("{}-federation-audit", self.prefix)
    }

    /// The bucket that says what may be called.
    pub fn registry(&self) -> String {
        format!("{}-registry", self.prefix)
    }
}

#[cfg(test)]
mod tests;
