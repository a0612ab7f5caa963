//! TLS towards a NATS server.

use std::path::Path;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto};

use super::settings::Tls;
use crate::bus::BusError;

/// Speaks TLS on a stream from here on.
pub(super) async fn wrap<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    host: &str,
    settings: &Tls,
) -> Result<TlsStream<S>, BusError> {
    let name = ServerName::try_from(host.to_owned())
        .map_err(|_| BusError(format!("{host:?} is no name for a certificate")))?;
    let connector = TlsConnector::from(Arc::new(config(settings)?));
    let connected = connector.connect(name, stream).await;
    connected.map_err(|error| {
        BusError(format!(
            "no TLS with {host}: {error} (tls.ca names the certificate that vouches for the server, tls.cert and tls.key this side's own)"
        ))
    })
}

fn config(settings: &Tls) -> Result<ClientConfig, BusError> {
    let provider = Arc::new(crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| BusError(format!("TLS: {error}")))?
        .with_root_certificates(roots(settings.ca.as_deref())?);
    let Some((certificate, key)) = &settings.identity else {
        return Ok(builder.with_no_client_auth());
    };
    let chain = certificates(certificate)?;
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| unreadable(key, &error))?;
    builder
        .with_client_auth_cert(chain, private)
        .map_err(|error| unreadable(certificate, &error))
}

fn roots(ca: Option<&Path>) -> Result<RootCertStore, BusError> {
    let mut roots = RootCertStore::empty();
    let Some(ca) = ca else {
        let found = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(found.certs);
        return Ok(roots);
    };
    for certificate in certificates(ca)? {
        roots
            .add(certificate)
            .map_err(|error| unreadable(ca, &error))?;
    }
    Ok(roots)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, BusError> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match read {
        Ok(found) if found.is_empty() => Err(unreadable(path, &"it holds no certificate")),
        Ok(found) => Ok(found),
        Err(error) => Err(unreadable(path, &error)),
    }
}

fn unreadable(path: &Path, why: &dyn std::fmt::Display) -> BusError {
    BusError(format!(
        "the file {} is no use for TLS: {why}",
        path.display()
    ))
}
