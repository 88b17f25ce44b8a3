//! Unix sockets, sockets of a service manager, and proxies in front of either.

use std::io::Write as _;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::client::{Http, Reply, audit_until, call, configured, create_token, read_reply};
use crate::prerequisites::not_checked;
use crate::support::{PATIENCE, Server, Setup, eventually};

const PLUGINS: &str = "[roots]\nwork = { path = '{work}' }\n\
    [plugins.fs]\nlibrary = 'llmc_tools_fs'\ngrants = { roots = ['work'] }\n";

fn on_socket(http: &str, rest: &str) -> Setup {
    let text = format!("server = {{ http = {{ listen = 'unix:http.socket', {http} }} }}\n{PLUGINS}{rest}");
    Setup::new(&text).file("a.txt", "first\nsecond\n")
}

fn socket(setup: &Setup) -> PathBuf {
    setup.folder.path().join("http.socket")
}

fn send(socket: &Path, headers: &str) -> Reply {
    let body = call("read_file", json!({"path": "work:a.txt"})).to_string();
    let request = format!(
        "POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Accept: application/json, text/event-stream\r\n{headers}Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    read_reply(&mut stream).unwrap()
}

fn works(socket: &Path) {
    let reply = send(socket, "");
    assert!(reply.status == 200 && reply.text().contains("second"), "{reply:?}");
}

fn start(setup: Setup) -> Server {
    let server = setup.serve_raw();
    server.log_until("http.socket/mcp\n");
    server
}

fn end(mut server: Server) {
    kill_process(Pid::from_raw(server.pid().cast_signed()).unwrap(), Signal::TERM).unwrap();
    assert!(server.wait_for_end().success());
}

#[test]
fn a_unix_socket_has_the_mode_that_was_asked_for_and_leaves_nothing() {
    for (settings, mode) in [("auth = 'none'", 0o600), ("auth = 'none', socket_mode = '0660'", 0o660)] {
        let server = start(on_socket(settings, "").arg("--no-stdio"));
        let socket = socket(&server.setup);
        let metadata = socket.symlink_metadata().unwrap();
        assert!(metadata.file_type().is_socket() && metadata.permissions().mode() & 0o777 == mode);
        let beside = std::fs::read_dir(server.setup.folder.path()).unwrap().flatten();
        let hidden = beside.filter(|entry| entry.file_name().to_string_lossy().starts_with(".llmc"));
        assert_eq!(hidden.count(), 0, "nothing is left of making it");
        works(&socket);
        let folder = server.setup.folder.path().to_owned();
        end(server);
        assert!(!folder.join("http.socket").exists());
    }
    for mode in ["rw", "0888", "7777", ""] {
        let refused = on_socket(&format!("auth = 'none', socket_mode = '{mode}'"), "").run("serve", &[]);
        assert_eq!(refused.status.code(), Some(2), "{mode}: {refused:?}");
    }
}

#[test]
fn what_is_in_the_way_is_replaced_only_if_nobody_is_there() {
    let setup = on_socket("auth = 'none'", "").arg("--no-stdio");
    // The socket of a server that was killed.
    drop(UnixListener::bind(socket(&setup)).unwrap());
    let server = start(setup);
    works(&socket(&server.setup));
    let second = format!(
        "server = {{ http = {{ listen = 'unix:{}', auth = 'none' }} }}",
        socket(&server.setup).display()
    );
    let refused = Setup::new(&second).run("serve", &["--no-stdio"]);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("another server listens there"));
    works(&socket(&server.setup));
    end(server);

    let setup = on_socket("auth = 'none'", "");
    std::fs::write(socket(&setup), "precious").unwrap();
    assert_eq!(setup.run("serve", &[]).status.code(), Some(1));
    assert_eq!(std::fs::read_to_string(socket(&setup)).unwrap(), "precious");
}

