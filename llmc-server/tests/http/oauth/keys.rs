//! Keys of an authorization server: where they come from, and what happens without them.

use super::*;

/// An authorization server as far as its keys go.
struct Publisher {
    address: SocketAddr,
    answer: Arc<Mutex<Vec<u8>>>,
    asked: Arc<AtomicUsize>,
}

impl Publisher {
    /// `wrap` makes of each connection what is spoken over it.
    fn start<S: std::io::Read + std::io::Write>(
        answer: Vec<u8>,
        wrap: impl Fn(TcpStream) -> S + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (answer, asked) = (Arc::new(Mutex::new(answer)), Arc::new(AtomicUsize::new(0)));
        let (shared, counted) = (Arc::clone(&answer), Arc::clone(&asked));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let mut stream = wrap(stream);
                let (mut head, mut chunk) = (Vec::new(), [0; 1024]);
                while !head.ends_with(b"\r\n\r\n") {
                    match stream.read(&mut chunk) {
                        Ok(count @ 1..) => head.extend_from_slice(&chunk[..count]),
                        _ => break,
                    }
                }
                counted.fetch_add(1, Ordering::SeqCst);
                let answer = shared.lock().unwrap().clone();
                let _ = stream.write_all(&answer).and_then(|()| stream.flush());
            }
        });
        Self { address, answer, asked }
    }

    fn plain(keys: &[Value]) -> Self {
        Self::start(ok(&set(keys)), |stream| stream)
    }

    fn says(&self, answer: impl Into<Vec<u8>>) {
        *self.answer.lock().unwrap() = answer.into();
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

fn ok(body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

#[test]
fn keys_are_fetched_kept_and_replaced() {
    let (first, second) = (Signer::p256(), Signer::p256());
    let publisher = Publisher::plain(&[first.public("first")]);
    let jwks = format!("http://{}/keys", publisher.address);
    let http = Http::start(with_jwks(&jwks, "jwks_pause_s = 2"));
    for _ in 0..20 {
        works(&http, &first);
    }
    assert_eq!(publisher.asked(), 1, "one fetch does for many tokens");
    // Another key: the first token that names it brings it.
    publisher.says(ok(&set(&[first.public("first"), second.public("second")])));
    let named = || second.token(json!({"kid": "second"}), json!({}));
    eventually("the new key is known", || ask(&http, &named()).status == 200);
    works(&http, &first);
    // Tokens with invented keys are anybody's: they bring a fetch now and then.
    let (before, begun) = (publisher.asked(), std::time::Instant::now());
    for number in 0..200 {
        refused(&http, &second.token(json!({"kid": format!("invented {number}")}), json!({})), "unknown");
    }
    let (asked, seconds) = (publisher.asked() - before, begun.elapsed().as_secs());
    assert!(asked <= 2 + usize::try_from(seconds / 2).unwrap(), "{asked} fetches in {seconds} s");
    // A key that is withdrawn does not count any more once the set has been fetched.
    publisher.says(ok(&set(&[second.public("second")])));
    eventually("the old key is forgotten", || {
        refused(&http, &second.token(json!({"kid": "invented"}), json!({})), "unknown");
        std::thread::sleep(std::time::Duration::from_millis(100));
        ask(&http, &first.good()).status == 401
    });
    // What is no set of keys changes nothing.
    let fetches = publisher.asked();
    publisher.says("HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n");
    eventually("asked again", || {
        refused(&http, &second.token(json!({"kid": "invented"}), json!({})), "unknown");
        std::thread::sleep(std::time::Duration::from_millis(100));
        publisher.asked() > fetches
    });
    assert_eq!(ask(&http, &named()).status, 200);
    http.server.stop();
}

#[test]
fn without_keys_nobody_is_let_in_and_the_server_waits_for_them() {
    let signer = Signer::p256();
    let publisher = Publisher::plain(&[]);
    let elsewhere = Publisher::plain(&[signer.public("first")]);
    let http = Http::start(with_jwks(&format!("http://{}/keys", publisher.address), "jwks_pause_s = 0"));
    let huge = format!("{{\"keys\":[],\"x\":\"{}\"}}", "x".repeat(300 << 10));
    for answer in [
        ok("{}"),
        ok("no json"),
        ok(&huge),
        ok(&set(&[json!({"kty": "oct", "k": "AAAA", "kid": "first"})])),
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_vec(),
        b"no http".to_vec(),
        Vec::new(),
        format!(
            "HTTP/1.1 302 Found\r\nLocation: http://{}/keys\r\nContent-Length: 0\r\n\r\n",
            elsewhere.address
        )
        .into_bytes(),
    ] {
        publisher.says(answer);
        let reply = ask(&http, &signer.good());
        assert_eq!(reply.status, 503, "{reply:?}");
        assert!(reply.header("retry-after").is_some(), "{reply:?}");
    }
    assert_eq!(elsewhere.asked(), 0, "redirects are not followed");
    assert_eq!(
        http.raw(http.request(&call("stat", json!({})), "")).unwrap().status,
        401,
        "no token, no keys needed"
    );
    publisher.says(ok(&set(&[signer.public("first")])));
    works(&http, &signer);
    http.server.stop();
}

#[test]
fn keys_come_by_https_from_the_server_that_the_operator_trusts() {
    let signer = Signer::p256();
    let certified = |name: &str| generate_simple_self_signed(vec![name.to_owned()]).unwrap();
    let CertifiedKey { cert, signing_key } = certified("localhost");
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    let config = Arc::new(config);
    let wrap = move |stream| {
        rustls::StreamOwned::new(rustls::ServerConnection::new(Arc::clone(&config)).unwrap(), stream)
    };
    let publisher = Publisher::start(ok(&set(&[signer.public("first")])), wrap);
    let jwks = format!("https://localhost:{}/keys", publisher.address.port());
    for (authority, status) in [(cert.pem(), 200), (certified("localhost").cert.pem(), 503)] {
        let setup = with_jwks(&jwks, "jwks_ca = 'ca.pem', jwks_pause_s = 0");
        std::fs::write(setup.folder.path().join("ca.pem"), authority).unwrap();
        let http = Http::start(setup);
        assert_eq!(ask(&http, &signer.good()).status, status);
        http.server.stop();
    }
    // By another name it is another server.
    let by_address = format!("https://127.0.0.1:{}/keys", publisher.address.port());
    let setup = with_jwks(&by_address, "jwks_ca = 'ca.pem', jwks_pause_s = 0");
    std::fs::write(setup.folder.path().join("ca.pem"), cert.pem()).unwrap();
    let http = Http::start(setup);
    assert_eq!(ask(&http, &signer.good()).status, 503);
    http.server.stop();
}

#[test]
fn a_file_of_keys_is_followed_and_must_be_out_of_reach() {
    let (first, second) = (Signer::p256(), Signer::p256());
    let http = with_keys(&[first.public("first")], "");
    works(&http, &first);
    let file = http.server.setup.folder.path().join("keys.json");
    std::fs::write(&file, set(&[second.public("first")])).unwrap();
    works(&http, &second);
    refused(&http, &first.good(), "replaced");
    std::fs::write(&file, "{").unwrap();
    assert_eq!(ask(&http, &second.good()).status, 503, "nobody is let in by keys that may be withdrawn");
    std::fs::write(&file, set(&[first.public("first")])).unwrap();
    works(&http, &first);
    http.server.stop();

    let missing = with_jwks("no-such-file.json", "");
    let output = missing.run("serve", &[]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("no-such-file.json"));
    let inside = Setup::new(&format!(
        "server = {{ http = {{ listen = '127.0.0.1:0', auth = 'oauth', oauth = {{ issuer = '{ISSUER}', audience = \
         '{AUDIENCE}', jwks = 'work/keys.json', scopes = {{ a = ['*'] }} }} }} }}\n\
         [roots]\nwork = {{ path = '{{work}}', access = 'rw' }}\n"
    ))
    .file("keys.json", set(&[first.public("first")]));
    let output = inside.run("serve", &[]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("writable root `work`"), "{output:?}");
    let without = Setup::new("server = { http = { listen = '127.0.0.1:0', auth = 'oauth' } }");
    assert_eq!(without.run("serve", &[]).status.code(), Some(2));
}
