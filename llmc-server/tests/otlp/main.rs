//! Spans reach an OpenTelemetry collector. Needs the feature and a stage:
//! `cargo xtask build && cargo test -p llmc-server --features otlp --test otlp`.

#![expect(clippy::unwrap_used, reason = "a surprise ends a test where it happens")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(20);

/// A collector that keeps what it is sent: the head of each request, and its body.
fn collector() -> (SocketAddr, Receiver<(String, Vec<u8>)>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, requests) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut reader = BufReader::new(stream.unwrap());
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head).unwrap() > 0 {}
            let length = head.to_ascii_lowercase();
            let length = length.split("content-length: ").nth(1).unwrap().split("\r\n").next().unwrap();
            let mut body = vec![0; length.parse().unwrap()];
            reader.read_exact(&mut body).unwrap();
            reader.get_mut().write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").unwrap();
            let _ = sender.send((head, body));
        }
    });
    (address, requests)
}

fn stage() -> PathBuf {
    let default = || Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("target/stage");
    std::env::var_os("LLMC_STAGE").map_or_else(default, PathBuf::from)
}

/// `llmc VERB` of this build, with the rest of the stage and spans for `endpoint`.
fn llmc(folder: &Path, endpoint: &str, verb: &str) -> Command {
    let config = folder.join("llmc.toml");
    let text = format!(
        "[roots]\nwork = {{ path = '.' }}\n[telemetry]\notlp = '{endpoint}'\n\
         [plugins.fs]\nlibrary = 'llmc_tools_fs'\ngrants = {{ roots = ['work'] }}\n"
    );
    std::fs::write(&config, text).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_llmc"));
    command.arg(verb).arg("--stage").arg(stage()).arg("--config").arg(config).env_clear();
    command
}

fn contains(body: &[u8], part: &[u8]) -> bool {
    body.windows(part.len()).any(|window| window == part)
}

fn call(folder: &Path, endpoint: &str, arguments: &str) -> Output {
    llmc(folder, endpoint, "call").args(["stat", arguments]).output().unwrap()
}

#[test]
fn each_call_is_a_span() {
    let folder = tempfile::tempdir().unwrap();
    let (address, requests) = collector();
    let output = call(folder.path(), &format!("http://{address}"), r#"{"path": "work:llmc.toml"}"#);
    assert!(output.status.success(), "{output:?}");
    let (head, body) = requests.recv_timeout(PATIENCE).unwrap();
    assert!(head.starts_with("POST /v1/traces HTTP/1.1\r\n"), "{head}");
    for text in ["execute_tool stat", "service.name", "llmc", "llmc.outcome", "ok", "command line"] {
        assert!(contains(&body, text.as_bytes()), "{text}");
    }
    assert!(!contains(&body, b"llmc.toml"), "arguments are no part of it");

    let output = call(folder.path(), &format!("http://{address}/"), "{}");
    assert_eq!(output.status.code(), Some(5), "{output:?}");
    let (_, body) = requests.recv_timeout(PATIENCE).unwrap();
    assert!(contains(&body, b"invalid_arguments"), "a refused call is one too");
}

#[test]
fn a_span_belongs_to_the_trace_of_its_client() {
    let folder = tempfile::tempdir().unwrap();
    let (address, requests) = collector();
    let mut command = llmc(folder.path(), &format!("http://{address}"), "serve");
    let mut server = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut stdin, mut stdout) =
        (server.stdin.take().unwrap(), BufReader::new(server.stdout.take().unwrap()));
    let mut say = |message: &str, answered: bool| {
        writeln!(stdin, "{message}").unwrap();
        let mut line = String::new();
        if answered {
            stdout.read_line(&mut line).unwrap();
        }
        line
    };
    let client =
        r#""protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"1"}"#;
    say(&format!(r#"{{"jsonrpc":"2.0","id":1,"method":"initialize","params":{{{client}}}}}"#), true);
    say(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#, false);
    let call = |id: u8, flags: &str, trace: &str| {
        format!(
            r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"stat","arguments":{{"path":"work:."}},"_meta":{{"traceparent":"00-{trace}-00f067aa0ba902b7-{flags}"}}}}}}"#
        )
    };
    let (kept, not_kept) = ("4bf92f3577b34da6a3ce929d0e0e4736", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
    assert!(say(&call(2, "00", not_kept), true).contains("result"));
    assert!(say(&call(3, "01", kept), true).contains("result"));
    drop(stdin);
    let (_, body) = requests.recv_timeout(PATIENCE).unwrap();
    assert!(server.wait().unwrap().success());
    assert!(contains(&body, &0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736_u128.to_be_bytes()));
    assert!(contains(&body, &0x00f0_67aa_0ba9_02b7_u64.to_be_bytes()), "the client's span is above it");
    assert!(!contains(&body, &[0xaa; 16]), "a trace that is not sampled is not sent");
}

#[test]
fn a_collector_that_is_gone_costs_no_call() {
    let folder = tempfile::tempdir().unwrap();
    let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    let output = call(folder.path(), &format!("http://{address}"), r#"{"path": "work:llmc.toml"}"#);
    assert!(output.status.success(), "{output:?}");
    let refused = call(folder.path(), "https://collector.example", "{}");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("must begin with `http://`"), "{refused:?}");
}
