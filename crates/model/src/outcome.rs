//! How a request ended well: MCP's kinds of result, each around its raw bytes.

use crate::Object;

/// The member of a result's `_meta` that says what of a tool call did not fit the tool's schemas.
pub const INVALID: &str = "toolbus/invalid";

/// What of a tool call did not fit the tool's schemas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Invalid {
    /// What the caller sent. Nothing was started.
    Arguments,
    /// What the tool answered.
    Result,
}

/// A result. What it holds is the result object as the back end wrote it.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// The work is done. A tool that failed is done too, and says so in `isError`.
    Complete(Object),
    /// The work needs answers from the caller, who then asks again with them.
    InputRequired(Object),
    /// The work goes on as a task; only for callers that declared the tasks extension.
    Task(Object),
    /// A kind of result that an extension defines; only for callers that declared the extension.
    Extended(Object),
}

impl Outcome {
    /// The result object.
    pub fn object(&self) -> &Object {
        match self {
            Self::Complete(object)
            | Self::InputRequired(object)
            | Self::Task(object)
            | Self::Extended(object) => object,
        }
    }

    /// The tool ran and reported its own failure.
    pub fn is_tool_error(&self) -> bool {
        matches!(self, Self::Complete(object) if object.get("isError") == Some(b"true"))
    }

    /// What of the call did not fit the tool's schemas, where that is why it failed.
    pub fn invalid(&self) -> Option<Invalid> {
        if !self.is_tool_error() {
            return None;
        }
        let meta = self.object().object("_meta")?.ok()?;
        let invalid = meta.object(INVALID)?.ok()?;
        match &*invalid.str("part")? {
            "arguments" => Some(Invalid::Arguments),
            "result" => Some(Invalid::Result),
            _ => None,
        }
    }
}
