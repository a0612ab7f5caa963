//! Each way to name what Python runs, and processes that are replaced after some calls.

use std::collections::HashMap;
use std::fs;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{Gateway, text, wait_for, workspace};

/// What is served; `heavy` is the module that is imported once.
const FILES: [(&str, &str); 5] = [
    ("heavy.py", "import os\nprocess = os.getpid()\n"),
    ("plain.py", SCRIPT),
    ("pkg/__init__.py", ""),
    ("pkg/run.py", SCRIPT),
    ("served.py", SERVED),
];

/// Says how it was run. `process` is another one each time, and `is_ready` is false in a process of its own.
const SCRIPT: &str = r#"
import json, os, sys
import heavy
def same():
    first = "the folder of the call" if sys.path[0] == os.getcwd() else os.path.basename(sys.path[0])
    return [__name__, sys.argv[1:], os.path.basename(sys.argv[0]), first, json.load(sys.stdin)]
tools = {
    "same": same,
    "process": lambda: str(os.getpid()),
    "is_ready": lambda: str(heavy.process != os.getpid()),
}
print(json.dumps(tools[sys.argv[1]]()))
"#;

const SERVED: &str = r#"
import os
import heavy
def same(text: str, count: int = 2) -> list[str]:
    """So often."""
    return [text] * count
def process() -> str:
    """Which one it is."""
    return str(os.getpid())
def is_ready() -> str:
    """Whether another process has imported the module."""
    return str(heavy.process != os.getpid())
"#;

const MODES: [(&str, &str); 3] = [
    ("cold", ""),
    ("fork", "mode = \"fork\""),
    ("reuse", "mode = \"reuse\""),
];

/// A gateway before these files.
struct Forms {
    gateway: Gateway,
    _folder: TempDir,
}

impl Forms {
    /// `config` is given the folder with the files.
    fn start(config: impl Fn(&str) -> String) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        fs::create_dir(folder.path().join("pkg")).expect("a folder");
        for (name, source) in FILES {
            fs::write(folder.path().join(name), source).expect("written");
        }
        Self {
            gateway: Gateway::start(&config(&text(folder.path()))),
            _folder: folder,
        }
    }

    fn call(&self, server: &str, tool: &str) -> Value {
        let path = format!("/servers/{server}/mcp");
        let arguments = if tool == "same" {
            json!({"text": "ü"})
        } else {
            json!({})
        };
        let params = json!({"name": tool, "arguments": arguments});
        self.gateway.modern(&path, "tools/call", params).json()
    }

    fn says(&self, server: &str, tool: &str) -> String {
        let answer = self.call(server, tool);
        let said = answer["result"]["content"][0]["text"].as_str();
        said.unwrap_or_else(|| panic!("{server}: {answer}"))
            .to_owned()
    }
}

#[test]
fn each_way_to_name_what_is_run() {
    let forms = Forms::start(|folder| {
        let forms = ["path", "module", "served"];
        let sections = forms.iter().flat_map(|form| {
            MODES.map(|(mode, warm)| section(folder, form, &format!("{form}-{mode}"), warm))
        });
        sections.collect()
    });
    for form in ["path", "module", "served"] {
        let cold = format!("{form}-cold");
        let expected = forms.call(&cold, "same");
        assert!(expected["result"]["isError"] != true, "{form}: {expected}");
        assert_eq!(forms.says(&cold, "is_ready"), "False", "{form}");
        for mode in ["fork", "reuse"] {
            let server = format!("{form}-{mode}");
            wait_for("interpreters are ready", || {
                forms.says(&server, "is_ready") == "True"
            });
            assert_eq!(forms.call(&server, "same"), expected, "{server}");
        }
        // A process has one call, or many of them.
        let fork = format!("{form}-fork");
        assert_ne!(
            forms.says(&fork, "process"),
            forms.says(&fork, "process"),
            "{form}"
        );
    }
}

#[test]
fn a_process_is_replaced_after_its_calls() {
    const MOST: usize = 3;
    let warm = format!("mode = \"reuse\"\nprocesses = 1\nmax_calls = {MOST}");
    let forms = Forms::start(|folder| section(folder, "path", "few", &warm));
    wait_for("interpreters are ready", || {
        forms.says("few", "is_ready") == "True"
    });
    let mut calls: HashMap<String, usize> = HashMap::new();
    for _ in 0..MOST * 4 {
        *calls.entry(forms.says("few", "process")).or_default() += 1;
    }
    let most = calls.values().max().copied().unwrap_or(0);
    assert!((2..=MOST).contains(&most), "{calls:?}");
}

/// A server that names what it runs in this way.
fn section(folder: &str, form: &str, server: &str, warm: &str) -> String {
    let python = text(&workspace(".venv/bin/python"));
    let what = match form {
        "path" => format!(
            "run = {}",
            json!([python, format!("{folder}/plain.py"), "{tool}"])
        ),
        "module" => format!(
            "run = {}",
            json!([python, "-m", "pkg.run", "{tool}", "a b"])
        ),
        _ => format!("python = \"{folder}/served.py\"\ninterpreter = \"{python}\""),
    };
    let name = format!("servers.{server}.script");
    let mut section = format!(
        "[{name}]\n{what}\nat_once = 1\nenv = {{PYTHONPATH = \"{folder}\", PYTHONDONTWRITEBYTECODE = \"1\"}}\n"
    );
    if !warm.is_empty() {
        section.push_str(&format!("[{name}.warm]\n{warm}\nmodules = [\"heavy\"]\n"));
    }
    if form != "served" {
        for tool in ["same", "process", "is_ready"] {
            section.push_str(&format!(
                "[{name}.tools.{tool}]\ndescription = \"{tool}\"\n"
            ));
        }
    }
    section
}
