//! One plain call: what is checked before it is sent, and what each thing that may come of it means.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep, sleep_until};
use toolbus_model::{Call, Cause, Error, Object, Request};
use toolbus_protocol::capability::{LARGEST, check_tenant};
use toolbus_protocol::urn::Urn;

use super::mailbox::{Arrival, Mailbox};
use super::wire::{self, Federation};
use crate::bus::{Headers, NotSent};

/// Written for foreign workers; what is received under these names is not believed.
const TENANT: &str = "X-Tenant-CID";
const SOURCE: &str = "X-Source-URN";
const SPIFFE: &str = "X-SPIFFE-ID";

/// A request that nobody got is sent again this often, and this much apart: a worker that restarts is back by then.
const ATTEMPTS: usize = 10;
const AGAIN_AFTER: Duration = Duration::from_millis(25);

/// A limit of the same length that the call has from elsewhere must not be seen first: it knows less.
const EARLIER: Duration = Duration::from_millis(10);

/// Who asks, and how long it waits.
#[derive(Debug, Clone)]
pub(super) struct Exchange {
    pub(super) mailbox: Arc<Mailbox>,
    /// This gateway, for workers.
    pub(super) source: String,
    pub(super) timeout: Duration,
}

/// What is asked, and where.
pub(super) struct Ask<'a> {
    pub(super) urn: &'a Urn,
    pub(super) subject: String,
    pub(super) federation: Option<&'a Federation>,
}

impl Exchange {
    /// Makes the call.
    pub(super) async fn call(
        &self,
        ask: &Ask<'_>,
        request: &Request,
        call: &Call,
    ) -> Result<Object, Error> {
        let arguments = request.params.raw("arguments");
        let claims = call.seed.caller.claims();
        check_tenant(claims, arguments.as_ref(), false)
            .map_err(|why| Error::InvalidParams(format!("Invalid params: {why}")))?;
        let body: Bytes = wire::request(
            call.id,
            ask.urn,
            &request.params,
            &request.meta,
            ask.federation,
        )
        .into();
        let headers = self.headers(call);
        self.check_size(&body)?;
        let until = call.started + self.timeout.saturating_sub(EARLIER);
        for _ in 0..ATTEMPTS {
            match self.once(ask, &headers, &body, call, until).await? {
                Some(reply) => return wire::result(&reply, call.id, ask.urn),
                None => sleep(AGAIN_AFTER).await,
            }
        }
        let remedy = format!("start a worker that subscribes to {}", ask.subject);
        Err(unavailable(format!("nobody serves {}", ask.urn), remedy))
    }

    /// Sends the request once. Nothing comes of it where nobody got it.
    async fn once(
        &self,
        ask: &Ask<'_>,
        headers: &Headers,
        body: &Bytes,
        call: &Call,
        until: Instant,
    ) -> Result<Option<Bytes>, Error> {
        let inbox = self.mailbox.open().await;
        let inbox = inbox.map_err(|error| unavailable(error.0, "see how the broker is".into()))?;
        let question = self
            .mailbox
            .ask(inbox, &ask.subject, headers.clone(), body.clone());
        let mut question = question.map_err(not_sent)?;
        let arrival = tokio::select! {
            biased;
            arrival = &mut question.arrival => arrival,
            () = call.cancelled() => return Err(unknown(ask, "the call was given up")),
            () = sleep_until(until) => {
                let waited = humane(self.timeout);
                return Err(unknown(ask, &format!("no answer within {waited}")));
            }
        };
        match arrival {
            Ok(Arrival::Reply(reply)) => Ok(Some(reply)),
            Ok(Arrival::Nobody) => Ok(None),
            Ok(Arrival::Denied) => {
                let what = format!(
                    "the broker does not let this gateway publish to {}",
                    ask.subject
                );
                Err(unavailable(
                    what,
                    "give its user the permission to publish there".into(),
                ))
            }
            Err(_) => Err(unknown(ask, "the gateway closes")),
        }
    }

    fn headers(&self, call: &Call) -> Headers {
        let mut headers = Headers::default();
        headers.put(SOURCE, self.source.clone());
        let claims = call.seed.caller.claims();
        if let Some(tenant) = claims.and_then(|claims| claims.tenant.clone()) {
            headers.put(TENANT, tenant);
        }
        if let Some(spiffe) = claims.and_then(|claims| claims.spiffe_id.clone()) {
            headers.put(SPIFFE, spiffe);
        }
        headers
    }

    fn check_size(&self, body: &Bytes) -> Result<(), Error> {
        if body.len() <= LARGEST {
            return Ok(());
        }
        Err(Error::TooLarge {
            what: "encoded request",
            limit: LARGEST,
        })
    }
}

fn not_sent(error: NotSent) -> Error {
    match error {
        NotSent::TooLarge(limit) => Error::TooLarge {
            what: "request, which a plain worker gets in one message (the broker's max_payload),",
            limit,
        },
        other => unavailable(other.to_string(), "see how the broker is".into()),
    }
}

/// There is no way to tell a plain worker to stop, or to ask it whether it has begun.
fn unknown(ask: &Ask<'_>, what: &str) -> Error {
    Error::OutcomeUnknown(Box::new(Cause {
        what: format!("{what} from {}, which may still be at it", ask.urn),
        remedy: Some("look before you call it again".to_owned()),
        ..Cause::default()
    }))
}

fn unavailable(what: String, remedy: String) -> Error {
    Error::Unavailable(Box::new(Cause {
        what,
        remedy: Some(remedy),
        ..Cause::default()
    }))
}

fn humane(time: Duration) -> String {
    if time.subsec_millis() == 0 {
        format!("{} s", time.as_secs())
    } else {
        format!("{} ms", time.as_millis())
    }
}
