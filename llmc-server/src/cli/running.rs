//! A server that runs, as its operator reaches it from the command line: where it listens, and its console, which a
//! ticket opens.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper::header::{self, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

use crate::config::{Config, Listen};
use crate::console::ticket::Tickets;
use crate::tokens;

/// For one exchange.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Largest answer.
const MAX_BYTES: usize = 8 << 20;

/// Where a server is.
pub(super) struct Running {
    place: Place,
    /// The certificate that it shows, if it speaks TLS.
    certificate: Option<PathBuf>,
    tickets: Tickets,
}

enum Place {
    Net(SocketAddr),
    Unix(PathBuf),
}

/// A session of its console.
pub(super) struct Session<'a> {
    running: &'a Running,
    cookie: HeaderValue,
    key: HeaderValue,
}

impl Running {
    /// The server of a configuration; `listen` says where, if the configuration does not.
    ///
    /// # Errors
    ///
    /// Why it has no console that could be reached from here.
    pub(super) fn find(config: &Config, listen: Option<&Listen>) -> anyhow::Result<Self> {
        let configured = config.server.http.as_ref();
        let place = match listen.or(configured.map(|http| &http.listen)) {
            Some(Listen::Tcp(address)) if address.port() == 0 => {
                bail!("port 0 is another one at each start; name the one that the server told with --http")
            }
            Some(Listen::Tcp(address)) => Place::Net(reachable(*address)),
            Some(Listen::Unix(path)) => Place::Unix(path.clone()),
            Some(Listen::Systemd) => {
                bail!(
                    "systemd knows where the server listens, and this command does not; name the address, or the \
                     socket as unix:/path, with --http"
                )
            }
            None => bail!(
                "the console is served over HTTP, and the configuration has no `server.http`; start the server with \
                 `llmc serve --http 127.0.0.1:8765`, then add `--http 127.0.0.1:8765` here"
            ),
        };
        if configured.is_some_and(|http| !http.console) {
            bail!("the configuration switches the console off (`server.http.console`)");
        }
        let certificate = configured.and_then(|http| http.tls.as_ref()).map(|tls| tls.cert.clone());
        Ok(Self { place, certificate, tickets: Tickets::beside(&tokens::path(config)?) })
    }

    /// A link that opens the console in a browser, once.
    ///
    /// # Errors
    ///
    /// When browsers do not reach it, or no ticket can be made.
    pub(super) fn link(&self) -> anyhow::Result<String> {
        let Place::Net(address) = &self.place else {
            let shown = self.shown();
            bail!(
                "browsers do not reach `{shown}`; open the console through the proxy in front of it with a token of \
                 `llmc token create NAME --scope admin`, or name an address that browsers reach with --http"
            )
        };
        let scheme = if self.certificate.is_some() { "https" } else { "http" };
        // Behind the `#` it stays in the browser: it is part of no request line, log or `Referer`.
        Ok(format!("{scheme}://{address}/console#ticket={}", self.tickets.create()?))
    }

