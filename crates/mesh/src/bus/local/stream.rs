//! Streams within the process: the last records of each, for whoever looks.

use std::collections::{HashMap, VecDeque};

use crate::bus::{BusError, Message};
use crate::subject;

/// Records kept of one stream: enough to look at, and at most some 10 MiB of records of a call.
const RECORDS: usize = 10_000;

/// All streams.
#[derive(Default)]
pub(super) struct Streams(HashMap<String, VecDeque<Message>>);

impl Streams {
    pub(super) fn append(
        &mut self,
        stream: &str,
        subjects: &str,
        message: Message,
    ) -> Result<(), BusError> {
        subject::check_store(stream).map_err(BusError)?;
        if !subject::matches(subjects, &message.subject) {
            return Err(BusError(format!(
                "stream {stream} keeps {subjects}, which {} is not under",
                message.subject
            )));
        }
        let records = self.0.entry(stream.to_owned()).or_default();
        if records.len() == RECORDS {
            records.pop_front();
        }
        records.push_back(message);
        Ok(())
    }

    pub(super) fn records(&self, stream: &str) -> Vec<Message> {
        let records = self.0.get(stream);
        records.map_or_else(Vec::new, |records| records.iter().cloned().collect())
    }
}
