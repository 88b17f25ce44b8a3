//! Requests of the console's pages.
//!
//! The pages themselves anybody may read: they are part of a public program. What they show takes a session (see
//! [`crate::console::session`]), which a token with the scope `admin` or a link of `llmc console` opens.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Limited};
use hyper::body::{Body, Frame, Incoming};
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Response, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::sync::{broadcast, mpsc};
use tracing::info;

use super::connections::Place;
use super::guard::Page;
use super::peer::Client;
use super::reach::tickets;
use super::refusal::Refusal;
use super::reply::{self, Reply};
use super::service::Service;
use crate::call::{Decided, Decision};
use crate::console::assets::{Asset, POLICY};
use crate::console::records::{self, Question};
use crate::console::session::{LIFETIME, Viewer};
use crate::console::{Console, feed};
use crate::telemetry::METRICS;
use crate::tokens::Scope;

/// Largest body of a page's request.
pub(super) const MAX_BODY_BYTES: usize = 8 << 10;

/// How long a page waits while the audit is read for another one.
const TURN_PATIENCE: Duration = Duration::from_secs(5);

const COOKIE: &str = "llmc_console";

/// The header in which a page sends its key.
const KEY: &str = "x-llmc-console";

/// Events that may wait for a browser.
const WAITING_EVENTS: usize = 16;

/// How often a stream shows that it lives, and is looked at whether it still may.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// Streams of events at the same time, of all sessions.
const MAX_STREAMS: usize = 16;

/// Longest reason that an operator gives, in bytes.
const MAX_REASON_BYTES: usize = 1 << 10;

#[derive(Deserialize)]
struct Login {
    /// Of a link of `llmc console`.
    ticket: Option<String>,
    /// A command asks, no browser.
    #[serde(default)]
    is_command: bool,
}

/// What an operator says to a call that waits.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Said {
    id: String,
    allow: bool,
    #[serde(default)]
    reason: String,
}

/// Answers a request for one of the pages, or of one.
pub(super) async fn answer(
    service: &Arc<Service>,
    page: Page,
    head: Parts,
    body: Incoming,
    client: Client,
    place: &Place,
) -> Reply {
    let Some(console) = service.console() else { return reply::refused(&Refusal::not_found()) };
    let answered = match page {
        Page::Asset(asset) => Ok(self::asset(asset)),
        Page::Login => login(service, console, &head, body, client).await,
        Page::Logout => viewer(service, console, &head, client).map(|viewer| {
            console.sessions.end(viewer.number);
            ended(service)
        }),
        Page::State => viewer(service, console, &head, client)
            .map(|_| reply::json(StatusCode::OK, &console.facts.state(&console.series))),
        Page::Facts => match viewer(service, console, &head, client) {
            Ok(viewer) => {
                let mut facts = console.facts.facts().await;
                facts["viewer"] = json!(&*viewer.name);
                Ok(reply::json(StatusCode::OK, &facts))
            }
            Err(refusal) => Err(refusal),
        },
        Page::Pending => viewer(service, console, &head, client)
            .map(|_| reply::json(StatusCode::OK, &console.facts.pending().shown())),
        Page::Decide => match viewer(service, console, &head, client) {
            Ok(viewer) => decided(service, console, &viewer, body).await,
            Err(refusal) => Err(refusal),
        },
        Page::Records => match viewer(service, console, &head, client) {
            Ok(_) => records(service, console, body).await,
            Err(refusal) => Err(refusal),
        },
        Page::Verify => match viewer(service, console, &head, client) {
            Ok(_) => verified(service, console).await,
            Err(refusal) => Err(refusal),
        },
        Page::Events => {
            viewer(service, console, &head, client).and_then(|viewer| events(service, viewer, place))
        }
    };
    answered.unwrap_or_else(|refusal| reply::refused(&refusal))
}

fn asset(asset: &'static Asset) -> Reply {
    let mut reply = reply::plain(StatusCode::OK, asset.content);
    let headers = reply.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(asset.media_type));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert("cross-origin-opener-policy", HeaderValue::from_static("same-origin"));
    headers.insert("cross-origin-resource-policy", HeaderValue::from_static("same-origin"));
    reply
}

/// Opens a session: with a token in the header as everywhere, or with a ticket in the body.
async fn login(
    service: &Service,
    console: &Console,
    head: &Parts,
    body: Incoming,
    client: Client,
) -> Result<Reply, Refusal> {
    same_site(&head.headers)?;
    let Login { ticket, is_command } = received(service, body).await?;
    let (name, token, until_ms) = match ticket {
        Some(ticket) => {
            take(service, console, &ticket, client)?;
            // Both are the server's own user, who alone can make tickets.
            (if is_command { "command line" } else { "console link" }.to_owned(), None, None)
        }
        None => {
            let identity = service.admitted(head, client, Scope::Admin).await?;
            (identity.shown().to_owned(), Some(Arc::clone(identity.origin())), identity.until_ms())
        }
    };
    info!(target: "http", %client, by = name, "console opened");
    let failed = |error: std::io::Error| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string());
    let opened = console.sessions.open(&name, token, until_ms).map_err(failed)?;
    let mut reply = reply::json(StatusCode::OK, &json!({"key": opened.key}));
    set_cookie(service, &mut reply, &opened.cookie, LIFETIME);
    Ok(reply)
}

