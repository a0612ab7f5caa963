//! Results in place of those that arguments or results would not have deserved.

use serde::Serialize;
use toolbus_model::{INVALID, Object, Outcome};

use super::problem::Problems;
use super::value::Unread;

#[derive(Serialize)]
struct Problem<'a> {
    path: &'a str,
    problem: &'a str,
}

/// The member of `_meta` by which programs, and the audit, know what this is.
#[derive(Serialize)]
struct Invalid<'a> {
    part: &'static str,
    fault: &'static str,
    problems: Vec<Problem<'a>>,
}

pub(super) fn wrong_arguments(tool: &str, problems: &Problems) -> Outcome {
    let text = format!("Invalid arguments for tool '{tool}':{}", problems.lines());
    failed(&text, "arguments", problems)
}

pub(super) fn costly_arguments(tool: &str) -> Outcome {
    refused(
        tool,
        "it takes too long to check them against the tool's inputSchema; send less, or nest it less",
    )
}

pub(super) fn unread_arguments(tool: &str, unread: Unread) -> Outcome {
    let why = match unread {
        Unread::TooLong => "they are longer than 16 MiB; send less".to_owned(),
        Unread::TooMany(limit) => format!("they have more than {limit} values; send less"),
        Unread::TooDeep(limit) => {
            format!("they are nested deeper than {limit} levels; nest them less")
        }
        Unread::Broken => "they are not JSON".to_owned(),
    };
    refused(tool, &why)
}

pub(super) fn wrong_result(tool: &str, problems: &Problems) -> Outcome {
    let text = format!(
        "Tool '{tool}' ran, but its result does not fit its outputSchema. This is a fault of the tool, not of the arguments:{}",
        problems.lines()
    );
    failed(&text, "result", problems)
}

fn refused(tool: &str, why: &str) -> Outcome {
    let text = format!("Invalid arguments for tool '{tool}': {why}");
    failed(&text, "arguments", &Problems::default())
}

fn failed(text: &str, part: &'static str, problems: &Problems) -> Outcome {
    let problems = problems.told.iter().map(|problem| Problem {
        path: &problem.path,
        problem: &problem.what,
    });
    let invalid = Invalid {
        part,
        fault: if part == "result" {
            "backend"
        } else {
            "caller"
        },
        problems: problems.collect(),
    };
    let result = serde_json::json!({
        "content": [{ "type": "text", "text": text }],
        "isError": true,
        "_meta": { INVALID: invalid },
    });
    Outcome::Complete(Object::of(&result))
}
