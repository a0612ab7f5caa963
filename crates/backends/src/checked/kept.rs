//! Schemas that were read, each once for a version of its tool: at the tool's first call, and until its definition changes.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use tokio::sync::watch;
use toolbus_model::{Object, Offer};

use super::compile::compile;
use super::schema::Schema;

/// What is kept of all tools of a server, in bytes. Beyond it everything is read anew: a server of thousands of large
/// schemas costs time, not memory.
const KEPT: usize = 32 * 1024 * 1024;

/// Which of a tool's schemas.
#[derive(Debug, Clone, Copy)]
pub(super) enum Side {
    Input,
    Output,
}

/// A tool, as long as its definition reads the same.
pub(super) struct Tool {
    pub(super) name: Arc<str>,
    definition: Object,
    input: OnceLock<Option<Arc<Schema>>>,
    output: OnceLock<Option<Arc<Schema>>>,
    is_told: AtomicBool,
}

/// The tools of one offer.
struct Index {
    offer: Arc<Offer>,
    tools: HashMap<Arc<str>, Arc<Tool>>,
}

/// The tools of a server.
pub(super) struct Kept {
    offers: watch::Receiver<Arc<Offer>>,
    now: ArcSwap<Index>,
    weight: AtomicUsize,
}

impl Kept {
    pub(super) fn new(offers: watch::Receiver<Arc<Offer>>) -> Self {
        let nothing = Index {
            offer: Arc::default(),
            tools: HashMap::new(),
        };
        Self {
            offers,
            now: ArcSwap::from_pointee(nothing),
            weight: AtomicUsize::new(0),
        }
    }

    /// The tool of this name, as it is offered now.
    pub(super) fn tool(&self, name: &str) -> Option<Arc<Tool>> {
        let offer = self.offers.borrow().clone();
        let mut now = self.now.load_full();
        let is_full = self.weight.load(Ordering::Relaxed) > KEPT;
        if is_full || !Arc::ptr_eq(&now.offer, &offer) {
            if is_full {
                self.weight.store(0, Ordering::Relaxed);
                tracing::debug!("schemas are read anew: there is too much of them to be kept");
            }
            now = Arc::new(Index::of(offer, (!is_full).then_some(&*now)));
            self.now.store(Arc::clone(&now));
        }
        now.tools.get(name).cloned()
    }
}

impl Index {
    fn of(offer: Arc<Offer>, before: Option<&Self>) -> Self {
        let mut tools = HashMap::with_capacity(offer.tools.len());
        for item in &offer.tools {
            let known = before.and_then(|before| before.tools.get(&item.key));
            let known = known.filter(|known| known.definition == item.definition);
            let tool = known.cloned().unwrap_or_else(|| {
                Arc::new(Tool {
                    name: Arc::clone(&item.key),
                    definition: item.definition.clone(),
                    input: OnceLock::new(),
                    output: OnceLock::new(),
                    is_told: AtomicBool::new(false),
                })
            });
            // Of a name that stands twice the first one counts, as in the catalog.
            tools.entry(Arc::clone(&item.key)).or_insert(tool);
        }
        Self { offer, tools }
    }
}

impl Tool {
    /// One of its schemas, where it has one that can be checked.
    pub(super) fn schema(&self, side: Side, server: &str, kept: &Kept) -> Option<Arc<Schema>> {
        let (place, member) = match side {
            Side::Input => (&self.input, "inputSchema"),
            Side::Output => (&self.output, "outputSchema"),
        };
        let read = || {
            let text = self.definition.get(member)?;
            match compile(text) {
                Ok(schema) => {
                    kept.weight.fetch_add(schema.weight, Ordering::Relaxed);
                    Some(Arc::new(schema))
                }
                Err(why) => {
                    let tool = &*self.name;
                    tracing::warn!(server, tool, %why, "the tool's {member} cannot be used, and nothing is checked against it");
                    None
                }
            }
        };
        place.get_or_init(read).clone()
    }

    /// Does this at most once for this version of the tool.
    pub(super) fn tell_once(&self, tell: impl FnOnce()) {
        if !self.is_told.swap(true, Ordering::Relaxed) {
            tell();
        }
    }
}
