//! Who may use what. The same question is asked when something is listed and when it is called.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

pub use toolbus_model::glob;
use toolbus_model::{Caller, Error};

use crate::limits::{Gate, Pass};

/// Calls that one caller may have in flight, where nothing else is configured.
pub const DEFAULT_IN_FLIGHT: usize = 512;

/// What one caller may use. Patterns are matched against `server.original`, where `*` stands for any text.
#[derive(Debug)]
pub struct Rules {
    allow: Option<Vec<String>>,
    deny: Vec<String>,
    gate: Arc<Gate>,
}

impl Rules {
    /// Rules: no `allow` means everything, `deny` wins.
    pub fn new(
        caller: &str,
        allow: Option<Vec<String>>,
        deny: Vec<String>,
        in_flight: usize,
    ) -> Self {
        Self {
            allow,
            deny,
            gate: Gate::new(format!("caller {caller:?}"), in_flight),
        }
    }

    fn permit(&self, server: &str, original: &str) -> bool {
        if self.allow.is_none() && self.deny.is_empty() {
            return true;
        }
        let name = format!("{server}.{original}");
        let hit = |pattern: &String| glob(pattern.as_bytes(), name.as_bytes());
        self.allow
            .as_ref()
            .is_none_or(|allow| allow.iter().any(hit))
            && !self.deny.iter().any(hit)
    }
}

/// The rules of all callers.
#[derive(Debug, Default)]
pub struct Policy {
    callers: HashMap<Caller, Rules>,
    veil: Option<Arc<dyn Veil>>,
}

/// What some callers may not see for a reason that is not in their rules, and that may change at any time.
pub trait Veil: fmt::Debug + Send + Sync {
    /// May this caller see what `server` calls `original`?
    fn lifts(&self, caller: &Caller, server: &str, original: &str) -> bool;
}

impl Policy {
    /// The rules of these callers. Who is not among them may use nothing.
    pub fn new(callers: impl IntoIterator<Item = (Caller, Rules)>) -> Self {
        Self {
            callers: callers.into_iter().collect(),
            veil: None,
        }
    }

    /// The same rules, and those of more callers.
    #[must_use]
    pub fn with(mut self, more: impl IntoIterator<Item = (Caller, Rules)>) -> Self {
        self.callers.extend(more);
        self
    }

    /// The same rules, and a veil besides.
    #[must_use]
    pub fn behind(self, veil: Arc<dyn Veil>) -> Self {
        Self {
            veil: Some(veil),
            ..self
        }
    }

    /// One local caller, who may use everything.
    pub fn open() -> Self {
        let rules = Rules::new(
            Caller::local().as_str(),
            None,
            Vec::new(),
            DEFAULT_IN_FLIGHT,
        );
        Self::new([(Caller::local(), rules)])
    }

    /// May this caller use what `server` calls `original`?
    pub fn permits(&self, caller: &Caller, server: &str, original: &str) -> bool {
        self.callers
            .get(caller)
            .is_some_and(|rules| rules.permit(server, original))
            && self
                .veil
                .as_ref()
                .is_none_or(|veil| veil.lifts(caller, server, original))
    }

    /// Every caller sees the same.
    pub fn is_uniform(&self) -> bool {
        self.veil.is_none()
            && self
                .callers
                .values()
                .all(|rules| rules.allow.is_none() && rules.deny.is_empty())
    }

    /// Counts one more call of this caller.
    pub(crate) fn admit(&self, caller: &Caller) -> Result<Pass, Error> {
        match self.callers.get(caller) {
            Some(rules) => rules.gate.enter(),
            None => Err(Error::Unauthenticated(format!(
                "caller {:?} is not configured",
                caller.as_str()
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(allow: Option<&[&str]>, deny: &[&str]) -> Policy {
        let own = |patterns: &[&str]| patterns.iter().map(|p| (*p).to_owned()).collect::<Vec<_>>();
        Policy::new([(
            Caller::named("ci"),
            Rules::new("ci", allow.map(own), own(deny), 8),
        )])
    }

    #[test]
    fn deny_wins_and_no_allow_means_everything() {
        let ci = Caller::named("ci");
        assert!(policy(None, &[]).permits(&ci, "math", "add"));
        assert!(policy(Some(&["math.*"]), &[]).permits(&ci, "math", "add"));
        assert!(!policy(Some(&["math.*"]), &[]).permits(&ci, "maths", "add"));
        assert!(!policy(Some(&["math.*"]), &["*.add"]).permits(&ci, "math", "add"));
        assert!(!policy(Some(&[]), &[]).permits(&ci, "math", "add"));
        assert!(
            !policy(None, &[]).permits(&Caller::named("who"), "math", "add"),
            "unknown callers may nothing"
        );
        assert!(policy(Some(&["m*.a*d"]), &[]).permits(&ci, "math", "add"));
    }

    #[derive(Debug)]
    struct OnlyAdd;

    impl Veil for OnlyAdd {
        fn lifts(&self, _: &Caller, _: &str, original: &str) -> bool {
            original == "add"
        }
    }

    #[test]
    fn what_is_behind_a_veil_is_not_permitted() {
        let (ci, veiled) = (
            Caller::named("ci"),
            policy(None, &["math.sub"]).behind(Arc::new(OnlyAdd)),
        );
        assert!(veiled.permits(&ci, "math", "add") && !veiled.permits(&ci, "math", "mul"));
        assert!(!veiled.is_uniform());
        let denied = policy(None, &["math.add"]).behind(Arc::new(OnlyAdd));
        assert!(
            !denied.permits(&ci, "math", "add"),
            "a veil adds no permission"
        );
    }
}
