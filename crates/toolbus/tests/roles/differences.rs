//! The one list of what differs between the roles, and why. What is not in it must not differ, and what is must.

use std::fmt::Write as _;

use serde_json::Value;

use crate::role::Role;
use crate::transcript::{Seen, Step};

const BEGIN: &str = "<!-- differences: written by the test `roles` -->";
const END: &str = "<!-- end of the differences -->";

/// The roles in which a call has a process.
const SCRIPTS: &[Role] = &[Role::Script, Role::Warm, Role::Reused];

/// Those in which the gateway looks at the arguments.
const CHECKED: &[Role] = &[
    Role::Runner,
    Role::OwnRunner,
    Role::Script,
    Role::Warm,
    Role::Reused,
    Role::Embedded,
];

/// What some roles do in another way than the first.
struct Difference {
    step: &'static str,
    roles: &'static [Role],
    /// What is seen instead, as a step of the transcripts has it.
    instead: &'static str,
    /// What differs, for a reader.
    what: &'static str,
    why: &'static str,
}

const DIFFERENCES: &[Difference] = &[
    Difference {
        step: "arguments that do not fit",
        roles: CHECKED,
        instead: r#"{"answer": {"result": {"content": [{"text": "Invalid arguments for tool 'add':\n- Missing required field: 'b'\n- /a: must be of type integer, but is of type string", "type": "text"}], "isError": true}}}"#,
        what: "the same faults in the gateway's words; in pydantic's elsewhere",
        why: "The gateway holds arguments against the schema before it starts anything. An MCP server does that itself, unless `validate = true` is set for it.",
    },
    Difference {
        step: "crashing the interpreter",
        roles: &[Role::Runner, Role::OwnRunner],
        instead: r#"{"answer": {"error": {"code": -31003, "data": {"fault": "backend", "retryable": false}, "message": "Outcome unknown, the call may have run: the connection was lost"}}}"#,
        what: "the error is about the connection, not the process; until the runner is there again, calls are answered as unavailable, and may be retried",
        why: "A runner may be anywhere: what is seen of its end is the end of the connection.",
    },
    Difference {
        step: "crashing the interpreter",
        roles: SCRIPTS,
        instead: r#"{"answer": {"result": {"content": [{"text": "The script failed.\ncommand: {checkout}/.venv/bin/python -P -m toolbus.script {checkout}/examples/roles/twelve.py crash\nexit status 7", "type": "text"}], "isError": true}}}"#,
        what: "a result with `isError` and the exit status; an error, outcome unknown, elsewhere",
        why: "The process is this call's alone: how it ends is how the call ends. Elsewhere it takes other calls with it.",
    },
    Difference {
        step: "crashing the interpreter",
        roles: &[Role::Embedded],
        instead: r#"{"answer": {"result": {"content": [{"text": "SystemExit: os._exit would end the gateway that this runs in, and is refused", "type": "text"}], "isError": true}}}"#,
        what: "a result with `isError`: leaving is refused",
        why: "The interpreter is in the gateway. What does end it without asking, such as a segmentation fault, ends the gateway.",
    },
    Difference {
        step: "needing elicitation",
        roles: SCRIPTS,
        instead: r#"{"answer": {"result": {"content": [{"text": "This tool asks its caller for something. A script cannot: its process ends with its answer. Serve the tool by a runner, or embedded.", "type": "text"}], "isError": true}}}"#,
        what: "a result with `isError` that says so; the caller is asked elsewhere",
        why: "What asks has to be there when the answer comes, and the process has ended with its own.",
    },
];

fn expected(role: Role, step: &Step) -> Seen {
    let own = DIFFERENCES
        .iter()
        .find(|it| it.step == step.name && it.roles.contains(&role));
    own.map_or_else(|| step.expected.clone(), Difference::seen)
}

impl Difference {
    fn seen(&self) -> Seen {
        let value: Value = serde_json::from_str(self.instead).expect("JSON");
        Seen::of(&value)
    }
}

/// What is wrong with what was seen in a role.
pub(crate) fn judge(role: Role, step: &Step, seen: &Seen) -> Option<String> {
    let expected = expected(role, step);
    (expected != *seen).then(|| {
        let name = &step.name;
        format!("{name}:\n  expected {expected:?}\n  seen     {seen:?}")
    })
}

/// Each entry names a step, and differs from what is common.
pub(crate) fn check(steps: &[Step]) {
    for difference in DIFFERENCES {
        let step = steps.iter().find(|step| step.name == difference.step);
        let step = step.unwrap_or_else(|| panic!("no step {:?}", difference.step));
        assert!(
            step.expected != difference.seen(),
            "{:?} is listed and does not differ",
            difference.step
        );
    }
}

/// The list for readers.
pub(crate) fn table() -> String {
    if DIFFERENCES.is_empty() {
        return "Nothing differs.\n".to_owned();
    }
    let mut table = String::from("| tool | role | what differs | why |\n|---|---|---|---|\n");
    for it in DIFFERENCES {
        let roles: Vec<&str> = it.roles.iter().map(|role| role.name()).collect();
        let roles = roles.join(", ");
        let _ = writeln!(
            table,
            "| {} | {roles} | {} | {} |",
            it.step, it.what, it.why
        );
    }
    table
}

/// The page with the list in it.
pub(crate) fn page(before: &str) -> Option<String> {
    let (head, rest) = before.split_once(BEGIN)?;
    let (_, tail) = rest.split_once(END)?;
    Some(format!("{head}{BEGIN}\n\n{}\n{END}{tail}", table()))
}