/// The JSON of a small body.
async fn received<T: DeserializeOwned>(service: &Service, body: Incoming) -> Result<T, Refusal> {
    let body = tokio::time::timeout(service.client_timeout(), Limited::new(body, MAX_BODY_BYTES).collect());
    let body = body.await.ok().and_then(Result::ok);
    let body = body.ok_or_else(|| Refusal::bad_request("the body did not come"))?.to_bytes();
    serde_json::from_slice(&body).map_err(|_| Refusal::bad_request("the body is not what it should be"))
}

/// Decides about a call that waits.
async fn decided(
    service: &Service,
    console: &Console,
    viewer: &Viewer,
    body: Incoming,
) -> Result<Reply, Refusal> {
    let Said { id, allow, reason } = received(service, body).await?;
    let mut reason = console.facts.mask(reason.trim().to_owned());
    reason.truncate(reason.floor_char_boundary(MAX_REASON_BYTES));
    let reason = Some(reason).filter(|reason| !reason.is_empty());
    let decision = Decision { is_allowed: allow, by: viewer.name.to_string(), reason };
    let problem = |status, text: &str| Ok(reply::json(status, &json!({"error": text})));
    match console.facts.pending().decide(&id, decision) {
        Decided::Done => {
            info!(target: "http", by = &*viewer.name, id, allow, "decided");
            Ok(reply::json(StatusCode::OK, &json!({"outcome": if allow { "allowed" } else { "denied" }})))
        }
        Decided::Over(how) => problem(StatusCode::CONFLICT, &format!("it is over: {how}")),
        Decided::Unknown => problem(StatusCode::NOT_FOUND, "no call with this id waits"),
        Decided::Unrecorded => problem(
            StatusCode::SERVICE_UNAVAILABLE,
            "denied, because the consent cannot be recorded (`audit.on_failure`)",
        ),
    }
}

/// Records that fit what the page asks for.
async fn records(service: &Service, console: &Console, body: Incoming) -> Result<Reply, Refusal> {
    let question: Question = received(service, body).await?;
    let _turn = turn(service).await?;
    let found = records::query(console.facts.shown().config.audit.clone(), question).await;
    Ok(told(found))
}

async fn verified(service: &Service, console: &Console) -> Result<Reply, Refusal> {
    let _turn = turn(service).await?;
    Ok(told(records::verify(console.facts.shown().config.audit.clone()).await))
}

/// Reading much takes time of the disk: one after the other. A page that searches again while its first search is under
/// way waits for that; a check of the whole chain may take longer than anybody wants to wait.
async fn turn(service: &Service) -> Result<tokio::sync::SemaphorePermit<'_>, Refusal> {
    let turn = tokio::time::timeout(TURN_PATIENCE, service.reading().acquire()).await;
    turn.ok().and_then(Result::ok).ok_or_else(|| {
        let reason = "the audit is being read for another page";
        Refusal::wait(StatusCode::SERVICE_UNAVAILABLE, reason, Duration::from_secs(1))
    })
}

fn told(found: Result<serde_json::Value, String>) -> Reply {
    match found {
        Ok(found) => reply::json(StatusCode::OK, &found),
        Err(problem) => reply::json(StatusCode::INTERNAL_SERVER_ERROR, &json!({"error": problem})),
    }
}

fn take(service: &Service, console: &Console, ticket: &str, client: Client) -> Result<(), Refusal> {
    // Asked each time: another configuration may have made the place of tickets writable.
    let tickets = tickets(&console.facts.shown().config);
    if tickets.is_some_and(|tickets| tickets.take(ticket)) {
        return Ok(());
    }
    METRICS.auth_failure("ticket");
    let reason = "the link of `llmc console` was used before, or is older than a minute";
    match service.ticket_failures().take(&client.counted(), Instant::now()) {
        Ok(()) => {
            service.record_rejected(client, reason);
            Err(Refusal::new(StatusCode::UNAUTHORIZED, reason))
        }
        Err(wait) => Err(Refusal::wait(StatusCode::TOO_MANY_REQUESTS, "too many links that are none", wait)),
    }
}

/// Who asks, if he has a session that still may be one.
fn viewer(service: &Service, console: &Console, head: &Parts, client: Client) -> Result<Viewer, Refusal> {
    same_site(&head.headers)?;
    let unauthorised = || Refusal::new(StatusCode::UNAUTHORIZED, "no session of the console");
    let key = head.headers.get(KEY).and_then(|key| key.to_str().ok()).ok_or_else(unauthorised)?;
    let cookie = cookie(&head.headers).ok_or_else(unauthorised)?;
    let viewer = console.sessions.find(cookie, key).ok_or_else(unauthorised)?;
    if !service.may_stay(&viewer) {
        console.sessions.end(viewer.number);
        return Err(unauthorised());
    }
    service.within_rate(&format!("console {}", viewer.number), &viewer.name, client)?;
    Ok(viewer)
}

