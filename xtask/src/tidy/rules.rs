//! The part of `deny.toml` that tidy holds; its meaning is cargo-deny's.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

/// The rules about crates.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Rules {
    pub(super) graph: GraphRules,
    pub(super) licenses: LicenceRules,
    pub(super) bans: BanRules,
    pub(super) sources: SourceRules,
}

#[derive(Deserialize)]
pub(super) struct GraphRules {
    /// The platforms whose dependencies count.
    pub(super) targets: Vec<String>,
}

#[derive(Deserialize)]
pub(super) struct LicenceRules {
    pub(super) allow: Vec<String>,
    #[serde(default)]
    pub(super) exceptions: Vec<LicenceException>,
}

/// Licences that one crate may have, and no other.
#[derive(Deserialize)]
pub(super) struct LicenceException {
    #[serde(rename = "crate")]
    pub(super) krate: String,
    pub(super) allow: Vec<String>,
}

#[derive(Deserialize)]
pub(super) struct BanRules {
    pub(super) skip: Vec<Skip>,
}

/// A version of a crate that may stand beside another one.
#[derive(Deserialize)]
pub(super) struct Skip {
    /// `name` or `name@version`.
    #[serde(rename = "crate")]
    pub(super) krate: String,
    pub(super) reason: Option<String>,
}

impl Skip {
    /// Whether this entry speaks of that crate.
    pub(super) fn names(&self, name: &str, version: &str) -> bool {
        match self.krate.split_once('@') {
            Some((skipped, exactly)) => skipped == name && exactly == version,
            None => self.krate == name,
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct SourceRules {
    pub(super) allow_registry: Vec<String>,
    pub(super) allow_git: Vec<String>,
}

impl Rules {
    /// Reads the file; a skipped crate without a reason is refused.
    pub(super) fn read(path: &Path) -> Result<Self> {
        let text =
            fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let rules: Self =
            toml::from_str(&text).with_context(|| format!("cannot parse {}", path.display()))?;
        let silent = |skip: &&Skip| skip.reason.as_deref().is_none_or(str::is_empty);
        if let Some(skip) = rules.bans.skip.iter().find(silent) {
            bail!("deny.toml: the skip of {} needs a `reason`", skip.krate);
        }
        Ok(rules)
    }
}
