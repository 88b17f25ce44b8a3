//! Access tokens of an authorization server: with keys that are made here, what is good is let in, and every known
//! trick is not.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use ring::hmac;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
    KeyPair as _,
};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::{Value, json};

use crate::client::{Http, Reply, audit_until, call, configured, message};
use crate::prerequisites::not_checked;
use crate::support::{Setup, eventually};

const ISSUER: &str = "https://as.example";
const AUDIENCE: &str = "https://llmc.example/mcp";

/// Makes an RSA key of 2048 bits, or signs with it: what `ring` cannot make.
const RSA: &str = r#"
import hashlib, json, secrets, sys
def is_prime(n):
    if any(n % p == 0 for p in (3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37)): return False
    d, r = n - 1, 0
    while d % 2 == 0: d, r = d // 2, r + 1
    for _ in range(12):
        x = pow(secrets.randbelow(n - 3) + 2, d, n)
        if x in (1, n - 1): continue
        for _ in range(r - 1):
            x = pow(x, 2, n)
            if x == n - 1: break
        else: return False
    return True
def prime(bits):
    while True:
        n = secrets.randbits(bits) | (3 << (bits - 2)) | 1
        if n % 65537 != 1 and is_prime(n): return n
def sha(data): return hashlib.sha256(data).digest()
def mask(seed, length):
    return b''.join(sha(seed + i.to_bytes(4, 'big')) for i in range(length // 32 + 1))[:length]
if sys.argv[1] == 'make':
    p, q = prime(1024), prime(1024)
    print(json.dumps({'n': p * q, 'd': pow(65537, -1, (p - 1) * (q - 1))}))
else:
    key, data = json.loads(sys.argv[2]), sys.argv[3].encode()
    if sys.argv[1] == 'RS256':
        info = bytes.fromhex('3031300d060960864801650304020105000420') + sha(data)
        block = b'\0\1' + b'\xff' * (256 - 3 - len(info)) + b'\0' + info
    else:
        salt = secrets.token_bytes(32)
        digest = sha(bytes(8) + sha(data) + salt)
        masked = bytearray(a ^ b for a, b in zip(bytes(256 - 32 - 32 - 2) + b'\1' + salt, mask(digest, 256 - 33)))
        masked[0] &= 0x7f
        block = bytes(masked) + digest + b'\xbc'
    print(pow(int.from_bytes(block, 'big'), key['d'], key['n']).to_bytes(256, 'big').hex())
"#;

fn python(args: &[&str]) -> String {
    let output =
        Command::new("/usr/bin/python3").args(["-c", RSA]).args(args).stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// A private key and how it signs.
enum Signer {
    P256(EcdsaKeyPair),
    P384(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
    Rsa(String),
}

impl Signer {
    fn p256() -> Self {
        let (algorithm, random) = (&ECDSA_P256_SHA256_FIXED_SIGNING, SystemRandom::new());
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        Self::P256(EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random).unwrap())
    }

    fn p384() -> Self {
        let (algorithm, random) = (&ECDSA_P384_SHA384_FIXED_SIGNING, SystemRandom::new());
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        Self::P384(EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random).unwrap())
    }

    fn ed25519() -> Self {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        Self::Ed25519(Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap())
    }

    fn sign(&self, algorithm: &str, text: &str) -> Vec<u8> {
        match self {
            Self::P256(key) | Self::P384(key) => {
                key.sign(&SystemRandom::new(), text.as_bytes()).unwrap().as_ref().to_vec()
            }
            Self::Ed25519(key) => key.sign(text.as_bytes()).as_ref().to_vec(),
            Self::Rsa(key) => {
                let hex = python(&[algorithm, key, text]);
                (0..hex.len())
                    .step_by(2)
                    .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
                    .collect()
            }
        }
    }

    /// The public half as a JWK.
    fn public(&self, kid: &str) -> Value {
        let point = |curve: &str, key: &[u8]| {
            let half = (key.len() - 1) / 2;
            json!({"kty": "EC", "crv": curve, "x": encoded(&key[1..=half]), "y": encoded(&key[half + 1..])})
        };
        let mut jwk = match self {
            Self::P256(key) => point("P-256", key.public_key().as_ref()),
            Self::P384(key) => point("P-384", key.public_key().as_ref()),
            Self::Ed25519(key) => {
                json!({"kty": "OKP", "crv": "Ed25519", "x": encoded(key.public_key().as_ref())})
            }
            Self::Rsa(key) => {
                let modulus = "import json, sys\nprint('%x' % json.loads(sys.argv[1])['n'])";
                let output = Command::new("/usr/bin/python3").args(["-c", modulus, key]).output().unwrap();
                let hex = String::from_utf8(output.stdout).unwrap().trim().to_owned();
                let n: Vec<u8> = (0..hex.len())
                    .step_by(2)
                    .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
                    .collect();
                json!({"kty": "RSA", "n": encoded(&n), "e": "AQAB"})
            }
        };
        jwk["kid"] = kid.into();
        jwk
    }

    /// A token as it should be, with changes.
    fn token(&self, header: Value, claims: Value) -> String {
        let algorithm = match self {
            Self::P256(_) => "ES256",
            Self::P384(_) => "ES384",
            Self::Ed25519(_) => "EdDSA",
            Self::Rsa(_) => "RS256",
        };
        let mut head = json!({"alg": algorithm, "typ": "at+jwt", "kid": "first"});
        let mut body = json!({
            "iss": ISSUER, "aud": AUDIENCE, "sub": "ada", "scope": "openid mcp:call",
            "iat": now(), "exp": now() + 600,
        });
        merge(&mut head, header);
        merge(&mut body, claims);
        let signed =
            format!("{}.{}", encoded(head.to_string().as_bytes()), encoded(body.to_string().as_bytes()));
        let signature = self.sign(head["alg"].as_str().unwrap_or_default(), &signed);
        format!("{signed}.{}", encoded(&signature))
    }

    fn good(&self) -> String {
        self.token(json!({}), json!({}))
    }
}

/// `null` takes a member away.
fn merge(to: &mut Value, from: Value) {
    for (name, value) in from.as_object().unwrap() {
        match value {
            Value::Null => drop(to.as_object_mut().unwrap().remove(name)),
            value => to[name] = value.clone(),
        }
    }
}

fn encoded(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn set(keys: &[Value]) -> String {
    json!({ "keys": keys }).to_string()
}

/// A configuration that believes the keys at `jwks`.
fn with_jwks(jwks: &str, more: &str) -> Setup {
    let oauth = format!(
        "auth = 'oauth', failures_per_minute = 100000, requests_per_minute = 100000, oauth = {{ issuer = '{ISSUER}', audience = '{AUDIENCE}', jwks = '{jwks}', \
         scopes = {{ 'mcp:call' = ['*'], 'mcp:read' = ['read_file', 'stat'] }}, {more} }}"
    );
    configured(&oauth, "[audit]\npath = 'audit.jsonl'\n")
}

/// A server that knows these keys from a file.
fn with_keys(keys: &[Value], more: &str) -> Http {
    let setup = with_jwks("keys.json", more);
    std::fs::write(setup.folder.path().join("keys.json"), set(keys)).unwrap();
    Http::start(setup)
}

fn ask(http: &Http, token: &str) -> Reply {
    let authorization = format!("Authorization: Bearer {token}\r\n");
    http.raw(http.request(&call("read_file", json!({"path": "work:a.txt"})), &authorization)).unwrap()
}

#[track_caller]
fn works(http: &Http, signer: &Signer) {
    let reply = ask(http, &signer.good());
    assert!(reply.status == 200 && reply.text().contains("second"), "{reply:?}");
}

#[track_caller]
fn refused(http: &Http, token: &str, why: &str) {
    let reply = ask(http, token);
    assert_eq!(reply.status, 401, "{why}: {reply:?}");
    assert_eq!(reply.json(), json!({"error": "Unauthorized"}), "no word on why");
    assert!(
        reply.header("www-authenticate").unwrap().starts_with("Bearer error=\"invalid_token\""),
        "{reply:?}"
    );
}

#[test]
fn good_tokens_of_every_kind_are_let_in() {
    let mut signers = vec![("a", Signer::p256()), ("b", Signer::p384()), ("c", Signer::ed25519())];
    if Path::new("/usr/bin/python3").exists() {
        signers.push(("d", Signer::Rsa(python(&["make"]))));
    } else {
        not_checked("tokens signed with RSA, because there is no /usr/bin/python3");
    }
    let keys: Vec<Value> = signers.iter().map(|(kid, signer)| signer.public(kid)).collect();
    let http = with_keys(&keys, "algorithms = ['ES256', 'ES384', 'EdDSA', 'RS256', 'PS256']");
    for (kid, signer) in &signers {
        let good = |header: Value, claims: Value| {
            // What is `null` is to be taken away further on.
            let mut named = json!({ "kid": kid });
            named.as_object_mut().unwrap().extend(header.as_object().unwrap().clone());
            let reply = ask(&http, &signer.token(named, claims));
            assert!(reply.status == 200 && reply.text().contains("second"), "{kid}: {reply:?}");
        };
        good(json!({}), json!({}));
        good(json!({"typ": "JWT"}), json!({"aud": ["https://other.example", AUDIENCE]}));
        good(json!({"typ": "application/AT+JWT"}), json!({"scope": null, "scp": ["mcp:call"]}));
        // Each kind of key is there once, so a token need not name it.
        good(json!({"kid": null}), json!({"exp": now() - 20, "nbf": now() + 20, "iat": null}));
        if let Signer::Rsa(_) = signer {
            good(json!({"alg": "PS256"}), json!({}));
        }
    }
    audit_until(&http.server.setup, "\"caller\":\"oauth ada\"", 1);
    http.server.stop();
}

#[test]
fn forged_tokens_are_not() {
    let (signer, other) = (Signer::p256(), Signer::p256());
    let http = with_keys(&[signer.public("first"), Signer::ed25519().public("second")], "");
    works(&http, &signer);
    let parts = |token: &str| token.split('.').map(str::to_owned).collect::<Vec<_>>();
    let good = parts(&signer.good());
    let none =
        |alg: &str| encoded(json!({"alg": alg, "typ": "at+jwt", "kid": "first"}).to_string().as_bytes());
    for alg in ["none", "None", "NONE", "nOnE", ""] {
        refused(&http, &format!("{}.{}.", none(alg), good[1]), alg);
        refused(&http, &format!("{}.{}.{}", none(alg), good[1], good[2]), alg);
    }
    // The public key is everybody's, so it is no secret for HMAC.
    let public = signer.public("first");
    for secret in
        [public.to_string().into_bytes(), URL_SAFE_NO_PAD.decode(public["x"].as_str().unwrap()).unwrap()]
    {
        let signed = format!("{}.{}", none("HS256"), good[1]);
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &secret), signed.as_bytes());
        refused(&http, &format!("{signed}.{}", encoded(tag.as_ref())), "HS256 with the public key");
    }
    refused(&http, &other.good(), "wrong key");
    let own = other.token(json!({"jwk": other.public("first")}), json!({}));
    refused(&http, &own, "a key that comes with the token");
    for url in ["jku", "x5u"] {
        let header = json!({url: "http://127.0.0.1:9/keys", "kid": "other"});
        refused(&http, &other.token(header, json!({})), "keys from a place that the token names");
    }
    let richer =
        json!({"iss": ISSUER, "aud": AUDIENCE, "sub": "root", "scope": "mcp:call", "exp": now() + 600});
    refused(
        &http,
        &format!("{}.{}.{}", good[0], encoded(richer.to_string().as_bytes()), good[2]),
        "other claims",
    );
    for signature in ["", "AAAA", &"A".repeat(86), &good[2][..80], &good[2].replace(&good[2][..1], "_")] {
        refused(&http, &format!("{}.{}.{signature}", good[0], good[1]), "another signature");
    }
    for token in [
        good[..2].join("."),
        [&good[..], &good[..1]].concat().join("."),
        format!("{}.", good.join(".")),
        good.join(".").replace('.', ""),
        "....".to_owned(),
        "llmc_0123456789012345678901234567890123456789012".to_owned(),
        "A".repeat(9_000),
        format!("{}.{}.{}", good[0], encoded(&[b'{'; 3_000]), good[2]),
    ] {
        refused(&http, &token, "no token");
    }
    // A digest of another length, or a key of another curve, under the name of this one.
    for alg in ["ES384", "EdDSA", "RS256", "PS256", "ES256K", "ES512"] {
        refused(&http, &signer.token(json!({ "alg": alg }), json!({})), alg);
    }
    works(&http, &signer);
    http.server.stop();
}

#[test]
fn headers_with_tricks_are_refused() {
    let signer = Signer::p256();
    let http = with_keys(&[signer.public("first"), Signer::p256().public("second")], "");
    let long = "k".repeat(5_000);
    for kid in [
        "second",
        "FIRST",
        "first ",
        "",
        "unknown",
        "../keys.json",
        "/dev/null",
        "../../../../etc/passwd",
        "first\0",
        "' OR '1'='1",
        "first'; DROP TABLE keys; --",
        "first|id",
        "$(id)",
        "http://127.0.0.1:9/key",
        "*",
        &long,
    ] {
        refused(&http, &signer.token(json!({ "kid": kid }), json!({})), kid);
    }
    // Two keys could be meant.
    refused(&http, &signer.token(json!({"kid": null}), json!({})), "no kid");
    for (header, why) in [
        (json!({"kid": ["first"]}), "a list"),
        (json!({"kid": {"a": 1}}), "an object"),
        (json!({"kid": 1}), "a number"),
        (json!({"crit": ["exp"], "exp": 1}), "crit"),
        (json!({"crit": ["b64"], "b64": false}), "b64"),
        (json!({"crit": []}), "empty crit"),
        (json!({"typ": "id+jwt"}), "typ"),
        (json!({"typ": "secevent+jwt"}), "typ"),
        (json!({"typ": null}), "no typ"),
        (json!({"typ": ["at+jwt"]}), "typ"),
    ] {
        refused(&http, &signer.token(header, json!({})), why);
    }
    works(&http, &signer);
    http.server.stop();
}

#[test]
fn claims_must_be_for_us_and_now() {
    let signer = Signer::ed25519();
    let http = with_keys(&[signer.public("first")], "leeway_s = 30");
    works(&http, &signer);
    for (claims, why) in [
        (json!({"exp": now() - 40}), "expired"),
        (json!({"exp": 0}), "expired"),
        (json!({"exp": null}), "no end"),
        (json!({"exp": "9999999999"}), "a text as end"),
        (json!({"nbf": now() + 100}), "not yet"),
        (json!({"iat": now() + 100}), "made in the future"),
        (json!({"iss": "https://evil.example"}), "issuer"),
        (json!({"iss": format!("{ISSUER}/")}), "issuer"),
        (json!({"iss": null}), "no issuer"),
        (json!({"aud": "https://other.example"}), "audience"),
        (json!({"aud": format!("{AUDIENCE}.evil.example")}), "audience"),
        (json!({"aud": []}), "nobody"),
        (json!({"aud": null}), "no audience"),
        (json!({"sub": null}), "nobody"),
        (json!({"sub": ""}), "nobody"),
        (json!({"sub": "ada\n{\"outcome\":\"ok\"}"}), "a name with a line"),
        (json!({"sub": 7}), "a number"),
    ] {
        refused(&http, &signer.token(json!({}), claims), why);
        works(&http, &signer);
    }
    let log = http.server.log();
    for reason in ["an expired token", "a token for another audience", "a token of another issuer"] {
        audit_until(&http.server.setup, reason, 1);
    }
    assert!(!log.contains("eyJ"), "no token in the log");
    http.server.stop();
}

#[test]
fn scopes_open_their_tools_and_no_other() {
    let signer = Signer::p256();
    let http = with_keys(&[signer.public("first")], "");
    let with = |scope: &str| signer.token(json!({}), json!({ "scope": scope }));
    let narrow = Http { token: Some(with("profile mcp:read")), ..http };
    assert_eq!(narrow.tools(), ["read_file", "read_more", "stat"]);
    narrow.works();
    let wide = Http { token: Some(with("mcp:read mcp:call")), ..narrow };
    assert!(wide.tools().contains(&"list_dir".to_owned()));
    wide.works();
    let http = Http { token: None, ..wide };
    for scope in ["", "openid", "mcp:call2", "MCP:CALL", "mcp:call,mcp:read", "*"] {
        let reply = ask(&http, &with(scope));
        assert_eq!(reply.status, 403, "{scope}: {reply:?}");
        let challenge = reply.header("www-authenticate").unwrap();
        assert!(
            challenge.contains("error=\"insufficient_scope\"")
                && challenge.contains("scope=\"mcp:call mcp:read\"")
        );
    }
    http.server.stop();
}

/// A tool that another scope opens asks for that scope; what no scope opens is refused as ever.
#[test]
fn a_call_that_wants_another_scope_is_told_which() {
    let signer = Signer::p256();
    let oauth = format!(
        "auth = 'oauth', oauth = {{ issuer = '{ISSUER}', audience = '{AUDIENCE}', jwks = 'keys.json', scopes = {{ \
         'mcp:read' = ['read_file'], 'mcp:look' = ['list_dir', 'stat'], 'mcp:more' = ['list_dir', 'stat', 'tree', \
         'no_such_tool', 'stress_log', 'stress_nested'] }} }}"
    );
    let rest = "[audit]\npath = 'audit.jsonl'\n[policy]\ndeny = ['stress_log']\n[plugins.stress.grants]\ntools = ['list_dir']\n";
    let setup = configured(&oauth, rest);
    std::fs::write(setup.folder.path().join("keys.json"), set(&[signer.public("first")])).unwrap();
    let http = Http::start(setup);
    let with = |scope: &str| Some(signer.token(json!({}), json!({ "scope": scope })));
    let http = Http { token: with("openid mcp:read"), ..http };
    http.works();
    let metadata = "resource_metadata=\"https://llmc.example/.well-known/oauth-protected-resource/mcp\"";
    let challenge = |reply: &Reply, scope: &str| {
        assert_eq!((reply.status, reply.json()), (403, json!({"error": "Forbidden"})));
        let expected = format!(
            "Bearer error=\"insufficient_scope\", scope=\"{scope}\", {metadata}, error_description=\"list_dir needs another scope\""
        );
        assert_eq!(reply.header("www-authenticate"), Some(expected.as_str()));
    };
    // Earlier clients ask for what they read here alone, later ones add it to what they have.
    let list = json!({"name": "list_dir", "arguments": {"path": "work:"}});
    challenge(&http.call("list_dir", json!({"path": "work:"})), "mcp:look mcp:read");
    let headers = "MCP-Protocol-Version: 2026-07-28\r\nMcp-Method: tools/call\r\nMcp-Name: list_dir\r\n";
    let later = crate::support::modern::with_meta(list, &json!({}));
    let later = http.raw(http.request(&message("tools/call", later), headers)).unwrap();
    challenge(&later, "mcp:look");
    // What no scope opens, what does not exist, and what nobody may call: more scopes would not help.
    for tool in ["write_file", "no_such_tool", "read_filex", "stress_log"] {
        let refused = http.call(tool, json!({"path": "work:a.txt"}));
        assert_eq!(refused.status, 200, "{tool}: {refused:?}");
        assert_eq!(refused.json()["result"]["_meta"]["llmc/error"], "denied", "{tool}: {refused:?}");
        assert!(refused.header("www-authenticate").is_none());
    }
    http.works();
    let records = http.server.setup.records(|records| {
        records.iter().filter(|one| one["tool"] == "list_dir" && one["outcome"] == "denied").count() == 2
    });
    let record = records.iter().find(|one| one["tool"] == "list_dir").unwrap();
    assert_eq!(
        (&record["caller"], &record["rule"]),
        (&json!("oauth ada"), &json!("token.tools")),
        "{record}"
    );
    // With the scope it works. Below a call it is refused as ever.
    let wide = Http { token: with("mcp:read mcp:look"), ..http };
    let listed = wide.call("list_dir", json!({"path": "work:"}));
    assert_eq!((listed.status, &listed.json()["result"]["isError"]), (200, &json!(false)), "{listed:?}");
    let oauth_only = Http { token: with("mcp:more"), ..wide };
    let nested = json!({"tool": "read_file", "arguments": {"path": "work:a.txt"}});
    let below = oauth_only.call("stress_nested", nested);
    assert_eq!(below.status, 200, "{below:?}");
    assert_eq!(below.json()["result"]["isError"], true, "{below:?}");
    oauth_only.server.stop();
}

#[test]
fn scopes_open_console_and_numbers_to_who_has_them() {
    let signer = Signer::p256();
    let more = "admin_scope = 'llmc:admin', metrics_scope = 'llmc:metrics', leeway_s = 0";
    let http = with_keys(&[signer.public("first")], more);
    let with = |scope: &str| signer.token(json!({}), json!({ "scope": scope }));
    let metrics = |token: &str| {
        let head =
            format!("GET /metrics HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n");
        http.raw(head).unwrap()
    };
    let (call, numbers, admin) = (with("mcp:call"), with("llmc:metrics"), with("llmc:admin"));
    for (token, called, read, opened) in [
        (&call, 200, 403, 403),
        (&numbers, 403, 200, 403),
        (&admin, 403, 200, 200),
        (&with("mcp:call llmc:admin"), 200, 200, 200),
        (&with("openid"), 403, 403, 403),
    ] {
        assert_eq!(ask(&http, token).status, called);
        assert_eq!(metrics(token).status, read);
        assert_eq!(crate::console::open(&http, token).status, opened);
    }
    let wants = |reply: Reply, scopes: &str| {
        let challenge = reply.header("www-authenticate").unwrap().to_owned();
        let scope = format!("error=\"insufficient_scope\", scope=\"{scopes}\"");
        assert!(challenge.contains(&scope), "{challenge}");
    };
    wants(metrics(&call), "llmc:metrics");
    wants(crate::console::open(&http, &call), "llmc:admin");
    wants(ask(&http, &admin), "mcp:call mcp:read");
    // Clients ask for all scopes that they read there: these are not among them.
    let document = http.get("/.well-known/oauth-protected-resource").json();
    assert_eq!(document["scopes_supported"], json!(["mcp:call", "mcp:read"]));
    // A session ends with the token that opened it.
    let short = signer.token(json!({}), json!({"scope": "llmc:admin", "exp": now() + 4}));
    let session = crate::console::session(&crate::console::open(&http, &short));
    let state = || {
        let headers = session.headers();
        http.status(format!("GET /console/state HTTP/1.1\r\nHost: {}\r\n{headers}\r\n", http.address))
    };
    eventually("the session is over", || state() == 401);
    let long = crate::console::session(&crate::console::open(&http, &admin));
    let headers = long.headers();
    let get = format!("GET /console/state HTTP/1.1\r\nHost: {}\r\n{headers}\r\n", http.address);
    assert_eq!(http.status(get), 200);
    http.server.stop();
    // Without such a scope no access token opens them.
    let http = with_keys(&[signer.public("first")], "");
    assert_eq!(crate::console::open(&http, &with("mcp:call llmc:admin admin")).status, 403);
    http.server.stop();
}

#[test]
fn clients_are_led_to_the_authorization_server() {
    let signer = Signer::p256();
    let http = with_keys(&[signer.public("first")], "");
    let plain = http.raw(http.request(&message("tools/list", json!({})), "")).unwrap();
    assert_eq!(plain.status, 401);
    let url = "https://llmc.example/.well-known/oauth-protected-resource/mcp";
    let expected = format!("Bearer resource_metadata=\"{url}\", scope=\"mcp:call mcp:read\"");
    assert_eq!(plain.header("www-authenticate"), Some(expected.as_str()));
    for path in ["/.well-known/oauth-protected-resource", "/.well-known/oauth-protected-resource/mcp"] {
        let document = http.get(path);
        assert_eq!(document.status, 200);
        assert_eq!(
            document.json(),
            json!({
                "resource": AUDIENCE,
                "resource_name": "llmc",
                "authorization_servers": [ISSUER],
                "scopes_supported": ["mcp:call", "mcp:read"],
                "bearer_methods_supported": ["header"],
            })
        );
        assert_eq!(
            http.status(format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n")),
            405
        );
    }
    for path in [
        "/.well-known/oauth-protected-resource/",
        "/.well-known/oauth-authorization-server",
        "/.well-known/x",
    ] {
        assert_eq!(http.get(path).status, 404, "{path}");
    }
    let in_url = String::from_utf8(http.request(&call("stat", json!({})), "")).unwrap();
    let in_url = in_url.replacen("/mcp", &format!("/mcp?access_token={}", signer.good()), 1);
    assert_eq!(http.status(in_url), 400);
    http.server.stop();
    // Where no access tokens are taken there is nothing of it.
    let open = Http::open();
    assert_eq!(open.get("/.well-known/oauth-protected-resource").status, 404);
    open.server.stop();
}

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
