//! One request, from its head to its answer: guard, who sends it, how many, its body, and then the protocol.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Request, StatusCode};
use rmcp::transport::streamable_http_server::session::never::NeverSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::auth::{Door, Rejected};
use super::authority::Names;
use super::connections::Place;
use super::exchange::{Exchanges, Taken};
use super::guard::{self, Route};
use super::introduction;
use super::rate::{Rate, network};
use super::refusal::Refusal;
use super::reply::{self, Reply};
use super::{Server, shape};
use crate::call::{Identity, Live};
use crate::config::{Access, Http, HttpAuth};
use crate::mcp::{Front, Handler, Listening};

/// Bodies up to this size need no share of [`BODIES_KIB`].
const SMALL_BODY_BYTES: usize = 64 << 10;

/// Memory for larger bodies together.
const BODIES_KIB: u32 = 64 << 10;

/// What is read of the body of a request that is refused, so that its sender gets to read the answer.
const MAX_DISCARDED_BYTES: usize = 1 << 20;
const DISCARD_TIME: Duration = Duration::from_millis(500);

/// When to come back after there was no place.
const BUSY_WAIT: Duration = Duration::from_secs(1);

/// The request that stays open.
const LISTEN: &str = "subscriptions/listen";

/// What all connections share.
pub(super) struct Service {
    names: Names,
    door: Door,
    /// By token, or by address where there are none.
    rate: Rate<String>,
    requests: Arc<Semaphore>,
    bodies: Arc<Semaphore>,
    max_body_bytes: usize,
    client_timeout: Duration,
    live: Live,
    exchanges: Exchanges,
    mcp: StreamableHttpService<Handler, NeverSessionManager>,
    /// For requests that stay open to be told of changes.
    listening: StreamableHttpService<Listening, NeverSessionManager>,
    ready: watch::Receiver<bool>,
}

/// The two ends of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ends {
    pub(super) peer: SocketAddr,
    pub(super) local: IpAddr,
}

/// What a request that is under way holds.
type Held = (OwnedSemaphorePermit, Option<OwnedSemaphorePermit>);

impl Service {
    pub(super) fn new(
        config: &Http,
        door: Door,
        server: Server,
        stop: &CancellationToken,
        end: CancellationToken,
    ) -> Self {
        let Server { live, max_body_bytes, ready } = server;
        // Hosts and origins are judged before rmcp sees a request. Without sessions there is nothing that one client
        // could take from another, and nothing that many could fill.
        let settings = StreamableHttpServerConfig::default()
            .disable_allowed_hosts()
            .with_legacy_session_mode(false)
            .with_json_response(true)
            .with_max_request_body_bytes(max_body_bytes)
            .with_cancellation_token(end.clone());
        let front = Front::for_network(live.clone(), stop.clone());
        let exchanges = Exchanges::new(front.clone(), end);
        let for_listening = front.clone();
        let listening = move || Ok(for_listening.listening());
        let listening = StreamableHttpService::new(listening, Arc::default(), settings.clone());
        let mcp = StreamableHttpService::new(move || Ok(front.handler()), Arc::default(), settings);
        Self {
            names: Names::new(&config.hosts, &config.origins),
            door,
            rate: Rate::per_minute(config.requests_per_minute),
            requests: Arc::new(Semaphore::new(config.concurrent_requests)),
            bodies: Arc::new(Semaphore::new(BODIES_KIB as usize)),
            max_body_bytes,
            client_timeout: Duration::from_millis(config.client_timeout_ms),
            live,
            exchanges,
            mcp,
            listening,
            ready,
        }
    }

    /// Answers one request.
    pub(super) async fn answer(&self, request: Request<Incoming>, ends: Ends, place: &Place) -> Reply {
        let (head, body) = request.into_parts();
        let origin = head.headers.get(header::ORIGIN).cloned();
        match guard::route(&head, &self.names, ends.local, self.max_body_bytes) {
            Ok(Route::Mcp { body_bytes }) => {
                let reply = self.message(head, body, body_bytes, ends, place).await;
                reply::finished(reply, origin)
            }
            Ok(Route::Preflight) => reply::finished(reply::preflight(), origin),
            Ok(Route::Health) => {
                reply::finished(reply::json(StatusCode::OK, &json!({"status": "ok"})), origin)
            }
            Ok(Route::Ready) => reply::finished(self.readiness(), origin),
            Err(refusal) => {
                log(&refusal, ends);
                discard(&head, body).await;
                reply::finished(reply::refused(&refusal), None)
            }
        }
    }

