//! Tokens: who has none gets nowhere, and who has one gets no further than it goes.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt};

use serde_json::{Value, json};

use crate::client::{Http, call, configured, create_token, token};
use crate::support::Setup;

const TOKENS: &str = "tokens = 'tokens.json'";

fn file(setup: &Setup) -> std::path::PathBuf {
    setup.folder.path().join("tokens.json")
}

#[test]
fn only_a_valid_token_in_its_header_is_let_in() {
    let http = Http::with_token("failures_per_minute = 1000", "");
    http.works();
    let good = http.token.clone().unwrap();
    let anonymous = Http { token: None, ..http };
    let with = |headers: &str| {
        anonymous.raw(anonymous.request(&call("stat", json!({"path": "work:a.txt"})), headers)).unwrap()
    };
    assert_eq!(with(&format!("Authorization: Bearer {good}\r\n")).status, 200);
    assert_eq!(with(&format!("authorization: bearer {good}\r\n")).status, 200);
    let altered = format!("{}{}", &good[..good.len() - 1], if good.ends_with('A') { 'B' } else { 'A' });
    for headers in [
        String::new(),
        "Authorization: Bearer\r\n".into(),
        "Authorization: Bearer \r\n".into(),
        format!("Authorization: Bearer {altered}\r\n"),
        format!("Authorization: Bearer {}\r\n", &good[..good.len() - 1]),
        format!("Authorization: Bearer {good}x\r\n"),
        format!("Authorization: Bearer {good},x\r\n"),
        format!("Authorization: Bearer  {good}\r\n"),
        format!("Authorization: Bearer {}\r\n", good.to_uppercase()),
        format!("Authorization: Basic {good}\r\n"),
        format!("Authorization: {good}\r\n"),
        format!("Authorization: Bearer {}\r\n", "a".repeat(5_000)),
        format!("Cookie: token={good}\r\n"),
        format!("X-Api-Key: {good}\r\n"),
        "X-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Host: localhost\r\n".into(),
    ] {
        let refused = with(&headers);
        assert_eq!(refused.status, 401, "{headers:?}");
        assert_eq!(refused.header("www-authenticate"), Some("Bearer realm=\"llmc\""));
        assert_eq!(refused.json(), json!({"error": "Unauthorized"}), "no word on why");
    }
    let twice = format!("Authorization: Bearer {altered}\r\nAuthorization: Bearer {good}\r\n");
    assert_eq!(with(&twice).status, 400);
    let request = String::from_utf8(anonymous.request(&call("stat", json!({})), "")).unwrap();
    for query in ["token", "access_token", "authorization"] {
        let in_url = request.replacen("/mcp", &format!("/mcp?{query}={good}"), 1);
        assert_eq!(anonymous.status(&in_url), 400);
    }
    assert_eq!(anonymous.get("/healthz").status, 200, "public");
    let log = anonymous.server.log();
    assert!(!log.contains(&good) && !log.contains(&altered), "no token in the log");
    anonymous.server.stop();
}

#[test]
fn what_is_revoked_or_has_expired_is_refused_at_once() {
    let mut http = Http::with_token("", "");
    http.works();
    let setup = &http.server.setup;
    let short = create_token(setup, &["short", "--expires", "1d"]);
    let first = http.token.replace(short).unwrap();
    http.works();
    let setup = &http.server.setup;
    let mut tokens: Value = serde_json::from_slice(&std::fs::read(file(setup)).unwrap()).unwrap();
    tokens["tokens"][1]["expires_ms"] = json!(1);
    std::fs::write(file(setup), tokens.to_string()).unwrap();
    assert_eq!(http.call("stat", json!({"path": "work:a.txt"})).status, 401);
    let listed = String::from_utf8(token(&http.server.setup, "list", &[]).stdout).unwrap();
    assert!(listed.contains("short") && listed.contains("expired") && listed.contains("good"), "{listed}");

    http.token = Some(first);
    http.works();
    assert!(token(&http.server.setup, "revoke", &["good"]).status.success());
    assert_eq!(http.call("stat", json!({"path": "work:a.txt"})).status, 401);
    assert!(!token(&http.server.setup, "revoke", &["good"]).status.success(), "there is none any more");
    http.token = Some(create_token(&http.server.setup, &["good"]));
    http.works();
    http.server.stop();
}