#[test]
fn a_socket_that_code_could_reach_is_refused() {
    for place in ["work/http.socket", "work/deep/http.socket"] {
        let text = format!("server = {{ http = {{ listen = 'unix:{place}', auth = 'none' }} }}\n{PLUGINS}");
        let setup = Setup::new(&text);
        std::fs::create_dir(setup.work("deep")).unwrap();
        let refused = setup.run("serve", &[]);
        assert_eq!(refused.status.code(), Some(1), "{refused:?}");
        let error = String::from_utf8(refused.stderr).unwrap();
        assert!(error.contains("would lie in the root `work`"), "{error}");
    }
}

#[test]
fn the_kernel_says_who_connects() {
    let setup = on_socket("tokens = 'tokens.json'", "[audit]\npath = 'audit.jsonl'\n").arg("--no-stdio");
    let token = create_token(&setup, &["good"]);
    let server = start(setup);
    let socket = socket(&server.setup);
    assert_eq!(send(&socket, "").status, 401);
    assert_eq!(send(&socket, "X-Forwarded-For: 192.0.2.9\r\n").status, 401);
    let good = send(&socket, &format!("Authorization: Bearer {token}\r\n"));
    assert!(good.text().contains("second"), "{good:?}");
    let uid = rustix::process::geteuid().as_raw();
    let me = format!("\"address\":\"uid {uid}, pid {}\"", std::process::id());
    let audit = audit_until(&server.setup, &me, 2);
    assert_eq!(audit.matches(&me).count(), 2, "{audit}");
    assert!(!audit.contains("192.0.2.9"), "{audit}");
    end(server);

    let server = start(on_socket("auth = 'none'", "[audit]\npath = 'audit.jsonl'\n").arg("--no-stdio"));
    works(&self::socket(&server.setup));
    audit_until(&server.setup, &format!("\"caller\":\"http uid {uid}\""), 1);
    end(server);
}

#[test]
fn a_proxy_is_believed_if_it_is_named_and_nobody_else_is() {
    let with = |settings: &str| {
        let setup = configured(
            &format!("tokens = 'tokens.json', failures_per_minute = 3, {settings}"),
            "[audit]\npath = 'audit.jsonl'\n",
        );
        let token = create_token(&setup, &["good"]);
        Http { token: Some(token), ..Http::start(setup) }
    };
    let refused = |http: &Http, headers: &str| {
        let body = call("stat", json!({})).to_string();
        let head = "POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";
        http.status(format!("{head}{headers}Content-Length: {}\r\n\r\n{body}", body.len()))
    };
    let http = with("trusted_proxies = ['127.0.0.1/32']");
    // Each client behind the proxy has its own share; who invents addresses further left has not.
    for round in 0..3 {
        for client in ["192.0.2.1", "192.0.2.2"] {
            let headers = format!("X-Forwarded-For: 6.6.6.{round}, {client}\r\n");
            assert_eq!(refused(&http, &headers), 401, "{client}");
        }
    }
    for client in ["192.0.2.1", "192.0.2.2"] {
        assert_eq!(refused(&http, &format!("X-Forwarded-For: 6.6.6.6, {client}\r\n")), 429);
    }
    assert_eq!(refused(&http, "X-Forwarded-For: 192.0.2.3\r\n"), 401);
    let recorded = audit_until(&http.server.setup, "\"address\":\"192.0.2.3\"", 1);
    assert!(recorded.contains("\"address\":\"192.0.2.2\"") && !recorded.contains("6.6.6."), "{recorded}");
    // Nothing else that a proxy could say changes anything.
    assert_eq!(refused(&http, "Forwarded: for=192.0.2.4\r\nX-Forwarded-Host: localhost\r\n"), 401);
    let recorded = audit_until(&http.server.setup, "\"address\":\"127.0.0.1\"", 1);
    assert!(!recorded.contains("192.0.2.4"), "{recorded}");
    let foreign = "POST /mcp HTTP/1.1\r\nHost: evil.example\r\nX-Forwarded-Host: localhost\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(http.status(foreign), 403);
    http.works();
    http.server.stop();

    // Without a word in the configuration all of this is noise.
    let http = with("");
    for number in 0..3 {
        assert_eq!(refused(&http, &format!("X-Forwarded-For: 192.0.2.{number}\r\n")), 401);
    }
    assert_eq!(refused(&http, "X-Forwarded-For: 192.0.2.9\r\n"), 429);
    let recorded = audit_until(&http.server.setup, "\"address\":\"127.0.0.1\"", 3);
    assert!(!recorded.contains("192.0.2."), "{recorded}");
    http.works();
    http.server.stop();
}

