//! TLS: who speaks it is served, who does not is not, and a new certificate is taken up.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, version};
use serde_json::json;

use crate::client::{Http, Reply, call, configured, connect, create_token, is_closed_within, read_reply};
use crate::support::{PATIENCE, Server, Setup, eventually};

/// Writes a new certificate and its key; returns the certificate.
fn make(folder: &Path) -> CertificateDer<'static> {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    std::fs::write(folder.join("cert.pem"), cert.pem()).unwrap();
    let key = folder.join("key.pem");
    std::fs::write(&key, signing_key.serialize_pem()).unwrap();
    std::fs::set_permissions(key, PermissionsExt::from_mode(0o600)).unwrap();
    cert.der().clone()
}

const TLS: &str = "tls = { cert = 'cert.pem', key = 'key.pem' }, tokens = 'tokens.json'";

struct Https {
    server: Server,
    address: SocketAddr,
    token: String,
    certificate: CertificateDer<'static>,
}

fn start(more: &str) -> Https {
    let setup = configured(&format!("{TLS}, {more}"), "");
    let certificate = make(setup.folder.path());
    let token = create_token(&setup, &["good"]);
    let server = setup.serve_raw();
    let log = server.log_until("/mcp\n");
    assert!(log.contains("serving MCP at https://127.0.0.1:"), "{log}");
    let address = log.split("https://").nth(1).unwrap().split("/mcp").next().unwrap().parse().unwrap();
    Https { server, address, token, certificate }
}

