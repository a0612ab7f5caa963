//! Who serves a request, and under which name.

use std::sync::Arc;

use toolbus_model::json::{Edit, write_string};
use toolbus_model::{CallSeed, Error, Kind, Method, Object, Raw, Request, ServerName};

use crate::capability;
use crate::catalog::{self, Entry, Shelf, View};
use crate::deadline::OwnWord;
use crate::sealed::Key;
use crate::tickets;

/// The member of `_meta` that names the server for a method that nothing else does.
const SERVER: &str = "toolbus/server";

/// Where a request goes.
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) server: ServerName,
    /// What policies and records know it by: the server's own name for it, or the method where it has none.
    pub(crate) original: Arc<str>,
    /// The caller's id of the task that it is about.
    pub(crate) task: Option<Raw>,
    /// What the tool says about its time.
    pub(crate) time: OwnWord,
}

impl Route {
    fn to(server: &ServerName, original: Arc<str>) -> Self {
        Self {
            server: server.clone(),
            original,
            task: None,
            time: OwnWord::default(),
        }
    }
}

/// Finds the server and gives the request the names that this server knows.
pub(crate) fn find(
    view: &View,
    key: &Key,
    seed: &CallSeed,
    request: &mut Request,
) -> Result<Route, Error> {
    let missing = |request: &Request| not_found(&request.method, asked(request));
    match &request.method {
        Method::ToolsCall | Method::PromptsGet => {
            let shelf = if request.method == Method::ToolsCall {
                Shelf::Tools
            } else {
                Shelf::Prompts
            };
            let entry = view
                .find(shelf, asked(request))
                .ok_or_else(|| missing(request))?;
            request.target = Some(Arc::clone(&entry.original));
            Ok(Route {
                time: entry.time,
                ..Route::to(&entry.server, Arc::clone(&entry.original))
            })
        }
        Method::ResourcesRead => {
            let server = view
                .resource_owner(asked(request))
                .ok_or_else(|| missing(request))?;
            Ok(Route::to(server, asked(request).into()))
        }
        Method::Complete => {
            let target =
                catalog::completion_target(&request.params).ok_or_else(|| missing(request))?;
            let entry = view
                .find(target.0, &target.1)
                .ok_or_else(|| missing(request))?;
            rename_reference(&mut request.params, target.0, entry);
            Ok(Route::to(&entry.server, Arc::clone(&entry.original)))
        }
        Method::Other(name) if is_about_task(name) => about_task(view, key, seed, request),
        Method::Other(name) => {
            let name: Arc<str> = name.as_ref().into();
            let server = named_server(view, request)?;
            Ok(Route::to(server, name))
        }
        Method::ToolsList
        | Method::PromptsList
        | Method::ResourcesList
        | Method::TemplatesList
        | Method::Discover => Err(Error::MethodNotFound(request.method.as_str().to_owned())),
    }
}

/// The methods of the tasks extension, each of which names one task (SEP-2663).
pub(crate) fn is_about_task(method: &str) -> bool {
    matches!(method, "tasks/get" | "tasks/update" | "tasks/cancel")
}

fn about_task(
    view: &View,
    key: &Key,
    seed: &CallSeed,
    request: &mut Request,
) -> Result<Route, Error> {
    capability::require_tasks(&seed.capabilities)?;
    let id = request.params.str("taskId").ok_or_else(|| {
        Error::InvalidParams("Invalid params: \"taskId\" must be a string".to_owned())
    })?;
    let (server, own) = tickets::task(key, &seed.caller, &id)?;
    if !view.servers().contains(&server) {
        return Err(Error::Unknown {
            kind: Kind::Task,
            name: id.into_owned(),
        });
    }
    let task = tickets::rename_task(request, &own);
    Ok(Route {
        server,
        original: request.method.as_str().into(),
        task,
        time: OwnWord::default(),
    })
}

/// The one server that a request of an unknown method names: in `_meta`, by a resource, or because there is no other.
fn named_server<'v>(view: &'v View, request: &Request) -> Result<&'v ServerName, Error> {
    let servers = view.servers();
    if let Some(name) = request.meta.str(SERVER) {
        let named = servers.iter().find(|server| server.as_str() == name);
        return named.ok_or_else(|| Error::Unknown {
            kind: Kind::Server,
            name: name.into_owned(),
        });
    }
    let by_uri = || {
        let uri = request.params.str("uri")?;
        view.resource_owner(&uri)
    };
    match servers {
        [only] => Ok(only),
        _ => by_uri().ok_or_else(|| Error::MethodNotFound(request.method.as_str().to_owned())),
    }
}

fn asked(request: &Request) -> &str {
    request.target.as_deref().unwrap_or_default()
}

/// The answer for what is not there, which is also the answer for what this caller may not see.
pub(crate) fn not_found(method: &Method, name: &str) -> Error {
    let kind = match method {
        Method::Complete => {
            return Error::InvalidParams(
                "Invalid params: \"ref\" names no prompt or template".to_owned(),
            );
        }
        Method::Other(method) => return Error::MethodNotFound(method.to_string()),
        Method::PromptsGet => Kind::Prompt,
        Method::ResourcesRead => Kind::Resource,
        _ => Kind::Tool,
    };
    Error::Unknown {
        kind,
        name: name.to_owned(),
    }
}

/// Gives a completion's `ref` the name that the server uses.
fn rename_reference(params: &mut Object, shelf: Shelf, entry: &Entry) {
    if shelf != Shelf::Prompts || entry.name == entry.original {
        return;
    }
    if let Some(Ok(reference)) = params.object("ref") {
        let mut name = Vec::new();
        write_string(&entry.original, &mut name);
        let renamed: Raw = reference.edited(&[("name", Edit::Put(&name))]).to_raw();
        *params = params.edited(&[("ref", Edit::Put(renamed.bytes()))]);
    }
}
