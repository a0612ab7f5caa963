//! One listener at a server: what it is told of, and until when.

use std::sync::Arc;

use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use toolbus_model::{CallSeed, Error, Filter, Listening};

use super::attend::DECIDE_WITHIN;
use super::connect::Means;
use super::link::Connection;
use super::listen::{Hearer, Listen, Wish};
use super::news::Place;
use super::uses::Use;

/// Takes a listener, as soon as the server has said what it tells of what is wanted.
pub(super) async fn listen(
    connection: &Arc<Connection>,
    means: &Means,
    filter: &Filter,
    seed: &CallSeed,
    in_use: Use,
) -> Result<Listening, Error> {
    let (place, notices) = means.news.join(&filter.resources);
    let (id, gone, sender) = (place.id, place.gone.clone(), place.notices.clone());
    means.tasks.spawn(keep(place, means.clone(), in_use));
    let late = |_| {
        let what = "the server did not say whether it tells of changes";
        Error::Unavailable(connection.link.cause(what).into())
    };
    let decided = timeout(DECIDE_WITHIN, means.news.honoured(id)).await;
    let mut honoured = Filter {
        resources: decided.map_err(late)?,
        tasks: Vec::new(),
    };
    if !filter.tasks.is_empty() && !connection.is_older() {
        let wish = Wish {
            tasks: filter.tasks.clone(),
            ..Wish::default()
        };
        // A task is its owner's: this listen is for nobody else.
        let hearer = Hearer::One(sender, gone.clone());
        let listen = Listen::begin(connection, means, &wish, &seed.capabilities, hearer);
        if let Ok(Ok(granted)) = timeout(DECIDE_WITHIN, listen.granted()).await {
            honoured.tasks.clone_from(&granted.tasks);
            means
                .tasks
                .spawn(follow(listen, gone, means.closing.clone()));
        }
    }
    Ok(Listening { honoured, notices })
}

/// Keeps a listener's place for as long as it reads, and the server tells.
async fn keep(place: Place, means: Means, _in_use: Use) {
    tokio::select! {
        () = place.notices.closed() => {}
        () = place.gone.cancelled() => {}
        () = means.closing.cancelled() => {}
    }
    means.news.leave(place.id);
}

/// Holds the listen for a listener's tasks. When it ends, the listener is let go: what became of its tasks meanwhile it
/// has to ask.
async fn follow(listen: Listen, gone: CancellationToken, closing: CancellationToken) {
    tokio::select! {
        () = listen.ended() => gone.cancel(),
        () = gone.cancelled() => {}
        () = closing.cancelled() => {}
    }
}
