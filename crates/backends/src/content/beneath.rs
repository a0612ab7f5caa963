//! Files below a folder, and never any other: each step goes down from an open folder, and no link is followed.

use std::ffi::CStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat, fstat, openat, statat};
use rustix::io::Errno;

use super::path::Inner;

/// How a file looked at one moment. Another stamp is another content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) size: u64,
    /// Nanoseconds since 1970, as the next one.
    modified: i128,
    changed: i128,
    place: (u64, u64),
}

impl Stamp {
    /// When anything about the file changed last, in nanoseconds since 1970.
    pub(super) fn last_change(&self) -> i128 {
        self.modified.max(self.changed)
    }

    fn of(stat: &Stat) -> Self {
        let nanos = |seconds: i128, nanos: i128| seconds * 1_000_000_000 + nanos;
        Self {
            size: u64::try_from(stat.st_size).unwrap_or_default(),
            modified: nanos(stat.st_mtime.into(), stat.st_mtime_nsec.into()),
            changed: nanos(stat.st_ctime.into(), stat.st_ctime_nsec.into()),
            place: (stat.st_dev, stat.st_ino),
        }
    }
}

/// What lies in a folder.
#[derive(Debug)]
pub(super) enum Entry {
    File(Stamp),
    Folder,
}

/// An open folder.
#[derive(Debug)]
pub(super) struct Folder(OwnedFd);

impl Folder {
    /// Opens the folder that is configured. Links that lead to it are the operator's own.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self(openat(CWD, path, folder_flags(), Mode::empty())?))
    }

    /// Opens a file below. Whatever is put in its place meanwhile, what is opened lies below, and is a file.
    pub(super) fn file(&self, path: &Inner) -> io::Result<(File, Stamp)> {
        let mut names: Vec<_> = path.names().collect();
        let Some(last) = names.pop() else {
            return Err(Errno::NOENT.into());
        };
        let mut at = None;
        for name in names {
            at = Some(self.or(at.as_ref()).folder(name)?);
        }
        self.or(at.as_ref()).file_here(last)
    }

    fn or<'a>(&'a self, deeper: Option<&'a Self>) -> &'a Self {
        deeper.unwrap_or(self)
    }

    /// Opens a folder in this one.
    pub(super) fn folder(&self, name: &str) -> io::Result<Self> {
        let flags = folder_flags() | OFlags::NOFOLLOW;
        Ok(Self(openat(&self.0, name, flags, Mode::empty())?))
    }

    fn file_here(&self, name: &str) -> io::Result<(File, Stamp)> {
        // Looked at first, because opening a device can do something. NONBLOCK is for a pipe that takes the file's place
        // in between; what was opened is looked at once more.
        regular(&statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW)?)?;
        let flags =
            OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = openat(&self.0, name, flags, Mode::empty())?;
        let stat = fstat(&file)?;
        regular(&stat)?;
        Ok((file.into(), Stamp::of(&stat)))
    }

    /// The names in this folder, in their order; at most so many. Names that are not UTF-8 cannot stand in a path.
    pub(super) fn names(&self, at_most: usize) -> io::Result<Vec<String>> {
        let entries = Dir::read_from(&self.0)?.take(at_most);
        let name = |name: &CStr| name.to_str().ok().map(str::to_owned);
        let mut names = Vec::new();
        for entry in entries {
            names.extend(name(entry?.file_name()));
        }
        names.retain(|name| name != "." && name != "..");
        names.sort_unstable();
        Ok(names)
    }

    /// What an entry is; `None` for links, pipes, devices and the like.
    pub(super) fn entry(&self, name: &str) -> io::Result<Option<Entry>> {
        let stat = statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Some(Entry::File(Stamp::of(&stat))),
            FileType::Directory => Some(Entry::Folder),
            _ => None,
        })
    }
}

fn folder_flags() -> OFlags {
    OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC
}

fn regular(stat: &Stat) -> io::Result<()> {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Ok(()),
        _ => Err(Errno::INVAL.into()),
    }
}

/// All of a file, if it is no larger than this; `None` if it is.
pub(super) fn all(file: File, limit: usize) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    // One byte more than fits: the file may have grown since it was looked at.
    file.take(limit as u64 + 1).read_to_end(&mut bytes)?;
    Ok((bytes.len() <= limit).then_some(bytes))
}

/// Opens a file that is configured by its own path.
pub(super) fn configured(path: &Path) -> io::Result<(File, Stamp)> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = openat(CWD, path, flags, Mode::empty())?;
    let stat = fstat(&file)?;
    regular(&stat)?;
    Ok((file.into(), Stamp::of(&stat)))
}
