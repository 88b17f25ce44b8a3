//! What a request must look like before anybody asks who sent it: addressed to this server, from no foreign web page,
//! to a path that exists, without anything that two programs could read in two ways.

use std::net::IpAddr;

use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, StatusCode, Version};

use super::authority::{Authority, Names};
use super::console;
use super::refusal::Refusal;
use crate::console::assets::{ASSETS, Asset};

/// Longest path in bytes, twenty times what is needed.
const MAX_PATH_BYTES: usize = 128;

/// RFC 9728: for the whole server, and for what lies at `/mcp`.
const METADATA: &str = crate::oauth::PATH;
const METADATA_OF_MCP: &str = "/.well-known/oauth-protected-resource/mcp";

/// Headers that mean one thing once, and whatever a reader likes when they come twice.
const ONCE: [HeaderName; 13] = [
    header::AUTHORIZATION,
    header::CONTENT_ENCODING,
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::HOST,
    header::ORIGIN,
    header::TRANSFER_ENCODING,
    HeaderName::from_static("access-control-request-method"),
    HeaderName::from_static("last-event-id"),
    HeaderName::from_static("mcp-method"),
    HeaderName::from_static("mcp-name"),
    HeaderName::from_static("mcp-protocol-version"),
    HeaderName::from_static("mcp-session-id"),
];

/// Where a request goes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// A message of the protocol, with a body of this length.
    Mcp { body_bytes: usize },
    /// The question of a browser whether a page may send one.
    Preflight,
    /// Whether the server runs.
    Health,
    /// Whether it would answer calls.
    Ready,
    /// The numbers of the server.
    Metrics,
    /// Where access tokens come from.
    Metadata,
    /// The console.
    Console(Page),
}

/// Part of the console.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Page {
    Asset(&'static Asset),
    /// A browser wants a session.
    Login,
    Logout,
    /// What changes from moment to moment.
    State,
    /// What rarely changes.
    Facts,
    /// What happens, as it happens.
    Events,
    /// Calls that wait for an operator.
    Pending,
    /// What he says to one.
    Decide,
    /// Records of the audit.
    Records,
    /// Whether the audit's chain is whole.
    Verify,
}

impl Route {
    /// Its name among the numbers.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Mcp { .. } => "mcp",
            Self::Preflight => "preflight",
            Self::Health => "health",
            Self::Ready => "ready",
            Self::Metadata => "metadata",
            Self::Metrics => "metrics",
            Self::Console(_) => "console",
        }
    }
}

/// Judges a request by its head.
///
/// # Errors
///
/// Why it is not served.
pub(super) fn route(
    head: &Parts,
    names: &Names,
    local: IpAddr,
    max_body_bytes: usize,
) -> Result<Route, Refusal> {
    if head.version != Version::HTTP_11 {
        return Err(Refusal::new(StatusCode::HTTP_VERSION_NOT_SUPPORTED, "only HTTP/1.1 is spoken"));
    }
    addressed(head, names, local)?;
    if let Some(name) = ONCE.iter().find(|name| head.headers.get_all(*name).iter().nth(1).is_some()) {
        return Err(Refusal::bad_request(format!("the header `{name}` comes more than once")));
    }
    let path = head.uri.path();
    if path.len() > MAX_PATH_BYTES {
        return Err(Refusal::new(StatusCode::URI_TOO_LONG, "the path is too long"));
    }
    let is_get = matches!(head.method, Method::GET | Method::HEAD);
    let route = match path {
        "/mcp" if head.method == Method::POST => {
            Route::Mcp { body_bytes: body_bytes(&head.headers, max_body_bytes)? }
        }
        "/mcp" if head.method == Method::OPTIONS && head.headers.contains_key(header::ORIGIN) => {
            Route::Preflight
        }
        // There are no sessions to end and no stream to open: each answer comes on its own request.
        "/mcp" => return Err(Refusal::method("POST")),
        "/healthz" if is_get => Route::Health,
        "/readyz" if is_get => Route::Ready,
        METADATA | METADATA_OF_MCP if is_get => Route::Metadata,
        METADATA | METADATA_OF_MCP => return Err(Refusal::method("GET, HEAD")),
        "/metrics" if is_get => Route::Metrics,
        path if is_console(path) => Route::Console(page(head, path, is_get)?),
        "/healthz" | "/readyz" | "/metrics" => return Err(Refusal::method("GET, HEAD")),
        _ => return Err(Refusal::not_found()),
    };
    if head.uri.query().is_some() {
        return Err(Refusal::bad_request(
            "no query is taken; a token goes into the header `Authorization: Bearer`, never into the URL",
        ));
    }
    Ok(route)
}

fn is_console(path: &str) -> bool {
    path == "/console" || path.starts_with("/console/")
}

