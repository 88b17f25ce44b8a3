//! Consent of an operator: calls wait for him, and nobody else can give it.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Command, Output};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::client::{Http, Reply, call, configured, create_token, message, read_reply};
use crate::console::{Session, open, post, session};
use crate::support::modern::{again, consent, with_meta};
use crate::support::{canary, eventually, stage};

const BY_CONSOLE: &str = "confirm_by = 'console'";
const BY_EITHER: &str = "confirm_by = 'either'";
const NESTED: &str = "[plugins.stress.grants]\ntools = ['delete_path']\n";

/// A server where what destroys needs consent, a client with the token `good`, and an operator.
struct Operated {
    http: Http,
    session: Session,
    admin: String,
}

fn setup(policy: &str, rest: &str) -> crate::support::Setup {
    let rest = format!(
        "[policy]\nconfirm = 'destructive'\n{policy}\n[audit]\npath = 'audit.jsonl'\narguments = 'redacted'\n{rest}"
    );
    configured("tokens = 'tokens.json'", &rest).writable().file("b.txt", "second")
}

fn operated(policy: &str, rest: &str) -> Operated {
    let setup = setup(policy, rest);
    let (good, admin) =
        (create_token(&setup, &["good"]), create_token(&setup, &["boss", "--scope", "admin"]));
    let http = Http { token: Some(good), ..Http::start(setup) };
    let session = session(&open(&http, &admin));
    Operated { http, session, admin }
}

fn delete() -> Value {
    call("delete_path", json!({"path": "work:a.txt"}))
}

/// The same in the stateless revision.
fn modern(params: Value, capabilities: &Value) -> (Value, String) {
    let name = params["name"].as_str().unwrap();
    let headers =
        format!("MCP-Protocol-Version: 2026-07-28\r\nMcp-Method: tools/call\r\nMcp-Name: {name}\r\n");
    (message("tools/call", with_meta(params, capabilities)), headers)
}

impl Operated {
    /// Makes a call and does not wait for its answer.
    fn begin(&self, message: &Value, headers: &str) -> TcpStream {
        let mut stream = self.http.connect();
        stream.write_all(&self.http.request(message, headers)).unwrap();
        stream
    }

    fn shown(&self) -> Value {
        let headers = self.session.headers();
        let get = format!("GET /console/pending HTTP/1.1\r\nHost: {}\r\n{headers}\r\n", self.http.address);
        let reply = self.http.raw(get).unwrap();
        assert_eq!(reply.status, 200, "{reply:?}");
        reply.json()
    }

    fn waiting(&self) -> Vec<Value> {
        self.shown()["waiting"].as_array().unwrap().clone()
    }

    /// The one call that waits, as soon as it does.
    #[track_caller]
    fn asked(&self) -> Value {
        eventually("a call waits", || self.waiting().len() == 1);
        self.waiting().remove(0)
    }

    fn decide(&self, id: &Value, allow: bool, reason: &str) -> Reply {
        let body = json!({"id": id, "allow": allow, "reason": reason}).to_string();
        post(&self.http, "/console/decide", &body, &self.session.headers())
    }

    fn is_there(&self) -> bool {
        self.http.server.setup.work("a.txt").exists()
    }

    /// Records of consent, as soon as there are so many.
    fn consents(&self, count: usize) -> Vec<Value> {
        let is_consent = |record: &&Value| record["event"] == "consent";
        let records =
            self.http.server.setup.records(|records| records.iter().filter(is_consent).count() >= count);
        records.into_iter().filter(|record| record["event"] == "consent").collect()
    }

    /// A page that is open, until it is dropped.
    fn watching(&self) -> TcpStream {
        let mut stream = self.http.connect();
        let (address, headers) = (self.http.address, self.session.headers());
        let get = format!("GET /console/events HTTP/1.1\r\nHost: {address}\r\n{headers}\r\n");
        stream.write_all(get.as_bytes()).unwrap();
        let mut head = [0; 512];
        let mut seen = String::new();
        // The first heartbeat comes when it watches.
        while !seen.contains(":\n\n") {
            let count = stream.read(&mut head).unwrap();
            seen.push_str(&String::from_utf8_lossy(&head[..count]));
        }
        stream
    }

