//! What a request asks for, in MCP's words.

/// A request's method. What a gateway must understand has a variant; everything else passes as [`Method::Other`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Method {
    /// Runs a tool.
    ToolsCall,
    /// Lists tools.
    ToolsList,
    /// Expands a prompt.
    PromptsGet,
    /// Lists prompts.
    PromptsList,
    /// Reads a resource.
    ResourcesRead,
    /// Lists resources.
    ResourcesList,
    /// Lists resource templates.
    TemplatesList,
    /// Completes an argument of a prompt or of a resource template.
    Complete,
    /// Asks what a server offers (2026-07-28).
    Discover,
    /// Any other method, by its name.
    Other(Box<str>),
}

impl Method {
    /// The method of this name.
    pub fn parse(name: &str) -> Self {
        match name {
            "tools/call" => Self::ToolsCall,
            "tools/list" => Self::ToolsList,
            "prompts/get" => Self::PromptsGet,
            "prompts/list" => Self::PromptsList,
            "resources/read" => Self::ResourcesRead,
            "resources/list" => Self::ResourcesList,
            "resources/templates/list" => Self::TemplatesList,
            "completion/complete" => Self::Complete,
            "server/discover" => Self::Discover,
            other => Self::Other(other.into()),
        }
    }

    /// The method's name.
    pub fn as_str(&self) -> &str {
        match self {
            Self::ToolsCall => "tools/call",
            Self::ToolsList => "tools/list",
            Self::PromptsGet => "prompts/get",
            Self::PromptsList => "prompts/list",
            Self::ResourcesRead => "resources/read",
            Self::ResourcesList => "resources/list",
            Self::TemplatesList => "resources/templates/list",
            Self::Complete => "completion/complete",
            Self::Discover => "server/discover",
            Self::Other(name) => name,
        }
    }

    /// The member of `params` that names what the request is for.
    pub fn target_member(&self) -> Option<&'static str> {
        match self {
            Self::ToolsCall | Self::PromptsGet => Some("name"),
            Self::ResourcesRead => Some("uri"),
            _ => None,
        }
    }
}
