//! Texts that nearly every message holds: kept once, not once per message.

use std::borrow::Cow;

use crate::frame::header;

macro_rules! known {
    ($text:expr; $($known:expr),+ $(,)?) => {
        match $text {
            $(text if text == $known => Cow::Borrowed($known),)+
            other => Cow::Owned(other.to_owned()),
        }
    };
}

/// A header's name.
pub(super) fn name(text: &str) -> Cow<'static, str> {
    known!(text;
        header::WIRE, header::CALL, header::ATTEMPT, header::START, header::START_WITHIN,
        header::DEADLINE, header::CALLER, header::FRAME, header::WORKER, header::METHOD,
        header::NAME, header::VERSION, header::DIGEST, header::CONTROL, header::SEQ,
        header::TRACE_PARENT, header::TRACE_STATE, header::ERROR, header::HOLDS,
    )
}

/// A header's value.
pub(super) fn value(text: &str) -> Cow<'static, str> {
    known!(text; "1", "direct", "claim", "end", "ack", "go", "1000", "tools/call", "2026-07-28")
}
