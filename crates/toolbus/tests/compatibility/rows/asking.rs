//! Rows about what a server asks its client in the middle of a call.

use serde_json::{Value, json};

use super::{Got, both, holds};
use crate::peer::{Client, Revision};
use crate::support::upstream::Era;

/// What is written where a revision does not know a question: the client hears why its call failed.
const REFUSED: Got = Got::Instead("the call fails and says why");

/// Calls a tool that must fail: with an error, or a failed result, that has this word in it.
fn fails(client: &mut Client, tool: &str, arguments: Value, word: &str) -> Result<(), String> {
    let params = json!({ "name": tool, "arguments": arguments });
    let outcome = client.ask("tools/call", params)?;
    let says = |value: &Value| value.to_string().contains(word);
    let said = match &outcome {
        Ok(result) => result["isError"] == true && says(result),
        Err(error) => says(error),
    };
    holds(said, || format!("no failure with {word:?}: {outcome:?}"))
}

/// Calls a tool that asks what this client's revision, or the server's, does not know.
fn refused(
    client: &mut Client,
    has: fn(Revision) -> bool,
    tool: &str,
    arguments: Value,
) -> Result<Got, String> {
    fails(client, tool, arguments, "elicitation")?;
    Ok(match has(client.revision()) {
        true => Got::Instead("not in the server's revision"),
        false => REFUSED,
    })
}

/// The only question that came, which is of this method.
fn question(client: &mut Client, method: &str) -> Result<Value, String> {
    let mut questions = client.questions();
    match (questions.pop(), questions.is_empty()) {
        (Some((asked, params)), true) if asked == method => Ok(params),
        last => Err(format!("not one {method}, but {last:?} and {questions:?}")),
    }
}

pub(super) fn form(client: &mut Client, server: Era) -> Result<Got, String> {
    let arguments = json!({ "message": "Who are you?" });
    if !both(client, server, Revision::has_forms) {
        return refused(client, Revision::has_forms, "test_elicitation", arguments);
    }
    client.questions();
    let text = client.text_of("test_elicitation", arguments.clone())?;
    let asked = question(client, "elicitation/create")?;
    holds(asked["message"] == "Who are you?", || format!("{asked}"))?;
    holds(
        text.contains("my username") && text.contains("accept"),
        || text,
    )?;
    client.action = "decline";
    let declined = client.text_of("test_elicitation", arguments);
    client.action = "accept";
    let text = declined?;
    holds(text.contains("decline"), || text)?;
    Ok(Got::All)
}

pub(super) fn page(client: &mut Client, server: Era) -> Result<Got, String> {
    if !both(client, server, Revision::has_pages) {
        let tool = "test_elicitation_url";
        return refused(client, Revision::has_pages, tool, json!({}));
    }
    client.questions();
    let text = client.text_of("test_elicitation_url", json!({}))?;
    let asked = question(client, "elicitation/create")?;
    holds(asked["url"] == "https://example.com/confirm", || {
        format!("{asked}")
    })?;
    holds(text.contains("action=accept"), || text)?;
    // That a page is done is told between two of 2025-11-25 only.
    if !client.revision().is_modern() && server == Era::Legacy {
        let done = client.notice("notifications/elicitation/complete")?;
        holds(done["elicitationId"] == asked["elicitationId"], || {
            format!("{done} after {asked}")
        })?;
    }
    Ok(Got::All)
}

/// 2025-11-25 has an error for this, and the client calls again; 2026-07-28 asks like for any other page.
pub(super) fn page_first(client: &mut Client, server: Era) -> Result<Got, String> {
    let tool = "test_elicitation_url_required";
    if !both(client, server, Revision::has_pages) {
        return refused(client, Revision::has_pages, tool, json!({}));
    }
    client.questions();
    let mut outcome = client.ask("tools/call", json!({ "name": tool }))?;
    if !client.revision().is_modern() && server == Era::Legacy {
        let error = outcome.err().unwrap_or_default();
        let page = &error["data"]["elicitations"][0];
        holds(error["code"] == -32042 && page["url"].is_string(), || {
            format!("not the error with the page, but {error}")
        })?;
        outcome = client.ask("tools/call", json!({ "name": tool }))?;
    } else {
        let asked = question(client, "elicitation/create")?;
        holds(asked["url"] == "https://example.com/confirm", || {
            format!("{asked}")
        })?;
    }
    let said = |result: &Value| result["content"][0]["text"] == "The page was opened";
    holds(outcome.as_ref().is_ok_and(said), || format!("{outcome:?}"))?;
    Ok(Got::All)
}

pub(super) fn sampling(client: &mut Client, _: Era) -> Result<Got, String> {
    client.questions();
    let text = client.text_of("test_sampling", json!({ "prompt": "The capital?" }))?;
    let asked = question(client, "sampling/createMessage")?;
    let prompt = &asked["messages"][0]["content"]["text"];
    holds(prompt == "The capital?", || format!("{asked}"))?;
    holds(text == "LLM response: Paris", || text)?;
    Ok(Got::All)
}

pub(super) fn roots(client: &mut Client, _: Era) -> Result<Got, String> {
    client.questions();
    let text = client.text_of("test_input_required_result_list_roots", json!({}))?;
    question(client, "roots/list")?;
    holds(text.contains("file:///work"), || text)?;
    Ok(Got::All)
}

/// Up to 2025-11-25 a client can refuse a question with an error, whose words are to reach whoever asked.
pub(super) fn refusal(client: &mut Client, _: Era) -> Result<Got, String> {
    if client.revision().is_modern() {
        return Ok(Got::Instead("not in this revision"));
    }
    client.refusal = Some("no model is here");
    let prompt = json!({ "prompt": "?" });
    let failed = fails(client, "test_sampling", prompt, "no model is here");
    client.refusal = None;
    failed?;
    Ok(Got::All)
}

/// This client declares nothing: it is not asked, and the call fails and says why.
pub(super) fn undeclared(client: &mut Client, _: Era) -> Result<Got, String> {
    client.questions();
    fails(
        client,
        "test_sampling",
        json!({ "prompt": "?" }),
        "sampling",
    )?;
    let asked = client.questions();
    holds(asked.is_empty(), || format!("asked {asked:?}"))?;
    Ok(REFUSED)
}

pub(super) fn several(client: &mut Client, server: Era) -> Result<Got, String> {
    let forms = both(client, server, Revision::has_forms);
    let expected = if forms { 3 } else { 2 };
    client.questions();
    let text = client.text_of("test_input_required_result_capabilities", json!({}))?;
    let asked = client.questions();
    holds(
        asked.len() == expected && text.contains(&format!("answered {expected} questions")),
        || format!("{text}, asked {asked:?}"),
    )?;
    if forms {
        let text = client.text_of("test_input_required_result_multi_round", json!({}))?;
        holds(text == "my name likes my color", || text)?;
    }
    Ok(Got::All)
}
