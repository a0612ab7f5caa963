//! Reading one resource.

use std::io;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use rustix::io::Errno;
use serde_json::Value;
use toolbus_model::json::write_string;
use toolbus_model::{Call, Cause, Error, Kind, Object, Offer};

use super::beneath::{self, Folder};
use super::settings::{SKILLS, Space};
use super::state::State;
use super::{Inside, mime, system};

/// Largest memory that is served, in bytes.
const MAX_MEMORY: usize = 1024 * 1024;

impl Inside {
    /// There is something to read here.
    pub(super) fn has_resources(&self) -> bool {
        self.settings.omni || !self.spaces.is_empty()
    }

    /// The URI is one of those that are only served here.
    pub(super) fn is_ours(&self, uri: &str) -> bool {
        (self.settings.omni && uri.starts_with(system::PREFIX))
            || self
                .spaces
                .iter()
                .any(|space| uri.starts_with(&space.files.uri))
    }

    /// The content of a resource, as a result.
    pub(super) async fn read(
        &self,
        state: &State,
        uri: &str,
        offer: &Offer,
        call: &Call,
    ) -> Result<Object, Error> {
        if self.settings.omni {
            match uri {
                system::CONTEXT => {
                    let skills = state.skills.keys().map(String::as_str).collect();
                    return Ok(json_text(uri, &system::context(&self.name, offer, skills)));
                }
                system::STATS => return Ok(json_text(uri, &system::stats(offer))),
                system::MEMORY => return self.memory(uri, call).await,
                _ => {}
            }
        }
        self.file(state, uri, call).await
    }

    async fn file(&self, state: &State, uri: &str, call: &Call) -> Result<Object, Error> {
        let unknown = || Error::Unknown {
            kind: Kind::Resource,
            name: uri.to_owned(),
        };
        let found = self
            .spaces
            .iter()
            .find_map(|space| Some((space, space.files.path_of(uri)?)));
        let (space, path) = found.ok_or_else(unknown)?;
        if !has_skill(space, state, uri) {
            return Err(unknown());
        }
        let (folder, limit) = (space.files.path.clone(), space.files.max_bytes);
        let read = self.aside(call, move || {
            let (file, _) = Folder::open(&folder)?.file(&path)?;
            let bytes = beneath::all(file, limit)?;
            Ok(bytes.map(|bytes| mime::of_content(path.as_str(), bytes)))
        });
        let content = read.await?.map_err(|error| refused(uri, &error))?;
        let (media_type, content) = content.ok_or(Error::TooLarge {
            what: "resource",
            limit,
        })?;
        Ok(result(uri, media_type, content))
    }

    async fn memory(&self, uri: &str, call: &Call) -> Result<Object, Error> {
        let Some(path) = self.settings.memory.clone() else {
            return Ok(result(uri, "text/markdown", Ok(String::new())));
        };
        let name = path.to_string_lossy().into_owned();
        let read = self.aside(call, move || {
            beneath::all(beneath::configured(&path)?.0, MAX_MEMORY)
        });
        match read.await? {
            Ok(Some(bytes)) => {
                let (media_type, content) = mime::of_content(&name, bytes);
                Ok(result(uri, media_type, content))
            }
            Ok(None) => Err(Error::TooLarge {
                what: "memory",
                limit: MAX_MEMORY,
            }),
            // Nothing was remembered yet.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Ok(result(uri, "text/markdown", Ok(String::new())))
            }
            Err(error) => Err(unreadable(&error)),
        }
    }

    /// Does what may block, a few at a time.
    async fn aside<T: Send + 'static>(
        &self,
        call: &Call,
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> Result<io::Result<T>, Error> {
        let ended = || Error::Internal("the file could not be read".to_owned());
        let done = async {
            let place = Arc::clone(&self.readers)
                .acquire_owned()
                .await
                .map_err(|_| ended())?;
            let work = move || {
                let done = work();
                drop(place);
                done
            };
            tokio::task::spawn_blocking(work).await.map_err(|_| ended())
        };
        tokio::select! {
            done = done => done,
            () = call.cancelled() => Err(Error::Cancelled),
        }
    }
}

/// A file of a folder that is no skill is not served.
fn has_skill(space: &Space, state: &State, uri: &str) -> bool {
    let skill = uri
        .strip_prefix(SKILLS)
        .and_then(|path| path.split('/').next());
    !space.is_skills
        || skill
            .and_then(super::path::Inner::decode)
            .is_some_and(|skill| state.skills.contains_key(skill.as_str()))
}

/// Why a file was not opened. What is missing, and what may not be followed, is not there.
fn refused(uri: &str, error: &io::Error) -> Error {
    let nothing = [
        Errno::NOENT,
        Errno::NOTDIR,
        Errno::LOOP,
        Errno::INVAL,
        Errno::NAMETOOLONG,
    ];
    match Errno::from_io_error(error) {
        Some(errno) if nothing.contains(&errno) => Error::Unknown {
            kind: Kind::Resource,
            name: uri.to_owned(),
        },
        _ => unreadable(error),
    }
}

fn unreadable(error: &io::Error) -> Error {
    Error::Unavailable(Cause::new(format!("the file cannot be read: {error}")).into())
}

fn json_text(uri: &str, value: &Value) -> Object {
    result(uri, "application/json", Ok(value.to_string()))
}

/// A result around content, written in one pass.
fn result(uri: &str, media_type: &str, content: Result<String, Vec<u8>>) -> Object {
    let length = content
        .as_ref()
        .map_or_else(|bytes| bytes.len() / 3 * 4, String::len);
    let mut out = Vec::with_capacity(length + 256);
    out.extend_from_slice(br#"{"contents":[{"uri":"#);
    write_string(uri, &mut out);
    out.extend_from_slice(br#","mimeType":"#);
    write_string(media_type, &mut out);
    match content {
        Ok(text) => {
            out.extend_from_slice(br#","text":"#);
            write_string(&text, &mut out);
        }
        Err(bytes) => {
            out.extend_from_slice(br#","blob":"#);
            write_string(&BASE64.encode(bytes), &mut out);
        }
    }
    out.extend_from_slice(b"}]}");
    Object::parse(out.into()).unwrap_or_else(|_| Object::empty())
}
