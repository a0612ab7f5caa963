//! How a runner is, and what it has: asked when we start, every few seconds, and when a call went wrong.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use serde_json::value::RawValue;
use tokio::time::timeout;
use toolbus_model::json::Edit;
use toolbus_model::{Changes, Error, Health, Item, Object, Offer, Raw};

use super::Runner;
use crate::mcp::listing::MAX_ITEMS;

/// How often a runner is asked that is well: what it has changes rarely, and nobody waits for that.
const EVERY: Duration = Duration::from_secs(2);

/// First and longest pause before a runner is asked again that is not.
const AGAIN: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// How long it may take to say how it is; one that takes longer does nothing else either.
const HEALTH_WITHIN: Duration = Duration::from_secs(10);

/// How long a list may take.
const LIST_WITHIN: Duration = Duration::from_secs(60);

/// How much of a runner's troubles is shown.
const SHOWN: usize = 1000;

/// How a runner is.
enum Condition {
    Ready(Object),
    Initializing,
}

/// What is remembered between two looks.
#[derive(Default)]
struct Memory {
    /// The runner's sign for all its lists, where it gives one.
    lists: Option<Raw>,
    failures: u32,
}

impl Runner {
    /// Asks for ever.
    pub(super) async fn keep_asking(&self) {
        let mut memory = Memory::default();
        loop {
            let pause = match self.look(&mut memory).await {
                Ok(true) => {
                    memory.failures = 0;
                    self.way.has_answered();
                    EVERY
                }
                Err(_) if self.way.is_starting() => {
                    self.is_starting("the runner is started");
                    AGAIN.0
                }
                Ok(false) => memory.pause(),
                Err(error) => {
                    self.is_down(error);
                    memory.pause()
                }
            };
            let rung = timeout(pause, self.look.notified()).await.is_ok();
            if rung {
                // A crowd of failing calls must not make a crowd of questions.
                tokio::time::sleep(AGAIN.0).await;
            }
        }
    }

    /// Learns how it is, and what it has where that has changed. Says whether it is ready.
    async fn look(&self, memory: &mut Memory) -> Result<bool, Error> {
        let late = |_| self.late("/health", HEALTH_WITHIN);
        let said = match timeout(HEALTH_WITHIN, self.condition())
            .await
            .map_err(late)??
        {
            Condition::Ready(said) => said,
            Condition::Initializing => {
                self.is_starting("the runner is still initializing");
                return Ok(false);
            }
        };
        let lists = said.raw("lists");
        let is_up = self.offer.borrow().health == Health::Up;
        if is_up && lists.is_some() && lists == memory.lists {
            return Ok(true);
        }
        let read = self.read(&said);
        let late = |_| self.late("/tools", LIST_WITHIN);
        let found = timeout(LIST_WITHIN, read).await.map_err(late)??;
        memory.lists = lists;
        self.publish(found);
        Ok(true)
    }

    async fn condition(&self) -> Result<Condition, Error> {
        let response = self.way.get("/health").await?;
        let (head, body) = response.into_parts();
        let body = self.way.read_all(body).await?;
        let said = Object::parse(body.clone()).ok();
        let flag = |name: &str| {
            said.as_ref()
                .and_then(|said| said.get(name).map(<[u8]>::to_vec))
        };
        if flag("initializing").as_deref() == Some(b"true") {
            return Ok(Condition::Initializing);
        }
        // A runner need not know the path.
        let is_there = head.status.is_success() || matches!(head.status.as_u16(), 404 | 405);
        if is_there && flag("ready").as_deref() != Some(b"false") {
            let said = said.filter(|_| head.status.is_success());
            return Ok(Condition::Ready(said.unwrap_or_else(Object::empty)));
        }
        let status = said.as_ref().and_then(|said| said.str("status"));
        match status {
            Some(status) => {
                let what = format!("the runner says that it is not ready: {status}");
                Err(self.way.unavailable(&what))
            }
            None => Err(self.way.refused(head.status, &head.headers, &body)),
        }
    }

    /// All lists, and what follows from them.
    async fn read(&self, said: &Object) -> Result<Offer, Error> {
        let stated = said.object("capabilities").and_then(Result::ok);
        let may = |name: &str| {
            stated
                .as_ref()
                .is_none_or(|stated| stated.get(name).is_some())
        };
        let tools = self.list("/tools").await?.ok_or_else(|| {
            self.way
                .unavailable("the runner has no GET /tools, which says what it has")
        })?;
        let mut offer = Offer {
            tools: self.items(&tools, "tools", "name")?,
            info: info(said),
            health: Health::Up,
            trouble: problems(said),
            ..Offer::default()
        };
        let mut has = vec!["tools", "logging"];
        if may("prompts")
            && let Some(list) = self.list("/prompts").await?
        {
            offer.prompts = self.items(&list, "prompts", "name")?;
            has.push("prompts");
        }
        if may("resources")
            && let Some(list) = self.list("/resources").await?
        {
            offer.resources = self.items(&list, "resources", "uri")?;
            offer.templates = self.items(&list, "resourceTemplates", "uriTemplate")?;
            has.push("resources");
        }
        if stated.is_some() && may("completions") {
            has.push("completions");
        }
        let nothing: &[u8] = b"{}";
        let members: Vec<_> = has.iter().map(|name| (*name, Edit::Put(nothing))).collect();
        offer.capabilities = Some(Object::empty().edited(&members));
        Ok(offer)
    }

