//! Who a server is, and who comes in: TLS both ways, NKEYs, and users of an operator's accounts.

#[path = "bus/server.rs"]
#[allow(dead_code, reason = "each test file uses its part")]
mod server;

use std::path::Path;
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use serde_json::{Value, json};
use server::{JETSTREAM, Server};
use tempfile::TempDir;
use toolbus_mesh::bus::nats::{Credentials, NatsBus, Settings, Source, Tls};
use toolbus_mesh::bus::{BucketSettings, Bus};

async fn refused(settings: Settings) -> String {
    NatsBus::connect(settings)
        .await
        .expect_err("it is refused")
        .to_string()
}

/// A folder with an authority, a certificate of a server for 127.0.0.1, and one of a client; and another authority.
struct Certificates(TempDir);

impl Certificates {
    fn make() -> Option<Self> {
        let made = Self(tempfile::tempdir().expect("a folder"));
        let extensions = "subjectAltName=IP:127.0.0.1\nbasicConstraints=CA:FALSE\n";
        std::fs::write(made.0.path().join("extensions"), extensions).expect("written");
        for authority in ["ca", "other"] {
            made.openssl(&format!("req -x509 {NEW} -keyout {authority}.key -out {authority}.pem -days 2 -subj /CN={authority}"))?;
        }
        for name in ["server", "client"] {
            made.openssl(&format!(
                "req {NEW} -keyout {name}.key -out {name}.csr -subj /CN={name}"
            ))?;
            made.openssl(&format!(
                "x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile extensions -out {name}.pem"
            ))?;
        }
        Some(made)
    }

    fn openssl(&self, arguments: &str) -> Option<()> {
        let mut command = Command::new("openssl");
        let command = command
            .args(arguments.split(' '))
            .current_dir(&self.0)
            .stdout(Stdio::null());
        match command.stderr(Stdio::null()).status() {
            Ok(status) => {
                assert!(status.success(), "openssl {arguments}: {status}");
                Some(())
            }
            Err(_) => {
                #[expect(
                    clippy::print_stderr,
                    reason = "a test that does not run must not look like one that passed"
                )]
                {
                    eprintln!("skipped: no openssl");
                }
                None
            }
        }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join(name)
    }

    fn config(&self, more: &str) -> String {
        let folder = self.0.path().display();
        format!(
            "tls {{ cert_file: \"{folder}/server.pem\", key_file: \"{folder}/server.key\", ca_file: \"{folder}/ca.pem\", {more} }}"
        )
    }

    fn trusting(&self, server: &Server) -> Settings {
        Settings {
            tls: Tls {
                ca: Some(self.path("ca.pem")),
                ..Tls::default()
            },
            ..server.settings()
        }
    }
}

const NEW: &str = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";

#[tokio::test]
async fn tls_is_checked() {
    let Some(certificates) = Certificates::make() else {
        return;
    };
    let Some(server) = Server::start(&certificates.config("")).await else {
        return;
    };
    let settings = certificates.trusting(&server);
    let bus = NatsBus::connect(settings.clone()).await.expect("TLS");
    bus.round_trip().await.expect("there and back");
    let scheme = Settings {
        servers: vec![format!("tls://127.0.0.1:{}", server.port)],
        ..settings.clone()
    };
    NatsBus::connect(scheme)
        .await
        .expect("the scheme says so too");
    // An authority that does not vouch for it, those of the system, another name, a file that is none.
    let with = |ca: Option<&str>| Settings {
        tls: Tls {
            ca: ca.map(|name| certificates.path(name)),
            ..Tls::default()
        },
        ..settings.clone()
    };
    for ca in [Some("other.pem"), None] {
        let why = refused(with(ca)).await;
        assert!(
            why.contains("no TLS") && why.contains("UnknownIssuer") && why.contains("tls.ca"),
            "{why}"
        );
    }
    let name = Settings {
        servers: vec![format!("localhost:{}", server.port)],
        ..settings.clone()
    };
    let why = refused(name).await;
    assert!(
        why.contains("localhost") && why.contains("not valid for"),
        "{why}"
    );
    for ca in ["nothing.pem", "ca.key"] {
        let why = refused(with(Some(ca))).await;
        assert!(why.contains(ca), "{why}");
    }
    // A server that speaks no TLS is not talked to in the open.
    let plain = Server::start("").await.expect("there is a binary");
    let tls = Settings {
        servers: vec![format!("tls://127.0.0.1:{}", plain.port)],
        ..settings
    };
    assert!(refused(tls).await.contains("no TLS"));
}

