//! A door for fuzzers: heads of requests, from bytes to where they go.

use std::cell::RefCell;
use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;

use bytes::Bytes;
use http_body_util::Empty;
use hyper::header::{CONTENT_LENGTH, HOST, ORIGIN, TRANSFER_ENCODING};
use hyper::http::request::Parts;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::authority::Names;
use super::guard::{Route, route};
use super::{MAX_HEAD_BYTES, MAX_HEADERS};

/// Largest body, and room for whatever is sent.
const MAX_BODY_BYTES: usize = 4 << 20;
const PIPE_BYTES: usize = 1 << 20;

thread_local! {
    static RUNTIME: tokio::runtime::Runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime of one thread needs nothing that could be missing");
}

/// What a connection says: what is let through is addressed to this server, comes from no other page, and says once how
/// long it is.
pub fn head(input: &[u8]) {
    let passed = RUNTIME.with(|runtime| runtime.block_on(serve(input)));
    for head in passed {
        check(&head);
    }
}

/// The heads that the guard lets through.
async fn serve(input: &[u8]) -> Vec<Parts> {
    let names = Names::new(&["llmc.example".to_owned()], &["https://app.example".to_owned()]);
    let passed: Rc<RefCell<Vec<Parts>>> = Rc::default();
    let (client, server) = tokio::io::duplex(PIPE_BYTES);
    let (mut answers, mut requests) = tokio::io::split(client);
    let answer = service_fn(|request: Request<hyper::body::Incoming>| {
        let (head, _) = request.into_parts();
        let routed = route(&head, &names, IpAddr::V4(Ipv4Addr::LOCALHOST), MAX_BODY_BYTES);
        if let Ok(route) = &routed {
            if let Route::Mcp { body_bytes } = route {
                assert!(*body_bytes <= MAX_BODY_BYTES);
            }
            passed.borrow_mut().push(head);
        }
        async { Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new())) }
    });
    let serving = http1::Builder::new()
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEAD_BYTES)
        .serve_connection(TokioIo::new(server), answer);
    let talking = async {
        // Both fail when the server has heard enough.
        let _ = requests.write_all(input).await;
        let _ = requests.shutdown().await;
        drop(requests);
        let _ = answers.read_to_end(&mut Vec::new()).await;
    };
    let _ = tokio::join!(serving, talking);
    passed.take()
}

fn check(head: &Parts) {
    let all = |name| head.headers.get_all(name).iter().collect::<Vec<_>>();
    let hosts = all(HOST);
    assert_eq!(hosts.len(), 1, "{head:?}");
    let host = hosts[0].to_str().unwrap_or_default().to_ascii_lowercase();
    let name = host.split(':').next().unwrap_or_default();
    let is_own = ["localhost", "127.0.0.1", "llmc.example", "[", ""].contains(&name.trim_end_matches('.'))
        || name.starts_with("127.")
        || name.starts_with('[');
    assert!(is_own, "{head:?} is not for this server");
    let is_console = head.uri.path().starts_with("/console");
    // Names of hosts have no letter case, and a port that goes without saying may be said.
    let is_foreign = |origin: &&hyper::header::HeaderValue| {
        let origin = origin.to_str().unwrap_or_default().to_ascii_lowercase();
        let rest = origin.strip_prefix("https://app.example");
        !is_console && !rest.is_some_and(|rest| ["", ":443", ".", ".:443"].contains(&rest))
    };
    assert!(!all(ORIGIN).iter().any(is_foreign), "{head:?} comes from another page");
    if head.uri.path() == "/mcp" && head.method == hyper::Method::POST {
        assert!(all(CONTENT_LENGTH).len() == 1 && all(TRANSFER_ENCODING).is_empty(), "{head:?}");
    }
}
