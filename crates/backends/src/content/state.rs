//! What there is at one moment: files, skills, prompts; and how all that is listed.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, json};
use toolbus_model::{Changes, Item, Object};

use super::beneath::Stamp;
use super::mime;
use super::path::Inner;
use super::prompt::Prompt;
use super::settings::{Settings, Space};
use super::system;

/// What a skill says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) name: Option<String>,
    pub(super) description: Option<String>,
}

/// What there is at one moment.
#[derive(Debug, Default)]
pub(super) struct State {
    /// It was looked at.
    pub(super) is_known: bool,
    /// The files of each folder, in the order of the folders.
    pub(super) files: Vec<BTreeMap<Inner, Stamp>>,
    /// Skills, by the names of their folders.
    pub(super) skills: BTreeMap<String, Head>,
    /// Prompts, by their names.
    pub(super) prompts: BTreeMap<Arc<str>, Arc<Prompt>>,
    /// The file of the memory.
    pub(super) memory: Option<Stamp>,
    pub(super) lists: Arc<Lists>,
    /// How often each list changed.
    pub(super) changes: Changes,
}

/// The lists.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Lists {
    pub(super) resources: Vec<Item>,
    pub(super) templates: Vec<Item>,
    pub(super) prompts: Vec<Item>,
}

impl State {
    /// Makes the lists, as the successor of a state with lists.
    pub(super) fn following(
        mut self,
        before: &Self,
        settings: &Settings,
        spaces: &[Space],
    ) -> Self {
        self.lists = match self.reads_like(before) {
            true => Arc::clone(&before.lists),
            false => Arc::new(Lists {
                resources: self.resources(settings, spaces),
                templates: spaces.iter().map(template).collect(),
                prompts: self.prompts.values().map(|prompt| prompt.item()).collect(),
            }),
        };
        let differs = |differs: bool| u64::from(before.is_known && differs);
        let (now, then) = (&self.lists, &before.lists);
        let resources = now.resources != then.resources;
        self.changes = Changes {
            resources: before.changes.resources + differs(resources),
            prompts: before.changes.prompts + differs(now.prompts != then.prompts),
            ..before.changes
        };
        self.is_known = true;
        self
    }

    /// The lists are the same as before: what most looks see, and what must cost little where there are many files.
    fn reads_like(&self, before: &Self) -> bool {
        let same = |(now, then): (&BTreeMap<Inner, Stamp>, &BTreeMap<Inner, Stamp>)| {
            now.keys().eq(then.keys())
        };
        before.is_known
            && self.files.iter().zip(&before.files).all(same)
            && self.skills == before.skills
            && self.prompts == before.prompts
    }

    fn resources(&self, settings: &Settings, spaces: &[Space]) -> Vec<Item> {
        let system = settings.omni.then(system::items).into_iter().flatten();
        let files = spaces.iter().zip(&self.files).flat_map(|(space, files)| {
            let item = |path| self.resource(space, path);
            files.keys().map(item)
        });
        system.chain(files).collect()
    }

    /// A file's entry in the list. It tells only what names the file: its size would change the list at every edit.
    fn resource(&self, space: &Space, path: &Inner) -> Item {
        let uri = space.files.uri_of(path);
        let mut definition = Map::new();
        definition.insert("uri".to_owned(), uri.as_str().into());
        definition.insert("name".to_owned(), path.as_str().into());
        let head = match path.as_str().split_once('/') {
            Some((skill, "SKILL.md")) if space.is_skills => self.skills.get(skill),
            _ => None,
        };
        if let Some(head) = head {
            definition.extend(
                head.name
                    .iter()
                    .map(|name| ("title".to_owned(), name.as_str().into())),
            );
            let told = head
                .description
                .iter()
                .map(|told| ("description".to_owned(), told.as_str().into()));
            definition.extend(told);
        }
        let known = mime::of_name(path.as_str());
        definition.extend(known.map(|(media_type, _)| ("mimeType".to_owned(), media_type.into())));
        Item {
            key: uri.into(),
            definition: Object::of(&definition),
        }
    }
}

fn template(space: &Space) -> Item {
    let uri = space.template();
    let folder = space
        .files
        .path
        .file_name()
        .unwrap_or_default()
        .to_string_lossy();
    let mut definition = Map::new();
    definition.insert("uriTemplate".to_owned(), uri.as_str().into());
    definition.insert(
        "name".to_owned(),
        if space.is_skills {
            "skill".into()
        } else {
            folder.into()
        },
    );
    let told = [
        ("title", &space.files.title),
        ("description", &space.files.description),
    ];
    for (name, value) in told {
        definition.extend(value.iter().map(|value| (name.to_owned(), json!(value))));
    }
    if space.is_skills {
        let what = "A file of a skill: SKILL.md, or another one beside it.";
        definition.insert("description".to_owned(), what.into());
    }
    Item {
        key: uri.into(),
        definition: Object::of(&definition),
    }
}
