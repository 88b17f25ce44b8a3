//! What scopes of access tokens open beside the tools that they name, and how clients learn which one they lack.

use serde_json::json;

use crate::client::{Http, Reply, configured, message};
use crate::oauth::{AUDIENCE, ISSUER, Signer, ask, now, set, with_keys};
use crate::support::eventually;

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
