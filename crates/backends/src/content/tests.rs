//! Content as a back end.
