//! The state folder: what must outlive a run, under `$XDG_STATE_HOME/toolbus`.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::PathBuf;

use toolbus_gateway::Key;

/// The state folder, made where it is missing; only its owner can look into it.
pub(crate) fn folder() -> Result<PathBuf, String> {
    let base = std::env::var_os("XDG_STATE_HOME")
        .filter(|path| !path.is_empty())
        .map(PathBuf::from);
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/state"));
    let base = base
        .or_else(home)
        .ok_or("set XDG_STATE_HOME or HOME: there is no place for state")?;
    let folder = base.join("toolbus");
    let made = DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&folder);
    made.map_err(|error| {
        format!(
            "the state folder {} cannot be made: {error}",
            folder.display()
        )
    })?;
    Ok(folder)
}

/// The key that seals sessions, made at the first run. Replicas need a shared one, set as `gateway.state_key`.
pub(crate) fn key() -> Result<Key, String> {
    Ok(Key::new(&key_bytes()?))
}

/// The bytes of the key in the state folder.
pub(crate) fn key_bytes() -> Result<[u8; Key::LEN], String> {
    let path = folder()?.join("state_key");
    let explain = |error: io::Error| format!("the key {} cannot be used: {error}", path.display());
    if !path.exists() {
        // Written aside and then given its name, so that a second start at the same moment never reads half a key.
        let aside = path.with_extension(std::process::id().to_string());
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&aside)
            .map_err(explain)?;
        file.write_all(&Key::generate()?).map_err(explain)?;
        // Whoever was first has made the key; the other one uses it.
        let _ = fs::hard_link(&aside, &path);
        let _ = fs::remove_file(&aside);
    }
    let mut bytes = [0; Key::LEN];
    fs::File::open(&path)
        .and_then(|mut file| file.read_exact(&mut bytes))
        .map_err(explain)?;
    Ok(bytes)
}
