//! One request, from its head to its answer: guard, who sends it, how many, its body, and then the protocol.

use std::net::IpAddr;
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
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::auth::{Door, Rejected};
use super::authority::Names;
use super::connections::Place;
use super::exchange::{Exchanges, Taken};
use super::guard::{self, Route};
use super::introduction;
use super::peer::{Client, Counted, Peer, Proxies};
use super::rate::Rate;
use super::readiness::Readiness;
use super::refusal::Refusal;
use super::reply::{self, Reply};
use super::{Server, console, shape, step_up};
use crate::audit::now_ms;
use crate::call::{Identity, Live};
use crate::config::{Http, HttpAuth, HttpMetrics};
use crate::console::Console;
use crate::console::session::Viewer;
use crate::mcp::{Front, Handler, Listening};
use crate::oauth::Resource;
use crate::telemetry::METRICS;
use crate::tokens::Scope;

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
    proxies: Proxies,
    door: Door,
    /// By token, or by address where there are none.
    rate: Rate<String>,
    requests: Arc<Semaphore>,
    bodies: Arc<Semaphore>,
    max_body_bytes: usize,
    metrics: HttpMetrics,
    client_timeout: Duration,
    live: Live,
    exchanges: Exchanges,
    mcp: StreamableHttpService<Handler, NeverSessionManager>,
    /// For requests that stay open to be told of changes.
    listening: StreamableHttpService<Listening, NeverSessionManager>,
    readiness: Readiness,
    console: Option<Console>,
    /// Browsers speak to us over TLS, so cookies can insist on it.
    is_encrypted: bool,
    /// Browsers that may watch at the same time.
    streams: Arc<Semaphore>,
    /// Who reads the audit for a page.
    reading: Semaphore,
    /// Links that were none.
    ticket_failures: Rate<Counted>,
    /// The server is told to end.
    stop: CancellationToken,
}

