//! The revisions that a peer of the tests can speak, and what a client of each can declare.

use serde_json::{Value, json};

/// A revision, oldest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Revision {
    V2024_11_05,
    V2025_03_26,
    V2025_06_18,
    V2025_11_25,
    V2026_07_28,
}

impl Revision {
    pub fn name(self) -> &'static str {
        match self {
            Self::V2024_11_05 => "2024-11-05",
            Self::V2025_03_26 => "2025-03-26",
            Self::V2025_06_18 => "2025-06-18",
            Self::V2025_11_25 => "2025-11-25",
            Self::V2026_07_28 => "2026-07-28",
        }
    }

    /// Each request stands alone, and a server asks by `input_required`.
    pub fn is_modern(self) -> bool {
        self >= Self::V2026_07_28
    }

    /// Servers may ask the user with a form.
    pub fn has_forms(self) -> bool {
        self >= Self::V2025_06_18
    }

    /// Servers may ask the user to open a page.
    pub fn has_pages(self) -> bool {
        self >= Self::V2025_11_25
    }

    /// Results may hold an object beside their content.
    pub fn has_structure(self) -> bool {
        self >= Self::V2025_06_18
    }

    /// Event streams begin with an event that has nothing but an id, to come back to.
    pub fn has_priming(self) -> bool {
        self == Self::V2025_11_25
    }

    /// Everything that a client of this revision can declare.
    pub fn capabilities(self) -> Value {
        let mut capabilities = json!({ "sampling": {}, "roots": {} });
        if self.has_pages() {
            capabilities["elicitation"] = json!({ "form": {}, "url": {} });
        } else if self.has_forms() {
            capabilities["elicitation"] = json!({});
        }
        if self.is_modern() {
            capabilities["extensions"] = json!({ "io.modelcontextprotocol/tasks": {} });
        }
        capabilities
    }
}
