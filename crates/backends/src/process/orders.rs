//! What a warden is told beside the command, on its own command line: `name=value`.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::RawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use super::limits::Limits;

/// What a warden is told beside the command.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Orders {
    /// The number of the inherited pipe that the child is to have as descriptor 3.
    pub(super) side: Option<RawFd>,
    /// A folder that is removed at the end.
    pub(super) folder: Option<PathBuf>,
    /// What the child may use.
    pub(super) limits: Limits,
}

impl Orders {
    /// Reads all of them.
    pub(super) fn parse(words: &[OsString]) -> io::Result<Self> {
        let mut orders = Self::default();
        for word in words {
            let wrong = || io::Error::other(format!("the warden does not know {word:?}"));
            let at = word.as_bytes().iter().position(|byte| *byte == b'=');
            let (name, value) = word.as_bytes().split_at(at.ok_or_else(wrong)?);
            let name = std::str::from_utf8(name).map_err(|_| wrong())?;
            let value = OsStr::from_bytes(&value[1..]);
            let number = || value.to_str()?.parse::<u64>().ok();
            match name {
                "folder" => orders.folder = Some(PathBuf::from(value)),
                "side" => {
                    let number = number().and_then(|number| RawFd::try_from(number).ok());
                    orders.side = Some(number.ok_or_else(wrong)?);
                }
                _ => {
                    let value = number().ok_or_else(wrong)?;
                    if !orders.limits.put(name, value) {
                        return Err(wrong());
                    }
                }
            }
        }
        Ok(orders)
    }

    /// Removes the folder that is to be removed.
    pub(super) fn clear(&self) {
        if let Some(folder) = &self.folder {
            let _ = std::fs::remove_dir_all(folder);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_is_told_is_what_is_heard() {
        let limits = Limits {
            memory: Some(1),
            address_space: Some(2),
            cpu: Some(Duration::from_secs(3)),
            file_size: Some(4),
            open_files: Some(5),
            processes: Some(6),
        };
        let words = limits
            .named()
            .map(|(name, value)| format!("{name}={}", value.unwrap_or(0)));
        let mut words: Vec<_> = words.into_iter().map(OsString::from).collect();
        words.extend(["side=7", "folder=/a=b"].map(OsString::from));
        let orders = Orders {
            side: Some(7),
            folder: Some("/a=b".into()),
            limits,
        };
        assert_eq!(Orders::parse(&words).expect("orders"), orders);
        for wrong in ["memory", "memory=x", "size=1", "side=-1"] {
            let error = Orders::parse(&[wrong.into()]).expect_err("wrong");
            assert!(error.to_string().contains(wrong), "{error}");
        }
    }
}