/// A browser says from which site a request comes (Fetch Metadata, W3C). Another site's has neither key nor cookie
/// anyway; this is a second wall.
fn same_site(headers: &HeaderMap) -> Result<(), Refusal> {
    match headers.get("sec-fetch-site").map(HeaderValue::as_bytes) {
        None | Some(b"same-origin") => Ok(()),
        Some(_) => Err(Refusal::forbidden("a page of another site asked the console")),
    }
}

/// The cookie among all that the host has; none if it is there twice.
fn cookie(headers: &HeaderMap) -> Option<&str> {
    let all = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut found = all
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .filter(|(name, _)| *name == COOKIE);
    let (_, value) = found.next()?;
    found.next().is_none().then_some(value)
}

fn set_cookie(service: &Service, reply: &mut Reply, value: &str, lifetime: Duration) {
    let seconds = lifetime.as_secs();
    let secure = if service.is_encrypted() { "; Secure" } else { "" };
    let cookie =
        format!("{COOKIE}={value}; Path=/console; HttpOnly; SameSite=Strict; Max-Age={seconds}{secure}");
    if let Ok(cookie) = HeaderValue::from_str(&cookie) {
        reply.headers_mut().insert(header::SET_COOKIE, cookie);
    }
}

fn ended(service: &Service) -> Reply {
    let mut reply = reply::plain(StatusCode::NO_CONTENT, Bytes::new());
    set_cookie(service, &mut reply, "", Duration::ZERO);
    reply
}

/// What happens from now on, as server-sent events.
fn events(service: &Arc<Service>, viewer: Viewer, place: &Place) -> Result<Reply, Refusal> {
    let permit = Arc::clone(service.streams()).try_acquire_owned().map_err(|_| {
        let reason = "too many pages of the console are open";
        Refusal::wait(StatusCode::SERVICE_UNAVAILABLE, reason, Duration::from_secs(10))
    })?;
    let (sender, receiver) = mpsc::channel(WAITING_EVENTS);
    tokio::spawn(forward(Arc::clone(service), viewer, sender));
    let mut reply: Reply = Response::new(Stream(receiver).boxed());
    reply.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    // It ends with the stream: nothing else is asked on it.
    reply.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    Ok(reply::holding(reply, (permit, place.busy())))
}

/// Until the browser leaves, its session ends or the server stops. A browser that reads slowly misses events, and is
/// told how many.
async fn forward(service: Arc<Service>, viewer: Viewer, sender: mpsc::Sender<Bytes>) {
    let mut events = feed::watch();
    // Somebody looks: calls may wait for him.
    let _watching = service.console().map(|console| console.facts.pending().watch());
    let mut heartbeat = tokio::time::interval(HEARTBEAT);
    let stop = service.stop().clone();
    let forwarding = async {
        loop {
            let text = tokio::select! {
                event = events.recv() => match event {
                    Ok(event) => format!("data: {event}\n\n"),
                    Err(broadcast::error::RecvError::Lagged(count)) => {
                        format!("data: {}\n\n", json!({"kind": "missed", "count": count}))
                    }
                    Err(broadcast::error::RecvError::Closed) => return,
                },
                _ = heartbeat.tick() => {
                    let lasts = service.console().is_some_and(|console| console.sessions.lasts(viewer.number));
                    if !lasts || !service.may_stay(&viewer) {
                        return;
                    }
                    ":\n\n".to_owned()
                }
            };
            if sender.send(text.into()).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = forwarding => {}
        () = sender.closed() => {}
        () = stop.cancelled() => {}
    }
}

/// How many streams there may be.
pub(super) fn streams() -> Arc<tokio::sync::Semaphore> {
    Arc::new(tokio::sync::Semaphore::new(MAX_STREAMS))
}

struct Stream(mpsc::Receiver<Bytes>);

impl Body for Stream {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cookie_is_found_among_others_and_only_once() {
        let of = |cookies: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in cookies {
                headers.append(header::COOKIE, value.parse().unwrap());
            }
            cookie(&headers).map(str::to_owned)
        };
        assert_eq!(of(&["a=b; llmc_console=x; c"]).as_deref(), Some("x"));
        assert_eq!(of(&["a=b", "llmc_console=x"]).as_deref(), Some("x"));
        for cookies in [&["xllmc_console=x"][..], &["llmc_console=x; llmc_console=y"], &["llmc_console"], &[]]
        {
            assert_eq!(of(cookies), None, "{cookies:?}");
        }
    }

    #[test]
    fn requests_of_other_sites_are_refused() {
        let of = |site: &str| {
            let headers = HeaderMap::from_iter([("sec-fetch-site".parse().unwrap(), site.parse().unwrap())]);
            same_site(&headers).is_ok()
        };
        assert!(of("same-origin") && same_site(&HeaderMap::new()).is_ok());
        assert!(!of("cross-site") && !of("same-site") && !of("none"));
    }
}
