//! The beginning of a connection: TCP, TLS, who this is, and whether the server is one we can work with.

use bytes::BytesMut;
use serde::Serialize;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::nkey::{self, Nkey};
use super::settings::{Address, Credentials, Settings};
use super::tls;
use super::wire::{self, Info, Said};
use crate::bus::BusError;

/// Older servers are refused: they lack what buckets and permissions here build on.
const OLDEST: (u32, u32) = (2, 10);

/// A stream of bytes to a server.
pub(super) trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

/// A connection that the server has accepted.
pub(super) struct Accepted {
    pub(super) stream: Box<dyn Wire>,
    /// What was read and not yet looked at.
    pub(super) read: BytesMut,
    pub(super) info: Info,
}

/// What the server is told: <https://docs.nats.io/reference/reference-protocols/nats-protocol#connect>.
#[derive(Serialize)]
struct Connect<'a> {
    verbose: bool,
    pedantic: bool,
    tls_required: bool,
    lang: &'static str,
    version: &'static str,
    protocol: u8,
    echo: bool,
    headers: bool,
    no_responders: bool,
    #[serde(skip_serializing_if = "str::is_empty")]
    name: &'a str,
    #[serde(flatten)]
    identity: Identity,
}

/// Who connects, as the server is told.
#[derive(Default, Serialize)]
struct Identity {
    #[serde(skip_serializing_if = "Option::is_none")]
    auth_token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pass: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    jwt: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nkey: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sig: Option<String>,
}

/// Connects to one server.
pub(super) async fn connect(
    address: &Address,
    settings: &Settings,
    credentials: &Credentials,
) -> Result<Accepted, BusError> {
    let stream = TcpStream::connect((address.host.as_str(), address.port)).await;
    let stream = stream.map_err(|error| BusError(format!("{address}: {error}")))?;
    let _ = stream.set_nodelay(true);
    let mut read = BytesMut::with_capacity(64 * 1024);
    let mut stream: Box<dyn Wire> = Box::new(stream);
    if settings.tls.is_first {
        stream = Box::new(tls::wrap(stream, &address.host, &settings.tls).await?);
    }
    let info = match said(&mut stream, &mut read).await.map_err(at(address))? {
        Said::Info(info) => *info,
        other => {
            return Err(at(address)(format!(
                "it began with {other:?}, not as a NATS server does"
            )));
        }
    };
    check_version(&info.version).map_err(at(address))?;
    let wants_tls = info.tls_required || address.needs_tls || settings.tls.is_wanted();
    if wants_tls && !settings.tls.is_first {
        stream = Box::new(tls::wrap(stream, &address.host, &settings.tls).await?);
    }
    let connect = Connect {
        verbose: false,
        pedantic: false,
        tls_required: wants_tls,
        lang: "rust",
        version: env!("CARGO_PKG_VERSION"),
        protocol: 1,
        echo: true,
        headers: true,
        no_responders: true,
        name: &settings.name,
        identity: identity(address, credentials, &info.nonce)?,
    };
    introduce(&mut stream, &mut read, &connect)
        .await
        .map_err(at(address))?;
    Ok(Accepted { stream, read, info })
}

fn at(address: &Address) -> impl Fn(String) -> BusError {
    move |why| BusError(format!("{address}: {why}"))
}

/// Says who this is, and waits until the server has taken it.
async fn introduce(
    stream: &mut Box<dyn Wire>,
    read: &mut BytesMut,
    connect: &Connect<'_>,
) -> Result<(), String> {
    let json = serde_json::to_string(connect).map_err(|error| error.to_string())?;
    let line = format!("CONNECT {json}\r\nPING\r\n");
    let written = stream.write_all(line.as_bytes()).await;
    written.map_err(|error| error.to_string())?;
    stream.flush().await.map_err(|error| error.to_string())?;
    loop {
        match said(stream, read).await? {
            Said::Pong => return Ok(()),
            Said::Error(why) => return Err(refusal(&why)),
            _ => {}
        }
    }
}

/// What a server's refusal means, with what to do about it.
pub(super) fn refusal(why: &str) -> String {
    let remedy = match why.to_ascii_lowercase() {
        why if why.contains("authorization violation") || why.contains("authentication") => {
            ": the token, password, NKEY or JWT is missing, wrong or out of date"
        }
        why if why.contains("maximum connections") => ": raise max_connections there",
        _ => "",
    };
    format!("the server says {why:?}{remedy}")
}

async fn said(stream: &mut Box<dyn Wire>, read: &mut BytesMut) -> Result<Said, String> {
    loop {
        if let Some(said) = wire::next(read)? {
            return Ok(said);
        }
        match stream.read_buf(read).await {
            Ok(0) => return Err("it closed the connection".into()),
            Ok(_) => {}
            Err(error) => return Err(error.to_string()),
        }
    }
}

fn identity(
    address: &Address,
    credentials: &Credentials,
    nonce: &str,
) -> Result<Identity, BusError> {
    let mut identity = Identity::default();
    match (&address.credentials, credentials) {
        (Some((user, Some(password))), _) => {
            identity.user = Some(user.clone());
            identity.pass = Some(password.clone());
        }
        (Some((token, None)), _) => identity.auth_token = Some(token.clone()),
        (None, Credentials::None) => {}
        (None, Credentials::Token(token)) => identity.auth_token = Some(token.clone()),
        (None, Credentials::User(user, password)) => {
            identity.user = Some(user.clone());
            identity.pass = Some(password.clone());
        }
        (None, Credentials::Nkey(seed)) => {
            let key = Nkey::from_seed(&seed.read()?)?;
            identity.nkey = Some(key.public());
            identity.sig = Some(key.sign(nonce));
        }
        (None, Credentials::Creds(file)) => {
            let (jwt, key) = nkey::creds(&file.read()?)?;
            identity.jwt = Some(jwt);
            identity.sig = Some(key.sign(nonce));
        }
    }
    Ok(identity)
}

fn check_version(text: &str) -> Result<(), String> {
    let Some(version) = version(text) else {
        return Err(format!("its version {text:?} is not one of a NATS server"));
    };
    let (major, minor) = OLDEST;
    if version < OLDEST {
        return Err(format!(
            "NATS {text} is too old: Toolbus needs {major}.{minor} or later, better 2.11, because older ones lack what the catalog of tools is kept in"
        ));
    }
    Ok(())
}

/// The first two numbers of a version.
pub(super) fn version(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.trim_start_matches('v').split('.');
    let major = parts.next()?.parse().ok()?;
    let minor = parts.next()?.parse().ok()?;
    Some((major, minor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_servers_are_refused_in_words() {
        assert!(check_version("2.10.0").is_ok() && check_version("v3.0.1-beta").is_ok());
        let why = check_version("2.9.25").expect_err("too old");
        assert!(
            why.contains("2.9.25") && why.contains("2.10 or later"),
            "{why}"
        );
        assert!(check_version("").is_err() && check_version("x.y").is_err());
    }
}
