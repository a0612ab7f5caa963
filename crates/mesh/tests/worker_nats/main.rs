//! The worker on a real nats-server, asked by the gateway's side and by a foreign client.

#![expect(clippy::expect_used, reason = "a test that cannot go on says so")]

mod foreign;
mod gateway;
#[allow(dead_code, reason = "shared with other tests")]
#[path = "../worker/puppet.rs"]
mod puppet;
mod restart;
mod scene;
#[allow(dead_code, reason = "shared with other tests")]
#[path = "../bus/server.rs"]
mod server;
