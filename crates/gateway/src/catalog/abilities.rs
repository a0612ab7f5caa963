//! What the servers of a view can do that not every gateway could.

use toolbus_model::{Object, Raw};

/// What the servers of a view can do, beyond what every gateway can.
#[derive(Debug, Default)]
pub struct Abilities {
    /// Complete arguments.
    pub completes: bool,
    /// Tell of changed resources.
    pub subscribes: bool,
    /// Their extensions, by name; where two have one, the first one's settings.
    pub extensions: Vec<(String, Raw)>,
    /// Their experimental capabilities, likewise.
    pub experimental: Vec<(String, Raw)>,
}

impl Abilities {
    pub(super) fn add(&mut self, capabilities: &Object) {
        let resources = capabilities.object("resources").and_then(Result::ok);
        self.completes |= capabilities.get("completions").is_some();
        self.subscribes |= resources.is_some_and(|r| r.get("subscribe") == Some(b"true"));
        for (member, known) in [
            ("extensions", &mut self.extensions),
            ("experimental", &mut self.experimental),
        ] {
            let Some(Ok(own)) = capabilities.object(member) else {
                continue;
            };
            for (name, _) in own.iter() {
                if let Some(settings) = own.raw(&name)
                    && known.iter().all(|(other, _)| *other != name)
                {
                    known.push((name.into_owned(), settings));
                }
            }
        }
    }
}
