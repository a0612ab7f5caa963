//! What a back end has to offer: its lists, its capabilities, and how it is.

use std::sync::Arc;

use crate::{Error, Object, Raw};

/// One entry of a list: a tool, prompt, resource or template.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// Its name; of resources and templates the URI.
    pub key: Arc<str>,
    /// Its definition, exactly as the server wrote it.
    pub definition: Object,
}

/// How a back end is.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Health {
    /// Not asked yet.
    #[default]
    Starting,
    /// Not running; what it offered last is known, and the first call starts it.
    Resting,
    /// It answered.
    Up,
    /// It is not to be had, and why.
    Down(Error),
}

/// How long what was listed may be kept, and by whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Freshness {
    /// Milliseconds.
    pub ttl_ms: u64,
    /// The lists are the same for every caller.
    pub shared: bool,
}

impl Default for Freshness {
    /// For servers that do not say: their lists are the same for all, and they are listed again after ten seconds.
    fn default() -> Self {
        Self {
            ttl_ms: 10_000,
            shared: true,
        }
    }
}

/// How often each list was said to have changed. A server may say so although the list reads the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Changes {
    /// Of its tools.
    pub tools: u64,
    /// Of its prompts.
    pub prompts: u64,
    /// Of its resources and templates.
    pub resources: u64,
}

/// Everything a back end offers at one moment.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Offer {
    /// Tools, in the server's order.
    pub tools: Vec<Item>,
    /// Prompts, in the server's order.
    pub prompts: Vec<Item>,
    /// Resources, in the server's order.
    pub resources: Vec<Item>,
    /// Resource templates, in the server's order.
    pub templates: Vec<Item>,
    /// The server's capabilities object.
    pub capabilities: Option<Object>,
    /// The server's own description of itself (`serverInfo`).
    pub info: Option<Raw>,
    /// What it tells a model about its use.
    pub instructions: Option<String>,
    /// The revision it speaks with us, as a date.
    pub revision: Option<&'static str>,
    /// How long the lists may be kept.
    pub freshness: Freshness,
    /// How often each list changed.
    pub changes: Changes,
    /// How it is.
    pub health: Health,
    /// What is wrong although it works, such as a new index that is not used because it cannot be read.
    pub trouble: Option<Arc<str>>,
}

impl Offer {
    /// Nobody has to wait to learn what there is: the back end answered or failed, or its lists are known from before.
    pub fn is_settled(&self) -> bool {
        self.health != Health::Starting || self.capabilities.is_some()
    }

    /// This offer without its lists.
    #[must_use]
    pub fn without_lists(&self) -> Self {
        Self {
            capabilities: self.capabilities.clone(),
            info: self.info.clone(),
            revision: self.revision,
            freshness: self.freshness,
            changes: self.changes,
            health: self.health.clone(),
            trouble: self.trouble.clone(),
            ..Self::default()
        }
    }
}
