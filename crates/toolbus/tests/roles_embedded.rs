//! The twelve tools of the test `roles` with CPython inside the gateway, in a build that has it.

#![allow(dead_code, reason = "parts of other tests are used here")]

#[path = "roles/differences.rs"]
mod differences;
#[path = "support/peer/mod.rs"]
mod peer;
#[path = "roles/play.rs"]
mod play;
#[path = "roles/role.rs"]
mod role;
#[path = "roles/supervised.rs"]
mod supervised;
mod support;
#[path = "roles/transcript.rs"]
mod transcript;

#[test]
fn an_interpreter_inside_the_gateway() {
    play::play(role::Role::Embedded);
}
