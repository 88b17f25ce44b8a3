//! MCP over Streamable HTTP: a listener that trusts nobody.
//!
//! In the order in which a request meets them: `connections` (how many), `patience` (how long), `guard` with
//! `authority` (addressed to us, from no foreign page, read in one way only), `auth` (who), `rate` (how often),
//! `shape` (what kind of body), and then rmcp, which reads the message; `exchange` is between them for clients of
//! earlier revisions, which are asked by requests. `service` puts them in this order.
//!
//! HTTP/1.1 alone, without compression and without sessions; over TCP or a Unix socket (`socket`), with `tls` or without.
//! Behind a proxy, `peer` knows for whom it asks.

mod auth;
mod authority;
mod connections;
mod console;
mod exchange;
pub(crate) mod fuzz;
mod guard;
mod introduction;
mod patience;
mod peer;
mod rate;
mod reach;
mod readiness;
mod refusal;
mod reply;
mod service;
mod shape;
mod socket;
mod step_up;
mod tls;

use std::convert::Infallible;
use std::error::Error as _;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustix::process::{Resource, getrlimit};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::call::Live;
use crate::config::{Config, Http};
use crate::console::Console;
pub(crate) use authority::{Authority, Origin};
use connections::{Connections, Place};
use patience::Patient;
pub(crate) use reach::check as check_reach;
use service::{Ends, Service};
use socket::{Socket, Stream};

/// Room for a request line and all headers.
const MAX_HEAD_BYTES: usize = 16 << 10;

const MAX_HEADERS: usize = 64;

/// Descriptors that the rest of the server needs: hosts, runs, kept outputs.
const OTHER_DESCRIPTORS: u64 = 384;

/// How long to wait when the machine gives no connection, such as for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A listener that is bound and not yet served.
pub(crate) struct Listener {
    socket: Socket,
    tls: Option<TlsAcceptor>,
    config: Http,
    door: auth::Door,
}

/// What is served.
pub(crate) struct Server {
    pub(crate) live: Live,
    /// Largest body of a request.
    pub(crate) max_body_bytes: usize,
    /// Whether all processes are up.
    pub(crate) ready: watch::Receiver<bool>,
    /// Pages for the operator, if he wants them.
    pub(crate) console: Option<Console>,
}

impl Listener {
    /// Binds the address and finds what would keep clients from being served.
    ///
    /// # Errors
    ///
    /// What is wrong.
    pub(crate) async fn bind(config: &Config, http: &Http) -> anyhow::Result<Self> {
        check_reach(config)?;
        let door = service::door(config, http).await?;
        let tls = http.tls.as_ref().map(tls::acceptor).transpose()?;
        let socket = Socket::bind(config, http).await?;
        if tls.is_none()
            && let Some(address) = socket.address().filter(|address| !address.to_canonical().is_loopback())
        {
            warn!(
                listen = %address,
                "HTTP is not encrypted: write `server.http.tls`, or put a proxy that ends TLS in front, on this machine \
                 or on a network that you trust"
            );
        }
        Ok(Self { socket, tls, config: http.clone(), door })
    }

    /// Where clients reach it, with the port that was chosen if the configuration said 0.
    ///
    /// # Errors
    ///
    /// When the socket cannot be asked.
    pub(crate) fn address(&self) -> std::io::Result<String> {
        self.socket.shown(self.tls.is_some())
    }

    /// Serves clients until `stop` says so, and then those calls that are under way, for a while.
    pub(crate) async fn serve(self, server: Server, stop: CancellationToken) {
        let Self { socket, tls, config, door } = self;
        let end = CancellationToken::new();
        let service = Arc::new(Service::new(&config, door, server, &stop, end.clone()));
        let connections = Connections::new(most_connections(&config));
        let mut tasks = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(_) = tasks.join_next(), if !tasks.is_empty() => continue,
                accepted = socket.accept() => accepted,
            };
            let (stream, ends) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    warn!(target: "http", %error, "no connection could be taken");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let Some(place) = connections.admit() else {
                info!(target: "http", peer = %ends.peer, "refused: all connections are busy (`server.http.connections`)");
                continue;
            };
            let patience = Duration::from_millis(config.client_timeout_ms);
            let (service, stop) = (Arc::clone(&service), stop.clone());
            match tls.clone() {
                None => tasks.spawn(connection(stream, ends, place, service, patience, stop)),
                Some(tls) => tasks.spawn(encrypted(tls, stream, ends, place, service, patience, stop)),
            };
        }
        drop(socket);
        drain(tasks, Duration::from_millis(config.drain_ms), &end).await;
    }
}

/// Waits for what is under way; what is not over in time is cancelled.
async fn drain(mut tasks: JoinSet<()>, patience: Duration, end: &CancellationToken) {
    let all = async { while tasks.join_next().await.is_some() {} };
    if tokio::time::timeout(patience, all).await.is_err() {
        warn!(target: "http", calls = tasks.len(), "cancelled: not over within `server.http.drain_ms`");
    }
    end.cancel();
    tasks.shutdown().await;
}

/// Shakes hands, and serves one connection to its end.
async fn encrypted(
    tls: TlsAcceptor,
    stream: Stream,
    ends: Ends,
    place: Place,
    service: Arc<Service>,
    patience: Duration,
    stop: CancellationToken,
) {
    let shaking = tokio::time::timeout(patience, tls.accept(stream));
    let shaken = tokio::select! {
        shaken = shaking => shaken,
        () = place.must_leave() => return,
        () = stop.cancelled() => return,
    };
    match shaken {
        Ok(Ok(stream)) => connection(stream, ends, place, service, patience, stop).await,
        Ok(Err(error)) => debug!(target: "http", peer = %ends.peer, %error, "no TLS"),
        Err(_) => debug!(target: "http", peer = %ends.peer, "the handshake took too long"),
    }
}

/// Serves one connection to its end.
async fn connection(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    ends: Ends,
    place: Place,
    service: Arc<Service>,
    patience: Duration,
    stop: CancellationToken,
) {
    let place = Arc::new(place);
    let of_connection = Arc::clone(&place);
    let answer = service_fn(move |request| {
        let (service, place) = (Arc::clone(&service), Arc::clone(&of_connection));
        async move { Ok::<_, Infallible>(service.answer(request, ends, &place).await) }
    });
    let io = TokioIo::new(Patient::new(stream, patience));
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(patience)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEAD_BYTES)
        .serve_connection(io, answer);
    tokio::pin!(serving);
    let served = tokio::select! {
        served = serving.as_mut() => served,
        () = place.must_leave() => return,
        () = stop.cancelled() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = served {
        let cause = error.source().map(ToString::to_string);
        debug!(target: "http", peer = %ends.peer, %error, cause, "connection ended");
    }
}

/// As many as configured, and as the limit on open files allows beside everything else.
fn most_connections(config: &Http) -> usize {
    let descriptors = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let possible =
        usize::try_from(descriptors.saturating_sub(OTHER_DESCRIPTORS)).unwrap_or(usize::MAX).max(16);
    if possible < config.connections {
        warn!(
            configured = config.connections,
            possible,
            "fewer connections than `server.http.connections`: raise the limit on open files (`ulimit -n`)"
        );
    }
    possible.min(config.connections)
}

/// Completes when the process is told to end, by SIGTERM or SIGINT. From the call on, neither ends it by itself.
///
/// # Errors
///
/// When signals cannot be listened for.
pub(crate) fn told_to_end() -> std::io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
