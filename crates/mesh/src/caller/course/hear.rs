//! What a call hears, and what follows from it.

use std::sync::Arc;

use toolbus_model::{Error, Event, EventKind};
use toolbus_protocol::Message as Said;

use super::*;
use crate::bus;
use crate::caller::switchboard::{Heard, Origin};
use crate::caller::{answer, reasons};
use crate::frame::{Frame, header};

type Step = Result<Option<Ended>, Error>;

impl Course<'_> {
    pub(super) fn hear(&mut self, heard: Heard) -> Step {
        match heard {
            Heard::Frame(message) => self.hear_frame(message),
            Heard::Told(number, message) => self.hear_told(number, &message),
            Heard::Nobody(origin) => self.hear_nobody(origin),
            Heard::Denied(subject) => self.hear_denied(&subject),
            Heard::Overrun => Err(self.unknown("the worker sends more than it may")),
        }
    }

    fn hear_frame(&mut self, message: bus::Message) -> Step {
        let shown = message.payload.clone();
        let reply = match Reply::read(message) {
            Ok(reply) => reply,
            Err(why) => {
                return Err(answer::garbage(
                    "asked",
                    &format!("with a malformed frame ({why})"),
                    &shown,
                ));
            }
        };
        let Some(attempt) = self.attempts.get(reply.attempt) else {
            tracing::debug!(call = %self.job.call.id, frame = reply.frame.as_str(), attempt = reply.attempt, "a frame of no dispatch");
            return Ok(None);
        };
        if attempt.worker.is_none() {
            attempt.worker = reply.worker.as_deref().map(Arc::from);
        }
        match reply.frame {
            Frame::Claim => self.hear_claim(&reply),
            Frame::Ack | Frame::KeepAlive => self.hear_sign(&reply),
            Frame::Msg => {
                self.tell_caller(&reply);
                self.hear_sign(&reply)
            }
            Frame::Chunk => self.hear_chunk(&reply),
            Frame::Busy | Frame::Late => self.hear_refusal(&reply),
            Frame::End | Frame::Err => self.hear_end(reply),
        }
    }

    /// A worker would run it. Only the last dispatch is told to go, and only once.
    fn hear_claim(&mut self, reply: &Reply) -> Step {
        let Some(worker) = reply.worker.as_deref() else {
            return Err(answer::garbage(
                "of no name",
                "with a claim that does not say whose it is",
                &reply.body,
            ));
        };
        let own = self
            .attempts
            .get(reply.attempt)
            .and_then(|attempt| attempt.worker.clone());
        let is_own = own.as_deref() == Some(worker);
        if self.committed == Some(reply.attempt) && is_own {
            return Ok(None);
        }
        let is_wanted = matches!(self.phase, Phase::Waiting(_)) && reply.attempt == self.number;
        if self.committed.is_some() || !is_wanted || !is_own {
            let _ = self.tell(worker, Control::Cancel, reply.attempt);
            return Ok(None);
        }
        // What is not sent now will never be: the tool has not begun, and does not.
        let sent = self.tell(worker, Control::Go, reply.attempt);
        sent.map_err(|why| self.not_sent(&why))?;
        self.committed = Some(reply.attempt);
        self.is_running();
        Ok(None)
    }

    fn is_running(&mut self) {
        let now = Instant::now();
        self.phase = Phase::Running(now);
        self.due = now + KEEP_ALIVE * MISSED;
    }

    fn hear_sign(&mut self, reply: &Reply) -> Step {
        let counts = self.is_direct() || self.committed == Some(reply.attempt);
        if counts && matches!(self.phase, Phase::Waiting(_)) {
            self.is_running();
        }
        Ok(None)
    }

    fn hear_chunk(&mut self, reply: &Reply) -> Step {
        let took = self
            .attempts
            .get(reply.attempt)
            .map(|attempt| attempt.gather.push(reply.seq, &reply.body));
        if let Some(Err(why)) = took {
            return Err(self.unknown(&format!("its result came incomplete: {why}")));
        }
        self.credit_all();
        self.hear_sign(reply)
    }

    /// It was not run. Somebody else is asked at once.
    fn hear_refusal(&mut self, reply: &Reply) -> Step {
        if matches!(self.phase, Phase::Stopping(_)) {
            return Err(Error::Cancelled);
        }
        let number = reply.attempt;
        let is_last = self
            .committed
            .map_or(number == self.number, |committed| committed == number);
        let Some(attempt) = self.attempts.end(number) else {
            return Ok(None);
        };
        if !is_last {
            return Ok(None);
        }
        self.committed = None;
        if reply.frame == Frame::Busy {
            self.tried.extend(attempt.worker);
            self.refused = Some(busy(reply));
        } else {
            self.silent += 1;
            if let Some(peer) = attempt.peer() {
                peer.was_silent();
            }
            if self.silent >= MOST_SILENT {
                return Err(answer::refusal(reply));
            }
        }
        self.dispatch().map(|()| None)
    }

    fn hear_end(&mut self, reply: Reply) -> Step {
        let is_cancelled = reply.error.as_deref() == Some(Error::Cancelled.label());
        if is_cancelled && !matches!(self.phase, Phase::Stopping(_)) {
            return self.hear_cancelled(reply.attempt);
        }
        let is_own = self.is_direct()
            || self
                .committed
                .is_none_or(|committed| committed == reply.attempt);
        let Some(attempt) = self.attempts.get(reply.attempt).filter(|_| is_own) else {
            return Ok(None);
        };
        let came_in_chunks = attempt.gather.has_begun() || reply.seq.is_some();
        let body = if reply.object.is_none() && came_in_chunks {
            attempt.gather.whole(reply.seq)
        } else {
            Ok(reply.body.clone())
        };
        match body {
            Ok(body) => Ok(Some(Ended { reply, body })),
            Err(why) => Err(self.unknown(&format!("its result came incomplete: {why}"))),
        }
    }

    /// A dispatch was cancelled, and not the call: its claim came too late, or the word was about an earlier one.
    fn hear_cancelled(&mut self, number: u32) -> Step {
        if self.committed == Some(number) {
            return Err(self.unknown("the worker stopped it, and nobody had asked for that"));
        }
        let known = self.attempts.end(number).is_some();
        if !known || number != self.number || self.committed.is_some() {
            return Ok(None);
        }
        self.silent += 1;
        if self.silent >= MOST_SILENT {
            return Err(match self.is_direct() {
                true => self.unknown("the workers stopped it, and nobody had asked for that"),
                false => reasons::silent(&self.job.work, self.number, None),
            });
        }
        self.dispatch().map(|()| None)
    }

    /// A worker answered the word to go. An error is its proof that it did not begin.
    fn hear_told(&mut self, number: u32, message: &bus::Message) -> Step {
        let refused = message.headers.get(header::SERVICE_ERROR);
        match refused {
            Some(why) if self.committed == Some(number) => {
                tracing::debug!(call = %self.job.call.id, why, "the worker did not take the word to go");
                self.uncommit(number)
            }
            _ => Ok(None),
        }
    }

    /// The dispatch that was told to go did not begin: somebody else is asked.
    fn uncommit(&mut self, number: u32) -> Step {
        if matches!(self.phase, Phase::Stopping(_)) {
            return Err(Error::Cancelled);
        }
        self.committed = None;
        if let Some(attempt) = self.attempts.end(number) {
            self.tried.extend(attempt.worker);
        }
        self.dispatch().map(|()| None)
    }

    /// The server's word that nobody got a message.
    fn hear_nobody(&mut self, origin: Origin) -> Step {
        let number = match origin {
            Origin::Request(number) | Origin::Go(number) | Origin::Knock(number) => number,
        };
        let is_last = match origin {
            Origin::Request(number) => self.committed.is_none() && number == self.number,
            Origin::Go(number) => self.committed == Some(number),
            // Whatever the worker got, it gave no sign, and cannot be told to go.
            Origin::Knock(number) => {
                matches!(self.phase, Phase::Waiting(_)) && number == self.number
            }
        };
        if !is_last || matches!(self.phase, Phase::Stopping(_)) {
            return Ok(None);
        }
        self.committed = None;
        let peer = self
            .attempts
            .end(number)
            .and_then(|attempt| attempt.peer().cloned());
        if let Some(peer) = peer {
            if peer.is_gone() {
                self.job.core.noticed.notify_one();
            }
            self.alone_since.get_or_insert_with(Instant::now);
            return self.dispatch().map(|()| None);
        }
        let routes = self.job.remote.routes();
        self.rest(&routes).map(|()| None)
    }

    fn hear_denied(&mut self, subject: &str) -> Step {
        let is_under_way = self
            .attempts
            .iter()
            .any(|attempt| attempt.gather.has_begun());
        match self.phase {
            Phase::Stopping(_) => Ok(None),
            _ if is_under_way => {
                Err(self.unknown("its result cannot be fetched: credits are denied"))
            }
            _ => Err(reasons::denied(subject)),
        }
    }

    fn tell_caller(&self, reply: &Reply) {
        let counts = self.is_direct() || self.committed == Some(reply.attempt);
        let Ok(Said::Call(said)) = Said::parse(&reply.body) else {
            tracing::debug!(call = %self.job.call.id, "a notice of the worker cannot be read");
            return;
        };
        let kind = match said.method.as_str() {
            "notifications/progress" => EventKind::Progress,
            "notifications/message" => EventKind::Log,
            _ => return,
        };
        if counts {
            let params = said.params;
            self.job.call.line().tell(Event { kind, params });
        }
    }

    /// It has begun, and cannot be brought to its end.
    fn unknown(&mut self, why: &str) -> Error {
        let number = self.committed.unwrap_or(self.number);
        let worker = self
            .attempts
            .get(number)
            .and_then(|attempt| attempt.worker.clone());
        reasons::unknown(self.job.call.id, &self.job.work, worker.as_deref(), why)
    }
}

/// Whatever reason it gives, a worker that is busy is a limit that was reached.
fn busy(reply: &Reply) -> Error {
    let worker = reply.worker.as_deref().unwrap_or("of no name");
    match answer::refusal(reply) {
        Error::Busy { what, retry_after } => Error::Busy {
            what: format!("no worker takes it; the last that was asked, {worker}: {what}"),
            retry_after,
        },
        other => other,
    }
}