    fn command(&self, args: &[&str]) -> Output {
        let mut command = Command::new(stage().join("bin/llmc"));
        command.arg("pending").args(args).arg("--config");
        command.arg(self.http.server.setup.folder.path().join("llmc.toml"));
        command.args(["--http", &self.http.address.to_string()]).env_clear().output().unwrap()
    }
}

#[track_caller]
fn result(stream: &mut TcpStream) -> Reply {
    let reply = read_reply(stream).unwrap();
    assert_eq!(reply.status, 200, "{reply:?}");
    reply
}

#[test]
fn a_call_runs_when_an_operator_allows_it_and_not_before() {
    let on = operated(BY_CONSOLE, "");
    let mut stream = on.begin(&delete(), "");
    let asked = on.asked();
    assert_eq!((&asked["tool"], &asked["plugin"]), (&json!("delete_path"), &json!("fs")), "{asked}");
    assert_eq!((&asked["caller"], &asked["for"]), (&json!("token good"), &Value::Null), "{asked}");
    assert!(asked["arguments"].as_str().unwrap().contains("work:a.txt"), "{asked}");
    assert_eq!((&asked["is_shortened"], &asked["asks_client"]), (&json!(false), &json!(false)), "{asked}");
    assert!(on.is_there());
    on.http.works();
    assert_eq!(on.decide(&asked["id"], true, "").json(), json!({"outcome": "allowed"}));
    assert_eq!(result(&mut stream).json()["result"]["isError"], json!(false));
    assert!(!on.is_there());

    let again = on.decide(&asked["id"], false, "");
    assert_eq!(again.status, 409, "{again:?}");
    assert!(again.json()["error"].as_str().unwrap().contains("allowed by token boss"), "{again:?}");
    for unknown in [json!("0123456789ab"), json!(""), json!("../x")] {
        assert_eq!(on.decide(&unknown, true, "").status, 404, "{unknown}");
    }
    let record = on.consents(1).remove(0);
    assert_eq!((&record["outcome"], &record["by"]), (&json!("allowed"), &json!("token boss")), "{record}");
    assert!(record["waited_ms"].is_u64() && record["caller"] == "token good", "{record}");
    let calls =
        on.http.server.setup.records(|records| {
            records.iter().any(|one| one["call"] == record["call"] && one["event"] == "call")
        });
    assert!(
        calls
            .iter()
            .any(|one| one["event"] == "call" && one["call"] == record["call"] && one["outcome"] == "ok")
    );
    let metrics =
        format!("GET /metrics HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n\r\n", on.admin);
    let metrics = on.http.raw(metrics).unwrap().body;
    assert!(metrics.contains("llmc_consents_total{outcome=\"allowed\"} 1"), "{metrics}");
    assert!(metrics.contains("llmc_consents_waiting 0"), "{metrics}");
    on.http.server.stop();
}

#[test]
fn a_no_reaches_the_caller_with_its_reason() {
    let on = operated(BY_CONSOLE, "");
    let mut stream = on.begin(&delete(), "");
    let id = on.asked()["id"].clone();
    assert_eq!(on.decide(&id, false, "not on a Friday").json(), json!({"outcome": "denied"}));
    let refused = result(&mut stream);
    assert!(refused.text().contains("an operator denied `delete_path`: not on a Friday"), "{refused:?}");
    assert_eq!(refused.json()["result"]["_meta"]["llmc/error"], "declined");
    assert!(on.is_there());
    let record = on.consents(1).remove(0);
    assert_eq!((&record["outcome"], &record["reason"]), (&json!("denied"), &json!("not on a Friday")));
    on.http.works();
    on.http.server.stop();
}

