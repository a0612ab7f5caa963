//! What a worker is told on its control subject.

use std::collections::HashSet;
use std::sync::Arc;

use tokio::sync::broadcast::error::RecvError;
use toolbus_model::CallId;

use super::Shared;
use super::calls::Stop;
use crate::bus::{BusError, Denied, Headers, Message};
use crate::frame::{Control, Malformed, WINDOW, header};

/// Words that wait to be read. Each is done at once.
const WAITING: usize = 4_096;

/// Subjects that are not permitted, of which it is said. It is a matter of configuration, so that there are few.
const MOST_DENIED: usize = 64;

/// Why what was said was not done.
type Refused = (u16, String);

/// Begins to listen.
pub(super) async fn open(shared: &Arc<Shared>) -> Result<(), BusError> {
    let subject = shared.subjects.control(&shared.id);
    let mut said = shared.bus.subscribe(&subject, None, WAITING).await?;
    let listener = Arc::clone(shared);
    shared.tasks.spawn(async move {
        let reading = async {
            while let Some(message) = said.next().await {
                listener.told(&message);
            }
        };
        listener.ending.run_until_cancelled(reading).await;
    });
    Ok(())
}

/// Says what the server does not permit: a worker that lacks a permission is otherwise only silent.
pub(super) async fn hear_denials(shared: Arc<Shared>) {
    let mut denied = shared.bus.denied();
    let hearing = async {
        let mut known = HashSet::new();
        loop {
            let Denied {
                is_publish,
                subject,
            } = match denied.recv().await {
                Ok(denied) => denied,
                Err(RecvError::Lagged(_)) => continue,
                Err(RecvError::Closed) => return,
            };
            // Replies have a subject each, below one that is always the same.
            let place = subject.rsplit_once('.').map_or("", |(place, _)| place);
            if known.len() < MOST_DENIED && known.insert((is_publish, place.to_owned())) {
                let what = if is_publish { "publish" } else { "subscribe" };
                tracing::error!(
                    subject,
                    "the server of the mesh does not permit this worker to {what}; give it the permission"
                );
            }
        }
    };
    shared.ending.run_until_cancelled(hearing).await;
}

impl Shared {
    fn told(&self, message: &Message) {
        let done = match Control::read(&message.headers) {
            Ok((control, about)) => self.obey(control, about),
            Err(Malformed(why)) => Err((400, why)),
        };
        let Some(reply) = &message.reply else { return };
        let (headers, payload) = match done {
            Ok(()) => (Headers::default(), "ok".into()),
            Err((code, why)) => {
                let mut headers = Headers::default();
                headers.put(header::SERVICE_ERROR, "refused");
                headers.put(header::SERVICE_ERROR_CODE, code.to_string());
                (headers, why.into())
            }
        };
        // Whoever said it waits only for a while.
        let _ = self.bus.send(Message {
            subject: reply.clone(),
            headers,
            payload,
            ..Message::default()
        });
    }

    fn obey(&self, control: Control, about: Option<(CallId, u32)>) -> Result<(), Refused> {
        let (id, attempt) = match (control, about) {
            (Control::Drain, _) => {
                self.draining.cancel();
                return Ok(());
            }
            (_, Some(about)) => about,
            (_, None) => return Err((400, "it names no call".to_owned())),
        };
        let absent = |what: &str| (404, format!("the call {id}, attempt {attempt}, {what}"));
        let Some(running) = self.calls.get(id) else {
            if control == Control::Cancel {
                self.calls.forestall(id, attempt);
            }
            return Err(absent("is not at this worker"));
        };
        if running.state().attempt != attempt {
            return Err(absent("is not the one that this worker answers"));
        }
        match control {
            Control::Go if !running.go(attempt) => {
                return Err(absent("does not wait for the word to go any more"));
            }
            Control::Cancel => running.stop(Stop::Cancelled),
            Control::Credit(more) => {
                let most = (WINDOW as usize).saturating_sub(running.credits.available_permits());
                running.credits.add_permits(most.min(more as usize));
            }
            Control::Go | Control::Drain => {}
        }
        Ok(())
    }
}
