//! The bus on a nats-server that is kept here: its end is the server's end.

use std::fmt;
use std::sync::Arc;

use tokio::sync::{broadcast, watch};
use toolbus_mesh::bus::nats::NatsBus;
use toolbus_mesh::bus::{
    Bucket, BucketSettings, Bus, BusError, Denied, Link, Message, NotSent, Objects, Subscription,
};
use toolbus_model::BoxFuture;

use super::keeper::{Keeper, Standing};

/// A bus together with what keeps its server.
pub(super) struct ManagedBus {
    bus: Arc<NatsBus>,
    keeper: Keeper,
}

impl ManagedBus {
    pub(super) fn new(bus: Arc<NatsBus>, keeper: Keeper) -> Self {
        Self { bus, keeper }
    }
}

impl Bus for ManagedBus {
    fn send(&self, message: Message) -> Result<(), NotSent> {
        self.bus.send(message)
    }

    fn subscribe<'a>(
        &'a self,
        subject: &'a str,
        queue: Option<&'a str>,
        capacity: usize,
    ) -> BoxFuture<'a, Result<Subscription, BusError>> {
        self.bus.subscribe(subject, queue, capacity)
    }

    fn round_trip(&self) -> BoxFuture<'_, Result<(), BusError>> {
        self.bus.round_trip()
    }

    fn max_payload(&self) -> usize {
        self.bus.max_payload()
    }

    fn inbox(&self) -> String {
        self.bus.inbox()
    }

    fn link(&self) -> watch::Receiver<Link> {
        self.bus.link()
    }

    fn denied(&self) -> broadcast::Receiver<Denied> {
        self.bus.denied()
    }

    fn bucket<'a>(
        &'a self,
        name: &'a str,
        settings: BucketSettings,
    ) -> BoxFuture<'a, Result<Arc<dyn Bucket>, BusError>> {
        self.bus.bucket(name, settings)
    }

    fn objects<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Arc<dyn Objects>, BusError>> {
        self.bus.objects(name)
    }

    fn append<'a>(
        &'a self,
        stream: &'a str,
        subjects: &'a str,
        message: Message,
    ) -> BoxFuture<'a, Result<(), BusError>> {
        self.bus.append(stream, subjects, message)
    }

    fn describe(&self) -> String {
        let standing = self.keeper.standing();
        let is_up = matches!(&*self.bus.link().borrow(), Link::Up(_));
        match (is_up, standing) {
            (false, Standing::Failed(why)) => why,
            (false, _) => self.bus.describe(),
            (true, Standing::Kept) => self.server("started here"),
            (true, _) => self.server("kept by another toolbus"),
        }
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            self.bus.close().await;
            self.keeper.end().await;
        })
    }
}

impl ManagedBus {
    fn server(&self, whose: &str) -> String {
        let (version, address) = (self.bus.version(), self.bus.address());
        format!("nats-server {version}, {whose}, at {address}")
    }
}

impl fmt::Debug for ManagedBus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ManagedBus({})", self.describe())
    }
}
