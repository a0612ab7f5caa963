//! The subjects of work that a worker is subscribed to, as its offer changes.
//!
//! Each tool has a subject of its own, so that a server of NATS can be told who may serve and who may call it. A server
//! with very many tools has none for them: ten thousand subscriptions of each of 300 workers would cost a server of NATS
//! gigabytes. Such tools are asked for at the worker's own subject, as gateways do anyway, or as `tools/call` at the
//! subject of their server.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use futures_util::{StreamExt as _, stream};
use tokio_util::sync::CancellationToken;
use toolbus_model::BoxFuture;

use super::intake::{self, Place};
use super::offered::Offered;
use super::{Shared, compat};
use crate::bus::{BusError, Subscription};
use crate::subject::{WORKERS, Work};

/// Tools of one server that have subjects of their own.
pub(super) const MOST_SUBJECTS: usize = 512;

/// Requests that wait to be read at one subject. Each is given its task, or refused, at once.
const WAITING: usize = 1_024;

/// Subscriptions that are made at once: each waits for the server's word.
const AT_ONCE: usize = 64;

/// The subjects that are open, and what closes each.
#[derive(Debug, Default)]
pub(super) struct Doors(HashMap<String, CancellationToken>);

/// Opens the worker's own subject, on which it is to be reached until it ends.
pub(super) async fn open(shared: &Arc<Shared>) -> Result<Doors, BusError> {
    let subject = shared.subjects.instance_all(&shared.id);
    let subscription = shared.bus.subscribe(&subject, None, WAITING).await?;
    let reader = intake::read(
        Arc::clone(shared),
        subscription,
        Place::Instance,
        shared.ending.clone(),
    );
    shared.tasks.spawn(reader);
    Ok(Doors::default())
}

impl Doors {
    /// Opens the subjects that are missing. What cannot be had is tried again with the next change.
    pub(super) async fn open(
        &mut self,
        shared: &Arc<Shared>,
        offered: &Offered,
    ) -> Result<(), BusError> {
        let wanted = wanted(shared, offered);
        let missing: Vec<_> = wanted
            .into_iter()
            .filter(|(subject, _)| !self.0.contains_key(subject))
            .collect();
        let mut opens: Vec<BoxFuture<'_, Opened>> = Vec::new();
        for (subject, place) in missing {
            opens.push(Box::pin(open_one(shared, subject, place)));
        }
        let mut opened = stream::iter(opens).buffer_unordered(AT_ONCE);
        let mut failed = None;
        while let Some(made) = opened.next().await {
            match made {
                Ok((subject, place, subscription)) => {
                    // A worker that drains leaves them all.
                    let leaving = shared.draining.child_token();
                    self.0.insert(subject, leaving.clone());
                    let reader = intake::read(Arc::clone(shared), subscription, place, leaving);
                    shared.tasks.spawn(reader);
                }
                Err(error) => failed = Some(error),
            }
        }
        failed.map_or(Ok(()), Err)
    }

    /// Closes those that are not wanted any more.
    pub(super) fn close(&mut self, shared: &Shared, offered: &Offered) {
        let wanted: HashSet<_> = wanted(shared, offered).into_keys().collect();
        self.0.retain(|subject, leaving| {
            let stays = wanted.contains(subject);
            if !stays {
                leaving.cancel();
            }
            stays
        });
    }
}

type Opened = Result<(String, Place, Subscription), BusError>;

async fn open_one(shared: &Shared, subject: String, place: Place) -> Opened {
    let made = shared.bus.subscribe(&subject, Some(WORKERS), WAITING).await;
    made.map(|subscription| (subject, place, subscription))
}

fn wanted(shared: &Shared, offered: &Offered) -> HashMap<String, Place> {
    let mut wanted = HashMap::new();
    for place in &offered.servers {
        if let Some((name, _)) = shared.servers.get_index(*place) {
            wanted.insert(shared.subjects.server_all(name), Place::Server(*place));
        }
    }
    let mut counts: HashMap<usize, usize> = HashMap::new();
    for tool in &offered.tools {
        *counts.entry(tool.server).or_default() += 1;
    }
    for tool in &offered.tools {
        let Some((server, _)) = shared.servers.get_index(tool.server) else {
            continue;
        };
        if counts[&tool.server] <= MOST_SUBJECTS {
            let subject = shared
                .subjects
                .work(&Work::Tool(server, tool.name.as_ref().into()));
            wanted.insert(subject, Place::Tool(Arc::clone(tool)));
        }
    }
    compat::wanted(shared, offered, &mut wanted);
    wanted
}