/// Listens, and becomes the server with that socket as systemd hands it over.
const ACTIVATE: &str = "
import os, socket, sys
kind, place = sys.argv[1:3]
listener = socket.socket(socket.AF_UNIX if kind == 'unix' else socket.AF_INET, socket.SOCK_DGRAM if kind == 'udp' else socket.SOCK_STREAM)
listener.bind(place if kind == 'unix' else (place, 0))
if kind != 'udp':
    listener.listen()
os.dup2(listener.fileno(), 3)
os.set_inheritable(3, True)
environment = {'PATH': '/usr/bin:/bin', 'LISTEN_FDS': '1', 'LISTEN_PID': str(os.getpid())}
os.execve(sys.argv[3], sys.argv[3:], environment)
";

/// The command that starts `llmc serve` with a socket.
fn activated(setup: &Setup, kind: &str, place: &str) -> Command {
    let serve = setup.command("serve");
    let mut command = Command::new("/usr/bin/python3");
    command.args(["-c", ACTIVATE, kind, place]).arg(serve.get_program()).args(serve.get_args());
    command
        .current_dir(setup.folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    command
}

#[test]
fn a_socket_of_systemd_is_served() {
    if !Path::new("/usr/bin/python3").exists() {
        return not_checked("sockets of systemd, because there is no /usr/bin/python3");
    }
    let setup = |auth: &str| {
        let text = format!("server = {{ http = {{ listen = 'systemd', auth = '{auth}' }} }}\n{PLUGINS}");
        Setup::new(&text).file("a.txt", "first\nsecond\n")
    };
    let unix = setup("none");
    let place = unix.folder.path().join("activated");
    let mut child = activated(&unix, "unix", place.to_str().unwrap()).spawn().unwrap();
    eventually("it listens", || UnixStream::connect(&place).is_ok());
    works(&place);
    let hosts: Vec<u32> = crate::support::children(child.id());
    for host in hosts {
        let fds = std::fs::read_dir(format!("/proc/{host}/fd")).unwrap().flatten();
        let links: Vec<PathBuf> = fds.filter_map(|fd| std::fs::read_link(fd.path()).ok()).collect();
        let inode = std::fs::read_link(format!("/proc/{}/fd/3", child.id())).unwrap();
        assert!(!links.contains(&inode), "no child has the socket");
    }
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    assert!(child.wait().unwrap().success());
    assert!(place.exists(), "the socket is systemd's");

    let output = activated(&setup("none"), "udp", "127.0.0.1").output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(1) && error.contains("no stream socket"), "{error}");
    let output = setup("none").run("serve", &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("LISTEN_FDS"));
}

#[test]
fn commands_reach_the_server_over_its_socket() {
    let server = start(on_socket("auth = 'none', tokens = 'tokens.json'", "").arg("--no-stdio"));
    let mut command = Command::new(crate::support::stage().join("bin/llmc"));
    command.args(["pending", "list", "--config"]).arg(server.setup.folder.path().join("llmc.toml"));
    let output = command.env_clear().output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(output.stdout, b"no call waits for an operator\n");
    let mut command = Command::new(crate::support::stage().join("bin/llmc"));
    command.args(["console", "--config"]).arg(server.setup.folder.path().join("llmc.toml"));
    let output = command.env_clear().output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && error.contains("--scope admin"), "{error}");
    end(server);
}