fn page(head: &Parts, path: &str, is_get: bool) -> Result<Page, Refusal> {
    let (page, has_body) = match path {
        "/console/session" => (Page::Login, true),
        "/console/logout" => (Page::Logout, true),
        "/console/records" => (Page::Records, true),
        "/console/verify" => (Page::Verify, true),
        "/console/decide" => (Page::Decide, true),
        "/console/state" => (Page::State, false),
        "/console/pending" => (Page::Pending, false),
        "/console/facts" => (Page::Facts, false),
        "/console/events" => (Page::Events, false),
        _ => {
            let asset = ASSETS.iter().find(|asset| asset.path == path).ok_or_else(Refusal::not_found)?;
            (Page::Asset(asset), false)
        }
    };
    match has_body {
        // What a form of another site can send has another media type.
        true if head.method == Method::POST => {
            body_bytes(&head.headers, console::MAX_BODY_BYTES)?;
            Ok(page)
        }
        true => Err(Refusal::method("POST")),
        false if is_get => Ok(page),
        false => Err(Refusal::method("GET, HEAD")),
    }
}

fn addressed(head: &Parts, names: &Names, local: IpAddr) -> Result<(), Refusal> {
    let mut hosts = head.headers.get_all(header::HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else {
        return Err(Refusal::bad_request("there must be one header `host`"));
    };
    // A whole URL in the request line is allowed (RFC 9112, 3.2.2); two names for one server are not.
    let whole = head.uri.authority().map(|authority| Authority::parse(authority.as_str()));
    let agrees =
        |host: &str| whole.as_ref().is_none_or(|whole| whole.is_some() && *whole == Authority::parse(host));
    if !host.to_str().is_ok_and(agrees) || whole.is_some() != head.uri.scheme().is_some() {
        return Err(Refusal::bad_request("the request line and the header `host` name two servers"));
    }
    if !host.to_str().is_ok_and(|host| names.allow_host(host, local)) {
        return Err(Refusal::forbidden(format!(
            "host {} is not this server's; if it should be, add it to `server.http.hosts`",
            shown(host)
        )));
    }
    // The pages of the console are this server's own, and a browser says so.
    let is_own = |origin: &str| {
        let origin = origin.split_once("://").and_then(|(_, rest)| Authority::parse(rest));
        is_console(head.uri.path())
            && origin.is_some()
            && origin == host.to_str().ok().and_then(Authority::parse)
    };
    let allowed = |origin: &str| names.allow_origin(origin) || is_own(origin);
    let foreign = |origin: &&HeaderValue| !origin.to_str().is_ok_and(allowed);
    if let Some(origin) = head.headers.get_all(header::ORIGIN).iter().find(foreign) {
        return Err(Refusal::forbidden(format!(
            "a web page of origin {} may not call; if it should, add it to `server.http.origins`",
            shown(origin)
        )));
    }
    Ok(())
}

/// The length must be said, and be the only word about where the body ends: a proxy and a server that disagree about
/// that can be made to see different requests.
fn body_bytes(headers: &HeaderMap, max_bytes: usize) -> Result<usize, Refusal> {
    if headers.contains_key(header::TRANSFER_ENCODING) {
        return Err(Refusal::new(
            StatusCode::LENGTH_REQUIRED,
            "`transfer-encoding` is not taken; send `content-length`",
        ));
    }
    if headers.contains_key(header::CONTENT_ENCODING) {
        return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "compressed bodies are not taken"));
    }
    let media_type =
        headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = media_type.split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case("application/json") {
        return Err(Refusal::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "`content-type` must be `application/json`",
        ));
    }
    let length =
        headers.get(header::CONTENT_LENGTH).map(|length| length.to_str().unwrap_or_default().parse::<u64>());
    match length {
        Some(Ok(length)) => {
            usize::try_from(length).ok().filter(|length| *length <= max_bytes).ok_or_else(|| {
                let reason = format!("the body has more than {max_bytes} bytes (`limits.max_message_bytes`)");
                Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, reason)
            })
        }
        Some(Err(_)) => Err(Refusal::bad_request("`content-length` is no number")),
        None => Err(Refusal::new(StatusCode::LENGTH_REQUIRED, "`content-length` is missing")),
    }
}

