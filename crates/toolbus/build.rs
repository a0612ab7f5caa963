//! Has the binary find the library of the Python inside it, in builds that have one.
fn main() {
    println!("cargo:rerun-if-env-changed=DEP_TOOLBUS_EMBEDDED_LIBRARIES");
    println!("cargo:rerun-if-changed=build.rs");
    if let Some(folder) = std::env::var_os("DEP_TOOLBUS_EMBEDDED_LIBRARIES") {
        println!("cargo:rustc-link-arg-bins=-Wl,-rpath,{}", folder.display());
    }
}
