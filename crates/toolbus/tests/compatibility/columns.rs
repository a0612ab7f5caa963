//! The pairs of a client and a server, each with processes of its own.

use std::process::Stdio;

use serde_json::Value;
use tempfile::TempDir;

use crate::peer::{Client, Revision, Way};
use crate::support::upstream::{Era, Upstream};
use crate::support::{Gateway, command, text};

/// How the client reaches the gateway.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Door {
    Http,
    Stdio,
}

/// How the gateway reaches the server.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Link {
    Http,
    Stdio,
}

/// One client and one server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Column {
    pub(crate) client: Revision,
    pub(crate) door: Door,
    pub(crate) server: Era,
    pub(crate) link: Link,
}

const CLIENTS: [Revision; 5] = [
    Revision::V2026_07_28,
    Revision::V2025_11_25,
    Revision::V2025_06_18,
    Revision::V2025_03_26,
    Revision::V2024_11_05,
];

impl Column {
    /// Every client over HTTP with every server; on stdio the newest of each era, with those servers that have the most.
    pub(crate) fn all() -> Vec<Self> {
        let mut all = Vec::new();
        for server in [Era::Modern, Era::Legacy, Era::Oldest] {
            for link in [Link::Http, Link::Stdio] {
                let column = |client, door| Self {
                    client,
                    door,
                    server,
                    link,
                };
                all.extend(CLIENTS.map(|client| column(client, Door::Http)));
                if server != Era::Oldest {
                    all.extend([CLIENTS[0], CLIENTS[1]].map(|client| column(client, Door::Stdio)));
                }
            }
        }
        all
    }

    /// What tells this column from the others of its client and its server's era.
    pub(crate) fn place(self) -> &'static str {
        match (self.door, self.link) {
            (Door::Http, Link::Http) => "server on HTTP",
            (Door::Http, Link::Stdio) => "server on stdio",
            (Door::Stdio, Link::Http) => "client on stdio, server on HTTP",
            (Door::Stdio, Link::Stdio) => "both on stdio",
        }
    }
}

/// The processes of a column.
pub(crate) struct Place {
    column: Column,
    config: String,
    gateway: Option<Gateway>,
    folder: TempDir,
    _server: Option<Upstream>,
}

impl Place {
    pub(crate) fn new(column: Column) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        // A server on stdio can be several processes, of which one is ended after a cancellation.
        let counted = text(&folder.path().join("cancellations"));
        let counted = ["--cancellations", &counted];
        let over_http = || Upstream::start_with(column.server, &counted);
        let server = (column.link == Link::Http).then(over_http);
        let config = match &server {
            Some(server) => format!("[servers.fx.http]\nurl = {:?}\n", server.url()),
            None => {
                let era = ["stdio", "--era", column.server.name()];
                Gateway::server("fx", "fixture", &[&era[..], &counted[..]].concat())
            }
        };
        let gateway = (column.door == Door::Http).then(|| Gateway::start(&config));
        Self {
            column,
            config,
            gateway,
            folder,
            _server: server,
        }
    }

    /// A new client of this column, which declares these capabilities.
    pub(crate) fn client(&self, capabilities: Value) -> Result<Client, String> {
        let revision = self.column.client;
        let way = match &self.gateway {
            Some(gateway) if revision == Revision::V2024_11_05 => Way::Sse(gateway.address),
            Some(gateway) => Way::Http(gateway.address, "/mcp".to_owned()),
            None => self.on_stdio(),
        };
        Client::connect(way, revision, capabilities)
    }

    fn on_stdio(&self) -> Way {
        let file = self.folder.path().join("toolbus.toml");
        std::fs::write(&file, &self.config).expect("written");
        let log = std::fs::File::create(self.folder.path().join("log")).expect("a log");
        let mut command = command(self.folder.path());
        command.arg("stdio").arg(file).stderr(Stdio::from(log));
        Way::Stdio(command)
    }
}