    /// What is at the path of a list; nothing where the runner does not know it.
    async fn list(&self, path: &str) -> Result<Option<Raw>, Error> {
        let (head, body) = self.way.get(path).await?.into_parts();
        let body = self.way.read_all(body).await?;
        match head.status {
            StatusCode::NOT_FOUND
            | StatusCode::METHOD_NOT_ALLOWED
            | StatusCode::NOT_IMPLEMENTED => Ok(None),
            status if status.is_success() => Raw::parse(body).map(Some).map_err(|error| {
                let what = format!("the runner's answer to GET {path} is {error}");
                self.way.unavailable(&what)
            }),
            status => Err(self.way.refused(status, &head.headers, &body)),
        }
    }

    /// The entries of a list, which is an array or the member of an object.
    fn items(&self, list: &Raw, member: &str, key: &str) -> Result<Vec<Item>, Error> {
        let wrong = |why: String| {
            let what = format!("the runner's list of {member} {why}");
            self.way.unavailable(&what)
        };
        let inner = Object::from_raw(list).ok().map(|object| object.raw(member));
        let array = match inner {
            None => list.clone(),
            Some(Some(array)) => array,
            // One object holds resources and templates; either may be missing.
            Some(None) if member != "tools" => return Ok(Vec::new()),
            Some(None) => return Err(wrong(format!("has no {member:?}"))),
        };
        let entries: Vec<&RawValue> = array
            .read()
            .map_err(|error| wrong(format!("cannot be read: {error}")))?;
        if entries.len() > MAX_ITEMS {
            return Err(wrong(format!("has more than {MAX_ITEMS} entries")));
        }
        let item = |(place, entry): (usize, &&RawValue)| {
            item(entry, key).ok_or_else(|| {
                wrong(format!(
                    "has an entry without {key:?}, number {}",
                    place + 1
                ))
            })
        };
        entries.iter().enumerate().map(item).collect()
    }

    fn publish(&self, found: Offer) {
        self.change(|offer| {
            let before = offer.changes;
            let count = |count: u64, is_changed: bool| count + u64::from(is_changed);
            let changes = Changes {
                tools: count(before.tools, offer.tools != found.tools),
                prompts: count(before.prompts, offer.prompts != found.prompts),
                resources: count(
                    before.resources,
                    offer.resources != found.resources || offer.templates != found.templates,
                ),
            };
            *offer = Offer { changes, ..found };
        });
    }

    fn is_starting(&self, how: &str) {
        self.change(|offer| {
            offer.health = Health::Starting;
            offer.trouble = Some(how.into());
        });
    }

    /// It is not to be had; what it offered last is known.
    fn is_down(&self, error: Error) {
        let error = match error {
            // A question that got no answer did nothing.
            Error::OutcomeUnknown(cause) => Error::Unavailable(cause),
            other => other,
        };
        self.change(|offer| {
            offer.health = Health::Down(error);
            offer.trouble = None;
        });
    }

    fn change(&self, change: impl FnOnce(&mut Offer)) {
        self.offer.send_if_modified(|current| {
            let mut next = Offer::clone(current);
            change(&mut next);
            let is_changed = next != **current;
            if is_changed {
                *current = Arc::new(next);
            }
            is_changed
        });
    }

    fn late(&self, path: &str, within: Duration) -> Error {
        let what = format!(
            "the runner did not answer GET {path} within {} s",
            within.as_secs()
        );
        self.way.unavailable(&what)
    }
}

impl Memory {
    fn pause(&mut self) -> Duration {
        let longer = 2_u32.saturating_pow(self.failures);
        self.failures = self.failures.saturating_add(1);
        AGAIN.0.saturating_mul(longer).min(AGAIN.1)
    }
}

fn item(entry: &RawValue, key: &str) -> Option<Item> {
    // An entry of its own, so that one small tool does not hold a whole list in memory.
    let bytes = bytes::Bytes::copy_from_slice(entry.get().as_bytes());
    let definition = Object::parse(bytes).ok()?;
    let name = definition.str(key)?.into_owned();
    let definition = match key {
        "name" if definition.get("inputSchema").is_none() => with_schema(&definition),
        _ => definition,
    };
    Some(Item {
        key: name.into(),
        definition,
    })
}

/// A runner may spell the schema as the skill index does, or leave it out. Prompts have none, and are not harmed.
fn with_schema(definition: &Object) -> Object {
    if definition.get("arguments").is_some() {
        return definition.clone();
    }
    let Some(schema) = definition.raw("input_schema") else {
        return definition.clone();
    };
    let text = schema.as_str().map(|text| text.into_owned().into_bytes());
    let schema = text.unwrap_or_else(|| schema.bytes().to_vec());
    match Object::parse(schema.into()) {
        Ok(schema) => definition.edited(&[
            ("inputSchema", Edit::Put(schema.bytes())),
            ("input_schema", Edit::Drop),
        ]),
        Err(_) => definition.clone(),
    }
}

/// What a runner that works could not load.
fn problems(said: &Object) -> Option<Arc<str>> {
    let problems: Vec<String> = said.raw("problems")?.read().ok()?;
    let text: String = problems.join("; ").chars().take(SHOWN).collect();
    (!text.is_empty()).then(|| text.into())
}

fn info(said: &Object) -> Option<Raw> {
    let name = said.str("name")?;
    let version = said.str("version").unwrap_or_default();
    Some(Raw::of(
        &serde_json::json!({"name": name, "version": version}),
    ))
}