#[test]
fn nobody_but_an_operator_decides() {
    let on = operated(BY_CONSOLE, "");
    let mut stream = on.begin(&delete(), "");
    let id = on.asked()["id"].clone();
    let body = json!({"id": id, "allow": true}).to_string();
    let good = on.http.token.clone().unwrap();
    // Who calls opens no session, and a token alone decides nothing, not even that of an administrator.
    assert_eq!(open(&on.http, &good).status, 403);
    for headers in [
        String::new(),
        format!("Authorization: Bearer {good}\r\n"),
        format!("Authorization: Bearer {}\r\n", on.admin),
        on.session.headers().lines().next().unwrap().to_owned() + "\r\n",
    ] {
        assert_eq!(post(&on.http, "/console/decide", &body, &headers).status, 401, "{headers}");
    }
    let foreign = format!("{}Origin: http://evil.example\r\n", on.session.headers());
    assert_eq!(post(&on.http, "/console/decide", &body, &foreign).status, 403);
    let odd = [r#"{"id": "x"}"#, r#"{"id": 1, "allow": true}"#, r#"{"id": "x", "allow": "true"}"#, "[]"];
    for odd in odd {
        assert_eq!(post(&on.http, "/console/decide", odd, &on.session.headers()).status, 400, "{odd}");
    }
    let get = format!("GET /console/decide HTTP/1.1\r\nHost: localhost\r\n{}\r\n", on.session.headers());
    assert_eq!(on.http.status(get), 405);
    // The client's own word is no consent, however it says it; its call waits as well.
    let params = json!({"name": "delete_path", "arguments": {"path": "work:a.txt"}});
    let params = again(&params, consent(true), &Value::Null);
    let (message, headers) = modern(params, &json!({"elicitation": {}}));
    let mut other = on.begin(&message, &headers);
    eventually("both wait", || on.waiting().len() == 2);
    assert!(on.is_there());
    for asked in on.waiting() {
        assert_eq!(on.decide(&asked["id"], false, "").status, 200);
    }
    for stream in [&mut stream, &mut other] {
        assert!(result(stream).text().contains("an operator denied"));
    }
    assert!(on.is_there());
    let scope = |records: &[Value]| records.iter().any(|one| one["event"] == "rejected");
    assert!(scope(&on.http.server.setup.records(scope)), "the attempt is recorded");
    on.http.server.stop();
}

#[test]
fn clients_of_every_revision_wait_and_so_does_what_they_call_below() {
    let on = operated(BY_CONSOLE, NESTED);
    // Without state and without elicitation; a call below a call waits, too.
    let nested = json!({"tool": "delete_path", "arguments": {"path": "work:b.txt"}});
    let params = json!({"name": "stress_nested", "arguments": nested});
    let (message, headers) = modern(params, &json!({}));
    let mut stream = on.begin(&message, &headers);
    let asked = on.asked();
    assert_eq!(asked["caller"], "plugin stress", "{asked}");
    assert!(asked["for"].as_str().unwrap().starts_with("token good"), "{asked}");
    assert_eq!(on.decide(&asked["id"], true, "").status, 200);
    assert_eq!(result(&mut stream).json()["result"]["isError"], json!(false));
    assert!(!on.http.server.setup.work("b.txt").exists());

    let params = json!({"name": "delete_path", "arguments": {"path": "work:a.txt"}});
    let (message, headers) = modern(params, &json!({}));
    let mut stream = on.begin(&message, &headers);
    let asked = on.asked();
    assert_eq!(on.decide(&asked["id"], true, "").status, 200);
    assert_eq!(result(&mut stream).json()["result"]["isError"], json!(false));
    assert!(!on.is_there());
    on.http.server.stop();
}

#[test]
fn a_client_that_leaves_takes_its_question_with_it() {
    let on = operated(BY_CONSOLE, "");
    let stream = on.begin(&delete(), "");
    let id = on.asked()["id"].clone();
    drop(stream);
    eventually("it waits no longer", || on.waiting().is_empty());
    let late = on.decide(&id, true, "");
    assert_eq!(late.status, 409, "{late:?}");
    assert!(on.is_there());
    let outcome = on.consents(1).remove(0)["outcome"].clone();
    assert!(outcome == "abandoned" || outcome == "cancelled", "{outcome}");
    on.http.works();
    on.http.server.stop();
}

#[test]
fn patience_ends() {
    let on = operated(&format!("{BY_CONSOLE}\nconfirm_timeout_ms = 300"), "");
    let refused = on.http.raw(on.http.request(&delete(), "")).unwrap();
    assert!(refused.text().contains("policy.confirm_timeout_ms"), "{refused:?}");
    assert!(refused.text().contains("llmc pending"), "{refused:?}");
    assert_eq!(on.consents(1).remove(0)["outcome"], "timed_out");
    assert_eq!(on.decide(&on.shown()["ended"][0]["id"], true, "").status, 409);
    assert!(on.is_there());
    on.http.server.stop();
}

/// The time of a person is not the tool's, and a new configuration takes no question away.
#[test]
fn a_question_outlasts_the_time_of_the_call_and_a_reload() {
    let on = operated(BY_CONSOLE, "[limits]\ncall_timeout_ms = 4000\n");
    let mut stream = on.begin(&delete(), "");
    let id = on.asked()["id"].clone();
    let file = on.http.server.setup.folder.path().join("llmc.toml");
    let text =
        std::fs::read_to_string(&file).unwrap().replace("call_timeout_ms = 4000", "call_timeout_ms = 4001");
    std::fs::write(&file, text).unwrap();
    kill_process(Pid::from_raw(on.http.server.pid().cast_signed()).unwrap(), Signal::HUP).unwrap();
    on.http.server.log_until("configuration reloaded");
    std::thread::sleep(Duration::from_millis(4500));
    assert_eq!(on.asked()["id"], id);
    assert_eq!(on.decide(&id, true, "").status, 200);
    assert_eq!(result(&mut stream).json()["result"]["isError"], json!(false));
    assert!(!on.is_there());
    on.http.server.stop();
}

#[test]
fn what_is_shown_holds_no_secret_and_says_what_it_leaves_out() {
    let on = operated(BY_CONSOLE, "");
    let path = format!("work:{}", canary::value("granted"));
    let mut stream = on.begin(&call("delete_path", json!({"path": path})), "");
    // Answers are searched for the secret where they are read.
    let asked = on.asked();
    assert!(!asked["arguments"].as_str().unwrap().contains("granted+"), "{asked}");
    assert_eq!(on.decide(&asked["id"], false, &canary::value("granted")).status, 200);
    assert!(!result(&mut stream).text().contains("granted+"));
    let long = call("delete_path", json!({"path": format!("work:{}/end", "x".repeat(3000))}));
    let mut stream = on.begin(&long, "");
    let asked = on.asked();
    assert_eq!(asked["is_shortened"], true, "{asked}");
    let text = asked["arguments"].as_str().unwrap();
    assert!(text.contains("bytes left out") && text.contains("/end"), "{text}");
    assert!(asked["argument_bytes"].as_u64() > Some(3000), "{asked}");
    assert_eq!(on.decide(&asked["id"], false, "").status, 200);
    result(&mut stream);
    on.http.server.stop();
}

#[test]
fn one_client_does_not_keep_others_from_asking() {
    let on = operated(BY_CONSOLE, "");
    let streams: Vec<TcpStream> = (0..16).map(|_| on.begin(&delete(), "")).collect();
    eventually("all wait", || on.waiting().len() == 16);
    let refused = on.http.raw(on.http.request(&delete(), "")).unwrap();
    assert_eq!(refused.json()["result"]["_meta"]["llmc/error"], "busy", "{refused:?}");
    let other = create_token(&on.http.server.setup, &["other"]);
    let on = Operated { http: Http { token: Some(other), ..on.http }, ..on };
    let mut stream = on.begin(&delete(), "");
    eventually("the other waits, too", || on.waiting().len() == 17);
    let asked = on.waiting().remove(16);
    assert_eq!(asked["caller"], "token other");
    assert_eq!(on.decide(&asked["id"], true, "").status, 200);
    assert_eq!(result(&mut stream).json()["result"]["isError"], json!(false));
    drop(streams);
    eventually("nobody waits", || on.waiting().is_empty());
    on.http.server.stop();
}

#[test]
fn with_either_a_client_that_cannot_ask_waits_only_if_somebody_looks() {
    let on = operated(BY_EITHER, "");
    let params = json!({"name": "delete_path", "arguments": {"path": "work:a.txt"}});
    let (message, headers) = modern(params.clone(), &json!({}));
    let refused = on.http.raw(on.http.request(&message, &headers)).unwrap();
    assert!(refused.text().contains("open the console with `llmc console` and call again"), "{refused:?}");
    assert_eq!(refused.json()["result"]["_meta"]["llmc/error"], "unconfirmed");
    // A client that is asked by ending the call is asked like that.
    let (asking, headers) = modern(params, &json!({"elicitation": {}}));
    let asked = on.http.raw(on.http.request(&asking, &headers)).unwrap();
    assert_eq!(asked.json()["result"]["resultType"], "input_required", "{asked:?}");
    let page = on.watching();
    let mut stream = on.begin(&message, &headers);
    let asked = on.asked();
    assert_eq!(on.decide(&asked["id"], true, "").status, 200);
    assert_eq!(result(&mut stream).json()["result"]["isError"], json!(false));
    assert!(!on.is_there());
    drop(page);
    on.http.server.stop();
}

/// A client on stdio, beside the console.
#[test]
fn with_either_whoever_is_first_decides() {
    let mut on = operated(BY_EITHER, "");
    let client = json!({"name": "test", "version": "0"});
    let params =
        json!({"protocolVersion": "2025-11-25", "capabilities": {"elicitation": {}}, "clientInfo": client});
    on.http.server.request("initialize", params);
    on.http.server.notify("notifications/initialized", json!({}));
    let yes = |question: &Value, yes: bool| {
        let content = json!({"action": "accept", "content": {"confirm": yes}});
        json!({"jsonrpc": "2.0", "id": question["id"], "result": content}).to_string()
    };
    // The operator.
    let begun = on.http.server.send_call("delete_path", json!({"path": "work:b.txt"}));
    let question = on.http.server.notification("elicitation/create");
    let asked = on.asked();
    assert_eq!(asked["asks_client"], true, "{asked}");
    assert!(asked["caller"] == "client", "{asked}");
    assert_eq!(on.decide(&asked["id"], true, "").status, 200);
    on.http.server.called(begun).ok();
    assert!(!on.http.server.setup.work("b.txt").exists());
    // Too late.
    on.http.server.send_line(yes(&question, false).as_bytes());
    // The client.
    for (allows, outcome) in [(false, "denied"), (true, "allowed")] {
        let begun = on.http.server.send_call("delete_path", json!({"path": "work:a.txt"}));
        let question = on.http.server.notification("elicitation/create");
        let id = on.asked()["id"].clone();
        on.http.server.send_line(yes(&question, allows).as_bytes());
        let called = on.http.server.called(begun);
        assert_eq!(called.is_error(), !allows, "{called:?}");
        let late = on.decide(&id, true, "");
        let told = format!("it is over: {outcome} by client");
        assert_eq!((late.status, late.json()), (409, json!({"error": told})));
    }
    assert!(!on.is_there());
    let by: Vec<Value> = on.consents(3).iter().map(|record| record["by"].clone()).collect();
    assert_eq!(by, ["token boss", "client", "client"]);
    on.http.server.stop();
}

#[test]
fn a_client_is_told_that_an_operator_is_asked() {
    let mut on = operated(BY_CONSOLE, NESTED);
    on.http.server.initialize("2025-11-25");
    let nested = json!({"tool": "delete_path", "arguments": {"path": "work:a.txt"}});
    for (tool, arguments) in [("delete_path", json!({"path": "work:none"})), ("stress_nested", nested)] {
        let params = json!({"name": tool, "arguments": arguments, "_meta": {"progressToken": tool}});
        let begun = on.http.server.send("tools/call", params);
        let told = on.http.server.notification("notifications/progress");
        assert!(told["params"]["message"].as_str().unwrap().contains("an operator is asked"), "{told}");
        let id = on.asked()["id"].clone();
        assert_eq!(on.decide(&id, true, "").status, 200);
        on.http.server.called(begun);
    }
    assert!(!on.is_there());
    on.http.server.stop();
}

#[test]
fn commands_list_and_decide() {
    let on = operated(BY_CONSOLE, "");
    let text = |output: &Output| String::from_utf8(output.stdout.clone()).unwrap();
    assert_eq!(text(&on.command(&["list"])), "no call waits for an operator\n");
    let mut stream = on.begin(&delete(), "");
    let id = on.asked()["id"].as_str().unwrap().to_owned();
    let listed = text(&on.command(&["list"]));
    for word in [&id, "delete_path", "token good", "work:a.txt"] {
        assert!(listed.contains(word), "{word}: {listed}");
    }
    let json: Value = serde_json::from_str(&text(&on.command(&["list", "--json"]))).unwrap();
    assert_eq!(json["waiting"][0]["id"], json!(id));
    let denied = on.command(&["deny", &id, "--reason", "no"]);
    assert!(denied.status.success() && text(&denied) == "denied\n", "{denied:?}");
    assert!(result(&mut stream).text().contains("denied `delete_path`: no"));
    let late = on.command(&["approve", &id]);
    let error = String::from_utf8(late.stderr).unwrap();
    assert!(late.status.code() == Some(1) && error.contains("denied by command line"), "{error}");
    let mut stream = on.begin(&delete(), "");
    let id = on.asked()["id"].as_str().unwrap().to_owned();
    assert_eq!(text(&on.command(&["approve", &id])), "allowed\n");
    assert_eq!(result(&mut stream).json()["result"]["isError"], json!(false));
    assert!(!on.is_there());
    on.http.server.stop();
}

#[test]
fn without_a_console_nothing_waits_for_one() {
    let without = crate::support::Setup::new(&format!("[policy]\n{BY_CONSOLE}\n"));
    let off = crate::support::Setup::new(&format!(
        "server = {{ http = {{ listen = '127.0.0.1:0', auth = 'none', console = false }} }}\n[policy]\n{BY_CONSOLE}\n"
    ));
    for setup in [without, off] {
        let output = setup.run("serve", &[]);
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(2) && error.contains("confirm_by = \"console\""), "{error}");
    }
    // Whoever is in front of the client still consents.
    let http = Http::start(
        configured(
            "auth = 'none', console = false",
            "[policy]\nconfirm = 'destructive'\nconfirm_by = 'either'\n",
        )
        .writable(),
    );
    let params = json!({"name": "delete_path", "arguments": {"path": "work:a.txt"}});
    let (message, headers) = modern(params, &json!({"elicitation": {}}));
    let asked = http.raw(http.request(&message, &headers)).unwrap();
    assert_eq!(asked.json()["result"]["resultType"], "input_required", "{asked:?}");
    http.server.stop();
}

