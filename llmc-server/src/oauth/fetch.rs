//! One GET over HTTPS, to the one URL that the operator wrote: bounded in time and size, without redirects, cookies and
//! proxies.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1;
use hyper::{Request, Uri, header};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// For all of it: name, connection, handshake, answer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Knows how to fetch one URL.
pub(super) struct Fetcher {
    url: Uri,
    host: String,
    port: u16,
    /// None for `http`, which the configuration permits on loopback alone.
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

impl Fetcher {
    /// # Errors
    ///
    /// When there are no certificates to know the server by.
    pub(super) fn new(url: Uri, authorities: Option<&Path>) -> anyhow::Result<Self> {
        let host = url.host().context("server.http.oauth.jwks: the URL has no host")?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let tls = match url.scheme_str() {
            Some("https") => {
                let name =
                    ServerName::try_from(host.clone()).context("server.http.oauth.jwks: no host name")?;
                Some((connector(authorities)?, name))
            }
            _ => None,
        };
        let port = url.port_u16().unwrap_or(if tls.is_some() { 443 } else { 80 });
        Ok(Self { url, host, port, tls })
    }

    /// # Errors
    ///
    /// Why there is no answer of status 200 and at most `max_bytes` bytes in time.
    pub(super) async fn fetch(&self, max_bytes: usize) -> anyhow::Result<Bytes> {
        let fetching = async {
            let stream = TcpStream::connect((self.host.as_str(), self.port)).await?;
            match &self.tls {
                Some((connector, name)) => {
                    self.exchange(connector.connect(name.clone(), stream).await?, max_bytes).await
                }
                None => self.exchange(stream, max_bytes).await,
            }
        };
        let fetched = tokio::time::timeout(TIMEOUT, fetching).await;
        fetched.unwrap_or_else(|_| bail!("no answer within {} s", TIMEOUT.as_secs()))
    }

    async fn exchange(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        max_bytes: usize,
    ) -> anyhow::Result<Bytes> {
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let connection = tokio::spawn(connection);
        let path = self.url.path_and_query().map_or("/", |path| path.as_str());
        let authority = self.url.authority().map(|authority| authority.as_str()).unwrap_or_default();
        let request = Request::get(path)
            .header(header::HOST, authority)
            .header(header::ACCEPT, "application/jwk-set+json, application/json")
            .header(header::CONNECTION, "close")
            .body(Empty::<Bytes>::new())?;
        let answered = async {
            let answer = sender.send_request(request).await?;
            // A redirect would lead to where nobody has agreed to go.
            if answer.status() != hyper::StatusCode::OK {
                bail!("answered with status {}", answer.status());
            }
            let body = Limited::new(answer.into_body(), max_bytes).collect().await;
            Ok(body.map_err(|error| anyhow!("{error}"))?.to_bytes())
        };
        let result = answered.await;
        connection.abort();
        result
    }
}

/// Knows servers by the certificates of a file, or by those that this system trusts.
fn connector(authorities: Option<&Path>) -> anyhow::Result<TlsConnector> {
    let mut roots = RootCertStore::empty();
    match authorities {
        Some(file) => {
            let place = || format!("server.http.oauth.jwks_ca: `{}`", file.display());
            let text = crate::files::read(file, 1 << 20).with_context(place)?;
            for certificate in CertificateDer::pem_slice_iter(&text) {
                roots.add(certificate.with_context(place)?).with_context(place)?;
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    if roots.is_empty() {
        bail!(
            "server.http.oauth: there is no certificate to know the server of `jwks` by; install those of the system \
             (`ca-certificates`), or name a file as `jwks_ca`"
        );
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(TlsConnector::from(Arc::new(config.with_root_certificates(roots).with_no_client_auth())))
}
