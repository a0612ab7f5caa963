//! Looking at the folders: what is there, what of it is new, and what is wrong with it.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use super::beneath::{self, Folder, Stamp};
use super::files::{Files, Seen};
use super::matter;
use super::path::Inner;
use super::prompt::Prompt;
use super::settings::{self, Settings, Space};
use super::state::{Head, State};

/// Largest file of a prompt, in bytes, and the most that is read of a `SKILL.md`.
const MAX_TEXT: usize = 256 * 1024;

/// A file that changed so shortly ago can change once more without looking different: clocks of file systems are coarse.
const UNSETTLED: i128 = 2_000_000_000;

/// Looks at the folders, and remembers what it saw.
#[derive(Debug)]
pub(super) struct Surveyor {
    settings: Arc<Settings>,
    spaces: Arc<[Space]>,
    prompt_files: Option<Files>,
    /// What each folder held when it could be looked at last.
    held: Vec<BTreeMap<Inner, Stamp>>,
    held_prompts: BTreeMap<Inner, Stamp>,
    prompts: BTreeMap<Inner, Known<Arc<Prompt>>>,
    heads: BTreeMap<Inner, Known<Head>>,
    /// What was wrong at the last look, and what is wrong at this one.
    said: BTreeSet<String>,
    wrong: BTreeSet<String>,
}

/// What was read of a file.
#[derive(Debug)]
struct Known<T> {
    stamp: Stamp,
    is_settled: bool,
    /// The last version that could be read.
    read: Option<T>,
    wrong: Vec<String>,
}

impl Surveyor {
    pub(super) fn new(settings: Arc<Settings>, spaces: Arc<[Space]>) -> Self {
        Self {
            prompt_files: settings.prompts.as_deref().map(settings::prompts),
            held: vec![BTreeMap::new(); spaces.len()],
            settings,
            spaces,
            held_prompts: BTreeMap::new(),
            prompts: BTreeMap::new(),
            heads: BTreeMap::new(),
            said: BTreeSet::new(),
            wrong: BTreeSet::new(),
        }
    }

    /// Looks at everything. Also what is wrong and was not at the look before.
    pub(super) fn look(&mut self, before: &State) -> (State, Vec<String>) {
        let mut state = State::default();
        for (at, space) in Arc::clone(&self.spaces).iter().enumerate() {
            let held = std::mem::take(&mut self.held[at]);
            let mut files = self.look_at(&space.files, held);
            self.held[at].clone_from(&files);
            if space.is_skills {
                state.skills = self.skills(&space.files, &mut files);
            }
            state.files.push(files);
        }
        state.prompts = self.prompts();
        state.memory = self
            .settings
            .memory
            .as_deref()
            .and_then(|path| beneath::configured(path).ok())
            .map(|(_, stamp)| stamp);
        let wrong = std::mem::take(&mut self.wrong);
        let new = wrong.difference(&self.said).cloned().collect();
        self.said = wrong;
        (state.following(before, &self.settings, &self.spaces), new)
    }

    /// What a folder holds; what it held before where it cannot be looked at, because that deletes nothing.
    fn look_at(&mut self, files: &Files, held: BTreeMap<Inner, Stamp>) -> BTreeMap<Inner, Stamp> {
        match files.look() {
            Ok(Seen { files, complaints }) => {
                self.wrong.extend(complaints);
                files
            }
            Err(error) => {
                let folder = files.path.display();
                self.wrong.insert(format!("{folder}: the folder cannot be read ({error}): its files stay listed as they were"));
                held
            }
        }
    }

    /// The skills. Files that belong to none are taken out.
    fn skills(
        &mut self,
        files: &Files,
        held: &mut BTreeMap<Inner, Stamp>,
    ) -> BTreeMap<String, Head> {
        let mut heads = std::mem::take(&mut self.heads);
        heads.retain(|path, _| held.contains_key(path));
        let mut skills = BTreeMap::new();
        for (path, stamp) in held.iter() {
            let Some((skill, "SKILL.md")) = path.as_str().split_once('/') else {
                continue;
            };
            let known = Known::renewed(heads.remove(path), *stamp, || {
                Ok((head(&text(files, path)?)?, Vec::new()))
            });
            self.note(files, path, &known);
            skills.insert(skill.to_owned(), known.read.clone().unwrap_or_default());
            heads.insert(path.clone(), known);
        }
        held.retain(|path, _| {
            path.as_str()
                .split_once('/')
                .is_some_and(|(skill, _)| skills.contains_key(skill))
        });
        self.heads = heads;
        skills
    }

