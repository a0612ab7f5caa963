//! Two listens for the same, one of which takes the other's place: what both tell is told once.

use std::collections::HashMap;

use toolbus_protocol::Envelope;

/// Changes that are told apart while two listens overlap, which is for a moment. What is beyond it is told twice, which
/// says no more than once.
const MAX_COUNTED: usize = 1_024;

/// Which listens tell.
#[derive(Debug, Default)]
pub(super) struct Overlap {
    /// The listen that counts from now on, by its id; none where it has ended.
    current: Option<u64>,
    older: Option<Older>,
}

/// The listen that is to end.
#[derive(Debug)]
struct Older {
    id: u64,
    /// How often each change was told by the older listen, and by the newer one.
    counts: HashMap<(String, String), [u32; 2]>,
}

impl Overlap {
    /// A listen is there that takes the place of the one before. Where both share one stream, the older one has nothing
    /// more to say; otherwise what it says may be under way.
    pub(super) fn turn_to(&mut self, id: u64, shares_stream: bool) {
        let before = self.current.replace(id);
        self.older = before.filter(|_| !shares_stream).map(|id| Older {
            id,
            counts: HashMap::new(),
        });
    }

    /// A listen has ended.
    pub(super) fn end(&mut self, id: u64) {
        self.older.take_if(|older| older.id == id);
        self.current.take_if(|current| *current == id);
    }

    /// Whether this is to be told: the other listen did not tell it already.
    pub(super) fn admits(&mut self, id: u64, said: &Envelope) -> bool {
        let is_current = self.current == Some(id);
        let Some(older) = self
            .older
            .as_mut()
            .filter(|older| is_current || older.id == id)
        else {
            return is_current;
        };
        let uri = said.params.str("uri").unwrap_or_default().into_owned();
        let key = (said.method.clone(), uri);
        if older.counts.len() >= MAX_COUNTED && !older.counts.contains_key(&key) {
            return true;
        }
        let counts = older.counts.entry(key).or_default();
        let (own, other) = (usize::from(is_current), usize::from(!is_current));
        counts[own] += 1;
        counts[own] > counts[other]
    }
}

#[cfg(test)]
mod tests {
    use toolbus_protocol::Message;

    use super::*;

    fn updated(uri: &str) -> Envelope {
        let text = format!(
            r#"{{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{{"uri":"{uri}"}}}}"#
        );
        match Message::parse(&text.into()).expect("a message") {
            Message::Call(said) => said,
            Message::Reply(_) => panic!("a notice"),
        }
    }

    #[test]
    fn what_both_tell_is_told_once_whoever_is_faster() {
        let mut overlap = Overlap::default();
        overlap.turn_to(1, false);
        assert!(overlap.admits(1, &updated("x:a")));
        overlap.turn_to(2, false);
        let told = [
            (1, "x:a"),
            (2, "x:a"),
            (2, "x:a"),
            (1, "x:a"),
            (2, "x:b"),
            (1, "x:c"),
        ];
        let admitted = told.map(|(id, uri)| overlap.admits(id, &updated(uri)));
        assert_eq!(admitted, [true, false, true, false, true, true]);
        overlap.end(1);
        assert!(overlap.admits(2, &updated("x:c")));
        assert!(!overlap.admits(1, &updated("x:c")));
    }

    #[test]
    fn on_one_stream_the_older_listen_has_nothing_more_to_say() {
        let mut overlap = Overlap::default();
        overlap.turn_to(1, true);
        overlap.turn_to(2, true);
        assert!(!overlap.admits(1, &updated("x:a")));
        assert!(overlap.admits(2, &updated("x:a")));
    }
}
