//! What a call does when nothing is heard.

use super::*;
use crate::caller::reasons;

impl Course<'_> {
    /// A moment has come at which something was to have happened.
    pub(super) fn look(&mut self) -> Result<(), Error> {
        match self.phase {
            Phase::Resting(_) => self.dispatch(),
            Phase::Waiting(since) => self.look_for_sign(since),
            Phase::Running(since) => self.look_for_life(since),
            Phase::Stopping(_) => Err(Error::Cancelled),
        }
    }

    /// Without a connection nobody is late; with a new one, everybody has their time anew.
    fn since_link(&mut self, since: Instant) -> Option<Instant> {
        match self.job.core.link.since() {
            Some(up) => Some(since.max(up)),
            None => {
                self.due = Instant::now() + LOOK_AT_LINK;
                None
            }
        }
    }

    fn look_for_sign(&mut self, since: Instant) -> Result<(), Error> {
        let Some(begin) = self.since_link(since) else {
            return Ok(());
        };
        let sign = self.ticket.last_sign().filter(|sign| *sign >= since);
        if self.is_direct()
            && let Some(sign) = sign
        {
            self.phase = Phase::Running(sign);
            self.due = sign + KEEP_ALIVE * MISSED;
            return Ok(());
        }
        let now = Instant::now();
        let end = begin + self.ask.start_within + START_GRACE;
        if now < end {
            self.knock(since, now);
            self.due = self.knock.map_or(end, |next| next.min(end));
            return Ok(());
        }
        self.silent += 1;
        self.is_silent(self.number);
        self.again()
    }

    /// Asks whether the worker is there, where it is time to: by a credit of nothing, for which a worker does nothing.
    fn knock(&mut self, since: Instant, now: Instant) {
        if self.knock.is_none_or(|next| now < next) {
            return;
        }
        let number = self.number;
        let worker = self
            .attempts
            .get(number)
            .and_then(|attempt| attempt.worker.clone());
        self.knock = worker.map(|worker| {
            // What cannot be said now is said with the next one.
            let _ = self.tell(&worker, Control::Credit(0), number);
            now + (now - since) * 3
        });
    }

    /// Asks again after silence, unless it was asked often enough.
    fn again(&mut self) -> Result<(), Error> {
        if self.silent < MOST_SILENT {
            return self.dispatch();
        }
        let last = self
            .attempts
            .iter()
            .last()
            .and_then(|attempt| attempt.worker.clone());
        let (work, last) = (&self.job.work, last.as_deref());
        Err(if self.is_direct() {
            let why = format!(
                "no sign of {} workers in a row that were asked",
                self.silent
            );
            reasons::unknown(self.job.call.id, work, last, &why)
        } else {
            reasons::silent(work, self.silent, last)
        })
    }

    /// A dispatch that gives no sign. One that was to wait for the word to go is told that it will not come.
    fn is_silent(&mut self, number: u32) {
        let is_direct = self.is_direct();
        let Some(attempt) = self.attempts.get(number) else {
            return;
        };
        if let Some(peer) = attempt.peer() {
            peer.was_silent();
        }
        if !is_direct {
            self.leave(None);
        }
    }

    fn look_for_life(&mut self, since: Instant) -> Result<(), Error> {
        let Some(begin) = self.since_link(since) else {
            return Ok(());
        };
        self.credit_all();
        let sign = self
            .ticket
            .last_sign()
            .map_or(begin, |sign| sign.max(begin));
        let end = sign + KEEP_ALIVE * MISSED;
        if Instant::now() < end {
            self.due = end;
            return Ok(());
        }
        let number = self.committed.unwrap_or(self.number);
        self.is_silent(number);
        if self.is_direct() {
            self.silent += 1;
            return self.again();
        }
        let worker = self
            .attempts
            .get(number)
            .and_then(|attempt| attempt.worker.clone());
        let why = format!(
            "it was taken up, and there was no sign of life for {} s",
            (KEEP_ALIVE * MISSED).as_secs()
        );
        Err(reasons::unknown(
            self.job.call.id,
            &self.job.work,
            worker.as_deref(),
            &why,
        ))
    }

    /// Tells the workers how many more chunks they may send.
    pub(super) fn credit_all(&mut self) {
        let due: Vec<_> = self
            .attempts
            .iter()
            .filter_map(|attempt| {
                Some((
                    attempt.number,
                    attempt.worker.clone()?,
                    attempt.gather.credit()?,
                ))
            })
            .collect();
        for (number, worker, credit) in due {
            // What cannot be said now is said when it is looked after the call next.
            if self.tell(&worker, Control::Credit(credit), number).is_ok()
                && let Some(attempt) = self.attempts.get(number)
            {
                attempt.gather.credited();
            }
        }
    }
}
