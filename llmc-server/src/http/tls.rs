//! TLS 1.2 and 1.3 by rustls. Certificate and key are read again when their files change; a pair that does not fit, as
//! while one of the two is being replaced, leaves the old one in use.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, version};
use tokio_rustls::TlsAcceptor;
use tracing::{info, warn};

use crate::config::Tls;
use crate::files::{self, Version};

/// Larger files hold something else.
const MAX_BYTES: u64 = 1 << 20;

/// How long the files are not looked at again.
const FRESH: Duration = Duration::from_secs(1);

/// Certificate and key as they are now.
#[derive(Debug)]
struct Pair {
    provider: Arc<CryptoProvider>,
    files: Tls,
    now: Mutex<Now>,
}

#[derive(Debug)]
struct Now {
    key: Arc<CertifiedKey>,
    versions: [Option<Version>; 2],
    looked: Instant,
}

/// What shakes hands with clients.
///
/// # Errors
///
/// When certificate or key cannot be used.
pub(super) fn acceptor(tls: &Tls) -> anyhow::Result<TlsAcceptor> {
    let provider = Arc::new(ring::default_provider());
    let versions = versions(tls);
    let key = Arc::new(read(&provider, tls)?);
    let now = Mutex::new(Now { key, versions, looked: Instant::now() });
    let pair = Pair { provider: Arc::clone(&provider), files: tls.clone(), now };
    let settings = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&version::TLS13, &version::TLS12])?
        .with_no_client_auth();
    let mut settings = settings.with_cert_resolver(Arc::new(pair));
    settings.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(settings)))
}

impl ResolvesServerCert for Pair {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let mut now = self.now();
        if now.looked.elapsed() >= FRESH {
            now.looked = Instant::now();
            let versions = versions(&self.files);
            if versions != now.versions {
                match read(&self.provider, &self.files) {
                    Ok(key) => {
                        now.key = Arc::new(key);
                        info!(target: "http", "another certificate is in use");
                    }
                    Err(problem) => {
                        warn!(target: "http", problem = format!("{problem:#}"), "the old certificate stays in use");
                    }
                }
                now.versions = versions;
            }
        }
        Some(Arc::clone(&now.key))
    }
}

impl Pair {
    fn now(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn versions(tls: &Tls) -> [Option<Version>; 2] {
    [Version::at(&tls.cert), Version::at(&tls.key)]
}

fn read(provider: &CryptoProvider, tls: &Tls) -> anyhow::Result<CertifiedKey> {
    let text = |path: &Path| {
        files::read(path, MAX_BYTES)
            .with_context(|| format!("server.http.tls: failed to read `{}`", path.display()))
    };
    let certificates: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&text(&tls.cert)?)
        .collect::<Result<_, _>>()
        .with_context(|| format!("server.http.tls: `{}` holds no certificates in PEM", tls.cert.display()))?;
    if certificates.is_empty() {
        bail!("server.http.tls: `{}` holds no certificate in PEM", tls.cert.display());
    }
    check_private(&tls.key)?;
    let key = PrivateKeyDer::from_pem_slice(&text(&tls.key)?)
        .with_context(|| format!("server.http.tls: `{}` holds no private key in PEM", tls.key.display()))?;
    CertifiedKey::from_der(certificates, key, provider).with_context(|| {
        format!(
            "server.http.tls: the key in `{}` is not that of the certificate in `{}`, or of no known kind",
            tls.key.display(),
            tls.cert.display()
        )
    })
}

/// Keys are often shared with a group; nobody shares one with everybody on purpose.
fn check_private(key: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::MetadataExt as _;
    let mode = key.metadata().map(|metadata| metadata.mode()).unwrap_or_default();
    if mode & 0o007 != 0 || mode & 0o020 != 0 {
        bail!("server.http.tls: others may read or write the key `{}`; `chmod o-rwx,g-w` it", key.display());
    }
    Ok(())
}
