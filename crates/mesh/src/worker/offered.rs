//! What a worker offers now, and the tokens by which it is found.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use toolbus_model::{Method, Object, ServerName};

use super::service::Counters;
use crate::subject::{self, Work};

/// One tool of a worker.
#[derive(Debug)]
pub(super) struct Tool {
    /// Which of the worker's servers it is of.
    pub(super) server: usize,
    pub(super) name: Arc<str>,
    /// The token of `server.tool`.
    pub(super) token: String,
    /// The version: of its definition.
    pub(super) digest: String,
    pub(super) definition: Object,
    pub(super) counters: Counters,
}

/// All that a worker offers at one moment.
#[derive(Debug, Default)]
pub(super) struct Offered {
    /// In the order of the servers and their lists.
    pub(super) tools: Vec<Arc<Tool>>,
    /// The servers that are to be had, by their places.
    pub(super) servers: Vec<usize>,
    /// The digest of the worker's record.
    pub(super) digest: String,
    by_token: HashMap<String, usize>,
}

/// Where it can be looked up.
#[derive(Debug, Default)]
pub(super) struct Shelf(RwLock<Arc<Offered>>);

/// What a token stands for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Meant {
    /// A tool of a server.
    Tool(usize, Option<Arc<str>>),
    /// A method of a server.
    Method(usize, String),
}

impl Shelf {
    pub(super) fn get(&self) -> Arc<Offered> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn set(&self, offered: Arc<Offered>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = offered;
    }
}

impl Offered {
    pub(super) fn new(tools: Vec<Arc<Tool>>, servers: Vec<usize>, digest: String) -> Self {
        let by_token = tools.iter().enumerate();
        let by_token = by_token.map(|(place, tool)| (tool.token.clone(), place));
        Self {
            by_token: by_token.collect(),
            tools,
            servers,
            digest,
        }
    }

    /// The tool of this token.
    pub(super) fn tool(&self, token: &str) -> Option<&Arc<Tool>> {
        self.by_token.get(token).map(|place| &self.tools[*place])
    }
}

/// What the token of a worker's own subject stands for, where it is none of a tool that is offered: a method, or a tool
/// that is not listed. `None` where it is of no server here, or where it does not fit what is asked.
pub(super) fn meant<'s>(
    token: &str,
    servers: impl Iterator<Item = &'s ServerName>,
    asked: (&Method, Option<&str>),
) -> Result<Option<Meant>, String> {
    let name = subject::name(token)?;
    let mut servers = servers.enumerate();
    let Some(name) = name else {
        // A hash is compared with what is asked of each server.
        let (method, target) = asked;
        let of = |server| Work::of(server, method, target);
        let found = servers.find(|(_, server)| of(server).token() == token);
        return Ok(found.map(|(place, _)| match (method, target) {
            (Method::ToolsCall, Some(tool)) => Meant::Tool(place, Some(tool.into())),
            (method, _) => Meant::Method(place, method.as_str().to_owned()),
        }));
    };
    let Some(border) = name.find(['.', '/']) else {
        return Ok(None);
    };
    let (server, rest) = (&name[..border], &name[border + 1..]);
    let found = servers.find(|(_, known)| known.as_str() == server);
    Ok(found.map(|(place, _)| match name.as_bytes()[border] {
        b'.' => Meant::Tool(place, Some(rest.into())),
        _ => Meant::Method(place, rest.to_owned()),
    }))
}
