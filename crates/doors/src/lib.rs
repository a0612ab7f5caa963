//! The ways in: each decodes its wire, brings the request to the gateway, and writes the answer back.

pub mod capability;
mod conversation;
mod encode;
mod exchange;
pub mod guard;
pub mod http;
mod legacy;
mod listen;
mod observe;
pub mod reply;
pub mod stdio;
mod stream;

pub use guard::Access;
pub use http::{HttpDoor, Limits, SESSION_LIFETIME};