    fn readiness(&self) -> Reply {
        match *self.ready.borrow() {
            true => reply::json(StatusCode::OK, &json!({"status": "ready"})),
            false => reply::json(StatusCode::SERVICE_UNAVAILABLE, &json!({"status": "starting"})),
        }
    }

    async fn message(
        &self,
        head: Parts,
        body: Incoming,
        body_bytes: usize,
        ends: Ends,
        place: &Place,
    ) -> Reply {
        let identity = match self.admitted(&head, ends) {
            Ok(identity) => identity,
            Err(refusal) => {
                discard(&head, body).await;
                return reply::refused(&refusal);
            }
        };
        match self.received(body, body_bytes).await {
            Ok((body, held)) => self.dispatched(head, body, held, identity, place).await,
            Err(refusal) => {
                log(&refusal, ends);
                reply::refused(&refusal)
            }
        }
    }

    /// Who sends it, if he may and has not sent too many.
    fn admitted(&self, head: &Parts, ends: Ends) -> Result<Arc<Identity>, Refusal> {
        let peer = ends.peer.ip();
        let identity =
            self.door.identify(&head.headers, peer).map_err(|Rejected { refusal, recorded }| {
                if recorded {
                    self.live.path().record_rejected(&peer.to_string(), &refusal.reason);
                }
                refusal
            })?;
        let key = match self.door {
            Door::Open => network(peer).to_string(),
            Door::Tokens { .. } => identity.origin().to_string(),
        };
        self.rate.take(&key, Instant::now()).map_err(|wait| {
            let reason =
                format!("too many requests of {} (`server.http.requests_per_minute`)", identity.shown());
            let refusal = Refusal::wait(StatusCode::TOO_MANY_REQUESTS, reason, wait);
            log(&refusal, ends);
            refusal
        })?;
        Ok(identity)
    }

    /// The body, and a place among the requests that are under way.
    async fn received(&self, body: Incoming, body_bytes: usize) -> Result<(Bytes, Held), Refusal> {
        let until = tokio::time::Instant::now() + self.client_timeout;
        let room = match body_bytes {
            ..=SMALL_BODY_BYTES => None,
            _ => Some(self.room(body_bytes, until).await?),
        };
        let body = tokio::time::timeout_at(until, Limited::new(body, self.max_body_bytes).collect()).await;
        let body = body.map_err(|_| {
            Refusal::new(
                StatusCode::REQUEST_TIMEOUT,
                "the body took too long (`server.http.client_timeout_ms`)",
            )
        })?;
        let body = body.map_err(|error| match error.is::<LengthLimitError>() {
            true => Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large"),
            false => Refusal::bad_request("the body ended before its end"),
        })?;
        let body = body.to_bytes();
        shape::check(&body)?;
        let place = Arc::clone(&self.requests).try_acquire_owned().map_err(|_| {
            let reason = "too many requests are under way (`server.http.concurrent_requests`)";
            Refusal::wait(StatusCode::SERVICE_UNAVAILABLE, reason, BUSY_WAIT)
        })?;
        Ok((body, (place, room)))
    }

    async fn room(
        &self,
        body_bytes: usize,
        until: tokio::time::Instant,
    ) -> Result<OwnedSemaphorePermit, Refusal> {
        let kib = u32::try_from(body_bytes.div_ceil(1 << 10)).unwrap_or(BODIES_KIB).min(BODIES_KIB);
        let room = tokio::time::timeout_at(until, Arc::clone(&self.bodies).acquire_many_owned(kib)).await;
        room.ok().and_then(Result::ok).ok_or_else(|| {
            let reason = "too many large bodies are under way";
            Refusal::wait(StatusCode::SERVICE_UNAVAILABLE, reason, BUSY_WAIT)
        })
    }

