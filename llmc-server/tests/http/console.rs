//! The console as one who attacks it sees it, without a browser.

use std::io::{Read as _, Write as _};
use std::process::Command;
use std::time::Duration;

use serde_json::json;

use crate::client::{Http, Reply, configured, create_token, is_closed_within, token};
use crate::support::{PATIENCE, Setup, eventually, stage};

const TOKENS: &str = "tokens = 'tokens.json'";

/// The two texts of a session.
pub(crate) struct Session {
    cookie: String,
    key: String,
}

pub(crate) fn post(http: &Http, path: &str, body: &str, headers: &str) -> Reply {
    let length = body.len();
    http.raw(format!(
        "POST {path} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\n{headers}Content-Length: {length}\r\n\r\n{body}",
        http.address
    ))
    .unwrap()
}

pub(crate) fn session(reply: &Reply) -> Session {
    assert_eq!(reply.status, 200, "{reply:?}");
    let cookie = reply.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    Session { cookie, key: reply.json()["key"].as_str().unwrap().to_owned() }
}

pub(crate) fn open(http: &Http, token: &str) -> Reply {
    post(http, "/console/session", "{}", &format!("Authorization: Bearer {token}\r\n"))
}

fn state(http: &Http, headers: &str) -> u16 {
    http.status(format!("GET /console/state HTTP/1.1\r\nHost: {}\r\n{headers}\r\n", http.address))
}

impl Session {
    pub(crate) fn headers(&self) -> String {
        format!("Cookie: {}\r\nX-Llmc-Console: {}\r\n", self.cookie, self.key)
    }
}

/// A server, a token that only calls and one for the console.
fn server(more: &str) -> (Http, String) {
    start(configured(&format!("{TOKENS}, {more}"), ""))
}

fn start(setup: Setup) -> (Http, String) {
    let (caller, admin) =
        (create_token(&setup, &["good"]), create_token(&setup, &["boss", "--scope", "admin"]));
    (Http { token: Some(caller), ..Http::start(setup) }, admin)
}

pub(crate) fn ticket(http: &Http) -> String {
    let mut command = Command::new(stage().join("bin/llmc"));
    command.arg("console").arg("--config").arg(http.server.setup.folder.path().join("llmc.toml"));
    let output = command.args(["--http", &http.address.to_string()]).env_clear().output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let link = String::from_utf8(output.stdout).unwrap();
    link.trim_end().split_once("/console#ticket=").unwrap().1.to_owned()
}

#[test]
fn a_session_takes_cookie_and_key_and_no_other_site() {
    let (http, admin) = server("failures_per_minute = 1000");
    let mine = session(&open(&http, &admin));
    let other = session(&open(&http, &admin));
    let set = open(&http, &admin).header("set-cookie").unwrap().to_owned();
    for part in ["HttpOnly", "SameSite=Strict", "Path=/console"] {
        assert!(set.contains(part), "{set}");
    }
    assert_eq!(state(&http, &mine.headers()), 200);
    assert_eq!(state(&http, &format!("{}Sec-Fetch-Site: same-origin\r\n", mine.headers())), 200);
    let Session { cookie, key } = &mine;
    for headers in [
        String::new(),
        format!("Cookie: {cookie}\r\n"),
        format!("X-Llmc-Console: {key}\r\n"),
        format!("Cookie: {cookie}\r\nX-Llmc-Console: {}\r\n", other.key),
        format!("Cookie: {cookie}; {}\r\nX-Llmc-Console: {key}\r\n", other.cookie),
        format!("Authorization: Bearer {admin}\r\n"),
        format!("Cookie: llmc_console={key}\r\nX-Llmc-Console: {key}\r\n"),
    ] {
        assert_eq!(state(&http, &headers), 401, "{headers}");
    }
    for header in [
        "Sec-Fetch-Site: cross-site",
        "Sec-Fetch-Site: same-site",
        "Origin: http://evil.example",
        "Origin: null",
        "Origin: http://127.0.0.1:1",
    ] {
        assert_eq!(state(&http, &format!("{}{header}\r\n", mine.headers())), 403, "{header}");
        let login =
            post(&http, "/console/session", "{}", &format!("Authorization: Bearer {admin}\r\n{header}\r\n"));
        assert_eq!(login.status, 403, "{header}");
    }
    let ask = |body: &str, headers: &str| post(&http, "/console/records", body, headers).status;
    assert_eq!(ask("{}", &mine.headers()), 200);
    assert_eq!(ask("{}", ""), 401);
    assert_eq!(ask("{\"sql\": 1}", &mine.headers()), 400);
    assert_eq!(post(&http, "/console/verify", "{}", "").status, 401);
    let own = format!("{}Origin: http://{}\r\n", mine.headers(), http.address);
    let reply =
        http.raw(format!("GET /console/state HTTP/1.1\r\nHost: {}\r\n{own}\r\n", http.address)).unwrap();
    assert_eq!(
        (reply.status, reply.header("access-control-allow-origin")),
        (200, None),
        "its own page, and nobody else"
    );
    // A session of the console calls no tool.
    let call = http.request(&crate::client::call("stat", json!({"path": "work:a.txt"})), &mine.headers());
    let without = Http { token: None, ..http };
    let call = String::from_utf8(call).unwrap();
    let call: Vec<&str> = call.split("\r\n").filter(|line| !line.starts_with("Authorization")).collect();
    assert_eq!(without.status(call.join("\r\n")), 401);
    assert_eq!(post(&without, "/console/logout", "{}", &mine.headers()).status, 204);
    assert_eq!(state(&without, &mine.headers()), 401);
    assert_eq!(state(&without, &other.headers()), 200);
    let log = without.server.log();
    assert!(!log.contains(&mine.key) && !log.contains(&admin), "no secret in the log");
    without.server.stop();
}

