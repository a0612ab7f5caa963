//! The gateway itself: what is offered to whom, and the way of every call from its caller to a back end and back.
//!
//! No sockets, no configuration files, and no word of any wire: doors bring requests in, back ends do the work.

pub mod audit;
pub mod catalog;
mod deadline;
mod limits;
pub mod metrics;
pub mod policy;
mod spine;
mod template;

pub use catalog::{Catalog, Page, Scope, Shelf};
pub use deadline::Deadlines;
pub use limits::Gate;
pub use spine::{Gateway, Running, Server, ServerSettings, Setup};
