//! Calls that wait for an operator, in his browser.

use std::io::Write as _;
use std::net::TcpStream;

use serde_json::{Value, json};

use crate::browser::Browser;
use crate::client::{Http, call, configured, create_token, read_reply};
use crate::{inside, origin};

const EVIL: &str = "<img src=x onerror=\"window.pwned=1\">\u{202e}\u{200b}";

fn server() -> Http {
    let policy = "[policy]\nconfirm = 'destructive'\nconfirm_by = 'console'\n";
    let setup = configured(crate::TOKENS, policy).writable();
    let token = create_token(&setup, &["good"]);
    Http { token: Some(token), ..Http::start(setup) }
}

fn begin(http: &Http, tool: &str, arguments: Value) -> TcpStream {
    let mut stream = http.connect();
    stream.write_all(&http.request(&call(tool, arguments), "")).unwrap();
    stream
}

/// How many calls can be decided now.
fn waiting(browser: &mut Browser, count: usize) {
    browser
        .until(&format!("document.querySelectorAll('#pending-list .pending:not(.over)').length === {count}"));
}

#[test]
fn calls_are_shown_as_text_and_decided_by_keyboard() {
    let http = server();
    let Some(mut browser) = inside(&http) else { return };
    let origin = origin(&http);
    let mut first = begin(&http, "delete_path", json!({"path": format!("work:{EVIL}")}));
    // Whatever view is open, he is told.
    browser.until("!document.getElementById('asked').hidden");
    assert!(browser.value("document.title").as_str().unwrap().starts_with("(1) Overview"));
    assert!(browser.text().contains("A call waits for your consent: delete_path."), "{}", browser.text());
    browser.value("document.querySelector('#asked a').click(); 1");
    browser.until("!document.getElementById('pending').hidden");
    waiting(&mut browser, 1);
    let text = browser.text();
    for word in ["delete_path", "token good", "<img src=x", "\\u{202e}", "min more", "fs"] {
        assert!(text.contains(word), "{word}: {text}");
    }
    assert!(!text.contains('\u{202e}'), "what turns text around is spelled out");
    assert_eq!(browser.value("window.pwned === undefined && !document.querySelector('main img')"), true);

    // By keyboard alone: heading, arguments, approve, deny, reason.
    let focus = "document.activeElement.textContent.trim() || document.activeElement.tagName";
    browser.value("document.querySelector('#pending-list pre').focus(); 1");
    let mut seen = Vec::new();
    for _ in 0..3 {
        browser.key("Tab");
        seen.push(browser.value(focus).as_str().unwrap().to_owned());
    }
    assert_eq!(seen, ["Approve", "Deny", "INPUT"]);
    browser.value("document.querySelector('#pending-list input').value = 'not this one'; 1");
    browser.value("document.querySelector('#pending-list button.deny').focus(); 1");
    browser.key("Enter");
    let refused = read_reply(&mut first).unwrap();
    assert!(refused.text().contains("denied `delete_path`: not this one"), "{refused:?}");
    browser.until("document.querySelector('#pending-list .over')?.textContent.includes('denied by')");
    assert_eq!(browser.value("document.activeElement.tagName"), "H2", "readers hear where they are");

    // What is over stays where it is, so that nothing moves under a pointer.
    let mut second = begin(&http, "delete_path", json!({"path": "work:a.txt"}));
    waiting(&mut browser, 1);
    assert_eq!(browser.value("document.querySelectorAll('#pending-list article').length"), 2);
    browser.value("document.querySelector('#pending-list .pending:not(.over) button.main').focus(); 1");
    browser.key("Enter");
    assert_eq!(read_reply(&mut second).unwrap().json()["result"]["isError"], json!(false));
    assert!(!http.server.setup.work("a.txt").exists());
    browser.until("document.querySelectorAll('#ended tr').length === 2");
    browser.visit(&format!("{origin}/console#/audit"));
    browser.is_clean(&origin);
    http.server.stop();
}

