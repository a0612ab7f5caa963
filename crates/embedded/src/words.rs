//! Small things between Rust and Python: code, bytes, and exceptions as causes.

use std::ffi::CString;

use bytes::Bytes;
use pyo3::exceptions::PyModuleNotFoundError;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyBytes, PyModule};
use toolbus_model::Cause;

/// From this size on a result is not copied but kept in Python's own memory, until it was sent.
const LARGE: usize = 64 * 1024;

/// Lines of a traceback that are kept.
const LAST_LINES: usize = 40;

/// A function of a module whose code is given.
pub(crate) fn function(py: Python<'_>, code: &str, name: &str) -> PyResult<Py<PyAny>> {
    let code = CString::new(code)?;
    let module = PyModule::from_code(py, &code, c"toolbus", c"toolbus_prepare")?;
    Ok(module.getattr(name)?.unbind())
}

/// The content of a `bytes` object.
pub(crate) fn bytes(value: &Bound<'_, PyAny>) -> PyResult<Bytes> {
    let value = value.cast::<PyBytes>()?;
    let content = value.as_bytes();
    if content.len() < LARGE {
        return Ok(Bytes::copy_from_slice(content));
    }
    Ok(Bytes::from_owner(PyBackedBytes::from(value.clone())))
}

/// Why a server cannot be used: the exception, and the end of its traceback.
pub(crate) fn cause(py: Python<'_>, error: &PyErr, what: &str) -> Cause {
    let text = written(py, error).unwrap_or_else(|_| error.to_string());
    let lines: Vec<&str> = text.lines().collect();
    let tail = lines[lines.len().saturating_sub(LAST_LINES)..].join("\n");
    Cause {
        stderr: Some(tail),
        remedy: remedy(py, error),
        ..Cause::new(format!("{what}: {error}"))
    }
}

/// The exception as Python shows it, with those that led to it.
fn written(py: Python<'_>, error: &PyErr) -> PyResult<String> {
    let format = py.import("traceback")?.getattr("format_exception")?;
    let pieces: Vec<String> = format.call1((error.value(py),))?.extract()?;
    Ok(pieces.concat())
}

fn remedy(py: Python<'_>, error: &PyErr) -> Option<String> {
    if !error.is_instance_of::<PyModuleNotFoundError>(py) {
        return None;
    }
    let missing: String = error.value(py).getattr("name").ok()?.extract().ok()?;
    let remedy = if missing == "toolbus" || missing == "pydantic" {
        "install the package `toolbus` into the environment that `venv` names"
    } else {
        "install it into the environment that `venv` names, or add its folder to `path`"
    };
    Some(remedy.to_owned())
}

/// Python's own id of this thread.
pub(crate) fn thread(py: Python<'_>) -> PyResult<u64> {
    let ident = py.import("threading")?.getattr("get_ident")?;
    ident.call0()?.extract()
}
