//! The nouns of Toolbus: requests, calls, outcomes, errors, and the one trait that every back end implements.
//!
//! Nothing here does I/O, and nothing here knows over which wire a request came or will leave.

mod backend;
mod call;
mod error;
pub mod json;
mod method;
mod names;
mod offer;
mod outcome;

pub use backend::{Backend, BoxFuture, Filter, Listening, Notice, Request};
pub use call::{Call, CallEnd, CallSeed, Event, EventKind, Events, Line, LogLevel, Trace};
pub use error::{Cause, Error, Fault, Kind};
pub use json::{Object, Raw};
pub use method::Method;
pub use names::{CallId, Caller, Claims, Era, Revision, ServerName, glob};
pub use offer::{Changes, Freshness, Health, Item, Offer};
pub use outcome::{INVALID, Invalid, Outcome};
