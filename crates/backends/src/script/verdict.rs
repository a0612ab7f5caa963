//! What a run means: its exit, its stdout and its last words, as a result of the tool.

use bytes::Bytes;
use serde::Serialize;
use toolbus_model::json::{Edit, write_string};
use toolbus_model::{Cause, Error, Object, Outcome, Raw};

use super::limits::{self, Reason};
use super::run::{End, Ran};
use super::spec::Limits;
use crate::process::Ended;

/// How much of the ends of stdout and stderr a message shows, in characters: a stack trace, and not a model's whole context.
const SHOWN: usize = 4_000;

/// What a script says by itself of a run that failed.
struct Failure {
    message: Option<String>,
}

/// The outcome of a run.
pub(super) fn outcome(ran: Ran, limits: &Limits) -> Result<Outcome, Error> {
    let reason = match &ran.end {
        End::Ended(Ended::Exit(0)) => return Ok(Outcome::Complete(said(ran, limits))),
        End::Ended(Ended::Exit(code)) => return Ok(Outcome::Complete(failed(&ran, *code, limits))),
        End::Ended(Ended::Lost) => return Err(lost(ran)),
        End::Ended(Ended::Signal(signal)) => limits::of_signal(*signal, limits),
        End::Ended(Ended::Exceeded(limit)) => limits::of_warden(*limit, limits),
        End::Timeout(limit) => limits::of_time(*limit),
        End::Output(limit) => limits::of_output(*limit),
    };
    Ok(Outcome::Complete(ended(&ran, &reason, limits)))
}

/// What a script that ended well has said.
fn said(ran: Ran, limits: &Limits) -> Object {
    let Some(text) = trimmed(&ran.stdout) else {
        return texts(&[], false);
    };
    if let Ok(object) = Object::parse(text.clone()) {
        return of_object(object, &ran, limits);
    }
    match Raw::parse(text.clone()) {
        Ok(value) => match value.as_str() {
            Some(text) => texts(&[&text], false),
            None => texts(&[&String::from_utf8_lossy(value.bytes())], false),
        },
        Err(error) => {
            let note =
                format!("(The script's stdout is not JSON, and is passed on as text: {error}.)");
            texts(&[&String::from_utf8_lossy(&text), &note], false)
        }
    }
}

fn of_object(object: Object, ran: &Ran, limits: &Limits) -> Object {
    if is_result(&object) {
        return with_hint(object, limits);
    }
    if is_question(&object) {
        let why = "The script asks its caller for something (input_required). A script cannot: its process ends with \
                   its answer. Serve the tool by a runner, or embedded.";
        return texts(&[why], true);
    }
    if let Some(failure) = failure(&object) {
        let message = failure
            .message
            .unwrap_or_else(|| "The script failed.".to_owned());
        return texts(&[&explained(&message, None, ran, limits)], true);
    }
    if object.get("_serialized") == Some(b"true")
        && let Some(value) = object.raw("value")
    {
        let text = value.as_str();
        let text = text.unwrap_or_else(|| String::from_utf8_lossy(value.bytes()));
        return texts(&[&text], false);
    }
    structured(&object)
}

/// What a script that ended with another status than 0 has said.
fn failed(ran: &Ran, code: i32, limits: &Limits) -> Object {
    let text = trimmed(&ran.stdout);
    let object = text.clone().and_then(|text| Object::parse(text).ok());
    if let Some(object) = object.as_ref().filter(|object| is_result(object)) {
        return with_hint(object.edited(&[("isError", Edit::Put(b"true"))]), limits);
    }
    let status = match limits::of_exit(code, limits) {
        Some(reason) => format!("exit status {code}: {reason}"),
        None => format!("exit status {code}"),
    };
    let own = object.as_ref().and_then(|object| failure(object)?.message);
    let last = || {
        ran.stderr
            .as_deref()
            .and_then(|words| words.lines().next_back())
    };
    let message = own.clone().or_else(|| last().map(str::to_owned));
    let message = message.unwrap_or_else(|| "The script failed.".to_owned());
    let mut message = explained(&message, Some(&status), ran, limits);
    if let (None, Some(text)) = (own, text) {
        message.push_str(&format!(
            "\nstdout:\n{}",
            end_of(&String::from_utf8_lossy(&text))
        ));
    }
    texts(&[&message], true)
}

/// A run that did not end by itself.
fn ended(ran: &Ran, reason: &Reason, limits: &Limits) -> Object {
    texts(&[&explained(&reason.to_string(), None, ran, limits)], true)
}