/// The two ends of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ends {
    pub(super) peer: Peer,
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
        let Server { live, max_body_bytes, ready, console } = server;
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
            proxies: Proxies::new(config),
            door,
            rate: Rate::per_minute(config.requests_per_minute),
            requests: Arc::new(Semaphore::new(config.concurrent_requests)),
            bodies: Arc::new(Semaphore::new(BODIES_KIB as usize)),
            max_body_bytes,
            metrics: config.metrics,
            client_timeout: Duration::from_millis(config.client_timeout_ms),
            readiness: Readiness::new(live.clone(), ready),
            live,
            exchanges,
            mcp,
            listening,
            console,
            is_encrypted: config.tls.is_some(),
            streams: console::streams(),
            reading: Semaphore::new(1),
            ticket_failures: Rate::per_minute(config.failures_per_minute),
            stop: stop.clone(),
        }
    }

    /// Answers one request.
    pub(super) async fn answer(
        self: &Arc<Self>,
        request: Request<Incoming>,
        ends: Ends,
        place: &Place,
    ) -> Reply {
        let (head, body) = request.into_parts();
        let client = self.proxies.client(&head.headers, ends.peer);
        let origin = head.headers.get(header::ORIGIN).cloned();
        let route = guard::route(&head, &self.names, ends.local, self.max_body_bytes);
        let name = route.as_ref().map_or("none", Route::name);
        let reply = match route {
            Ok(Route::Mcp { body_bytes }) => {
                let reply = self.message(head, body, body_bytes, client, place).await;
                reply::finished(reply, origin)
            }
            Ok(Route::Preflight) => reply::finished(reply::preflight(), origin),
            Ok(Route::Health) => {
                reply::finished(reply::json(StatusCode::OK, &json!({"status": "ok"})), origin)
            }
            Ok(Route::Metadata) => match self.door.metadata() {
                Some(metadata) => reply::finished(reply::json(StatusCode::OK, metadata.document()), origin),
                None => reply::finished(reply::refused(&Refusal::not_found()), None),
            },
            Ok(Route::Ready) => reply::finished(self.readiness.reply().await, origin),
            // No other origin is told anything.
            Ok(Route::Console(page)) => {
                reply::finished(console::answer(self, page, head, body, client, place).await, None)
            }
            Ok(Route::Metrics) => reply::finished(self.numbers(&head, client).await, origin),
            Err(refusal) => {
                log(&refusal, client);
                discard(&head, body).await;
                reply::finished(reply::refused(&refusal), None)
            }
        };
        METRICS.answer(name, reply.status().as_u16());
        reply
    }

    /// The numbers, for who may read them.
    async fn numbers(&self, head: &Parts, client: Client) -> Reply {
        let admitted = match self.metrics {
            HttpMetrics::Public => Ok(()),
            HttpMetrics::Token => self.admitted(head, client, Scope::Metrics).await.map(drop),
        };
        match admitted {
            Ok(()) => reply::metrics(METRICS.text()),
            Err(refusal) => reply::refused(&refusal),
        }
    }

    async fn message(
        &self,
        head: Parts,
        body: Incoming,
        body_bytes: usize,
        client: Client,
        place: &Place,
    ) -> Reply {
        let identity = match self.admitted(&head, client, Scope::Call).await {
            Ok(identity) => identity,
            Err(refusal) => {
                discard(&head, body).await;
                return reply::refused(&refusal);
            }
        };
        match self.received(body, body_bytes).await {
            Ok((body, held)) => self.dispatched(head, body, held, identity, place).await,
            Err(refusal) => {
                log(&refusal, client);
                reply::refused(&refusal)
            }
        }
    }

    /// Who sends it, if he may and has not sent too many.
    pub(super) async fn admitted(
        &self,
        head: &Parts,
        client: Client,
        scope: Scope,
    ) -> Result<Arc<Identity>, Refusal> {
        let identity =
            self.door.identify(&head.headers, client).await.map_err(|Rejected { refusal, recorded }| {
                if recorded {
                    self.live.path().record_rejected(&client.to_string(), &refusal.reason);
                }
                refusal
            })?;
        let key = match self.door {
            Door::Open => format!("{:?}", client.counted()),
            Door::Tokens { .. } | Door::OAuth { .. } => identity.origin().to_string(),
        };
        self.within_rate(&key, identity.shown(), client)?;
        if !identity.may(scope) {
            let reason = format!("{} has not the scope `{scope:?}`", identity.shown()).to_lowercase();
            self.live.path().record_rejected(&client.to_string(), &reason);
            METRICS.auth_failure("scope");
            return Err(Refusal { challenge: self.door.challenge(scope), ..Refusal::forbidden(reason) });
        }
        Ok(identity)
    }

    /// Takes one request of a rate.
    pub(super) fn within_rate(&self, key: &String, who: &str, client: Client) -> Result<(), Refusal> {
        self.rate.take(key, Instant::now()).map_err(|wait| {
            METRICS.limit("requests_per_minute");
            let reason = format!("too many requests of {who} (`server.http.requests_per_minute`)");
            let refusal = Refusal::wait(StatusCode::TOO_MANY_REQUESTS, reason, wait);
            log(&refusal, client);
            refusal
        })
    }

    pub(super) fn console(&self) -> Option<&Console> {
        self.console.as_ref()
    }

    /// Whether who opened a session of the console might open one now.
    pub(super) fn may_stay(&self, viewer: &Viewer) -> bool {
        match (&viewer.token, viewer.until_ms) {
            (None, _) => true,
            // Nobody can be asked whether an access token was revoked.
            (Some(_), Some(until_ms)) => until_ms > now_ms(),
            (Some(token), None) => self.door.holds(token, Scope::Admin),
        }
    }

    pub(super) fn streams(&self) -> &Arc<Semaphore> {
        &self.streams
    }

    pub(super) fn reading(&self) -> &Semaphore {
        &self.reading
    }

    pub(super) fn ticket_failures(&self) -> &Rate<Counted> {
        &self.ticket_failures
    }

    pub(super) fn is_encrypted(&self) -> bool {
        self.is_encrypted
    }

    pub(super) fn stop(&self) -> &CancellationToken {
        &self.stop
    }

    pub(super) fn client_timeout(&self) -> Duration {
        self.client_timeout
    }

    /// Records a browser that was not let in.
    pub(super) fn record_rejected(&self, client: Client, reason: &str) {
        self.live.path().record_rejected(&client.to_string(), reason);
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
        METRICS.http_body_bytes.inc_by(body.len() as u64);
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
    async fn told(&self, head: Parts, body: Bytes, identity: &Arc<Identity>) -> Reply {
        // rmcp sees to it that header and body say the same.
        if head.headers.get("mcp-method").is_some_and(|method| method == LISTEN) {
            return self.listening.handle(Request::from_parts(head, Full::new(body))).await;
        }
        let path = self.live.path();
        let method = introduction::method(&body);
        if let Some(refusal) =
            step_up::wanted(&self.door, &path, &head, &body, method.as_deref(), identity).await
        {
            METRICS.auth_failure("scope");
            return reply::refused(&refusal);
        }
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

fn log(refusal: &Refusal, client: Client) {
    info!(target: "http", peer = %client, status = refusal.status.as_u16(), reason = refusal.reason, "refused");
}

/// What the configuration says about who is let in.
///
/// # Errors
///
/// When tokens are needed and cannot be read, or there is none.
pub(super) async fn door(config: &crate::config::Config, http: &Http) -> anyhow::Result<Door> {
    let failures = Rate::per_minute(http.failures_per_minute);
    match (http.auth, &http.oauth) {
        (HttpAuth::None, _) => return Ok(Door::Open),
        (HttpAuth::OAuth, Some(oauth)) => {
            let resource = Box::new(Resource::open(oauth).await?);
            return Ok(Door::OAuth { resource, failures });
        }
        (HttpAuth::OAuth, None) => {
            anyhow::bail!("server.http: `auth = \"oauth\"` needs `[server.http.oauth]`")
        }
        (HttpAuth::Token, _) => {}
    }
    let file = crate::tokens::File::at(crate::tokens::path(config)?);
    let shown = file.path().display().to_string();
    let tokens = crate::tokens::Live::open(file)?;
    if tokens.tokens().is_empty() {
        anyhow::bail!(
            "server.http: `{shown}` holds no token, so nobody could call; make one with `llmc token create NAME`, or \
             use `auth = \"none\"` on a loopback address"
        );
    }
    Ok(Door::Tokens { tokens, failures })
}
