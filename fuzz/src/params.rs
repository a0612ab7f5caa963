//! `x-mcp-header`: the headers that we write for arguments are the ones that we accept for them, and no others.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use toolbus_model::{Object, Raw};
use toolbus_protocol::params::ParamHeaders;

pub(crate) fn check(data: &[u8]) {
    // Two texts, with a byte between them that stands in neither.
    let mut texts = data.splitn(2, |byte| *byte == 0);
    let definition = Bytes::copy_from_slice(texts.next().unwrap_or_default());
    let arguments = texts.next().map(Bytes::copy_from_slice);
    let Ok(params) = ParamHeaders::of_definition(&definition) else {
        return;
    };
    let arguments = match arguments.map(Raw::parse).transpose() {
        Ok(arguments) => arguments,
        Err(_) => return,
    };
    let mirrored = params.mirror(arguments.as_ref());
    let headers: HeaderMap = mirrored.iter().cloned().collect();
    assert_eq!(
        headers.len(),
        mirrored.len(),
        "one header for each argument"
    );
    let Ok(()) = params.check(&headers, arguments.as_ref()) else {
        // Half a surrogate pair cannot be said in a header; it is refused whatever the headers say.
        let value = arguments.map(|arguments| arguments.read::<serde_json::Value>());
        return assert!(matches!(value, Some(Err(_))), "our own headers are refused");
    };
    for (name, value) in &mirrored {
        let mut other = headers.clone();
        other.remove(name);
        assert!(
            params.check(&other, arguments.as_ref()).is_err(),
            "{name} is missing"
        );
        let mut more = value.as_bytes().to_vec();
        more.push(b'x');
        other.insert(
            name,
            HeaderValue::from_bytes(&more).expect("it was one before"),
        );
        assert!(
            params.check(&other, arguments.as_ref()).is_err(),
            "{name} is longer"
        );
    }
    without_arguments(&params, &mirrored.iter().cloned().collect());
}

/// A header for an argument that is not there.
fn without_arguments(params: &ParamHeaders, headers: &HeaderMap) {
    let none = Object::empty().to_raw();
    assert_eq!(
        params.check(headers, Some(&none)).is_ok(),
        headers.is_empty()
    );
    assert!(params.check(&HeaderMap::new(), Some(&none)).is_ok());
    assert!(params.mirror(Some(&none)).is_empty());
}
