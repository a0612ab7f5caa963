//! What `cargo xtask bench` measures against: the echo upstream's answers and counts, and the accept loop it shares with the bare proxy.

pub mod answers;
pub mod backends;
pub mod counts;
pub mod http;
pub mod load;
pub mod mesh;
pub mod parts;
pub mod processes;
pub mod raw;
pub mod serve;