    /// Opens a session.
    ///
    /// # Errors
    ///
    /// When no server answers, or not as one of ours.
    pub(super) async fn enter(&self) -> anyhow::Result<Session<'_>> {
        let body = json!({"ticket": self.tickets.create()?, "is_command": true});
        let request = Request::post("/console/session");
        let answer = self.exchange(request, Some(&body)).await?;
        if answer.status() != StatusCode::OK {
            bail!(
                "the server does not take our ticket ({}); run this as the user of the server and with its \
                 configuration: tickets lie beside `server.http.tokens`",
                answer.status()
            );
        }
        let cookie = answer.headers().get(header::SET_COOKIE).and_then(|cookie| cookie.to_str().ok());
        let cookie = cookie.and_then(|cookie| cookie.split(';').next()).unwrap_or_default();
        let told: Value = serde_json::from_slice(answer.body())?;
        let key = told["key"].as_str().unwrap_or_default();
        Ok(Session { running: self, cookie: cookie.parse()?, key: key.parse()? })
    }

    /// One request and its answer, on a connection of its own.
    async fn exchange(
        &self,
        request: hyper::http::request::Builder,
        body: Option<&Value>,
    ) -> anyhow::Result<Response<Bytes>> {
        let host = match &self.place {
            Place::Net(address) => address.to_string(),
            Place::Unix(_) => "localhost".to_owned(),
        };
        let text = body.map(Value::to_string).unwrap_or_default();
        let mut request = request.header(header::HOST, host).header(header::CONNECTION, "close");
        if body.is_some() {
            request = request
                .header(header::CONTENT_TYPE, "application/json")
                .header(header::CONTENT_LENGTH, text.len());
        }
        let request = request.body(Full::new(Bytes::from(text)))?;
        let exchanging = async {
            match &self.place {
                Place::Net(address) => self.over(TcpStream::connect(address).await?, request).await,
                Place::Unix(path) => self.over(UnixStream::connect(path).await?, request).await,
            }
        };
        let answer = tokio::time::timeout(TIMEOUT, exchanging).await;
        let answer = answer.unwrap_or_else(|_| Err(anyhow!("no answer within {} s", TIMEOUT.as_secs())));
        answer.with_context(|| {
            let shown = self.shown();
            format!("no server of this configuration answers at `{shown}`; start it, or name its address with --http")
        })
    }

    fn shown(&self) -> String {
        match &self.place {
            Place::Net(address) => address.to_string(),
            Place::Unix(path) => Listen::Unix(path.clone()).to_string(),
        }
    }

    async fn over(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        request: Request<Full<Bytes>>,
    ) -> anyhow::Result<Response<Bytes>> {
        let Some(file) = &self.certificate else { return spoken(stream, request).await };
        let text = crate::files::read(file, 1 << 20).with_context(|| format!("`{}`", file.display()))?;
        let certificate = CertificateDer::pem_slice_iter(&text).next().context("no certificate")??;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let known = Arc::new(Known { certificate, provider: Arc::clone(&provider) });
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let config = config.dangerous().with_custom_certificate_verifier(known).with_no_client_auth();
        // The certificate itself is compared, whatever names it has.
        let name = ServerName::try_from("localhost")?;
        spoken(TlsConnector::from(Arc::new(config)).connect(name, stream).await?, request).await
    }
}

impl Session<'_> {
    /// Asks for something, or with a body to do something.
    ///
    /// # Errors
    ///
    /// When no server answers.
    pub(super) async fn ask(&self, path: &str, body: Option<&Value>) -> anyhow::Result<(StatusCode, Value)> {
        let method = if body.is_some() { Method::POST } else { Method::GET };
        let request = Request::builder().method(method).uri(format!("/console/{path}"));
        let request = request.header(header::COOKIE, &self.cookie).header("x-llmc-console", &self.key);
        let answer = self.running.exchange(request, body).await?;
        Ok((answer.status(), serde_json::from_slice(answer.body()).unwrap_or_default()))
    }

    /// Ends the session.
    pub(super) async fn leave(self) {
        // It ends by itself, too.
        let _ = self.ask("logout", Some(&json!({}))).await;
    }
}

async fn spoken(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Full<Bytes>>,
) -> anyhow::Result<Response<Bytes>> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let answered = async {
        let (head, body) = sender.send_request(request).await?.into_parts();
        let body = Limited::new(body, MAX_BYTES).collect().await.map_err(|error| anyhow!("{error}"))?;
        Ok(Response::from_parts(head, body.to_bytes()))
    };
    let answer = answered.await;
    connection.abort();
    answer
}

/// Knows the server by the very certificate that its configuration names.
#[derive(Debug)]
struct Known {
    certificate: CertificateDer<'static>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Known {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match *end_entity == self.certificate {
            true => Ok(ServerCertVerified::assertion()),
            false => {
                Err(rustls::Error::General("it shows another certificate than `server.http.tls`".into()))
            }
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// A server that listens everywhere is reached on loopback.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    SocketAddr::new(ip, address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_leads_to_an_address_that_a_browser_can_reach() {
        for (listen, link) in [
            ("0.0.0.0:1", "127.0.0.1:1"),
            ("[::]:1", "[::1]:1"),
            ("127.0.0.1:1", "127.0.0.1:1"),
            ("192.0.2.1:1", "192.0.2.1:1"),
        ] {
            assert_eq!(reachable(listen.parse().unwrap()).to_string(), link);
        }
    }
}