/// For the log, which a client must not be able to write lines into.
fn shown(value: &HeaderValue) -> String {
    let bytes = value.as_bytes();
    format!("`{}`", bytes[..bytes.len().min(128)].escape_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn routed(method: &str, uri: &str, headers: &[(&str, &str)]) -> Result<Route, u16> {
        let mut request = hyper::Request::builder().method(method).uri(uri).header("host", "localhost");
        if !headers.iter().any(|(name, _)| *name == "content-type") {
            request = request.header("content-type", "application/json; charset=utf-8");
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (head, ()) = request.body(()).unwrap().into_parts();
        let names = Names::new(&[], &["https://app.example.org".into()]);
        route(&head, &names, "127.0.0.1".parse().unwrap(), 100).map_err(|refusal| refusal.status.as_u16())
    }

    #[test]
    fn paths_are_compared_whole() {
        let length = [("content-length", "3")];
        assert_eq!(routed("POST", "/mcp", &length), Ok(Route::Mcp { body_bytes: 3 }));
        assert_eq!(routed("GET", "/healthz", &[]), Ok(Route::Health));
        assert_eq!(routed("HEAD", "/readyz", &[]), Ok(Route::Ready));
        for path in [
            "/",
            "/mcp/",
            "//mcp",
            "/mcp/../healthz",
            "/x/healthz",
            "/MCP",
            "/%6dcp",
            "/healthz;a",
            "/mcp%00",
        ] {
            assert_eq!(routed("POST", path, &length), Err(404), "{path}");
            assert_eq!(routed("GET", path, &[]), Err(404), "{path}");
        }
        assert_eq!(routed("POST", &format!("/{}", "a".repeat(200)), &length), Err(414));
        assert_eq!(routed("POST", "/mcp?token=x", &length), Err(400));
        assert_eq!(routed("GET", "/healthz?", &[]), Err(400));
        assert!(routed("POST", "http://LOCALHOST/mcp", &length).is_ok());
        for target in
            ["http://localhost:1/mcp", "http://evil.example/mcp", "localhost:1", "http://u@localhost/mcp"]
        {
            assert_eq!(routed("POST", target, &length), Err(400), "{target}");
        }
    }

    #[test]
    fn the_console_s_own_pages_may_ask_it_and_nothing_else() {
        let length = ("content-length", "3");
        let own = ("origin", "http://localhost");
        assert_eq!(routed("POST", "/console/session", &[length, own]), Ok(Route::Console(Page::Login)));
        assert_eq!(routed("GET", "/console/state", &[]), Ok(Route::Console(Page::State)));
        assert!(matches!(routed("GET", "/console", &[]), Ok(Route::Console(Page::Asset(_)))));
        assert_eq!(routed("POST", "/mcp", &[length, own]), Err(403), "the console's origin calls no tool");
        for origin in [
            "http://localhost:1",
            "http://evil.example",
            "null",
            "localhost",
            "http://localhost.evil.example",
        ] {
            assert_eq!(
                routed("POST", "/console/session", &[length, ("origin", origin)]),
                Err(403),
                "{origin}"
            );
        }
        for (method, path, status) in [
            ("GET", "/console/session", 405),
            ("POST", "/console/state", 405),
            ("GET", "/console/", 404),
            ("GET", "/console/../mcp", 404),
            ("GET", "/console/app.js?x", 400),
            ("GET", "/consolex", 404),
        ] {
            assert_eq!(routed(method, path, &[length]), Err(status), "{method} {path}");
        }
        let form = ("content-type", "application/x-www-form-urlencoded");
        assert_eq!(routed("POST", "/console/session", &[length, form]), Err(415));
        assert_eq!(routed("POST", "/console/session", &[("content-length", "9000")]), Err(413));
    }

    #[test]
    fn methods_are_few() {
        for method in ["GET", "DELETE", "PUT", "PATCH", "HEAD", "TRACE", "OPTIONS", "BREW"] {
            assert_eq!(routed(method, "/mcp", &[]), Err(405), "{method}");
        }
        assert_eq!(routed("POST", "/healthz", &[]), Err(405));
        assert_eq!(routed("OPTIONS", "/mcp", &[("origin", "https://app.example.org")]), Ok(Route::Preflight));
        assert_eq!(routed("OPTIONS", "/mcp", &[("origin", "https://evil.example")]), Err(403));
    }

    #[test]
    fn a_body_has_one_length() {
        assert_eq!(routed("POST", "/mcp", &[]), Err(411));
        assert_eq!(routed("POST", "/mcp", &[("content-length", "100")]), Ok(Route::Mcp { body_bytes: 100 }));
        for length in ["101", "99999999999999999999", "18446744073709551615"] {
            let status = if length.len() == 20 && length.starts_with('9') { 400 } else { 413 };
            assert_eq!(routed("POST", "/mcp", &[("content-length", length)]), Err(status), "{length}");
        }
        for length in ["", "-1", "1a", "1, 1"] {
            assert_eq!(routed("POST", "/mcp", &[("content-length", length)]), Err(400), "{length}");
        }
        assert_eq!(
            routed("POST", "/mcp", &[("content-length", "3"), ("transfer-encoding", "chunked")]),
            Err(411)
        );
        assert_eq!(
            routed("POST", "/mcp", &[("content-length", "3"), ("content-encoding", "gzip")]),
            Err(415)
        );
    }

    #[test]
    fn what_means_one_thing_comes_once() {
        let length = ("content-length", "3");
        for name in
            ["authorization", "content-type", "mcp-session-id", "mcp-method", "mcp-protocol-version", "host"]
        {
            let twice = [length, (name, "localhost"), (name, "localhost")];
            assert_eq!(routed("POST", "/mcp", &twice), Err(400), "{name}");
        }
        assert!(routed("POST", "/mcp", &[length, ("accept", "a/b"), ("accept", "c/d")]).is_ok());
        let origins = [length, ("origin", "https://app.example.org"), ("origin", "https://evil.example")];
        assert_eq!(routed("POST", "/mcp", &origins), Err(403));
    }
}
