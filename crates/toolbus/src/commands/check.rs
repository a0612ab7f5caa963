//! `toolbus check`: everything about a configuration that can be known without starting anything.

use std::path::{Path, PathBuf};

use super::Failed;
use crate::config::{Config, Source};
use crate::{house, say};

pub(super) fn run(source: &Source, config: &Config) -> Result<(), Failed> {
    let mut problems = Vec::new();
    for (name, server) in &config.servers {
        problems.extend(house::check_server(name, server).err());
        if let Some(stdio) = server.child() {
            let kind = server.kind();
            let cwd = stdio.cwd.as_deref();
            if cwd.is_some_and(|cwd| !cwd.is_dir()) {
                problems.push(format!(
                    "[servers.{name}.{kind}]: the folder {} does not exist",
                    cwd.unwrap_or(Path::new("")).display()
                ));
            }
            let program = stdio
                .command
                .first()
                .map(String::as_str)
                .unwrap_or_default();
            if find_program(program, cwd).is_none() {
                problems.push(format!("[servers.{name}.{kind}]: no program {program:?}; give its path, or install it so that it is on PATH"));
            }
        }
    }
    problems.extend(house::access(config).err());
    problems.extend(house::check_capabilities(config).err());
    problems.extend(
        config
            .gateway
            .state_key
            .as_ref()
            .and_then(|_| house::key(config).err()),
    );
    if problems.is_empty() {
        let (servers, callers) = (config.servers.len(), config.callers.len());
        say::out(format!(
            "{source}: good ({servers} servers, {callers} callers, listening on {})",
            config.gateway.listen
        ));
        return Ok(());
    }
    Err(Failed::Usage(format!(
        "{source}:\n  {}",
        problems.join("\n  ")
    )))
}

fn find_program(program: &str, cwd: Option<&Path>) -> Option<PathBuf> {
    if program.contains('/') {
        let path = cwd.unwrap_or(Path::new("")).join(program);
        return path.is_file().then_some(path);
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(|path| path.is_file())
}
