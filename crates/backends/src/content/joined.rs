//! What is offered together: our lists in front of those of the back end behind.

use std::collections::HashSet;
use std::sync::Arc;

use serde_json::json;
use tokio::sync::watch;
use toolbus_model::json::Edit;
use toolbus_model::{Changes, Health, Item, Object, Offer, Raw, Revision};

use super::Inside;
use super::state::State;

/// The offer of both, now and at each change.
#[derive(Debug)]
pub(super) struct Joined(watch::Receiver<Arc<Offer>>);

impl Joined {
    pub(super) fn of(
        inside: &Arc<Inside>,
        mut theirs: Option<watch::Receiver<Arc<Offer>>>,
    ) -> Self {
        let mut ours = inside.state.subscribe();
        let first = offer(
            inside,
            &ours.borrow_and_update(),
            theirs.as_mut().map(seen).as_deref(),
        );
        let (sender, offers) = watch::channel(Arc::new(first));
        let (kept, ended) = (Arc::clone(inside), inside.ended.clone());
        let follow = async move {
            loop {
                tokio::select! {
                    changed = ours.changed() => if changed.is_err() { return },
                    () = changed(&mut theirs) => {}
                }
                let next = offer(
                    &kept,
                    &ours.borrow_and_update(),
                    theirs.as_mut().map(seen).as_deref(),
                );
                sender.send_if_modified(|known| {
                    let differs = **known != next;
                    if differs {
                        *known = Arc::new(next);
                    }
                    differs
                });
            }
        };
        inside
            .tasks
            .spawn(async move { ended.run_until_cancelled(follow).await });
        Self(offers)
    }

    pub(super) fn offer(&self) -> watch::Receiver<Arc<Offer>> {
        self.0.clone()
    }

    pub(super) fn now(&self) -> Arc<Offer> {
        Arc::clone(&self.0.borrow())
    }
}

fn seen(theirs: &mut watch::Receiver<Arc<Offer>>) -> Arc<Offer> {
    Arc::clone(&theirs.borrow_and_update())
}

/// Completes at a change of theirs; never where there is nobody, or nobody any more.
async fn changed(theirs: &mut Option<watch::Receiver<Arc<Offer>>>) {
    if let Some(theirs) = theirs
        && theirs.changed().await.is_ok()
    {
        return;
    }
    std::future::pending().await
}

fn offer(inside: &Inside, state: &State, theirs: Option<&Offer>) -> Offer {
    let Some(theirs) = theirs else {
        return alone(inside, state);
    };
    // What they offer is not known yet, or what we do: whoever waits for the lists waits on.
    let waits =
        !state.is_known || (theirs.health == Health::Starting && theirs.capabilities.is_none());
    let capabilities = match waits {
        true => None,
        false => Some(capabilities(inside, theirs.capabilities.clone())),
    };
    let (own, said) = (&state.changes, &theirs.changes);
    Offer {
        prompts: beside(&state.lists.prompts, &theirs.prompts),
        resources: beside(&state.lists.resources, &theirs.resources),
        templates: beside(&state.lists.templates, &theirs.templates),
        capabilities,
        changes: Changes {
            tools: said.tools,
            prompts: said.prompts + own.prompts,
            resources: said.resources + own.resources,
        },
        health: if state.is_known {
            theirs.health.clone()
        } else {
            Health::Starting
        },
        ..theirs.clone()
    }
}

fn alone(inside: &Inside, state: &State) -> Offer {
    let info = json!({"name": inside.name, "version": env!("CARGO_PKG_VERSION")});
    let known = |health| {
        if state.is_known {
            health
        } else {
            Health::Starting
        }
    };
    Offer {
        prompts: state.lists.prompts.clone(),
        resources: state.lists.resources.clone(),
        templates: state.lists.templates.clone(),
        capabilities: state.is_known.then(|| capabilities(inside, None)),
        info: Some(Raw::of(&info)),
        revision: Some(Revision::V2026_07_28.as_str()),
        changes: state.changes,
        health: known(Health::Up),
        ..Offer::default()
    }
}

/// Ours, and those of theirs that are called otherwise.
fn beside(ours: &[Item], theirs: &[Item]) -> Vec<Item> {
    let taken: HashSet<_> = ours.iter().map(|item| &item.key).collect();
    let theirs = theirs.iter().filter(|item| !taken.contains(&item.key));
    ours.iter().chain(theirs).cloned().collect()
}

/// What they can do and we can.
fn capabilities(inside: &Inside, theirs: Option<Object>) -> Object {
    let theirs = theirs.unwrap_or_else(Object::empty);
    let (has_files, has_prompts) = (inside.has_resources(), inside.settings.prompts.is_some());
    let told = |member: &str, ours: &[(&str, Edit<'_>)]| {
        let own = theirs.object(member).and_then(Result::ok);
        own.unwrap_or_else(Object::empty).edited(ours)
    };
    let yes = Edit::Put(b"true");
    let resources = told("resources", &[("subscribe", yes), ("listChanged", yes)]);
    let prompts = told("prompts", &[("listChanged", yes)]);
    let mut edits = vec![("completions", Edit::Default(b"{}"))];
    if has_files {
        edits.push(("resources", Edit::Put(resources.bytes())));
    }
    if has_prompts {
        edits.push(("prompts", Edit::Put(prompts.bytes())));
    }
    theirs.edited(&edits)
}
