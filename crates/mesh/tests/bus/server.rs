//! A real nats-server for the time of a test.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use toolbus_mesh::bus::nats::Settings;

/// A running nats-server, which ends with this.
pub(crate) struct Server {
    folder: TempDir,
    child: Child,
    pub(crate) port: u16,
    config: Option<String>,
    variables: Vec<(String, String)>,
}

/// JetStream, in the server's folder.
pub(crate) const JETSTREAM: &str = "jetstream { store_dir: \"{folder}/store\" }";

/// The binary: `TOOLBUS_NATS_SERVER`, or that of the environment for tests.
pub(crate) fn binary() -> Option<PathBuf> {
    let named = std::env::var_os("TOOLBUS_NATS_SERVER").map(PathBuf::from);
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.venv/bin/nats-server");
    let found = named.into_iter().chain([here]).find(|path| path.exists());
    if found.is_none() {
        #[expect(
            clippy::print_stderr,
            reason = "a test that does not run must not look like one that passed"
        )]
        {
            eprintln!("skipped: no nats-server");
        }
    }
    found
}

impl Server {
    /// With JetStream, for everyone.
    pub(crate) async fn start_plain() -> Option<Self> {
        Self::start(JETSTREAM).await
    }

    /// With a configuration. `{folder}` in it is a folder that ends with the server.
    pub(crate) async fn start(config: &str) -> Option<Self> {
        Self::start_with(config, &[]).await
    }

    /// With a configuration, and variables for it.
    pub(crate) async fn start_with(config: &str, variables: &[(&str, &str)]) -> Option<Self> {
        let binary = binary()?;
        let folder = tempfile::tempdir().expect("a folder");
        let config = config.replace("{folder}", &folder.path().display().to_string());
        let variables = variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Some(Self::run(&binary, folder, -1, config, variables.collect()).await)
    }

    async fn run(
        binary: &Path,
        folder: TempDir,
        port: i32,
        config: String,
        variables: Vec<(String, String)>,
    ) -> Self {
        let place = folder.path().display();
        let text = format!("listen: \"127.0.0.1:{port}\"\nports_file_dir: \"{place}\"\n{config}\n");
        let path = folder.path().join("nats.conf");
        std::fs::write(&path, text).expect("the configuration");
        let log = std::fs::File::options()
            .append(true)
            .create(true)
            .open(folder.path().join("log"))
            .expect("a log");
        let child = Command::new(binary)
            .arg("-c")
            .arg(&path)
            .envs(variables.iter().cloned())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("nats-server starts");
        let mut server = Self {
            folder,
            child,
            port: 0,
            config: Some(config),
            variables,
        };
        server.port = server.read_port().await;
        server
    }

    async fn read_port(&mut self) -> u16 {
        let file = self.path(&format!("nats-server_{}.ports", self.child.id()));
        let until = Instant::now() + Duration::from_secs(20);
        loop {
            assert!(Instant::now() < until, "no ports file: {}", self.log());
            if let Some(status) = self.child.try_wait().expect("a child") {
                panic!("nats-server ended with {status}: {}", self.log());
            }
            let text = std::fs::read_to_string(&file).unwrap_or_default();
            let ports: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
            let url = ports["nats"][0].as_str().or(ports["tls"][0].as_str());
            if let Some(port) = url.and_then(|url| url.rsplit(':').next()) {
                return port.parse().expect("a port");
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Where it takes leaf nodes.
    pub(crate) fn leaf_address(&self) -> String {
        let log = self.log();
        let line = log.split("Listening for leafnode connections on ").nth(1);
        let address = line.and_then(|line| line.lines().next());
        address.expect("a port for leaf nodes").to_owned()
    }

    /// What it wrote to its log.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// A file in its folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn address(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    pub(crate) fn settings(&self) -> Settings {
        Settings {
            servers: vec![self.address()],
            name: "test".into(),
            ..Settings::default()
        }
    }

    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .arg(format!("-{name}"))
            .arg(self.child.id().to_string())
            .status();
        assert!(sent.expect("kill").success());
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// On the same port, with what was stored or without it.
    pub(crate) async fn restart(mut self, keep: bool) -> Self {
        self.kill();
        if !keep {
            let _ = std::fs::remove_dir_all(self.path("store"));
        }
        let binary = binary().expect("it was there");
        let config = self.config.take().expect("its configuration");
        let folder = std::mem::replace(&mut self.folder, tempfile::tempdir().expect("a folder"));
        let variables = std::mem::take(&mut self.variables);
        Self::run(&binary, folder, self.port.into(), config, variables).await
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}