#[test]
fn a_token_is_shown_once_and_kept_as_a_digest() {
    let setup = configured(TOKENS, "");
    let text = create_token(&setup, &["ci"]);
    assert!(text.starts_with("llmc_") && text.len() == 48, "{text}");
    let kept = std::fs::read_to_string(file(&setup)).unwrap();
    assert!(kept.contains("\"ci\"") && !kept.contains(&text[5..]), "{kept}");
    assert_eq!(file(&setup).metadata().unwrap().mode() & 0o777, 0o600);
    assert!(!token(&setup, "create", &["ci"]).status.success(), "a name is used once");
    for name in ["", "A", "a b", "../x"] {
        assert!(!token(&setup, "create", &[name]).status.success(), "{name}");
    }
    assert_eq!(std::fs::read_to_string(file(&setup)).unwrap(), kept);
}

#[test]
fn without_tokens_or_with_those_of_anybody_nothing_starts() {
    let setup = configured(TOKENS, "");
    let refused = |setup: &Setup| {
        let output = setup.run("serve", &[]);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(refused(&setup).contains("llmc token create NAME"));
    create_token(&setup, &["ci"]);
    std::fs::set_permissions(file(&setup), PermissionsExt::from_mode(0o644)).unwrap();
    assert!(refused(&setup).contains("chmod 600"));
    std::fs::set_permissions(file(&setup), PermissionsExt::from_mode(0o600)).unwrap();
    Http::start(setup).server.stop();
}

#[test]
fn tokens_that_tools_could_write_are_not_taken() {
    let setup = Setup::new(
        "server = { http = { listen = '127.0.0.1:0', tokens = 'work/state/tokens.json' } }\n\
         [roots]\nwork = { path = '{work}', access = 'rw' }\n\
         [plugins.fs]\nlibrary = 'llmc_tools_fs'\ngrants = { roots = ['work'] }\n",
    );
    create_token(&setup, &["ci"]);
    let output = setup.run("serve", &[]);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("writable root `work`") && error.contains("server.http.tokens"), "{error}");
}

#[test]
fn a_token_opens_its_tools_for_code_too_and_no_other() {
    let setup = configured(
        TOKENS,
        "[plugins.exec]\nlibrary = 'llmc_tools_exec'\n\
         grants = { run = { profile = 'code' }, tools = ['read_file', 'list_dir', 'stat'] }\n\
         [audit]\npath = 'audit.jsonl'\n",
    );
    let narrow = create_token(&setup, &["narrow", "--tools", "execute_code,read_file"]);
    let wide = create_token(&setup, &["wide"]);
    let mut http = Http { token: Some(narrow), ..Http::start(setup) };
    assert_eq!(http.tools(), ["execute_code", "read_file", "read_more"]);
    http.works();
    for tool in ["stat", "list_dir", "stress_sleep", "no_such_tool"] {
        let refused = http.call(tool, json!({"path": "work:"}));
        assert_eq!(refused.json()["result"]["_meta"]["llmc/error"], "denied", "{refused:?}");
        assert!(refused.text().contains("does not open"), "{refused:?}");
    }
    let run = |http: &Http, call: &str| {
        let code = format!("from llmc import tools\ntools.{call}");
        http.call("execute_code", json!({"code": code})).json()["result"].clone()
    };
    let read = run(&http, "read_file(path='work:a.txt')['text']");
    assert!(read.to_string().contains("second"), "{read}");
    for call in ["stat(path='work:a.txt')", "list_dir(path='work:')"] {
        let refused = run(&http, call);
        assert!(refused["structuredContent"]["error"].is_object(), "{refused}");
    }
    http.token = Some(wide);
    assert!(http.tools().contains(&"stat".to_owned()));
    let stat = run(&http, "stat(path='work:a.txt')['kind']");
    assert!(stat["structuredContent"]["error"].is_null(), "{stat}");
    let made =
        http.server.setup.records(|records| records.iter().any(|record| record["caller"] == "token wide"));
    let by = |caller: &str| made.iter().filter(|record| record["caller"] == caller).count();
    assert!(by("token narrow") > 4, "{made:#?}");
    let of_tokens: Vec<_> = made.iter().filter(|record| record["event"] == "token").collect();
    assert_eq!(of_tokens.len(), 2, "each token that was made is recorded: {of_tokens:?}");
    assert_eq!((&of_tokens[0]["token"], &of_tokens[0]["outcome"]), (&json!("narrow"), &json!("created")));
    http.server.stop();
}

