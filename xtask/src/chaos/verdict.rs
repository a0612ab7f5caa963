//! What must be true afterwards, from the calls, the ledgers and the records of the gateways.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::callers::{Call, Tool};
use super::faults::Window;
use super::outcome::{BUSY, Outcome, UNAVAILABLE, UNKNOWN};
use super::plan::Kind;

/// Examples kept of each thing that must not be: the first tell most.
const EXAMPLES: usize = 5;

/// Something that must hold, how often it did not, and the first of these.
#[derive(Default)]
pub(super) struct Rule {
    pub(super) broken: u64,
    pub(super) examples: Vec<String>,
}

impl Rule {
    fn breach(&mut self, example: impl FnOnce() -> String) {
        self.broken += 1;
        if self.examples.len() < EXAMPLES {
            self.examples.push(example());
        }
    }
}

/// Counts of what was seen.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) calls: u64,
    pub(super) once: u64,
    pub(super) again: u64,
    pub(super) ok: u64,
    /// How often each code came, and what was said with it first.
    pub(super) errors: BTreeMap<i64, (u64, String)>,
    pub(super) executions: u64,
    /// Calls of the tool that may run again which did.
    pub(super) repeated: u64,
    /// Calls of which the caller was told that they may have run: those that had, and those that had not.
    pub(super) unknown_ran: u64,
    pub(super) unknown_did_not: u64,
    /// The shortest and the longest time of a call, and the worst of those that failed, in seconds.
    pub(super) longest: f64,
    pub(super) during_drains: u64,
}

/// What must not be.
#[derive(Default)]
pub(super) struct Verdict {
    pub(super) seen: Seen,
    pub(super) twice: Rule,
    pub(super) without_outcome: Rule,
    pub(super) without_record: Rule,
    pub(super) ok_without_execution: Rule,
    pub(super) refused_but_ran: Rule,
    pub(super) unnamed: Rule,
    pub(super) unclear: Rule,
    pub(super) lost_on_drain: Rule,
    pub(super) failed_without_fault: Rule,
}

