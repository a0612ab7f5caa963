//! What is sent in each direction, and how it must arrive: byte by byte, but for line ends between tokens, which some ways cannot carry.

use crate::generate::{Random, object, string, value};
use crate::peer::raw::{Exchange, Members};
use crate::peer::{Client, Revision};
use crate::support::upstream::Era;

/// What is between a client and its server, as far as the cases differ in it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Between {
    pub(crate) client: Revision,
    pub(crate) server: Era,
}

/// One kind of passage: a request with something generated in it, and the comparison.
pub(crate) type Case = fn(&mut Client, Between, &mut Random) -> Result<(), String>;

/// Every kind, and how many of it are tried on each way.
pub(crate) const CASES: &[(&str, usize, Case)] = &[
    ("ids", 6, id),
    ("arguments", 16, arguments),
    ("members of a request that nobody knows", 10, request),
    ("results", 16, result),
    ("data of errors", 10, error),
    ("log messages", 8, log),
    ("questions and their answers", 8, question),
];

/// What a question is answered with where none is expected.
const NO_ANSWER: &str = "{}";

/// Compares two texts.
pub(crate) fn same(what: &str, sent: &str, got: &str) -> Result<(), String> {
    let flat = |text: &str| text.replace(['\n', '\r'], " ");
    let (sent, got) = (flat(sent), flat(got));
    if sent == got {
        return Ok(());
    }
    let until = sent.bytes().zip(got.bytes()).take_while(|(a, b)| a == b);
    let start = until.count().saturating_sub(30);
    let part = |text: &str| {
        let part = text.bytes().skip(start).take(100).collect::<Vec<_>>();
        String::from_utf8_lossy(&part).into_owned()
    };
    Err(format!(
        "{what} differ from byte {start} on:\n  sent {}\n  got  {}",
        part(&sent),
        part(&got)
    ))
}

fn call(client: &mut Client, tool: &str, arguments: &str) -> Result<Exchange, String> {
    let name = format!("{tool:?}");
    let params = [("name", name.as_str()), ("arguments", arguments)];
    client.exchange("tools/call", &params, &[], NO_ANSWER)
}

fn succeeded(exchange: &Exchange) -> Result<Members, String> {
    match &exchange.result {
        Some(result) => Members::of(result),
        None => Err(format!("no result: {:?}", exchange.error)),
    }
}

/// The text of the first block of a result.
fn text(exchange: &Exchange) -> Result<String, String> {
    let result = succeeded(exchange)?;
    let content = result.get("content").unwrap_or_default();
    let blocks: Vec<Box<serde_json::value::RawValue>> =
        serde_json::from_str(content).map_err(|error| error.to_string())?;
    let block = blocks.first().ok_or("no content")?;
    let block = Members::of(block.get())?;
    serde_json::from_str(block.get("text").unwrap_or_default()).map_err(|error| error.to_string())
}

