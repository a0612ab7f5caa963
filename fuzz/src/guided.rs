//! The fuzzer: libFuzzer around the target that `TOOLBUS_FUZZ` names. `cargo xtask fuzz` starts it.
#![no_main]

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use toolbus_fuzz::{Target, target};

static TARGET: OnceLock<Target> = OnceLock::new();

fn chosen() -> Target {
    let name = std::env::var("TOOLBUS_FUZZ").expect("TOOLBUS_FUZZ names a target");
    target(&name).expect("a target of this name")
}

fuzz_target!(|data: &[u8]| {
    (TARGET.get_or_init(chosen).check)(data);
});
