//! What must hold for any bytes from outside, as functions of those bytes: a fuzzer searches for an input that breaks
//! one, and the tests play what it found, again and again.

mod cursor;
mod door;
mod envelope;
mod framing;
mod headers;
mod json;
mod mesh;
mod meta;
mod names;
mod params;
mod rig;
mod sealed;
mod sse;
mod state;
mod template;

/// One reader of bytes from outside, and what must hold for it.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name; its seeds are in the folder of this name.
    pub name: &'static str,
    /// Panics where the input breaks what must hold.
    pub check: fn(&[u8]),
}

/// Every target.
pub const TARGETS: [Target; 17] = [
    Target {
        name: "json",
        check: json::check,
    },
    Target {
        name: "envelope",
        check: envelope::check,
    },
    Target {
        name: "meta",
        check: meta::check,
    },
    Target {
        name: "headers",
        check: headers::check,
    },
    Target {
        name: "params",
        check: params::check,
    },
    Target {
        name: "sse",
        check: sse::check,
    },
    Target {
        name: "lines",
        check: framing::lines,
    },
    Target {
        name: "gather",
        check: framing::gather,
    },
    Target {
        name: "cursor",
        check: cursor::check,
    },
    Target {
        name: "sealed",
        check: sealed::check,
    },
    Target {
        name: "state",
        check: state::check,
    },
    Target {
        name: "door",
        check: door::check,
    },
    Target {
        name: "names",
        check: names::check,
    },
    Target {
        name: "template",
        check: template::check,
    },
    Target {
        name: "wire",
        check: mesh::wire,
    },
    Target {
        name: "frames",
        check: mesh::frames,
    },
    Target {
        name: "tokens",
        check: mesh::tokens,
    },
];

/// The target of this name.
pub fn target(name: &str) -> Option<Target> {
    TARGETS.into_iter().find(|target| target.name == name)
}

/// Takes one byte off the input; 0 where it has ended.
fn byte(data: &mut &[u8]) -> u8 {
    data.split_off_first().copied().unwrap_or_default()
}

/// Cuts a stream into pieces as a network might: their lengths are the bits of `pattern`, eight in turn.
fn pieces(stream: &[u8], pattern: u64) -> impl Iterator<Item = &[u8]> {
    let mut rest = stream;
    let mut turn = 0;
    std::iter::from_fn(move || {
        let length = usize::from(pattern.to_le_bytes()[turn % 8]).clamp(1, rest.len().max(1));
        turn += 1;
        let (piece, left) = rest.split_at_checked(length)?;
        rest = left;
        Some(piece)
    })
}

/// Takes the pattern of [`pieces`] off the input.
fn pattern(data: &mut &[u8]) -> u64 {
    u64::from_le_bytes(std::array::from_fn(|_| byte(data)))
}
