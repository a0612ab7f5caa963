//! Child processes that never outlive us: each is owned by a *warden*, this same binary run again.
//!
//! ```text
//! toolbus ── control socket ── warden (own group, subreaper) ── child (own group) ── whatever it starts
//! ```
//! The child's stdin, stdout and stderr are pipes to us; the warden holds none of them. When we ask, or when the
//! control socket closes for whatever reason (our SIGKILL among them), the warden ends the child and everything that
//! descends from it, also what has left its group or session, and then itself.

mod census;
mod limits;
mod orders;
mod raw;
mod spawn;
mod tail;
pub mod warden;

pub(crate) use limits::Confined;
pub use limits::{Exceeded, Limits};
pub(crate) use spawn::Streams;
pub use spawn::{Child, Command, Ended};
pub use tail::Tail;