#[tokio::test]
async fn a_server_asks_for_a_certificate() {
    let Some(certificates) = Certificates::make() else {
        return;
    };
    let Some(server) = Server::start(&certificates.config("verify: true")).await else {
        return;
    };
    let settings = certificates.trusting(&server);
    let why = refused(settings.clone()).await;
    assert!(
        why.contains("certificate") || why.contains("CertificateRequired"),
        "{why}"
    );
    let with = |key: &str| {
        let identity = Some((certificates.path("client.pem"), certificates.path(key)));
        Settings {
            tls: Tls {
                identity,
                ..settings.tls.clone()
            },
            ..settings.clone()
        }
    };
    NatsBus::connect(with("client.key"))
        .await
        .expect("with its certificate");
    assert!(
        refused(with("server.key")).await.contains("client.pem"),
        "a key of another"
    );
}

#[tokio::test]
async fn tls_from_the_first_byte_on() {
    let Some(certificates) = Certificates::make() else {
        return;
    };
    let Some(server) = Server::start(&certificates.config("handshake_first: true")).await else {
        return;
    };
    let settings = certificates.trusting(&server);
    let first = Settings {
        tls: Tls {
            is_first: true,
            ..settings.tls.clone()
        },
        ..settings.clone()
    };
    let bus = NatsBus::connect(first).await.expect("TLS first");
    bus.round_trip().await.expect("there and back");
    refused(settings).await;
}

/// A key in NATS's form.
struct Key {
    pair: Ed25519KeyPair,
    seed: String,
    public: String,
}

/// The kinds of keys: operator, account, user.
const OPERATOR: u8 = 14 << 3;
const ACCOUNT: u8 = 0;
const USER: u8 = 20 << 3;

impl Key {
    fn new(kind: u8) -> Self {
        let mut raw = [0; 32];
        ring::rand::SecureRandom::fill(&SystemRandom::new(), &mut raw).expect("randomness");
        let pair = Ed25519KeyPair::from_seed_unchecked(&raw).expect("a key");
        let mut seed = vec![18 << 3 | kind >> 5, (kind & 31) << 3];
        seed.extend_from_slice(&raw);
        let mut public = vec![kind];
        public.extend_from_slice(pair.public_key().as_ref());
        Self {
            pair,
            seed: text(seed),
            public: text(public),
        }
    }

    /// A JWT about somebody.
    fn vouch(&self, subject: &Self, name: &str, claims: &Value) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let head = part(&json!({"typ": "JWT", "alg": "ed25519-nkey"}));
        let body = json!({"jti": name, "iat": 1_700_000_000, "iss": self.public, "sub": subject.public, "name": name, "nats": claims});
        let signed = format!("{head}.{}", part(&body));
        let signature = URL_SAFE_NO_PAD.encode(self.pair.sign(signed.as_bytes()));
        format!("{signed}.{signature}")
    }
}

/// Base32 with a checksum.
fn text(mut bytes: Vec<u8>) -> String {
    let mut sum = 0_u16;
    for byte in &bytes {
        sum ^= u16::from(*byte) << 8;
        for _ in 0..8 {
            sum = if sum & 0x8000 == 0 {
                sum << 1
            } else {
                sum << 1 ^ 0x1021
            };
        }
    }
    bytes.extend_from_slice(&sum.to_le_bytes());
    let bits: String = bytes.iter().map(|byte| format!("{byte:08b}")).collect();
    let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let five = |bits: &[u8]| {
        let digits = format!("{:0<5}", String::from_utf8_lossy(bits));
        char::from(letters[usize::from_str_radix(&digits, 2).expect("bits")])
    };
    bits.as_bytes().chunks(5).map(five).collect()
}

fn write(folder: &Path, name: &str, text: &str) -> Source {
    let path = folder.join(name);
    std::fs::write(&path, text).expect("written");
    Source::File(path)
}