#[test]
fn who_consents_to_what_is_explained() {
    let setup = crate::support::Setup::new(
        "[roots]\nwork = { path = '{work}', access = 'rw' }\n\
         [plugins.fs]\nlibrary = 'llmc_tools_fs'\ngrants = { roots = ['work'] }\nconfirm_by = 'console'\n\
         [policy]\nconfirm = 'destructive'\nconfirm_by_tools = { move_path = 'either' }\n\
         confirm_tools = { stat = 'always' }\n",
    );
    let _ = setup.command("serve");
    let file = setup.folder.path().join("llmc.toml");
    let explain = |args: &[&str]| {
        let mut command = Command::new(stage().join("bin/llmc"));
        command.args(["policy", "consent"]).args(args).arg("--config").arg(&file);
        command.env_clear().env("PATH", "/usr/bin:/bin").output().unwrap()
    };
    let output = explain(&["--json"]);
    let told: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
    let of = |tool: &str| told.as_array().unwrap().iter().find(|one| one["tool"] == tool).unwrap().clone();
    for (tool, needs, because, by, by_because) in [
        ("delete_path", true, "policy.confirm", "console", "plugins.fs.confirm_by"),
        ("move_path", true, "policy.confirm", "either", "policy.confirm_by_tools.move_path"),
        ("stat", true, "policy.confirm_tools.stat", "console", "plugins.fs.confirm_by"),
        ("read_file", false, "policy.confirm", "console", "plugins.fs.confirm_by"),
    ] {
        let one = of(tool);
        assert_eq!(one["needs_consent"], json!(needs), "{one}");
        assert_eq!(
            (&one["because"], &one["by"], &one["by_because"]),
            (&json!(because), &json!(by), &json!(by_because))
        );
    }
    let one = String::from_utf8(explain(&["stat"]).stdout).unwrap();
    assert_eq!(one, "stat  asks console  `policy.confirm_tools.stat`, `plugins.fs.confirm_by`\n");
    assert_eq!(explain(&["no_such_tool"]).status.code(), Some(1));
}