impl Verdict {
    pub(super) fn rules(&self) -> [(&'static str, &Rule); 9] {
        [
            ("executed twice, of the tool in claim mode", &self.twice),
            ("without exactly one outcome", &self.without_outcome),
            (
                "without exactly one record in the audit",
                &self.without_record,
            ),
            (
                "answered with a result, but never executed",
                &self.ok_without_execution,
            ),
            (
                "refused as \"nothing was run\", but executed (claim mode)",
                &self.refused_but_ran,
            ),
            ("failed without naming the call", &self.unnamed),
            (
                "failed with an error that does not say whether it ran",
                &self.unclear,
            ),
            ("lost on a drain", &self.lost_on_drain),
            (
                "failed while nothing was broken",
                &self.failed_without_fault,
            ),
        ]
    }

    /// Judges everything.
    pub(super) fn of(
        calls: &[Call],
        executions: &HashMap<String, u32>,
        records: &[HashMap<String, u32>],
        windows: &[Window],
    ) -> Self {
        let mut verdict = Self::default();
        verdict.seen.executions = executions.values().map(|count| u64::from(*count)).sum();
        for call in calls {
            let ran = executions.get(&call.unique).copied().unwrap_or(0);
            verdict.count(call, ran);
            verdict.call(call, ran, windows);
        }
        verdict.records(calls, records);
        verdict
    }

    fn count(&mut self, call: &Call, ran: u32) {
        let seen = &mut self.seen;
        seen.calls += 1;
        match call.tool {
            Tool::Once => seen.once += 1,
            Tool::Again => seen.again += 1,
        }
        seen.repeated += u64::from(call.tool == Tool::Again && ran > 1);
        seen.longest = seen.longest.max((call.ended - call.begun).as_secs_f64());
        match &call.outcome {
            Outcome::Ok => seen.ok += 1,
            Outcome::Error { code, message, .. } => {
                let first = || (0, message.clone());
                seen.errors.entry(*code).or_insert_with(first).0 += 1;
                seen.unknown_ran += u64::from(*code == UNKNOWN && ran > 0);
                seen.unknown_did_not += u64::from(*code == UNKNOWN && ran == 0);
            }
            Outcome::None(_) => {}
        }
    }

    fn call(&mut self, call: &Call, ran: u32, windows: &[Window]) {
        let what = || format!("{call:?}, executed {ran} times");
        let is_once = call.tool == Tool::Once;
        if is_once && ran > 1 {
            self.twice.breach(what);
        }
        match &call.outcome {
            Outcome::Ok if ran == 0 => self.ok_without_execution.breach(what),
            Outcome::Ok => {}
            Outcome::None(_) => self.without_outcome.breach(what),
            Outcome::Error {
                code, names_call, ..
            } => {
                if !names_call {
                    self.unnamed.breach(what);
                }
                if ![UNAVAILABLE, BUSY, UNKNOWN].contains(code) {
                    self.unclear.breach(what);
                }
                if is_once && ran > 0 && [UNAVAILABLE, BUSY].contains(code) {
                    self.refused_but_ran.breach(what);
                }
            }
        }
        let mut felt = windows
            .iter()
            .filter(|window| window.overlaps(call.begun, call.ended))
            .peekable();
        let nothing = felt.peek().is_none();
        let only_drains = !nothing && felt.all(|window| window.kind == Kind::DrainWorker);
        self.seen.during_drains += u64::from(only_drains);
        if call.outcome != Outcome::Ok {
            if only_drains {
                self.lost_on_drain.breach(what);
            } else if nothing {
                self.failed_without_fault.breach(what);
            }
        }
    }

    /// A record for each call that a gateway answered, and no record twice.
    fn records(&mut self, calls: &[Call], records: &[HashMap<String, u32>]) {
        for (gateway, records) in records.iter().enumerate() {
            for (id, count) in records.iter().filter(|(_, count)| **count != 1) {
                self.without_record
                    .breach(|| format!("gateway {gateway}: call {id} has {count} records"));
            }
            let made = calls.iter().filter(|call| call.gateway == gateway).count();
            if records.len() < made {
                self.without_record.breach(|| {
                    format!(
                        "gateway {gateway}: {} records of {made} calls",
                        records.len()
                    )
                });
            }
        }
    }
}

/// How often each id was executed, over all ledgers.
pub(super) fn executions(ledgers: &[impl AsRef<Path>]) -> Result<HashMap<String, u32>> {
    let mut found = HashMap::new();
    for path in ledgers {
        let path = path.as_ref();
        let text =
            fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        for line in text.lines() {
            *found.entry(line.to_owned()).or_default() += 1;
        }
    }
    Ok(found)
}

/// How many closing records each call has in an audit file.
pub(super) fn records(audit: &Path) -> Result<HashMap<String, u32>> {
    let file = fs::File::open(audit).with_context(|| format!("no audit {}", audit.display()))?;
    let mut opened = HashSet::new();
    let mut found = HashMap::new();
    for line in BufReader::new(file).lines() {
        let record: Value = serde_json::from_str(&line?).context("a line of the audit")?;
        let id = record["callId"].as_str().unwrap_or_default().to_owned();
        if record["event"] == "call" {
            *found.entry(id).or_default() += 1;
        } else {
            opened.insert(id);
        }
    }
    // One that was opened and has no end counts as none.
    for id in opened {
        found.entry(id).or_default();
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn call(unique: &str, at: u64, outcome: Outcome) -> Call {
        Call {
            unique: unique.to_owned(),
            gateway: 0,
            tool: Tool::Once,
            begun: Duration::from_secs(at),
            ended: Duration::from_secs(at + 1),
            outcome,
        }
    }

    fn error(code: i64, names_call: bool) -> Outcome {
        Outcome::Error {
            code,
            names_call,
            message: String::new(),
        }
    }

    #[test]
    fn each_breach_is_found() {
        let window = |kind, from| Window {
            kind,
            from: Duration::from_secs(from),
            until: Duration::from_secs(from + 5),
        };
        let windows = [
            window(Kind::KillWorker, 100),
            window(Kind::DrainWorker, 200),
        ];
        let calls = [
            call("good", 0, Outcome::Ok),
            call("twice", 101, Outcome::Ok),
            call("never", 1, Outcome::Ok),
            call("hung", 101, Outcome::None("timeout".into())),
            call("refused", 101, error(UNAVAILABLE, true)),
            call("unnamed", 101, error(UNKNOWN, false)),
            call("drained", 202, error(UNKNOWN, true)),
            call("quiet", 50, error(UNKNOWN, true)),
            call("unclear", 101, error(-32603, true)),
        ];
        let executions = [("good", 1), ("twice", 2), ("refused", 1), ("unnamed", 1)];
        let executions = executions.map(|(id, count)| (id.to_owned(), count)).into();
        let mut records: HashMap<String, u32> = (0..9).map(|id| (id.to_string(), 1)).collect();
        let verdict = Verdict::of(&calls, &executions, &[records.clone()], &windows);
        let broken = verdict.rules().map(|(_, rule)| rule.broken);
        assert_eq!(broken, [1, 1, 0, 1, 1, 1, 1, 1, 1]);
        assert_eq!(
            (verdict.seen.unknown_ran, verdict.seen.unknown_did_not),
            (1, 2)
        );
        assert_eq!(verdict.seen.during_drains, 1);
        records.insert("0".to_owned(), 0);
        let verdict = Verdict::of(&calls[..1], &executions, &[records], &[]);
        assert_eq!(verdict.without_record.broken, 1);
    }
}
