//! The bus: one contract on all that implement it, and what only a server of its own shows.

#![expect(clippy::expect_used, reason = "a test that cannot go on says so")]

#[path = "bus/contract/all.rs"]
mod contract;
#[path = "bus/faults.rs"]
mod faults;
#[path = "bus/refusals.rs"]
mod refusals;
#[path = "bus/server.rs"]
#[allow(dead_code, reason = "each test file uses its part")]
mod server;

use std::sync::Arc;

use contract::{Site, contract};
use server::Server;
use toolbus_mesh::bus::Bus;
use toolbus_mesh::bus::local::Hub;
use toolbus_mesh::bus::nats::NatsBus;

mod in_process {
    use super::*;

    struct Here(Arc<Hub>);

    impl Site for Here {
        async fn connect(&self) -> Arc<dyn Bus> {
            self.0.connect()
        }
    }

    async fn site() -> Option<Here> {
        Some(Here(Hub::new()))
    }

    contract!(site());
}

mod on_a_server {
    use super::*;

    impl Site for Server {
        async fn connect(&self) -> Arc<dyn Bus> {
            let connected = NatsBus::connect(self.settings()).await;
            connected.expect("a connection")
        }
    }

    contract!(Server::start_plain());
}
