//! What the pages show, on every kind of screen, and by keyboard.

use serde_json::json;

use crate::client::Http;
use crate::{inside, origin, server};

const VIEWS: [&str; 6] = ["overview", "live", "pending", "plugins", "jails", "audit"];

const EXEC: &str = "[plugins.exec]\nlibrary = 'llmc_tools_exec'\n\
    grants = { run = { profile = 'code' }, tools = ['read_file'] }\n";

#[test]
fn what_happened_is_shown() {
    let http = server(EXEC);
    let Some(mut browser) = inside(&http) else { return };
    let origin = origin(&http);
    browser.visit(&format!("{origin}/console#/live"));
    browser.until("!document.getElementById('live').hidden");
    // The stream may need a moment: what happens before it is there nobody sees.
    while browser.value("document.querySelectorAll('#events tr').length").as_u64() < Some(3) {
        http.works();
        http.call("read_file", json!({"path": "work:none.txt"}));
        http.call("no_such_tool", json!({}));
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
    let text = browser.text();
    for word in ["read_file", "no_such_tool", "unknown_tool", "token good", "ok"] {
        assert!(text.contains(word), "{word}: {text}");
    }
    browser.value("document.getElementById('live-kind').value = 'trouble'; document.getElementById('live-kind').dispatchEvent(new Event('change')); 1");
    let marks = "[...document.querySelectorAll('#events .mark')].every((mark) => mark.textContent !== 'ok')";
    browser.until(marks);

    http.call("execute_code", json!({"code": "print(1)"}));
    browser.visit(&format!("{origin}/console#/overview"));
    browser.until("!document.getElementById('overview').hidden");
    browser.until("document.querySelectorAll('#tools tr').length >= 2");
    let text = browser.text();
    assert!(text.contains("read_file") && text.contains("execute_code"), "{text}");
    browser.visit(&format!("{origin}/console#/plugins"));
    browser.until("!document.getElementById('plugins').hidden");
    browser.until("document.querySelectorAll('#plugin-list article').length === 3");
    let text = browser.text();
    for word in ["llmc_tools_fs", "running", "namespaces", "roots.work ro", "execute_code", "no lock"] {
        assert!(text.contains(word), "{word}: {text}");
    }
    assert!(browser.value("/[0-9a-f]{64}/.test(document.body.innerText)") == true, "digests");
    browser.visit(&format!("{origin}/console#/jails"));
    browser.until("!document.getElementById('jails').hidden");
    browser.until("document.querySelectorAll('#layers tr').length > 5");
    let text = browser.text();
    for word in ["seccomp", "active", "0 of 32", "for calls"] {
        assert!(text.contains(word), "{word}: {text}");
    }
    browser.is_clean(&origin);
    http.server.stop();
}

#[test]
fn the_audit_is_searched_and_checked() {
    let http = server("[audit]\npath = '{work}/../audit.db'\ndurability = 'call'\n");
    let Some(mut browser) = inside(&http) else { return };
    let origin = origin(&http);
    http.works();
    http.call("read_file", json!({"path": 7}));
    http.call("<img src=x onerror=window.pwned=1>", json!({}));
    let rows = "document.querySelectorAll('#records tr').length";
    browser.visit(&format!("{origin}/console#/audit"));
    browser.until("!document.getElementById('audit').hidden");
    let search = |browser: &mut crate::browser::Browser, field: &str, value: &str| {
        browser.value(&format!("document.getElementById('{field}').value = {}; 1", json!(value)));
        browser.value("document.querySelector('#audit-form button').click(); 1");
    };
    search(&mut browser, "audit-tool", "read_file");
    browser.until(&format!("{rows} === 2"));
    let text = browser.text();
    for word in ["invalid_arguments", "token good", "audit.db", "ok"] {
        assert!(text.contains(word), "{word}: {text}");
    }
    search(&mut browser, "audit-tool", "");
    search(&mut browser, "audit-outcome", "unknown_tool");
    browser.until(&format!("{rows} === 1"));
    assert!(browser.text().contains("<img src=x onerror=window.pwned=1>"), "{}", browser.text());
    assert_eq!(
        browser.value("window.pwned === undefined && document.querySelector('main img') === null"),
        true
    );
    browser.value("document.getElementById('verify').click(); 1");
    browser.until("document.getElementById('verified').textContent.startsWith('whole')");
    browser.is_clean(&origin);
    http.server.stop();
}

#[test]
fn an_answer_that_comes_late_does_not_replace_a_newer_one() {
    let http = server("[audit]\npath = '{work}/../audit.db'\ndurability = 'call'\n");
    let Some(mut browser) = inside(&http) else { return };
    http.call("read_file", json!({"path": 7}));
    browser.visit(&format!("{}/console#/audit", origin(&http)));
    browser.until("!document.getElementById('audit').hidden");
    browser.until("document.querySelectorAll('#records tr').length > 1");
    // The first of two answers is held back until the second one was shown.
    browser.value(
        "(() => { const ask = window.fetch; let count = 0; \
         window.fetch = async (...all) => { const first = all[0].includes('/records') && ++count === 1; const answer = await ask(...all); \
         if (first) await new Promise((go) => { window.go = go; }); return answer; }; return 1; })()",
    );
    for outcome in ["", "invalid_arguments"] {
        browser.value(&format!(
            "document.getElementById('audit-outcome').value = {}; \
             document.querySelector('#audit-form button').click(); 1",
            json!(outcome)
        ));
    }
    let rows = "document.querySelectorAll('#records tr').length === 1";
    browser.until(rows);
    browser.until("window.go !== undefined");
    browser.value("window.go(); new Promise((done) => setTimeout(() => done(1), 300))");
    assert_eq!(browser.value(rows), true, "{}", browser.text());
    http.server.stop();
}

#[test]
fn every_view_fits_every_screen() {
    let http = server(&format!("{EXEC}[audit]\npath = '{{work}}/../audit.db'\n"));
    let Some(mut browser) = inside(&http) else { return };
    let origin = origin(&http);
    for name in ["work:a.txt", "work:none.txt", "work:a.txt", "work:a.txt"] {
        http.call("read_file", json!({"path": name}));
    }
    http.call("write_file", json!({"path": "work:b.txt", "text": "x"}));
    http.call(
        "execute_code",
        json!({"code": "from llmc import tools\nprint(tools.read_file(path='work:a.txt'))"}),
    );
    if std::env::var_os("LLMC_SCREENSHOTS").is_some() {
        work_for_a_while(&http);
    }
    for (width, height, scheme) in
        [(1280, 900, "light"), (1280, 900, "dark"), (360, 740, "light"), (360, 740, "dark")]
    {
        browser.size(width, height);
        browser.scheme(scheme);
        for view in VIEWS {
            browser.visit(&format!("{origin}/console#/{view}"));
            browser.until(&format!("!document.getElementById('{view}').hidden"));
            browser.until("document.querySelectorAll('#layers tr').length > 5");
            if view == "live" {
                browser.until("document.getElementById('live-state').textContent === ''");
                while browser.value("document.querySelectorAll('#events tr').length").as_u64() < Some(4) {
                    http.works();
                    http.call("read_file", json!({"path": 7}));
                    std::thread::sleep(std::time::Duration::from_millis(200));
                }
            }
            let overflow = browser.value("document.documentElement.scrollWidth - innerWidth");
            assert!(overflow.as_i64().unwrap() <= 0, "{view} at {width}: {overflow} pixels too wide");
            let colours = browser.value("getComputedStyle(document.body).backgroundColor");
            let is_dark = colours.as_str().unwrap() == "rgb(18, 22, 21)";
            assert_eq!(is_dark, scheme == "dark", "{colours}");
            browser.picture(&format!("{view}-{width}-{scheme}"));
        }
    }
    browser.is_clean(&origin);
    http.server.stop();
}

/// Fills the charts: they take a point every five seconds.
fn work_for_a_while(http: &Http) {
    let begun = std::time::Instant::now();
    let mut round: u64 = 0;
    while begun.elapsed().as_secs() < 150 {
        round += 1;
        for _ in 0..1 + round * 7 % 5 {
            http.works();
        }
        match round % 9 {
            0 => http.call("read_file", json!({"path": "work:none.txt"})),
            2 => http.call("search_files", json!({"pattern": "second"})),
            4 => http.call("execute_code", json!({"code": "sum(range(10**5))"})),
            6 => http.call("write_file", json!({"path": "work:b.txt", "text": "x"})),
            _ => http.call("list_dir", json!({"path": "work:"})),
        };
        std::thread::sleep(std::time::Duration::from_millis(100 + round * 37 % 400));
    }
}

#[test]
fn everything_is_reached_by_keyboard() {
    let http = server("");
    let Some(mut browser) = inside(&http) else { return };
    browser.visit(&format!("{}/console", origin(&http)));
    browser.until("!document.getElementById('overview').hidden");
    let focus = "document.activeElement.textContent.trim() || document.activeElement.id";
    let mut seen = Vec::new();
    for _ in 0..9 {
        browser.key("Tab");
        seen.push(browser.value(focus).as_str().unwrap().to_owned());
    }
    let expected = ["Skip to content", "Overview", "Live", "Pending", "Plugins", "Jails", "Audit", "Leave"];
    assert_eq!(seen[..8], expected.map(str::to_owned));
    assert!(
        browser.value("getComputedStyle(document.activeElement).outlineStyle") != "none",
        "focus is seen"
    );
    // Back to the top, and through a link by Enter.
    browser.value("document.querySelector('#nav a[href=\"#/plugins\"]').focus(); 1");
    browser.key("Enter");
    browser.until("!document.getElementById('plugins').hidden");
    assert_eq!(browser.value("document.activeElement.id"), "plugins-title", "readers hear where they are");
    assert_eq!(browser.value("document.querySelectorAll('#nav [aria-current=page]').length"), 1);
    assert_eq!(browser.value("document.title"), "Plugins – llmc console");
    let unnamed = "[...document.querySelectorAll('button, input, select, a, [role=region], section, svg[role=img]')]\
        .filter((one) => !(one.textContent.trim() || one.labels?.length || one.getAttribute('aria-label')\
            || one.getAttribute('aria-labelledby'))).map((one) => one.outerHTML)";
    assert_eq!(browser.value(unnamed), json!([]), "everything has a name");
    browser.is_clean(&origin(&http));
    http.server.stop();
}
