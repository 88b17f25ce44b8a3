//! What models, plugins and callers wrote stays text.

use serde_json::json;

use crate::browser::PATIENCE;
use crate::client::Http;
use crate::{inside, origin, server};

const EVIL: &str = "<img src=x onerror=\"window.pwned=1\"><script>window.pwned=2</script>";

/// Waits until the live view has seen something, which the closure does again and again.
fn live(http: &Http, browser: &mut crate::browser::Browser, text: &str, again: impl Fn()) {
    browser.visit(&format!("{}/console#/live", origin(http)));
    browser.until("!document.getElementById('live').hidden");
    let shown = format!("document.getElementById('events').innerText.includes({})", json!(text));
    let begun = std::time::Instant::now();
    while begun.elapsed() < PATIENCE {
        again();
        if browser.value(&shown) == true {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    panic!("{text} is not shown: {}", browser.text());
}

#[test]
fn markup_in_names_arguments_logs_and_plugins_is_text() {
    let http =
        server("[plugins.\"<img src=x onerror='window.pwned=3'>\"]\nlibrary = '{stress}'\nprefix = 'evil'\n");
    let Some(mut browser) = inside(&http) else { return };
    live(&http, &mut browser, EVIL, || {
        http.call(EVIL, json!({}));
    });
    live(&http, &mut browser, "onerror=\"window.pwned=4\"", || {
        http.call("read_file", json!({"path": "work:<img src=x onerror=\"window.pwned=4\">"}));
    });
    live(&http, &mut browser, "pwned=5", || {
        http.call("stress_log", json!({"message": "<svg onload=window.pwned=5>\u{202e}\u{200b}"}));
    });
    assert!(!browser.text().contains('\u{202e}'), "what turns text around is spelled out");
    browser.visit(&format!("{}/console#/plugins", origin(&http)));
    browser.until("!document.getElementById('plugins').hidden");
    browser.until("document.querySelectorAll('#plugin-list article').length === 3");
    assert!(browser.text().contains("<img src=x onerror='window.pwned=3'>"), "{}", browser.text());
    assert_eq!(browser.value("window.pwned === undefined"), true);
    let made =
        "document.querySelectorAll('main img, main script, main iframe, main svg:not([role=img])').length";
    assert_eq!(browser.value(made), 0);
    browser.is_clean(&origin(&http));
    http.server.stop();
}

#[test]
fn the_policy_holds_even_for_a_script_that_got_in() {
    let http = server("");
    let Some(mut browser) = inside(&http) else { return };
    let thrown = |browser: &mut crate::browser::Browser, code: &str| {
        browser.value(&format!(
            "(() => {{ try {{ {code}; return 'done' }} catch (error) {{ return error.name }} }})()"
        ))
    };
    assert_eq!(thrown(&mut browser, "document.body.innerHTML = '<b>x</b>'"), "TypeError", "trusted types");
    assert_eq!(thrown(&mut browser, "eval('1')"), "EvalError");
    let outside = "fetch('http://127.0.0.1:9/').then(() => 'sent', () => 'refused')";
    assert_eq!(browser.value(outside), "refused");
    let inline = "document.body.setAttribute('onclick', 'window.pwned=1')";
    assert_eq!(thrown(&mut browser, inline), "TypeError");
    let script =
        "document.body.append(Object.assign(document.createElement('script'), {text: 'window.pwned=1'}))";
    assert_eq!(thrown(&mut browser, script), "TypeError");
    assert_eq!(browser.value("window.pwned === undefined"), true);
    browser.until("window.violations.some((one) => one.startsWith('connect-src'))");
    http.server.stop();
}
