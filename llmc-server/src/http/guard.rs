//! What a request must look like before anybody asks who sent it: addressed to this server, from no foreign web page,
//! to a path that exists, without anything that two programs could read in two ways.

use std::net::IpAddr;

use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, StatusCode, Version};

use super::authority::{Authority, Names};
use super::refusal::Refusal;

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
    /// Where access tokens come from.
    Metadata,
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
        "/healthz" | "/readyz" => return Err(Refusal::method("GET, HEAD")),
        _ => return Err(Refusal::not_found()),
    };
    if head.uri.query().is_some() {
        return Err(Refusal::bad_request(
            "no query is taken; a token goes into the header `Authorization: Bearer`, never into the URL",
        ));
    }
    Ok(route)
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
    let foreign = |origin: &&HeaderValue| !origin.to_str().is_ok_and(|origin| names.allow_origin(origin));
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
