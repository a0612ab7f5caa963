//! `[mesh]`: where tools of other processes and machines come from, and where ours go.

use std::path::PathBuf;
use std::time::Duration;

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::Deserialize;
use toolbus_mesh::caller;
use toolbus_mesh::frame::Start;
use toolbus_mesh::subject::{NO_TENANT, Subjects};

use super::values::{Secret, Span};

/// `[mesh]`
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Mesh {
    /// The NATS server, or several of one cluster: `nats://host:port` or `tls://host:port`. Where it is not set,
    /// `NATS_URL` counts, and then `server`.
    pub(crate) url: Option<Urls>,
    /// What to use where no URL is known.
    pub(crate) server: ServerKind,
    /// What all subjects and buckets begin with. All of one mesh have the same.
    pub(crate) prefix: String,
    /// The tenant, where several share a NATS account. All of one tenant have the same.
    pub(crate) tenant: String,
    /// The token of a NATS server that asks for one.
    pub(crate) token: Option<Secret>,
    /// The user, together with `password`.
    pub(crate) user: Option<String>,
    /// The user's password.
    pub(crate) password: Option<Secret>,
    /// The seed of an NKEY (`SU...`). A `file:` is read anew for each connection.
    pub(crate) nkey: Option<Secret>,
    /// A `.creds` file, which holds a JWT and a seed. It is read anew for each connection.
    pub(crate) credentials: Option<PathBuf>,
    /// What inboxes begin with, where the user's permissions name it. `_INBOX` where it is not set.
    pub(crate) inbox_prefix: Option<String>,
    /// What TLS needs beyond the system's certificates.
    pub(crate) tls: MeshTls,
    /// How the worker of a call is chosen.
    pub(crate) routing: Routing,
    /// How long tools stay listed after the last worker that has them left. 30s where it is not set.
    pub(crate) grace: Option<Span>,
    /// The seed of an Ed25519 key with which callers are vouched for to workers: 32 bytes in base64.
    pub(crate) caller_key: Option<Secret>,
    /// The prefix of the plain subjects on which foreign workers and callers are reached, such as `coreason`. Off where it
    /// is not set.
    pub(crate) compat: Option<String>,
    /// How single tools are treated, as `server.tool`.
    pub(crate) tools: IndexMap<String, MeshTool>,
}

/// `[mesh.tools."SERVER.TOOL"]`
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct MeshTool {
    /// When a call begins, whatever the tool's annotations say.
    pub(crate) start: CallStart,
}

/// When a call of a tool begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum CallStart {
    /// At once: it may run again where its worker falls silent.
    Direct,
    /// When one worker has been told to, so that it never runs twice.
    Claim,
}

/// One URL or several.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum Urls {
    /// One, or several with commas between them.
    One(String),
    /// Several.
    Many(Vec<String>),
}

/// What to use where no URL is known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ServerKind {
    /// A nats-server of this machine, as with `managed`, where there is one; else within the process.
    #[default]
    Auto,
    /// The nats-server that a Toolbus of this user runs already, or else one that this one runs.
    Managed,
    /// Within the process: no other process takes part.
    InProcess,
    /// No mesh.
    None,
}

/// How the worker of a call is chosen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Routing {
    /// The less busy of two random ones.
    #[default]
    Load,
    /// By NATS: any of the queue group.
    Queue,
}

/// `[mesh.tls]`
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct MeshTls {
    /// Certificates that may vouch for the server, as a PEM file. The system's where it is not set.
    pub(crate) ca: Option<PathBuf>,
    /// Our own certificate, as a PEM file, for servers that ask for one.
    pub(crate) cert: Option<PathBuf>,
    /// The key of `cert`.
    pub(crate) key: Option<PathBuf>,
    /// The server speaks TLS from the first byte on (`handshake_first`).
    pub(crate) first: bool,
}

impl Default for Mesh {
    fn default() -> Self {
        Self {
            url: None,
            server: ServerKind::Auto,
            prefix: "toolbus".to_owned(),
            tenant: NO_TENANT.to_owned(),
            token: None,
            user: None,
            password: None,
            nkey: None,
            credentials: None,
            inbox_prefix: None,
            tls: MeshTls::default(),
            routing: Routing::Load,
            grace: None,
            caller_key: None,
            compat: None,
            tools: IndexMap::new(),
        }
    }
}

impl Urls {
    /// Each of them.
    pub(crate) fn list(&self) -> Vec<String> {
        match self {
            Self::One(text) => split(text),
            Self::Many(texts) => texts.iter().flat_map(|text| split(text)).collect(),
        }
    }
}

fn split(text: &str) -> Vec<String> {
    let urls = text.split(',').map(str::trim);
    urls.filter(|url| !url.is_empty())
        .map(str::to_owned)
        .collect()
}

impl Mesh {
    /// How long tools stay listed after their last worker left.
    pub(crate) fn grace(&self) -> Duration {
        self.grace.map_or(Duration::from_secs(30), |grace| grace.0)
    }

    /// How a gateway uses the mesh.
    pub(crate) fn calls(&self) -> Result<caller::Settings, String> {
        let start = |tool: &MeshTool| match tool.start {
            CallStart::Direct => Start::Direct,
            CallStart::Claim => Start::Claim,
        };
        let starts = self.tools.iter();
        let key = self.caller_key.as_ref().map(|key| {
            let signing = key
                .reveal()
                .and_then(|text| caller::SigningKey::parse(&text));
            signing.map_err(|error| format!("[mesh] caller_key: {error}"))
        });
        Ok(caller::Settings {
            routing: match self.routing {
                Routing::Load => caller::Routing::Load,
                Routing::Queue => caller::Routing::Queue,
            },
            starts: starts
                .map(|(name, tool)| (name.clone(), start(tool)))
                .collect(),
            grace: self.grace(),
            signing_key: key.transpose()?,
            ..caller::Settings::default()
        })
    }

    /// The subjects of this mesh and tenant.
    pub(crate) fn subjects(&self) -> Result<Subjects, String> {
        Subjects::new(&self.prefix, &self.tenant).map_err(|error| format!("[mesh] {error}"))
    }

    /// What the types cannot say.
    pub(super) fn check(&self) -> Result<(), String> {
        let wrong = |why: &str| Err(format!("[mesh] {why}"));
        self.subjects()?;
        match &self.url {
            Some(url) if url.list().is_empty() => return wrong("url: it is empty"),
            Some(_) if self.server != ServerKind::Auto => {
                return wrong("has a `url` and a `server`: keep one of them");
            }
            _ => {}
        }
        let identities = [
            self.token.is_some(),
            self.user.is_some(),
            self.nkey.is_some(),
            self.credentials.is_some(),
        ];
        if identities.into_iter().filter(|is_set| *is_set).count() > 1 {
            return wrong(
                "names more than one identity: keep one of `token`, `user`, `nkey` and `credentials`",
            );
        }
        if self.user.is_some() != self.password.is_some() {
            return wrong("needs both of `user` and `password`, or neither");
        }
        if self.tls.cert.is_some() != self.tls.key.is_some() {
            return wrong("tls needs both of `cert` and `key`, or neither");
        }
        if let Some(name) = self.tools.keys().find(|name| !name.contains('.')) {
            return wrong(&format!("tools.{name:?}: name it as \"server.tool\""));
        }
        if let Some(compat) = &self.compat {
            Subjects::new(compat, NO_TENANT).map_err(|error| format!("[mesh] compat: {error}"))?;
        }
        Ok(())
    }
}
