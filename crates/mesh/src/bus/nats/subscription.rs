//! A subscription on a NATS server, and how it is left without losing anything.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::mpsc;
use toolbus_model::BoxFuture;

use super::shared::Shared;
use crate::bus::{BusError, Message, Subscribed};

/// A subscription.
pub(super) struct Interested {
    pub(super) shared: Arc<Shared>,
    pub(super) sid: u64,
    pub(super) messages: mpsc::Receiver<Message>,
}

impl Interested {
    /// The next message, where it comes in time.
    pub(super) async fn next(&mut self, within: Duration) -> Result<Message, BusError> {
        let next = tokio::time::timeout(within, self.messages.recv()).await;
        next.ok().flatten().ok_or_else(|| {
            BusError(format!(
                "the NATS server did not answer within {} s",
                within.as_secs()
            ))
        })
    }
}

impl Subscribed for Interested {
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Message>> {
        self.messages.poll_recv(context)
    }

    fn unsubscribe(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            // The server takes the interest away before it answers the PING, and what it sent until then comes before
            // the answer. Only then is the subscription forgotten here, which ends the messages after the last of them.
            self.shared.interests.leave(self.sid, &self.shared.outbox);
            let _ = self.shared.round_trip().await;
            self.shared.interests.remove(self.sid);
        })
    }
}

impl Drop for Interested {
    fn drop(&mut self) {
        self.shared.interests.leave(self.sid, &self.shared.outbox);
        self.shared.interests.remove(self.sid);
    }
}