/// Who searches again before the answer to the first search waits for his turn.
#[test]
fn searches_at_the_same_time_are_all_answered() {
    let (http, admin) = start(configured(TOKENS, "[audit]\npath = '{work}/../audit.db'\n"));
    let mine = session(&open(&http, &admin));
    let request = format!(
        "POST /console/records HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\n{}Content-Length: 2\r\n\r\n{{}}",
        http.address,
        mine.headers()
    );
    let mut streams: Vec<_> = (0..16).map(|_| http.connect()).collect();
    for stream in &mut streams {
        stream.write_all(request.as_bytes()).unwrap();
    }
    for stream in &mut streams {
        let reply = crate::client::read_reply(stream).unwrap();
        assert_eq!(reply.status, 200, "{reply:?}");
    }
    http.server.stop();
}

#[test]
fn only_administrators_open_it_and_only_as_long_as_they_are() {
    let (http, admin) = server("");
    assert_eq!(open(&http, http.token.as_deref().unwrap()).status, 403);
    assert_eq!(open(&http, "llmc_nonsense").status, 401);
    assert_eq!(post(&http, "/console/session", "{}", "").status, 401);
    for body in ["", "[]", "{\"ticket\": 1}", "{\"ticket\": \"x\"}", "{\"ticket\": \"../../tokens.json\"}"] {
        assert!(matches!(post(&http, "/console/session", body, "").status, 400 | 401), "{body}");
    }
    let mine = session(&open(&http, &admin));
    let mut stream = http.connect();
    let request = format!("GET /console/events HTTP/1.1\r\nHost: {}\r\n{}\r\n", http.address, mine.headers());
    stream.write_all(request.as_bytes()).unwrap();
    let mut seen = String::new();
    eventually("a call is told", || {
        http.works();
        let mut chunk = [0; 4096];
        let count = stream.read(&mut chunk).unwrap();
        seen.push_str(&String::from_utf8_lossy(&chunk[..count]));
        seen.contains("\"tool\":\"read_file\"")
    });
    assert!(seen.contains("content-type: text/event-stream"), "{seen}");
    assert!(!seen.contains("first\\nsecond"), "results are not told: {seen}");
    assert!(token(&http.server.setup, "revoke", &["boss"]).status.success());
    assert_eq!(state(&http, &mine.headers()), 401);
    assert!(is_closed_within(&mut stream, PATIENCE), "what watches ends, too");
    http.works();
    http.server.stop();
}

