//! What a server lists, and what can be read of it: generated once, served by every server, compared at every client.

use std::path::Path;

use serde_json::value::RawValue;

use crate::cases::same;
use crate::generate::{Random, object, string, value};
use crate::peer::Client;
use crate::peer::raw::Members;

/// Entries of each list.
const ENTRIES: usize = 12;

/// The generated file, as the fixture reads it.
pub(crate) struct Definitions {
    lists: Vec<(&'static str, &'static str, &'static str, Vec<String>)>,
    contents: Vec<String>,
    messages: Vec<String>,
}

impl Definitions {
    pub(crate) fn new(random: &mut Random) -> Self {
        let mut many = |make: fn(&mut Random, usize) -> String| -> Vec<String> {
            (0..ENTRIES).map(|number| make(random, number)).collect()
        };
        Self {
            lists: vec![
                ("tools", "tools/list", "tools", many(tool)),
                ("prompts", "prompts/list", "prompts", many(prompt)),
                ("resources", "resources/list", "resources", many(resource)),
                (
                    "templates",
                    "resources/templates/list",
                    "resourceTemplates",
                    many(template),
                ),
            ],
            contents: many(contents),
            messages: many(message),
        }
    }

    pub(crate) fn write(&self, path: &Path) {
        let array = |key: &str, entries: &[String]| format!("{key:?}:[{}]", entries.join(","));
        let lists = self.lists.iter();
        let mut members: Vec<_> = lists.map(|(key, _, _, list)| array(key, list)).collect();
        members.push(array("contents", &self.contents));
        members.push(array("messages", &self.messages));
        std::fs::write(path, format!("{{{}}}", members.join(","))).expect("written");
    }

    /// Lists everything and reads everything.
    pub(crate) fn compare(&self, client: &mut Client) -> Result<(), String> {
        for (_, method, key, sent) in &self.lists {
            let got = entries(client, method, &[], key)?;
            for (number, sent) in sent.iter().enumerate() {
                let name = name_of(sent)?;
                let same_name = |entry: &&String| name_of(entry).is_ok_and(|known| known == name);
                let got = got.iter().find(same_name);
                let got = got.ok_or_else(|| format!("{method} lacks {name}"))?;
                same(&format!("the definitions {number} of {method}"), sent, got)?;
            }
        }
        for (number, sent) in self.contents.iter().enumerate() {
            let uri = format!("\"test://verbatim/{number}\"");
            let got = entries(client, "resources/read", &[("uri", &uri)], "contents")?;
            same("the contents", sent, &got.join(","))?;
        }
        for (number, sent) in self.messages.iter().enumerate() {
            let name = format!("\"verbatim_{number}\"");
            let got = entries(client, "prompts/get", &[("name", &name)], "messages")?;
            same("the messages", sent, &got.join(","))?;
        }
        Ok(())
    }
}

/// The array of this key in a result, each entry as it arrived.
fn entries(
    client: &mut Client,
    method: &str,
    params: &[(&str, &str)],
    key: &str,
) -> Result<Vec<String>, String> {
    let exchange = client.exchange(method, params, &[], "{}")?;
    let result = exchange.result;
    let result = result.ok_or_else(|| format!("{method}: {:?}", exchange.error))?;
    let members = Members::of(&result)?;
    let list: Vec<Box<RawValue>> =
        serde_json::from_str(members.get(key).unwrap_or_default()).map_err(|e| e.to_string())?;
    Ok(list.iter().map(|entry| entry.get().to_owned()).collect())
}

fn name_of(definition: &str) -> Result<String, String> {
    let members = Members::of(definition)?;
    members
        .get("name")
        .map(str::to_owned)
        .ok_or_else(|| format!("no name: {definition}"))
}

fn tool(random: &mut Random, number: usize) -> String {
    let (words, odd, default, meta) =
        (string(random), value(random), value(random), object(random));
    let property = format!(r#"{{"type":"string","default":{default},"$comment":{words}}}"#);
    let input = format!(r#"{{"type":"object","properties":{{"p":{property}}},"$defs":{meta}}}"#);
    format!(
        r#"{{"description":{words},"name":"verbatim_{number}","inputSchema":{input},"com.example/odd":{odd},"outputSchema":{{"type":"object","x":{odd}}},"_meta":{meta}}}"#
    )
}

fn prompt(random: &mut Random, number: usize) -> String {
    let (words, odd) = (string(random), value(random));
    format!(r#"{{"name":"verbatim_{number}","description":{words},"com.example/odd":{odd}}}"#)
}

fn resource(random: &mut Random, number: usize) -> String {
    let (words, odd) = (string(random), value(random));
    format!(
        r#"{{"uri":"test://verbatim/{number}","name":"verbatim_{number}","title":{words},"_meta":{{"o":{odd}}}}}"#
    )
}

fn template(random: &mut Random, number: usize) -> String {
    let odd = value(random);
    format!(
        r#"{{"com.example/odd":{odd},"uriTemplate":"test://verbatim-{number}/{{id}}","name":"verbatim_{number}"}}"#
    )
}

fn contents(random: &mut Random, number: usize) -> String {
    let (words, odd) = (string(random), value(random));
    format!(r#"{{"uri":"test://verbatim/{number}","text":{words},"com.example/odd":{odd}}}"#)
}

fn message(random: &mut Random, _: usize) -> String {
    let (words, odd) = (string(random), value(random));
    format!(
        r#"{{"role":"user","content":{{"text":{words},"type":"text","com.example/odd":{odd}}}}}"#
    )
}
