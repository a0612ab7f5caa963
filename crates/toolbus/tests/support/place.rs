//! A server that has the tools a test says, and notes its calls (`servers/tools.py`).

use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;

/// Its folder, which outlasts a gateway.
pub struct Place {
    folder: TempDir,
}

impl Place {
    pub fn new(tools: &Value) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let place = Self { folder };
        std::fs::write(place.file("tools.json"), tools.to_string()).expect("written");
        place
    }

    fn file(&self, name: &str) -> String {
        let path = self.folder.path().join(name);
        path.to_str().expect("a path of UTF-8").to_owned()
    }

    /// The server `fx`, with more lines in its section, and more sections.
    pub fn server(&self, lines: &str, sections: &str) -> String {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/servers/tools.py");
        let (tools, calls) = (self.file("tools.json"), self.file("calls"));
        let command = json!(["python3", script, tools, calls]);
        format!("[servers.fx]\n{lines}\n[servers.fx.stdio]\ncommand = {command}\n{sections}\n")
    }

    /// The names of the calls that arrived.
    pub fn calls(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.file("calls")).unwrap_or_default();
        let name = |line: &str| {
            let call: Value = serde_json::from_str(line).unwrap_or_default();
            call[0].as_str().unwrap_or_default().to_owned()
        };
        text.lines().map(name).collect()
    }
}
