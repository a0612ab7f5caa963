//! The one interpreter: started with the first server that needs it, and never ended before the process is.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyCFunction, PyDict, PyTuple};
use toolbus_model::EventKind;

use crate::calls::{Answer, Calls};
use crate::housekeeper::Housekeeper;
use crate::looping::Looping;
use crate::words;

/// Where the interpreter that was linked has its own modules.
const PREFIX: &str = env!("TOOLBUS_PYTHON_PREFIX");

const PREPARE: &str = include_str!("prepare.py");

/// Everything that belongs to the process, and not to a server.
pub(crate) struct Interpreter {
    pub(crate) calls: Arc<Calls>,
    pub(crate) housekeeper: Housekeeper,
    pub(crate) looping: Looping,
    prepare: PyOnceLock<Py<PyAny>>,
    glue: PyOnceLock<Glue>,
}

/// Functions of `toolbus._embedded`.
#[derive(Debug)]
pub(crate) struct Glue {
    /// `open(module)`: imports it.
    pub(crate) open: Py<PyAny>,
    /// `interrupt(thread)`: raises in it what no `except Exception` keeps.
    pub(crate) interrupt: Py<PyAny>,
    /// `run_loop(descriptor, take)`: runs an event loop that begins what `take()` gives whenever the descriptor says so.
    pub(crate) run_loop: Py<PyAny>,
}

impl fmt::Debug for Interpreter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Interpreter").finish_non_exhaustive()
    }
}

impl Interpreter {
    /// The interpreter, which starts where it does not run yet.
    pub(crate) fn get() -> Result<&'static Self, String> {
        static ONE: OnceLock<Result<Interpreter, String>> = OnceLock::new();
        let one = ONE.get_or_init(|| {
            Self::start().map_err(|error| format!("Python cannot be started: {error}"))
        });
        one.as_ref().map_err(Clone::clone)
    }

    fn start() -> std::io::Result<Self> {
        Ok(Self {
            housekeeper: Housekeeper::start()?,
            calls: Arc::default(),
            looping: Looping::default(),
            prepare: PyOnceLock::new(),
            glue: PyOnceLock::new(),
        })
    }

    /// Adds what a server needs to the places where modules are found, and has the glue imported.
    pub(crate) fn prepare(
        &self,
        py: Python<'_>,
        path: &[PathBuf],
        venv: Option<&Path>,
    ) -> PyResult<&Glue> {
        let prepare = self
            .prepare
            .get_or_try_init(py, || words::function(py, PREPARE, "prepare"))?;
        let module = prepare.bind(py).call1((path, venv, PREFIX))?;
        self.glue.get_or_try_init(py, || {
            module.getattr("start")?.call1((self.host(py)?,))?;
            Ok(Glue {
                open: module.getattr("open_module")?.unbind(),
                interrupt: module.getattr("interrupt")?.unbind(),
                run_loop: module.getattr("run_loop")?.unbind(),
            })
        })
    }

    /// The glue, once a server has been prepared.
    pub(crate) fn glue(&self, py: Python<'_>) -> PyResult<&Glue> {
        let missing = || PyRuntimeError::new_err("no server was prepared");
        self.glue.get(py).ok_or_else(missing)
    }

    /// What Python can ask of us: functions by name.
    fn host<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let host = PyDict::new(py);
        let calls = Arc::clone(&self.calls);
        let tell = move |args: &Bound<'_, PyTuple>, _: Option<&Bound<'_, PyDict>>| {
            let (id, is_log, params): (u64, bool, Bound<'_, PyAny>) = args.extract()?;
            let kind = if is_log {
                EventKind::Log
            } else {
                EventKind::Progress
            };
            calls.tell(id, kind, params.extract()?);
            PyResult::Ok(())
        };
        host.set_item("tell", PyCFunction::new_closure(py, None, None, tell)?)?;
        let calls = Arc::clone(&self.calls);
        let params = move |args: &Bound<'_, PyTuple>, _: Option<&Bound<'_, PyDict>>| {
            let (id,): (u64,) = args.extract()?;
            let entry = calls.get(id);
            let params = entry.map_or_else(|| b"{}".to_vec(), |entry| entry.params());
            PyResult::Ok(pyo3::types::PyBytes::new(args.py(), &params).unbind())
        };
        host.set_item("params", PyCFunction::new_closure(py, None, None, params)?)?;
        let calls = Arc::clone(&self.calls);
        let done = move |args: &Bound<'_, PyTuple>, _: Option<&Bound<'_, PyDict>>| {
            let (id, kind, text): (u64, u8, Bound<'_, PyAny>) = args.extract()?;
            let text = words::bytes(&text)?;
            calls.end(id, Answer { kind, text });
            PyResult::Ok(())
        };
        host.set_item("done", PyCFunction::new_closure(py, None, None, done)?)?;
        Ok(host)
    }
}
