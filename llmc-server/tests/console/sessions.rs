//! Who gets in, and for how long.

use serde_json::json;

use crate::browser::Browser;
use crate::client::{create_token, token};
use crate::{inside, link, origin, server};

#[test]
fn a_link_opens_the_console_once() {
    let http = server("");
    let Some(mut browser) = Browser::start() else { return };
    let url = link(&http);
    browser.visit(&url);
    browser.until("!document.getElementById('overview').hidden");
    assert_eq!(browser.value("location.href"), json!(format!("{}/console#/overview", origin(&http))));
    assert_eq!(browser.value("history.length <= 3"), true);
    assert_eq!(browser.value("document.cookie"), "", "no script reads the cookie");
    let cookies = browser.ask("Network.getCookies", json!({}))["cookies"].clone();
    assert_eq!(cookies[0]["httpOnly"], true, "{cookies}");
    assert_eq!(cookies[0]["sameSite"], "Strict", "{cookies}");
    assert_eq!(cookies[0]["path"], "/console", "{cookies}");
    // A reload stays in: the tab keeps its key.
    browser.ask("Page.reload", json!({}));
    browser.until("!document.getElementById('overview').hidden");
    browser.is_clean(&origin(&http));

    let Some(mut other) = Browser::start() else { return };
    other.visit(&url);
    other.until("!document.getElementById('login-error').hidden");
    assert!(other.text().contains("used before"), "{}", other.text());
    assert!(!http.server.log().contains(url.split('=').nth(1).unwrap()), "no ticket in the log");
    http.works();
    http.server.stop();
}

#[test]
fn a_token_opens_it_only_with_its_scope_and_only_while_it_is_one() {
    let http = server("");
    let caller = create_token(&http.server.setup, &["caller"]);
    let admin = create_token(&http.server.setup, &["boss", "--scope", "admin"]);
    let Some(mut browser) = Browser::start() else { return };
    browser.visit(&format!("{}/console", origin(&http)));
    browser.until("!document.getElementById('login').hidden");
    browser.picture("login");
    let enter = |browser: &mut Browser, token: &str| {
        browser.value(&format!("document.getElementById('token').value = '{token}'; 1"));
        browser.value("document.querySelector('#login-form button').click(); 1");
    };
    for (token, told) in [("llmc_nonsense", "not known"), (&caller, "has not the scope admin")] {
        enter(&mut browser, token);
        browser.until(&format!("document.getElementById('login-error').textContent.includes('{told}')"));
    }
    enter(&mut browser, &admin);
    browser.until("!document.getElementById('overview').hidden");
    assert!(browser.text().contains("token boss"));
    assert_eq!(
        browser
            .value("JSON.stringify(localStorage) + JSON.stringify(sessionStorage)")
            .as_str()
            .unwrap()
            .find("llmc_"),
        None,
        "no token stays"
    );
    assert!(token(&http.server.setup, "revoke", &["boss"]).status.success());
    browser.until("!document.getElementById('login').hidden");
    browser.is_clean(&origin(&http));
    http.server.stop();
}

#[test]
fn who_leaves_is_out() {
    let http = server("");
    let Some(mut browser) = inside(&http) else { return };
    let key = browser.value("sessionStorage.getItem('llmc-key')");
    browser.value("document.getElementById('leave').click(); 1");
    browser.until("!document.getElementById('login').hidden");
    assert_eq!(browser.value("sessionStorage.length"), 0);
    let again = format!(
        "fetch('/console/state', {{headers: {{'x-llmc-console': {key}}}}}).then((answer) => answer.status)"
    );
    assert_eq!(browser.value(&again), 401);
    browser.is_clean(&origin(&http));
    http.server.stop();
}