#[test]
fn kept_outputs_are_those_of_one_token() {
    let setup = configured(
        TOKENS,
        "[plugins.exec]\nlibrary = 'llmc_tools_exec'\ngrants = { run = { profile = 'code' } }\n",
    );
    let (mine, other) = (create_token(&setup, &["mine"]), create_token(&setup, &["other"]));
    let mut http = Http { token: Some(mine.clone()), ..Http::start(setup) };
    let long = http.call("execute_code", json!({"code": "print('line\\n' * 200000)"})).body;
    let handle = long.split("handle").nth(1).and_then(|rest| {
        rest.split(|c: char| !c.is_ascii_hexdigit()).find(|word| word.len() == 32).map(str::to_owned)
    });
    let handle = handle.unwrap_or_else(|| panic!("no handle in {}", &long[..long.len().min(2_000)]));
    let read =
        |http: &Http| http.call("read_more", json!({"handle": handle})).json()["result"]["isError"] == true;
    assert!(!read(&http));
    http.token = Some(other);
    assert!(read(&http), "another token's handle");
    http.token = Some(mine);
    assert!(!read(&http));
    http.server.stop();
}

#[test]
fn handles_of_te_are_those_of_one_token_and_so_are_its_tools() {
    let setup = configured(
        TOKENS,
        "[plugins.te]\nlibrary = 'te'\n\
         grants = { roots = ['work'], state = true, tools = ['search_files'] }\n",
    );
    let state = setup.folder.path().join("state");
    let setup = setup.env("XDG_STATE_HOME", state.to_str().unwrap());
    std::fs::write(setup.work("long.txt"), "needle\n".repeat(20)).unwrap();
    let both = ["--tools", "te_run,search_files"];
    let (mine, other) =
        (create_token(&setup, &["mine"]), create_token(&setup, &[&["other"][..], &both].concat()));
    let narrow = create_token(&setup, &["narrow", "--tools", "te_run"]);
    let mut http = Http { token: Some(mine.clone()), ..Http::start(setup) };
    let grep = |http: &Http| http.call("te_run", json!({"argv": ["grep", "needle"]})).text();
    let header = |text: &str| serde_json::from_str::<Value>(text.lines().nth(1).unwrap()).unwrap();
    let handle = header(&grep(&http))["handle"].clone();
    let read = |http: &Http| http.call("te_run", json!({"handle": handle})).text();
    assert!(read(&http).contains("long.txt:20: needle"));
    http.token = Some(other);
    assert!(header(&read(&http))["error"].is_string(), "another token's handle");
    assert_eq!(header(&grep(&http))["matches"], 20);
    http.token = Some(narrow);
    let refused = grep(&http);
    assert!(header(&refused)["error"].as_str().unwrap().contains("does not open"), "{refused}");
    http.token = Some(mine);
    assert!(read(&http).contains("long.txt:20: needle"));
    http.server.stop();
}