    async fn dispatched(
        &self,
        head: Parts,
        body: Bytes,
        held: Held,
        identity: Arc<Identity>,
        place: &Place,
    ) -> Reply {
        let busy = place.busy();
        let mut head = head;
        // The token has served its purpose; nothing further in has to know it.
        head.headers.remove(header::AUTHORIZATION);
        head.extensions.insert(Arc::clone(&identity));
        let reply = self.told(head, body, &identity).await;
        // The guard has looked at the media type, so what rmcp could not take was the body.
        let reply = match reply.status() {
            StatusCode::UNSUPPORTED_MEDIA_TYPE => {
                reply::refused(&Refusal::bad_request("the body is no JSON-RPC message"))
            }
            _ => reply,
        };
        reply::holding(reply, (busy, held))
    }

    /// The answer of the protocol.
    async fn told(&self, head: Parts, body: Bytes, identity: &Identity) -> Reply {
        // rmcp sees to it that header and body say the same.
        if head.headers.get("mcp-method").is_some_and(|method| method == LISTEN) {
            return self.listening.handle(Request::from_parts(head, Full::new(body))).await;
        }
        let path = self.live.path();
        let method = introduction::method(&body);
        let client = match introduction::shown(&head, method.as_deref(), identity, &path.seal()) {
            Ok(client) => client,
            Err(refusal) => return reply::refused(&refusal),
        };
        let head = match self.exchanges.take(head, &body, method.as_deref(), identity, client).await {
            Taken::Answered(reply) => return reply,
            Taken::Left(head) => *head,
        };
        let first = (method.as_deref() == Some("initialize")).then(|| introduction::first(&body)).flatten();
        drop(method);
        let reply = self.mcp.handle(Request::from_parts(head, Full::new(body))).await;
        match first {
            Some(client) => introduction::noted(reply, client, identity, &path.seal()),
            None => reply,
        }
    }
}

/// Reads a little of what nobody wants: closing a connection with unread data would take the answer with it.
async fn discard(head: &Parts, body: Incoming) {
    let waits = head
        .headers
        .get(header::EXPECT)
        .is_some_and(|expect| expect == HeaderValue::from_static("100-continue"));
    if !waits {
        // Whether it came whole, was too long or too slow is all the same here.
        let _ = tokio::time::timeout(DISCARD_TIME, Limited::new(body, MAX_DISCARDED_BYTES).collect()).await;
    }
}

fn log(refusal: &Refusal, ends: Ends) {
    info!(target: "http", peer = %ends.peer, status = refusal.status.as_u16(), reason = refusal.reason, "refused");
}

/// What the configuration says about who is let in.
///
/// # Errors
///
/// When tokens are needed and cannot be read, or there is none.
pub(super) fn door(config: &crate::config::Config, http: &Http) -> anyhow::Result<Door> {
    if http.auth == HttpAuth::None {
        return Ok(Door::Open);
    }
    let file = crate::tokens::File::at(crate::tokens::path(config)?);
    check_reach(config)?;
    let shown = file.path().display().to_string();
    let tokens = crate::tokens::Live::open(file)?;
    if tokens.tokens().is_empty() {
        anyhow::bail!(
            "server.http: `{shown}` holds no token, so nobody could call; make one with `llmc token create NAME`, or \
             use `auth = \"none\"` on a loopback address"
        );
    }
    Ok(Door::Tokens { tokens, failures: Rate::per_minute(http.failures_per_minute) })
}

/// Who can write the file of tokens can let in whom he likes, so no tool and no program may be able to.
///
/// # Errors
///
/// When a writable root holds it.
pub(crate) fn check_reach(config: &crate::config::Config) -> anyhow::Result<()> {
    if config.server.http.as_ref().is_none_or(|http| http.auth == HttpAuth::None) {
        return Ok(());
    }
    let tokens = crate::tokens::path(config)?;
    let folder = tokens.parent().unwrap_or(Path::new("."));
    // Without the folder there are no tokens, which ends the start just as well.
    let Ok(folder) = folder.canonicalize() else { return Ok(()) };
    for (name, root) in config.roots.iter().filter(|(_, root)| root.access == Access::Rw) {
        if root.path.canonicalize().is_ok_and(|root| folder.starts_with(root)) {
            anyhow::bail!(
                "server.http: the tokens in `{}` could be changed through the writable root `{name}`; write another \
                 place as `server.http.tokens`",
                tokens.display()
            );
        }
    }
    Ok(())
}