#[tokio::test]
async fn an_nkey() {
    let (known, stranger) = (Key::new(USER), Key::new(USER));
    let config = format!(
        "authorization {{ users: [ {{ nkey: {} }} ] }}",
        known.public
    );
    let Some(server) = Server::start(&config).await else {
        return;
    };
    let with = |credentials| Settings {
        credentials,
        ..server.settings()
    };
    let seed = |key: &Key| Credentials::Nkey(Source::Text(key.seed.clone()));
    NatsBus::connect(with(seed(&known)))
        .await
        .expect("the right key");
    let folder = tempfile::tempdir().expect("a folder");
    let file = write(folder.path(), "user.nk", &format!("{}\n", known.seed));
    NatsBus::connect(with(Credentials::Nkey(file)))
        .await
        .expect("its file");
    let why = refused(with(seed(&stranger))).await;
    assert!(
        why.contains("Authorization Violation") && why.contains("NKEY"),
        "{why}"
    );
    let account = Credentials::Nkey(Source::Text(Key::new(ACCOUNT).seed));
    assert!(refused(with(account)).await.contains("user's seed"));
    let missing = Credentials::Nkey(Source::File(folder.path().join("none.nk")));
    assert!(refused(with(missing)).await.contains("none.nk"));
}

/// An operator with an account, as `nsc` makes them.
struct Operator {
    account: Key,
    config: String,
}

impl Operator {
    fn new() -> Self {
        let (operator, account, system) =
            (Key::new(OPERATOR), Key::new(ACCOUNT), Key::new(ACCOUNT));
        let all = json!({"type": "account", "version": 2, "limits": {"subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1,
            "wildcards": true, "conn": -1, "leaf": -1, "mem_storage": -1, "disk_storage": -1, "streams": -1, "consumer": -1}});
        let plain = json!({"type": "account", "version": 2, "limits": {"subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1,
            "wildcards": true, "conn": -1, "leaf": -1}});
        let own = json!({"type": "operator", "version": 2, "system_account": system.public});
        let config = format!(
            "operator: {}\nsystem_account: {}\nresolver: MEMORY\nresolver_preload: {{ {}: {}, {}: {} }}\n{JETSTREAM}",
            operator.vouch(&operator, "O", &own),
            system.public,
            account.public,
            operator.vouch(&account, "A", &all),
            system.public,
            operator.vouch(&system, "SYS", &plain),
        );
        Self { account, config }
    }

    /// A `.creds` file's text.
    fn creds(&self, user: &Key, permissions: Value) -> String {
        let mut claims =
            json!({"type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1});
        if let (Some(claims), Value::Object(more)) = (claims.as_object_mut(), permissions) {
            claims.extend(more);
        }
        let jwt = self.account.vouch(user, "U", &claims);
        format!(
            "-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n-----BEGIN USER NKEY SEED-----\n{}\n------END USER NKEY SEED------\n",
            user.seed
        )
    }
}

#[tokio::test]
async fn a_user_of_an_operators_account() {
    let (operator, user) = (Operator::new(), Key::new(USER));
    let Some(server) = Server::start(&operator.config).await else {
        return;
    };
    let with = |credentials| Settings {
        credentials,
        ..server.settings()
    };
    let folder = tempfile::tempdir().expect("a folder");
    let file = write(
        folder.path(),
        "user.creds",
        &operator.creds(&user, json!({})),
    );
    let bus = NatsBus::connect(with(Credentials::Creds(file)))
        .await
        .expect("its credentials");
    let bucket = bus
        .bucket("B", BucketSettings::default())
        .await
        .expect("a bucket");
    bucket.put("a", "b".into()).await.expect("kept");
    // What the JWT says holds.
    let limits = json!({"sub": {"allow": ["_INBOX.>"]}});
    let narrow = Credentials::Creds(Source::Text(operator.creds(&user, limits)));
    let narrow = NatsBus::connect(with(narrow)).await.expect("connected");
    let why = narrow
        .subscribe("a", None, 1)
        .await
        .expect_err("not permitted")
        .to_string();
    assert!(why.contains("not permit"), "{why}");
    // One of another account, one with another's key, and none.
    let strange = Credentials::Creds(Source::Text(Operator::new().creds(&user, json!({}))));
    assert!(refused(with(strange)).await.contains("JWT"));
    let stolen = operator
        .creds(&user, json!({}))
        .replace(&user.seed, &Key::new(USER).seed);
    assert!(
        refused(with(Credentials::Creds(Source::Text(stolen))))
            .await
            .contains("Authorization Violation")
    );
    assert!(
        refused(with(Credentials::None))
            .await
            .contains("Authorization Violation")
    );
    assert!(
        refused(with(Credentials::Creds(Source::Text("x".into()))))
            .await
            .contains(".creds")
    );
}
