//! What is noted of a call made through the capability API or for a federated peer.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use toolbus_model::{CallId, Error, Outcome};

/// Hex digits of ids and hashes in receipts.
const DIGITS: usize = 16;

/// One call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// 16 hex digits, no two alike.
    pub receipt_id: String,
    /// The agreement under which a peer called, or was called; empty without a peer.
    pub agreement_id: String,
    /// Who called: a gateway's instance name.
    pub source_instance: String,
    /// Who was called.
    pub destination_instance: String,
    /// What was called, as it was asked for where it is not known.
    pub urn: String,
    /// When it ended: ISO 8601, UTC.
    pub timestamp: String,
    /// How it ended.
    pub status: Status,
    /// The first 16 hex digits of the SHA-256 of the arguments' text as received.
    pub payload_hash: String,
    /// No check for the loss of data refused it. Toolbus has none of its own; a sandbox's may.
    pub dlp_passed: bool,
}

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Status {
    /// It has a result that is no failure of the tool.
    Success,
    /// Any other end.
    Failed,
}

/// Between whom a call is made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parties {
    /// The agreement; empty without a peer.
    pub agreement: String,
    /// The instance that calls.
    pub source: String,
    /// The instance that is called.
    pub destination: String,
}

impl Receipt {
    /// The receipt of a call that has just ended.
    pub fn of(parties: &Parties, urn: &str, payload: &[u8], status: Status) -> Self {
        // The last 16 hex digits of a UUIDv7 are random.
        let id = CallId::new().to_string().replace('-', "");
        Self {
            receipt_id: id[id.len() - DIGITS..].to_owned(),
            agreement_id: parties.agreement.clone(),
            source_instance: parties.source.clone(),
            destination_instance: parties.destination.clone(),
            urn: urn.to_owned(),
            timestamp: humantime::format_rfc3339_millis(SystemTime::now()).to_string(),
            status,
            payload_hash: payload_hash(payload),
            dlp_passed: true,
        }
    }
}

impl Status {
    /// What the end of a call is here.
    pub fn of(answer: &Result<Outcome, Error>) -> Self {
        match answer {
            Ok(outcome) if !outcome.is_tool_error() => Self::Success,
            _ => Self::Failed,
        }
    }
}

/// The first 16 hex digits of the SHA-256 of a payload.
pub fn payload_hash(payload: &[u8]) -> String {
    let digest = Sha256::digest(payload);
    let digits = digest.iter().take(DIGITS / 2);
    digits.map(|byte| format!("{byte:02x}")).collect()
}
