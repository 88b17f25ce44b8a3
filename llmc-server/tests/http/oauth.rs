//! Access tokens of an authorization server: with keys that are made here, what is good is let in, and every known
//! trick is not.

mod keys;

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

pub(crate) const ISSUER: &str = "https://as.example";
pub(crate) const AUDIENCE: &str = "https://llmc.example/mcp";

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
pub(crate) enum Signer {
    P256(EcdsaKeyPair),
    P384(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
    Rsa(String),
}

impl Signer {
    pub(crate) fn p256() -> Self {
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
    pub(crate) fn public(&self, kid: &str) -> Value {
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
    pub(crate) fn token(&self, header: Value, claims: Value) -> String {
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

pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

pub(crate) fn set(keys: &[Value]) -> String {
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
pub(crate) fn with_keys(keys: &[Value], more: &str) -> Http {
    let setup = with_jwks("keys.json", more);
    std::fs::write(setup.folder.path().join("keys.json"), set(keys)).unwrap();
    Http::start(setup)
}

pub(crate) fn ask(http: &Http, token: &str) -> Reply {
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