/// A message with all that helps to find the cause.
fn explained(message: &str, status: Option<&str>, ran: &Ran, limits: &Limits) -> String {
    let words = ran.stderr.as_deref().unwrap_or_default();
    let mut text = message.to_owned();
    let mut add = |line: &str| {
        text.push('\n');
        text.push_str(line);
    };
    if let Some(hint) =
        limits::of_words(message, limits).or_else(|| limits::of_words(words, limits))
    {
        add(&hint);
    }
    add(&format!("command: {}", ran.command));
    if let Some(status) = status {
        add(status);
    }
    if !words.is_empty() && words != message {
        add(&format!("stderr:\n{}", end_of(words)));
    }
    text
}

/// A result that says it failed, with what its words tell of a limit.
fn with_hint(result: Object, limits: &Limits) -> Object {
    let is_error = result.get("isError") == Some(b"true");
    let content = result.get("content").filter(|_| is_error);
    let words = content.map(|content| String::from_utf8_lossy(content).into_owned());
    let Some(hint) = words.and_then(|words| limits::of_words(&words, limits)) else {
        return result;
    };
    let Some(content) = result
        .get("content")
        .and_then(|content| content.strip_suffix(b"]"))
    else {
        return result;
    };
    let mut longer = content.to_vec();
    if content.trim_ascii_end() != b"[" {
        longer.push(b',');
    }
    longer.extend_from_slice(b"{\"type\":\"text\",\"text\":");
    write_string(&hint, &mut longer);
    longer.extend_from_slice(b"}]");
    result.edited(&[("content", Edit::Put(&longer))])
}

/// It has the shape of MCP's `CallToolResult`.
fn is_result(object: &Object) -> bool {
    let Some(content) = object.raw("content") else {
        return false;
    };
    let blocks = content.read::<Vec<&serde_json::value::RawValue>>();
    let is_block = |block: &&serde_json::value::RawValue| {
        let block = Object::parse(Bytes::copy_from_slice(block.get().as_bytes()));
        block.is_ok_and(|block| block.str("type").is_some())
    };
    let others = ["success", "_serialized"];
    blocks.is_ok_and(|blocks| blocks.iter().all(is_block))
        && others.iter().all(|other| object.get(other).is_none())
}

/// It is MCP's `InputRequiredResult`.
fn is_question(object: &Object) -> bool {
    object
        .str("resultType")
        .is_some_and(|kind| kind == "input_required")
}

/// `{"success": false, "error": ...}`, where the error is text, or an object with a message.
fn failure(object: &Object) -> Option<Failure> {
    if object.get("success") != Some(b"false") {
        return None;
    }
    let error = object.raw("error");
    let message = error.map(|error| match Object::from_raw(&error) {
        Ok(error) if error.str("message").is_some() => {
            error.str("message").unwrap_or_default().into_owned()
        }
        _ => error.as_str().map_or_else(
            || String::from_utf8_lossy(error.bytes()).into_owned(),
            std::borrow::Cow::into_owned,
        ),
    });
    Some(Failure { message })
}

/// An object as MCP has it: as text, and as it is.
fn structured(object: &Object) -> Object {
    let mut result = b"{\"content\":[{\"type\":\"text\",\"text\":".to_vec();
    write_string(&String::from_utf8_lossy(object.bytes()), &mut result);
    result.extend_from_slice(b"}],\"structuredContent\":");
    result.extend_from_slice(object.bytes());
    result.extend_from_slice(b",\"isError\":false}");
    Object::parse(result.into()).unwrap_or_else(|_| Object::empty())
}

#[derive(Serialize)]
struct Text<'a> {
    r#type: &'static str,
    text: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Texts<'a> {
    content: Vec<Text<'a>>,
    is_error: bool,
}

/// A result of texts.
pub(super) fn texts(texts: &[&str], is_error: bool) -> Object {
    let r#type = "text";
    let content = texts.iter().map(|text| Text { r#type, text }).collect();
    Object::of(&Texts { content, is_error })
}

fn lost(ran: Ran) -> Error {
    let cause = Cause {
        command: Some(ran.command),
        status: Some(Ended::Lost.to_string()),
        stderr: ran.stderr,
        ..Cause::new("the process that watches over the script is gone, and the script with it")
    };
    Error::OutcomeUnknown(cause.into())
}

fn trimmed(stdout: &Bytes) -> Option<Bytes> {
    let text = stdout.trim_ascii();
    (!text.is_empty()).then(|| stdout.slice_ref(text))
}

/// The end of a text that is too long to be shown.
fn end_of(text: &str) -> String {
    let surplus = text.chars().count().saturating_sub(SHOWN);
    if surplus == 0 {
        return text.to_owned();
    }
    format!("…{}", text.chars().skip(surplus).collect::<String>())
}

#[cfg(test)]
mod tests;
