//! Finds the interpreter that is linked: where its library lies, for the loader, and its prefix, for its modules.
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // For the tests of this crate. The binary's build script does the same with what is told it below.
    pyo3_build_config::add_libpython_rpath_link_args();
    let config = pyo3_build_config::get();
    if let Some(folder) = config.lib_dir() {
        println!("cargo::metadata=libraries={folder}");
    }
    let prefix = config.executable().and_then(prefix).unwrap_or_default();
    println!("cargo:rustc-env=TOOLBUS_PYTHON_PREFIX={prefix}");
}

/// Where this interpreter has its own modules, whatever virtual environment it was asked through.
fn prefix(python: &str) -> Option<String> {
    let mut asked = Command::new(python);
    asked.args(["-c", "import sys; sys.stdout.write(sys.base_prefix)"]);
    String::from_utf8(asked.output().ok()?.stdout).ok()
}
