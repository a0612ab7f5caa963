//! `_meta`: what a request says of itself is taken as it is written or refused, and a trace goes on as a trace.

use bytes::Bytes;
use toolbus_model::{CallId, Object, Raw};
use toolbus_protocol::{meta, trace};

pub(crate) fn check(data: &[u8]) {
    let Ok(object) = Object::parse(Bytes::copy_from_slice(data)) else {
        return;
    };
    if let Ok(modern) = meta::Modern::read(&object) {
        assert_eq!(object.str(meta::VERSION).as_deref(), Some(&*modern.version));
        assert_eq!(
            object.get(meta::CAPABILITIES),
            Some(modern.capabilities.bytes())
        );
        assert!(Object::from_raw(&modern.capabilities).is_ok());
        assert_eq!(object.duplicate(&meta::OWN_KEYS), None);
        let _ = modern.revision();
    }
    if let Ok(Some(token)) = meta::progress_token(&object) {
        let token: serde_json::Value = token.read().unwrap_or_default();
        assert!(!token.is_object() && !token.is_array() && !token.is_boolean());
    }
    assert_eq!(
        matches!(meta::log_level(&object), Ok(None)),
        object.get(meta::LOG_LEVEL).is_none()
    );
    traced(&object);
}

fn traced(object: &Object) {
    let read = trace::read(object, None);
    let Some(onward) = trace::onward(&read, CallId::new()) else {
        return assert_eq!(trace::id(&read), None);
    };
    let next = Object::of(&serde_json::json!({"traceparent": onward}));
    let next = trace::read(&next, None);
    assert_eq!(
        next.parent.as_deref(),
        Some(&*onward),
        "a trace goes on as one"
    );
    assert_eq!(trace::id(&next), trace::id(&read));
    assert_ne!(next.parent, read.parent);
    assert!(Raw::parse(Raw::of(&onward).bytes().to_vec().into()).is_ok());
}