/// An id is a text or an integer of any size. An answer under another one is an answer to nothing.
fn id(client: &mut Client, _: Between, random: &mut Random) -> Result<(), String> {
    let unique = random.below(usize::MAX);
    let id = match random.below(3) {
        0 => format!("{unique}98765432109876543210"),
        1 => format!("-{unique}"),
        _ => format!(r#""{unique}\u0061\ud83d\ude00é{{}}""#),
    };
    let params = [("name", r#""test_simple_text""#)];
    let exchange = client.exchange_as(&id, "tools/call", &params, &[], NO_ANSWER)?;
    succeeded(&exchange).map(drop)
}

fn arguments(client: &mut Client, _: Between, random: &mut Random) -> Result<(), String> {
    let sent = object(random);
    let exchange = call(client, "echo_raw", &sent)?;
    same("the arguments", &sent, &text(&exchange)?)
}

fn request(client: &mut Client, _: Between, random: &mut Random) -> Result<(), String> {
    let (member, first, second) = (value(random), value(random), value(random));
    let params = [
        ("name", r#""show_request""#),
        ("com.example/extra", member.as_str()),
        ("arguments", "{}"),
    ];
    let meta = [
        ("com.example/first", first.as_str()),
        ("com.example/second", second.as_str()),
    ];
    let exchange = client.exchange("tools/call", &params, &meta, NO_ANSWER)?;
    let seen = Members::of(&text(&exchange)?)?;
    let params = Members::of(seen.get("params").unwrap_or_default())?;
    let meta = Members::of(params.get("_meta").unwrap_or("{}"))?;
    let extra = params.get("com.example/extra").unwrap_or("missing");
    same("a member of the params", &member, extra)?;
    for (key, sent) in [("com.example/first", first), ("com.example/second", second)] {
        same(
            "a member of _meta",
            &sent,
            meta.get(key).unwrap_or("missing"),
        )?;
    }
    Ok(())
}

fn result(client: &mut Client, between: Between, random: &mut Random) -> Result<(), String> {
    let modern = between.server == Era::Modern;
    let structured = match modern {
        true => value(random),
        false => object(random),
    };
    let (block, more, meta) = (value(random), value(random), value(random));
    let words = string(random);
    let members = [
        format!(r#""com.example/more":{more}"#),
        format!(r#""content":[{{"type":"text","text":{words},"com.example/odd":{block}}}]"#),
        format!(r#""structuredContent":{structured}"#),
        format!(r#""_meta":{{"com.example/odd":{meta}}}"#),
    ];
    let sent = format!("{{{}}}", members.join(","));
    // With a message before it, the result comes on an event stream.
    let aloud = random.below(2) == 0;
    let arguments = format!(r#"{{"aloud":{aloud},"result":{sent}}}"#);
    let exchange = call(client, "verbatim_result", &arguments)?;
    let heard = exchange.heard.len() == 1;
    same(
        "the messages before it",
        &aloud.to_string(),
        &heard.to_string(),
    )?;
    let (sent, got) = (Members::of(&sent)?, succeeded(&exchange)?);
    let metas = (
        Members::of(sent.get("_meta").unwrap_or("{}"))?,
        got.get("_meta"),
    );
    let arrived = Members::of(metas.1.unwrap_or("{}"))?;
    for (key, value) in &metas.0.0 {
        same(
            "a member of _meta",
            value,
            arrived.get(key).unwrap_or("missing"),
        )?;
    }
    let mut left_out = vec!["_meta"];
    // Up to 2025-11-25 structured content is an object.
    let is_object = structured.trim_start().starts_with('{');
    if !between.client.is_modern() && !is_object {
        left_out.push("structuredContent");
    }
    let sent = sent.without(&left_out);
    let got = got.without(&["_meta", "resultType", "ttlMs", "cacheScope"]);
    let keys = |members: &Members| {
        let keys = members.0.iter().map(|(key, _)| key.clone());
        keys.collect::<Vec<_>>().join(" ")
    };
    same("the members of a result", &keys(&sent), &keys(&got))?;
    for ((key, sent), (_, got)) in sent.0.iter().zip(&got.0) {
        same(&format!("the texts of {key}"), sent, got)?;
    }
    Ok(())
}

fn error(client: &mut Client, _: Between, random: &mut Random) -> Result<(), String> {
    let sent = value(random);
    let exchange = call(client, "verbatim_error", &format!(r#"{{"data":{sent}}}"#))?;
    let error = exchange.error.as_deref();
    let error = error.ok_or_else(|| format!("no error but {:?}", exchange.result))?;
    let error = Members::of(error)?;
    same(
        "the codes",
        "-31999",
        error.get("code").unwrap_or("missing"),
    )?;
    same("the data", &sent, error.get("data").unwrap_or("missing"))
}

fn log(client: &mut Client, _: Between, random: &mut Random) -> Result<(), String> {
    let sent = value(random);
    let exchange = call(client, "verbatim_log", &format!(r#"{{"data":{sent}}}"#))?;
    succeeded(&exchange)?;
    let params = heard(&exchange, "notifications/message")?;
    same(
        "the data",
        &sent,
        Members::of(&params)?.get("data").unwrap_or("missing"),
    )
}

/// The params of the one message of this method that came on the way.
fn heard(exchange: &Exchange, method: &str) -> Result<String, String> {
    match exchange.heard.as_slice() {
        [(known, params)] if known == method => Ok(params.clone()),
        other => Err(format!("not one {method} but {other:?}")),
    }
}

fn question(client: &mut Client, between: Between, random: &mut Random) -> Result<(), String> {
    let (odd, more) = (value(random), value(random));
    let message = r#"{"role":"user","content":{"type":"text","text":"?"}}"#;
    let asked = format!(r#"{{"messages":[{message}],"metadata":{odd},"maxTokens":1.0}}"#);
    let content = r#"{"type":"text","text":"!"}"#;
    let answer = format!(
        r#"{{"role":"assistant","content":{content},"model":"m","com.example/more":{more}}}"#
    );
    let arguments = format!(r#"{{"params":{asked}}}"#);
    let params = [
        ("name", r#""verbatim_question""#),
        ("arguments", arguments.as_str()),
    ];
    let first = client.exchange("tools/call", &params, &[], &answer)?;
    if !between.client.is_modern() {
        let got = heard(&first, "sampling/createMessage")?;
        same("the questions", &asked, &got)?;
        return same("the answers", &answer, &text(&first)?);
    }
    let result = succeeded(&first)?;
    let requests = Members::of(result.get("inputRequests").unwrap_or("{}"))?;
    let [(key, request)] = requests.0.as_slice() else {
        return Err(format!("not one question: {result:?}"));
    };
    let got = Members::of(request)?;
    same(
        "the questions",
        &asked,
        got.get("params").unwrap_or("missing"),
    )?;
    let responses = format!("{{{key:?}:{answer}}}");
    let mut retry = params.to_vec();
    retry.push(("inputResponses", &responses));
    retry.extend(
        result
            .get("requestState")
            .map(|state| ("requestState", state)),
    );
    let second = client.exchange("tools/call", &retry, &[], NO_ANSWER)?;
    same("the answers", &answer, &text(&second)?)
}
