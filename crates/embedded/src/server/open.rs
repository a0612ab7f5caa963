//! Importing a module: once, in a thread of its own, because it may take as long as it likes.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use toolbus_model::{Cause, Error, Health, Item, Object, Offer, Raw};

use super::{Module, Server, Way, item};
use crate::interpreter::Interpreter;
use crate::looping::STACK;
use crate::words;

/// What the glue says of a tool: its name, its definition, how it is called, and the function where it is a plain one.
type Told<'py> = (String, Bound<'py, PyAny>, bool, Option<Bound<'py, PyAny>>);

/// Begins with it; the offer tells how it went.
pub(super) fn begin(server: &Arc<Server>) {
    let own = Arc::clone(server);
    let open = move || {
        if let Err(cause) = own.open() {
            own.say_down(cause);
        }
    };
    let thread = std::thread::Builder::new()
        .name(format!("toolbus-import-{}", server.name))
        .stack_size(STACK);
    if let Err(error) = thread.spawn(open) {
        server.say_down(Cause::new(format!(
            "no thread to import {} in: {error}",
            server.settings.module
        )));
    }
}

impl Server {
    fn open(&self) -> Result<(), Cause> {
        let interpreter = Interpreter::get().map_err(Cause::new)?;
        // Whoever changes the working folder does not change where modules are found.
        let whole = |path: &PathBuf| std::path::absolute(path).unwrap_or_else(|_| path.clone());
        let path: Vec<PathBuf> = self.settings.path.iter().map(whole).collect();
        let venv = self.settings.venv.as_ref().map(whole);
        let opened = Python::attach(|py| {
            let read = || {
                let glue = interpreter.prepare(py, &path, venv.as_deref())?;
                let door = interpreter.looping.door(interpreter);
                door.map_err(|why| PyRuntimeError::new_err(why.to_string()))?;
                let module = (&self.settings.module, self.settings.threads);
                self.read(interpreter, &glue.open.bind(py).call1(module)?)
            };
            let what = format!("{} cannot be imported", self.settings.module);
            read().map_err(|error| words::cause(py, &error, &what))
        });
        let (module, items) = opened?;
        let items = items.map_err(Cause::new)?;
        // The module is there before the offer says so.
        let _ = self.module.set(module);
        self.offer.send_replace(Arc::new(offer(items, &self.name)));
        Ok(())
    }

    fn read(
        &self,
        interpreter: &'static Interpreter,
        served: &Bound<'_, PyAny>,
    ) -> PyResult<(Module, Result<Vec<Item>, String>)> {
        let mut module = Module {
            interpreter,
            begin: Arc::new(served.getattr("begin")?.unbind()),
            tools: std::collections::HashMap::new(),
        };
        let mut items = Vec::new();
        for told in served.getattr("tools")?.try_iter()? {
            let (name, definition, is_inline, function): Told<'_> = told?.extract()?;
            let name: Arc<str> = name.into();
            items.push((Arc::clone(&name), words::bytes(&definition)?));
            let function = function.map(|function| Arc::new(function.unbind()));
            let way = match (function, is_inline) {
                (Some(function), true) => Way::Inline(function),
                (Some(function), false) => Way::Thread(function),
                (None, _) => Way::Loop,
            };
            module.tools.insert(name, way);
        }
        let items = items.into_iter();
        let items = items.map(|(name, definition): (Arc<str>, Bytes)| item(name, definition));
        Ok((module, items.collect()))
    }

    fn say_down(&self, cause: Cause) {
        let cause = Cause {
            command: Some(self.settings.module.as_str().into()),
            ..cause
        };
        let health = Health::Down(Error::Unavailable(cause.into()));
        let offer = Offer {
            health,
            ..Offer::default()
        };
        self.offer.send_replace(Arc::new(offer));
    }
}

fn offer(tools: Vec<Item>, name: &str) -> Offer {
    let capabilities = Bytes::from_static(b"{\"tools\":{},\"logging\":{}}");
    Offer {
        tools,
        capabilities: Object::parse(capabilities).ok(),
        info: Some(Raw::of(&Info { name, version: "0" })),
        health: Health::Up,
        ..Offer::default()
    }
}

#[derive(serde::Serialize)]
struct Info<'a> {
    name: &'a str,
    version: &'a str,
}
