//! Headers: any text survives one, and a request passes only with headers that say what its body says.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use toolbus_protocol::{Envelope, Message, headers};

/// Stands between lines of headers and the body.
const END_OF_HEAD: &[u8] = b"\n\n";

const ROUTING: [&str; 3] = [headers::VERSION, headers::METHOD, headers::NAME];

pub(crate) fn check(data: &[u8]) {
    let at = data.windows(2).position(|two| two == END_OF_HEAD);
    let (head, body) = at.map_or((data, &[][..]), |at| (&data[..at], &data[at + 2..]));
    let map: HeaderMap = head
        .split(|byte| *byte == b'\n')
        .filter_map(header)
        .collect();
    for value in map.values() {
        survives(value);
    }
    if let Ok(text) = std::str::from_utf8(body) {
        let encoded = headers::encode(text);
        assert_eq!(headers::decode(&read(&encoded)).as_deref(), Ok(text));
    }
    if let Ok(Message::Call(call)) = Message::parse(&Bytes::copy_from_slice(body)) {
        routes(&map, &call);
    }
}

fn header(line: &[u8]) -> Option<(HeaderName, HeaderValue)> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let name = HeaderName::from_bytes(&line[..colon]).ok()?;
    Some((name, HeaderValue::from_bytes(&line[colon + 1..]).ok()?))
}

/// What a header says, said again in a header.
fn survives(value: &HeaderValue) {
    let Ok(text) = std::str::from_utf8(value.as_bytes()) else {
        return;
    };
    if let Ok(decoded) = headers::decode(text.trim_matches([' ', '\t'])) {
        let again = headers::encode(&decoded);
        assert_eq!(headers::decode(&read(&again)), Ok(decoded));
    }
}

fn read(value: &HeaderValue) -> String {
    let text = value.to_str().expect("visible ASCII");
    text.trim_matches([' ', '\t']).to_owned()
}

fn routes(map: &HeaderMap, call: &Envelope) {
    let version = "2026-07-28";
    let target = ["name", "uri", "taskId"].map(|member| call.params.str(member));
    let passes = headers::check_routing(map, call, version).is_ok();
    if passes {
        assert_eq!(said(map, headers::VERSION).as_deref(), Some(version));
        assert_eq!(said(map, headers::METHOD).as_ref(), Some(&call.method));
    }
    // With headers of ours, made for one of the members that can name a target, any request passes.
    let ours = |target: Option<&str>| {
        let mut ours = HeaderMap::new();
        ours.insert(headers::VERSION, HeaderValue::from_static(version));
        ours.insert(headers::METHOD, HeaderValue::from_str(&call.method).ok()?);
        ours.insert(headers::NAME, headers::encode(target.unwrap_or_default()));
        Some(ours)
    };
    let is_plain = call.method.trim_matches([' ', '\t']) == call.method;
    let maps: Vec<_> = target
        .iter()
        .filter_map(|target| ours(target.as_deref()))
        .collect();
    let good = maps
        .iter()
        .find(|ours| headers::check_routing(ours, call, version).is_ok());
    assert!(good.is_some() || maps.is_empty() || !is_plain);
    for name in ROUTING {
        if let Some(mut bad) = good.cloned() {
            bad.append(name, HeaderValue::from_static("another"));
            let is_read = name != headers::NAME
                || headers::check_routing(&without(&bad, name), call, version).is_err();
            assert!(
                !is_read || headers::check_routing(&bad, call, version).is_err(),
                "{name} twice"
            );
        }
    }
}

fn without(map: &HeaderMap, name: &str) -> HeaderMap {
    let mut map = map.clone();
    map.remove(name);
    map
}

fn said(map: &HeaderMap, name: &str) -> Option<String> {
    headers::single(map, name).ok().flatten()
}
