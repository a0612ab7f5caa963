//! The catalog of the mesh, as a gateway follows it: which servers there are, what they offer, and who serves them.

mod books;
pub(crate) mod peer;
pub(crate) mod routes;
mod shelf;
mod watch;

pub(crate) use watch::Watch;