#[test]
fn the_console_is_opened_by_the_browser_of_whoever_asks() {
    let (http, _) = server("");
    let folder = http.server.setup.folder.path().to_owned();
    let told = folder.join("told");
    let browser = folder.join("browser");
    let script =
        format!("#!/bin/sh\nprintf '%s\\n' \"$@\" > '{0}.new'\nmv '{0}.new' '{0}'\n", told.display());
    std::fs::write(&browser, script).unwrap();
    std::fs::set_permissions(&browser, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let console = |env: &[(&str, &str)], args: &[&str]| {
        let mut command = Command::new(stage().join("bin/llmc"));
        command.arg("console").arg("--config").arg(folder.join("llmc.toml")).args(args);
        command.args(["--http", &http.address.to_string()]).env_clear().env("PATH", "/usr/bin:/bin");
        let output = command.envs(env.iter().copied()).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let named = format!("/no/such/browser:{} --new %s -x", browser.display());
    let (out, notes) = console(&[("BROWSER", &named)], &[]);
    assert_eq!(out, "", "the link is for the browser alone");
    assert!(notes.contains("opened by"), "{notes}");
    let argv = std::fs::read_to_string(&told).unwrap();
    let argv: Vec<&str> = argv.lines().collect();
    assert_eq!((argv.len(), argv[0], argv[2]), (3, "--new", "-x"), "no shell, and the link in its place");
    let prefix = format!("http://{}/console#ticket=", http.address);
    let body = json!({"ticket": argv[1].strip_prefix(&prefix).unwrap()}).to_string();
    assert_eq!(post(&http, "/console/session", &body, "").status, 200, "the link is good");
    assert_eq!(post(&http, "/console/session", &body, "").status, 401, "once");

    std::fs::remove_file(&told).unwrap();
    let (out, _) = console(&[("BROWSER", &named)], &["--print"]);
    assert!(out.starts_with(&prefix) && !told.exists(), "{out}");
    for env in [&[("BROWSER", "/bin/false")][..], &[("BROWSER", "")], &[]] {
        let (out, notes) = console(env, &[]);
        assert!(out.starts_with(&prefix) && notes.contains("no browser was opened"), "{out} {notes}");
    }
    http.server.stop();
}

#[test]
fn a_ticket_is_taken_once_and_by_the_server_alone() {
    let (http, _) = server("");
    let text = ticket(&http);
    let body = json!({"ticket": text}).to_string();
    let mine = session(&post(&http, "/console/session", &body, ""));
    assert_eq!(state(&http, &mine.headers()), 200);
    assert_eq!(post(&http, "/console/session", &body, "").status, 401, "once");
    let folder = http.server.setup.folder.path().join("console");
    let kept = ticket(&http);
    let names: Vec<String> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(names.len(), 1, "{names:?}");
    assert!(!names[0].contains(&kept), "only a digest lies there");
    assert_eq!(post(&http, "/console/session", &json!({"ticket": names[0]}).to_string(), "").status, 401);
    let old = std::fs::File::options().write(true).open(folder.join(&names[0])).unwrap();
    old.set_modified(std::time::SystemTime::now() - Duration::from_secs(70)).unwrap();
    assert_eq!(
        post(&http, "/console/session", &json!({"ticket": kept}).to_string(), "").status,
        401,
        "too old"
    );
    http.works();
    http.server.stop();
}

#[test]
fn without_tokens_only_a_link_opens_it() {
    let setup = configured(&format!("auth = 'none', {TOKENS}"), "");
    let http = Http::start(setup);
    http.works();
    assert_eq!(post(&http, "/console/session", "{}", "").status, 403, "everybody may call, not look");
    let body = json!({"ticket": ticket(&http)}).to_string();
    let mine = session(&post(&http, "/console/session", &body, ""));
    assert_eq!(state(&http, &mine.headers()), 200);
    http.server.stop();
}

#[test]
fn tickets_that_tools_could_write_are_none() {
    let setup = Setup::new(
        "server = { http = { listen = '127.0.0.1:0', auth = 'none', tokens = 'work/tokens.json' } }\n\
         [roots]\nwork = { path = '{work}', access = 'rw' }\n\
         [plugins.fs]\nlibrary = 'llmc_tools_fs'\ngrants = { roots = ['work'] }\n",
    );
    let http = Http::start(setup);
    let body = json!({"ticket": ticket(&http)}).to_string();
    assert_eq!(post(&http, "/console/session", &body, "").status, 401);
    http.server.log_until("are not taken");
    http.server.stop();
}

#[test]
fn it_can_be_switched_off_and_asks_for_json() {
    let (http, admin) = server("console = false");
    for path in ["/console", "/console/app.js", "/console/state"] {
        assert_eq!(http.get(path).status, 404, "{path}");
    }
    assert_eq!(open(&http, &admin).status, 404);
    http.server.stop();

    let (http, admin) = server("");
    let page = http.get("/console");
    let policy = page.header("content-security-policy").unwrap();
    assert_eq!(page.status, 200);
    assert!(policy.contains("default-src 'none'") && policy.contains("trusted-types 'none'"), "{policy}");
    assert!(!policy.contains("unsafe"), "{policy}");
    assert_eq!(page.header("x-frame-options"), Some("DENY"));
    let form = format!(
        "POST /console/session HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {admin}\r\n\
         Content-Type: text/plain\r\nContent-Length: 2\r\n\r\n{{}}"
    );
    assert_eq!(http.status(form), 415, "what a form of another site can send");
    http.server.stop();
}

#[test]
fn pages_that_stay_open_do_not_hold_up_the_end() {
    let (mut http, admin) = server("drain_ms = 60000");
    let mine = session(&open(&http, &admin));
    let mut stream = http.connect();
    let request = format!("GET /console/events HTTP/1.1\r\nHost: {}\r\n{}\r\n", http.address, mine.headers());
    stream.write_all(request.as_bytes()).unwrap();
    let mut first = [0; 64];
    assert!(stream.read(&mut first).unwrap() > 0);
    let pid = rustix::process::Pid::from_raw(http.server.pid().cast_signed()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert!(http.server.wait_for_end().success(), "within the patience of tests, not of `drain_ms`");
}
