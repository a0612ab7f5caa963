//! `params._meta` of 2026-07-28: the keys by which every request stands on its own (basic/index, "Request metadata").

use toolbus_model::{Error, LogLevel, Object, Raw, Revision};

/// The revision the request is written in.
pub const VERSION: &str = "io.modelcontextprotocol/protocolVersion";
/// What the client can do, for this request.
pub const CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
/// Who the client is.
pub const CLIENT: &str = "io.modelcontextprotocol/clientInfo";
/// The lowest level of log lines that the client wants.
pub const LOG_LEVEL: &str = "io.modelcontextprotocol/logLevel";
/// Who the server is; on results.
pub const SERVER: &str = "io.modelcontextprotocol/serverInfo";
/// Which listening stream a notification belongs to.
pub const SUBSCRIPTION: &str = "io.modelcontextprotocol/subscriptionId";
/// The client's token for progress, of every revision.
pub const PROGRESS: &str = "progressToken";

/// The keys that a hop writes anew; all others are carried.
pub const OWN_KEYS: [&str; 5] = [VERSION, CAPABILITIES, CLIENT, LOG_LEVEL, PROGRESS];

/// What a modern request says of itself.
#[derive(Debug, Clone)]
pub struct Modern {
    /// The revision named, whether known or not.
    pub version: String,
    /// The client's capabilities.
    pub capabilities: Raw,
    /// The client's description of itself.
    pub client: Option<Raw>,
}

impl Modern {
    /// Reads the required keys.
    pub fn read(meta: &Object) -> Result<Self, Error> {
        let missing = |key: &str| {
            Error::InvalidParams(format!(
                "Invalid params: _meta[{key:?}] is missing or not of its type"
            ))
        };
        if let Some(name) = meta.duplicate(&OWN_KEYS) {
            return Err(Error::InvalidParams(format!(
                "Invalid params: _meta[{name:?}] stands twice"
            )));
        }
        let version = meta
            .str(VERSION)
            .ok_or_else(|| missing(VERSION))?
            .into_owned();
        let capabilities = meta
            .raw(CAPABILITIES)
            .ok_or_else(|| missing(CAPABILITIES))?;
        if capabilities.bytes().first() != Some(&b'{') {
            return Err(missing(CAPABILITIES));
        }
        Ok(Self {
            version,
            capabilities,
            client: meta.raw(CLIENT),
        })
    }

    /// The revision, where it is one of the modern era that we speak.
    pub fn revision(&self) -> Result<Revision, Error> {
        match Revision::parse(&self.version) {
            Some(revision @ Revision::V2026_07_28) => Ok(revision),
            _ => Err(Error::UnsupportedVersion {
                requested: self.version.clone(),
                supported: vec![Revision::V2026_07_28.as_str()],
            }),
        }
    }
}

/// The log level asked for in `_meta`.
pub fn log_level(meta: &Object) -> Result<Option<LogLevel>, Error> {
    let Some(value) = meta.raw(LOG_LEVEL) else {
        return Ok(None);
    };
    match value.as_str().and_then(|name| LogLevel::parse(&name)) {
        Some(level) => Ok(Some(level)),
        None => Err(Error::InvalidParams(format!(
            "Invalid params: unknown log level {value:?}"
        ))),
    }
}

/// The progress token asked for in `_meta`: a string or an integer.
pub fn progress_token(meta: &Object) -> Result<Option<Raw>, Error> {
    let Some(value) = meta.raw(PROGRESS) else {
        return Ok(None);
    };
    let fits = value
        .bytes()
        .first()
        .is_some_and(|byte| matches!(byte, b'"' | b'-' | b'0'..=b'9'));
    if fits {
        Ok(Some(value))
    } else {
        Err(Error::InvalidParams(
            "Invalid params: _meta.progressToken must be a string or an integer".to_owned(),
        ))
    }
}
