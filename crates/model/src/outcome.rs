//! How a request ended well: MCP's kinds of result, each around its raw bytes.

use crate::Object;

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
}
