//! The gateway itself: what is offered to whom, and the way of every call from its caller to a back end and back.
//!
//! No sockets, no configuration files, and no word of any wire: doors bring requests in, back ends do the work.

pub mod audit;
pub mod capability;
pub mod catalog;
mod deadline;
mod limits;
mod listen;
pub mod metrics;
pub mod policy;
mod route;
mod running;
mod sealed;
mod spine;
pub mod template;
mod tickets;

pub use catalog::{Catalog, Page, Scope, Shelf};
pub use deadline::{Deadlines, Unset};
pub use limits::Gate;
pub use listen::{Change, Subscription, Wanted};
pub use running::{Running, Step};
pub use sealed::Key;
pub use spine::{Expecting, Gateway, Server, ServerSettings, Setup};