impl Https {
    /// Shakes hands, believing this certificate alone.
    fn connect(
        &self,
        believed: &CertificateDer<'static>,
        versions: &[&'static rustls::SupportedProtocolVersion],
    ) -> Result<StreamOwned<ClientConnection, TcpStream>, std::io::Error> {
        let mut roots = RootCertStore::empty();
        roots.add(believed.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions).unwrap();
        let config = Arc::new(config.with_root_certificates(roots).with_no_client_auth());
        let name = ServerName::try_from("localhost").unwrap();
        let mut stream =
            StreamOwned::new(ClientConnection::new(config, name).unwrap(), connect(self.address));
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(stream)
    }

    fn call(&self, versions: &[&'static rustls::SupportedProtocolVersion]) -> Reply {
        let mut stream = self.connect(&self.certificate, versions).unwrap();
        let body = call("read_file", json!({"path": "work:a.txt"})).to_string();
        let request = format!(
            "POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
             Accept: application/json, text/event-stream\r\nAuthorization: Bearer {}\r\nContent-Length: {}\r\n\r\n{body}",
            self.token,
            body.len()
        );
        stream.write_all(request.as_bytes()).unwrap();
        read_reply(&mut stream).unwrap()
    }

    #[track_caller]
    fn works(&self) {
        for versions in [[&version::TLS13], [&version::TLS12]] {
            let reply = self.call(&versions);
            assert!(reply.status == 200 && reply.text().contains("second"), "{reply:?}");
        }
    }
}

/// A first message of TLS that knows no version later than `minor` (2 is 1.1).
fn hello(minor: u8) -> Vec<u8> {
    let mut body = vec![3, minor];
    body.extend([7; 32]);
    // No session; two old suites and TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256; no compression; no extensions.
    body.extend([0, 0, 6, 0xc0, 0x09, 0x00, 0x2f, 0xc0, 0x2b, 1, 0]);
    let length = u8::try_from(body.len()).unwrap();
    let mut message = vec![22, 3, 1, 0, length + 4, 1, 0, 0, length];
    message.extend(body);
    message
}

#[test]
fn tls_is_spoken_in_both_versions_and_no_older_one() {
    let https = start("client_timeout_ms = 1500");
    https.works();
    // Version 1.1: an alert, fatal, "protocol version" (70) or "handshake failure" (40).
    let mut old = connect(https.address);
    old.write_all(&hello(2)).unwrap();
    let mut answer = Vec::new();
    let _ = old.read_to_end(&mut answer);
    assert!(matches!(answer[..], [21, 3, _, 0, 2, 2, 70 | 40 | 109]), "{answer:?}");
    // What is no TLS at all gets no HTTP.
    let mut plain = connect(https.address);
    plain.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer);
    assert!(!String::from_utf8_lossy(&answer).contains("HTTP/1.1"), "{answer:?}");
    // Who shakes hands for ever is left.
    let mut silent = connect(https.address);
    let mut slow = connect(https.address);
    slow.write_all(&hello(3)[..20]).unwrap();
    assert!(is_closed_within(&mut silent, PATIENCE) && is_closed_within(&mut slow, PATIENCE));
    // Noise harms nobody.
    for seed in 0..50_u8 {
        let mut noise = connect(https.address);
        let bytes: Vec<u8> = (0..200_u8).map(|at| at.wrapping_mul(seed).wrapping_add(seed)).collect();
        let _ = noise.write_all(&[&[22, 3, 1, 0, 190][..], &bytes].concat());
    }
    https.works();
    let mut unauthorised = https.connect(&https.certificate, &[&version::TLS13]).unwrap();
    unauthorised
        .write_all(b"POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}")
        .unwrap();
    assert_eq!(read_reply(&mut unauthorised).unwrap().status, 401, "encryption lets nobody in");
    https.server.stop();
}

#[test]
fn a_new_certificate_is_taken_up_and_a_wrong_one_is_not() {
    let mut https = start("");
    https.works();
    let folder = https.server.setup.folder.path().to_owned();
    let old = https.certificate.clone();
    // Half of the change: the key does not fit any more.
    let key = std::fs::read(folder.join("key.pem")).unwrap();
    let new = make(&folder);
    std::fs::write(folder.join("key.pem"), &key).unwrap();
    eventually("it is noticed", || {
        https.works();
        std::thread::sleep(Duration::from_millis(200));
        https.server.log().contains("the old certificate stays in use")
    });
    https.works();
    let new = {
        drop(new);
        make(&folder)
    };
    eventually("the new one is in use", || {
        std::thread::sleep(Duration::from_millis(200));
        https.connect(&new, &[&version::TLS13]).is_ok()
    });
    assert!(https.connect(&old, &[&version::TLS13]).is_err());
    https.certificate = new;
    https.works();
    https.server.stop();
}

#[test]
fn keys_that_others_could_have_read_stop_the_start() {
    let refused = |setup: &Setup| {
        let output = setup.run("serve", &[]);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    let setup = configured(&format!("auth = 'none', {TLS}"), "");
    assert!(refused(&setup).contains("cert.pem"), "missing");
    make(setup.folder.path());
    let key = setup.folder.path().join("key.pem");
    for mode in [0o644, 0o620, 0o601] {
        std::fs::set_permissions(&key, PermissionsExt::from_mode(mode)).unwrap();
        assert!(refused(&setup).contains("chmod"), "{mode:o}");
    }
    std::fs::set_permissions(&key, PermissionsExt::from_mode(0o600)).unwrap();
    std::fs::write(&key, "no key").unwrap();
    assert!(refused(&setup).contains("no private key in PEM"));

    let inside = configured("auth = 'none', tls = { cert = 'work/cert.pem', key = 'work/key.pem' }", "");
    make(&inside.folder.path().join("work"));
    let error = refused(&inside);
    assert!(error.contains("lies in the root `work`"), "{error}");

    // Encryption does not replace authentication beyond this machine.
    let open = Setup::new(
        "server = { http = { listen = '0.0.0.0:0', auth = 'none', tls = { cert = 'c', key = 'k' } } }",
    );
    assert_eq!(open.run("serve", &[]).status.code(), Some(2));
    Http::open().works();
}

/// Commands of the operator know the server by the very certificate of its configuration.
#[test]
fn commands_reach_the_server_over_tls_and_no_other_one() {
    let https = start("");
    let listed = || {
        let mut command = std::process::Command::new(crate::support::stage().join("bin/llmc"));
        command.args(["pending", "list", "--config"]);
        command.arg(https.server.setup.folder.path().join("llmc.toml"));
        command.args(["--http", &https.address.to_string()]).env_clear().output().unwrap()
    };
    let output = listed();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(output.stdout, b"no call waits for an operator\n");
    // Another certificate with the same name, which the server does not show.
    let CertifiedKey { cert, .. } = generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let other = https.server.setup.folder.path().join("other.pem");
    std::fs::write(other, cert.pem()).unwrap();
    let file = https.server.setup.folder.path().join("llmc.toml");
    let text = std::fs::read_to_string(&file).unwrap().replace("'cert.pem'", "'other.pem'");
    let elsewhere = https.server.setup.folder.path().join("other.toml");
    std::fs::write(&elsewhere, text).unwrap();
    let mut command = std::process::Command::new(crate::support::stage().join("bin/llmc"));
    command.args(["pending", "list", "--config"]).arg(&elsewhere);
    let output = command.args(["--http", &https.address.to_string()]).env_clear().output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && error.contains("another certificate"), "{error}");
    https.server.stop();
}
