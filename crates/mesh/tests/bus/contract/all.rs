//! What every bus must do.

use std::sync::Arc;
use std::time::Duration;

use toolbus_mesh::bus::{Bus, Headers, Message, Subscription};

pub(crate) mod buckets;
pub(crate) mod draining;
pub(crate) mod messages;
pub(crate) mod objects;

/// Long enough for anything that happens at all.
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// Long enough to believe that nothing comes.
pub(crate) const QUIET: Duration = Duration::from_millis(500);

/// A place where busses meet.
pub(crate) trait Site {
    /// One more connection.
    fn connect(&self) -> impl Future<Output = Arc<dyn Bus>>;
}

/// A message with a body.
pub(crate) fn message(subject: &str, body: impl Into<bytes::Bytes>) -> Message {
    Message {
        subject: subject.to_owned(),
        payload: body.into(),
        ..Message::default()
    }
}

/// A message that wants an answer.
pub(crate) fn request(subject: &str, reply: &str) -> Message {
    let mut headers = Headers::default();
    headers.put("Toolbus-Wire", "1");
    headers.put("X-Other", "some value");
    Message {
        reply: Some(reply.to_owned()),
        headers,
        ..message(subject, "body")
    }
}

/// The next message, which must come.
pub(crate) async fn next(from: &mut Subscription) -> Message {
    let next = tokio::time::timeout(SOON, from.next()).await;
    next.expect("a message in time").expect("a message")
}

/// Nothing more comes.
pub(crate) async fn nothing(from: &mut Subscription) {
    let next = tokio::time::timeout(QUIET, from.next()).await;
    assert!(next.is_err(), "{next:?}");
}

/// A test for each case of the contract. A site that is not there is said to be skipped.
macro_rules! contract {
    ($site:expr) => {
        contract!($site;
            messages: a_message_arrives_whole, wildcards_match, a_group_shares, nobody_there_is_said,
                a_slow_reader_loses_the_newest, what_is_no_message_is_refused, order_is_kept,
                inboxes_differ, the_end_of_a_connection, a_large_message_arrives,
                a_group_prefers_who_is_there;
            draining: nothing_is_lost_when_one_leaves, what_waits_can_still_be_read;
            buckets: values_are_kept, one_creates, a_watch_tells_all, a_watch_of_some, values_age,
                a_key_that_is_none, many_values;
            objects: an_object_is_kept, limits_of_objects, records_are_appended;
        );
    };
    ($site:expr; $($module:ident: $($case:ident),+;)+) => {
        $($(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                let Some(site) = $site.await else { return };
                $crate::contract::$module::$case(&site).await;
            }
        )+)+
    };
}
pub(crate) use contract;