    /// The prompts. Of two with one name the first file has it.
    fn prompts(&mut self) -> BTreeMap<Arc<str>, Arc<Prompt>> {
        let Some(files) = self.prompt_files.clone() else {
            return BTreeMap::new();
        };
        let held = std::mem::take(&mut self.held_prompts);
        let held = self.look_at(&files, held);
        let mut before = std::mem::take(&mut self.prompts);
        let mut named: BTreeMap<Arc<str>, (Arc<Prompt>, &Inner)> = BTreeMap::new();
        for (path, stamp) in &held {
            let known = Known::renewed(before.remove(path), *stamp, || prompt(&files, path));
            self.note(&files, path, &known);
            if let Some(prompt) = &known.read {
                match named.get(&prompt.name) {
                    Some((_, other)) => self.say(
                        &files,
                        path,
                        &format!(
                            "its name {:?} is the one of {other} as well: it is not offered",
                            prompt.name
                        ),
                    ),
                    None => {
                        named.insert(Arc::clone(&prompt.name), (Arc::clone(prompt), path));
                    }
                }
            }
            self.prompts.insert(path.clone(), known);
        }
        let prompts = named
            .into_iter()
            .map(|(name, (prompt, _))| (name, prompt))
            .collect();
        self.held_prompts = held;
        prompts
    }

    fn note<T>(&mut self, files: &Files, path: &Inner, known: &Known<T>) {
        for wrong in &known.wrong {
            self.say(files, path, wrong);
        }
    }

    fn say(&mut self, files: &Files, path: &Inner, what: &str) {
        self.wrong
            .insert(format!("{}/{path}: {what}", files.path.display()));
    }
}

impl<T> Known<T> {
    /// What is known of a file now. It is read only if it may have changed; what cannot be read leaves the version before.
    fn renewed(
        before: Option<Self>,
        stamp: Stamp,
        read: impl FnOnce() -> Result<(T, Vec<String>), String>,
    ) -> Self {
        let before = match before {
            Some(known) if known.stamp == stamp && known.is_settled => return known,
            before => before.and_then(|known| known.read),
        };
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |now| now.as_nanos());
        let is_settled = i128::try_from(now).unwrap_or_default() - stamp.last_change() > UNSETTLED;
        let (read, wrong) = match read() {
            Ok((new, said)) => (Some(new), said),
            Err(why) if before.is_some() => (
                before,
                vec![format!("{why}; the version before it stays in use")],
            ),
            Err(why) => (None, vec![format!("{why}; it is not used")]),
        };
        Self {
            stamp,
            is_settled,
            read,
            wrong,
        }
    }
}

/// What the front matter of a `SKILL.md` says.
fn head(text: &str) -> Result<Head, String> {
    let (matter, _) = matter::split(text)?;
    let own = |name| match &matter {
        None => Ok::<_, String>(None),
        Some(matter) => Ok(matter.text(name)?.map(str::to_owned)),
    };
    Ok(Head {
        name: own("name")?,
        description: own("description")?,
    })
}

/// The prompt in a file, and what should be said about it.
fn prompt(files: &Files, path: &Inner) -> Result<(Arc<Prompt>, Vec<String>), String> {
    let name = path.as_str().rsplit('/').next();
    let stem = name
        .and_then(|name| name.strip_suffix(".md"))
        .unwrap_or_default();
    let (prompt, said) = Prompt::parse(stem, &text(files, path)?)?;
    Ok((Arc::new(prompt), said))
}

/// A file's text.
fn text(files: &Files, path: &Inner) -> Result<String, String> {
    let read = || -> io::Result<Option<Vec<u8>>> {
        let (file, _) = Folder::open(&files.path)?.file(path)?;
        beneath::all(file, MAX_TEXT)
    };
    let bytes = read().map_err(|error| format!("it cannot be read ({error})"))?;
    let bytes = bytes.ok_or_else(|| format!("it is larger than {MAX_TEXT} bytes"))?;
    String::from_utf8(bytes).map_err(|error| format!("it is not UTF-8 ({error})"))
}