#[test]
fn of_two_operators_the_second_is_told_and_who_leaves_takes_his_call_along() {
    let http = server();
    let Some(mut browser) = inside(&http) else { return };
    let Some(mut other) = inside(&http) else { return };
    let origin = origin(&http);
    for browser in [&mut browser, &mut other] {
        browser.visit(&format!("{origin}/console#/pending"));
        browser.until("!document.getElementById('pending').hidden");
    }
    let mut stream = begin(&http, "delete_path", json!({"path": "work:a.txt"}));
    for browser in [&mut browser, &mut other] {
        waiting(browser, 1);
    }
    // The second one decides on what his page still shows.
    let key = other.value("sessionStorage.getItem('llmc-key')");
    let id = other.value("document.querySelector('#pending-list h2').id.slice('pending-'.length)");
    browser.value("document.querySelector('#pending-list button.main').click(); 1");
    assert_eq!(read_reply(&mut stream).unwrap().json()["result"]["isError"], json!(false));
    let late = format!(
        "fetch('/console/decide', {{method: 'POST', headers: {{'content-type': 'application/json', 'x-llmc-console': {key}}}, \
         body: JSON.stringify({{id: {id}, allow: false}})}}).then(async (answer) => `${{answer.status}} ${{(await answer.json()).error}}`)"
    );
    let told = other.value(&late);
    assert_eq!(told, "409 it is over: allowed by console link");
    other.until(
        "document.querySelector('#pending-list .over .mark').textContent === 'allowed by console link'",
    );

    let leaving = begin(&http, "delete_path", json!({"path": "work:b.txt"}));
    waiting(&mut browser, 1);
    drop(leaving);
    waiting(&mut browser, 0);
    assert!(browser.value("document.querySelectorAll('#pending-list .over form:not([hidden])').length") == 0);
    for browser in [&mut browser, &mut other] {
        browser.is_clean(&origin);
    }
    http.server.stop();
}

#[test]
fn it_fits_every_screen() {
    let http = server();
    let Some(mut browser) = inside(&http) else { return };
    let origin = origin(&http);
    let edits =
        json!([{"old": "first", "new": "a longer line that an operator should read before it is written"}]);
    browser.visit(&format!("{origin}/console#/pending"));
    let calls = [
        ("delete_path", json!({"path": "work:build/output", "recursive": true})),
        ("edit_file", json!({"path": "work:a.txt", "edits": edits})),
        ("write_file", json!({"path": "work:a.txt", "content": "x".repeat(4000), "overwrite": true})),
    ];
    let mut streams = Vec::new();
    for (tool, arguments) in calls {
        streams.push(begin(&http, tool, arguments));
        waiting(&mut browser, streams.len());
    }
    for (width, height, scheme) in
        [(1280, 900, "light"), (1280, 900, "dark"), (360, 740, "light"), (360, 740, "dark")]
    {
        browser.size(width, height);
        browser.scheme(scheme);
        browser.visit(&format!("{origin}/console#/pending"));
        browser.until("document.querySelectorAll('#pending-list .pending:not(.over)').length >= 1");
        let overflow = browser.value("document.documentElement.scrollWidth - innerWidth");
        assert!(overflow.as_i64().unwrap() <= 0, "at {width}: {overflow} pixels too wide");
        let unnamed = "[...document.querySelectorAll('button, input, a, [role=region], section, article')]\
            .filter((one) => !(one.textContent.trim() || one.labels?.length || one.getAttribute('aria-label')\
                || one.getAttribute('aria-labelledby'))).map((one) => one.outerHTML)";
        assert_eq!(browser.value(unnamed), json!([]), "everything has a name");
        browser.picture(&format!("pending-calls-{width}-{scheme}"));
    }
    browser.is_clean(&origin);
    drop(streams);
    http.server.stop();
}
