//! A real browser without a window, driven by the Chrome DevTools Protocol over a pair of pipes.

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;

/// Longest wait for anything that should happen at once; machines under load start browsers slowly.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Debian's names of it, the small one first.
const PROGRAMS: [&str; 2] = ["chromium-headless-shell", "chromium"];

/// Told to the page before anything of it runs: what breaks its policy is written down.
const WATCH: &str = "window.violations = [];\
    document.addEventListener('securitypolicyviolation', (event) =>\
        window.violations.push(`${event.effectiveDirective} ${event.blockedURI}`));";

/// A browser with one page.
pub(crate) struct Browser {
    child: Child,
    to: Option<ChildStdin>,
    from: Receiver<Value>,
    session: String,
    next: u64,
    /// Messages that answer nothing.
    pub(crate) events: VecDeque<Value>,
    _profile: TempDir,
}

impl Browser {
    /// Starts one; none where there is none, which is said.
    pub(crate) fn start() -> Option<Self> {
        let Some(program) =
            PROGRAMS.into_iter().map(|name| Path::new("/usr/bin").join(name)).find(|file| file.exists())
        else {
            eprintln!("NOT CHECKED: the console in a browser; install `{}`", PROGRAMS[0]);
            return None;
        };
        let profile = tempfile::tempdir().unwrap();
        let mut command = Command::new("/bin/sh");
        // The protocol is spoken on descriptors 3 and 4.
        command.args(["-c", "exec \"$@\" 3<&0 4>&1 </dev/null >/dev/null 2>&1", "sh"]).arg(program);
        command.args([
            "--headless",
            "--remote-debugging-pipe",
            // Debian runs its own tests as root; the pages are ours.
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--no-proxy-server",
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
            "--window-size=1280,900",
        ]);
        command.arg(format!("--user-data-dir={}", profile.path().display()));
        command.env_clear().env("PATH", "/usr/bin:/bin").env("HOME", profile.path());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (sender, from) = channel();
        let stdout = child.stdout.take().unwrap();
        std::thread::spawn(move || {
            for message in BufReader::new(stdout).split(0).map_while(Result::ok) {
                if sender.send(serde_json::from_slice(&message).unwrap_or_default()).is_err() {
                    return;
                }
            }
        });
        let to = child.stdin.take();
        let (session, events) = Default::default();
        let mut browser = Self { child, to, from, session, next: 1, events, _profile: profile };
        browser.open_page();
        Some(browser)
    }

    fn open_page(&mut self) {
        let page = self.ask("Target.createTarget", json!({"url": "about:blank"}));
        let attached =
            self.ask("Target.attachToTarget", json!({"targetId": page["targetId"], "flatten": true}));
        self.session = attached["sessionId"].as_str().unwrap().to_owned();
        for domain in ["Page", "Runtime", "Network", "Log"] {
            self.ask(&format!("{domain}.enable"), json!({}));
        }
        self.ask("Page.addScriptToEvaluateOnNewDocument", json!({"source": WATCH}));
    }

    /// Sends a command and waits for its answer.
    pub(crate) fn ask(&mut self, method: &str, params: Value) -> Value {
        let id = self.next;
        self.next += 1;
        let mut message = json!({"id": id, "method": method, "params": params});
        if !self.session.is_empty() {
            message["sessionId"] = json!(self.session);
        }
        let to = self.to.as_mut().unwrap();
        to.write_all(format!("{message}\0").as_bytes()).unwrap();
        to.flush().unwrap();
        loop {
            let message =
                self.from.recv_timeout(PATIENCE).unwrap_or_else(|error| panic!("{method}: {error}"));
            match message["id"].as_u64() {
                Some(answered) if answered == id => {
                    assert!(message["error"].is_null(), "{method}: {message}");
                    return message["result"].clone();
                }
                Some(_) => {}
                None => self.events.push_back(message),
            }
        }
    }

    pub(crate) fn visit(&mut self, url: &str) {
        // A change behind the `#` alone would load nothing.
        self.ask("Page.navigate", json!({"url": "about:blank"}));
        let answer = self.ask("Page.navigate", json!({"url": url}));
        assert!(answer["errorText"].is_null(), "{answer}");
    }

    /// The value of an expression in the page.
    pub(crate) fn value(&mut self, expression: &str) -> Value {
        let params = json!({"expression": expression, "returnByValue": true, "awaitPromise": true, "allowUnsafeEvalBlockedByCSP": false});
        let answer = self.ask("Runtime.evaluate", params);
        assert!(answer["exceptionDetails"].is_null(), "{expression}: {answer}");
        answer["result"]["value"].clone()
    }

    /// Waits until an expression is true.
    #[track_caller]
    pub(crate) fn until(&mut self, expression: &str) {
        let begun = Instant::now();
        // While a page is replaced there may be nothing to ask.
        let safe = format!("(() => {{ try {{ return Boolean({expression}) }} catch {{ return false }} }})()");
        while self.value(&safe) != true {
            if begun.elapsed() > PATIENCE {
                let text = self.value("document.body.innerText");
                panic!("{expression} never holds; the page says {text}; {:?}", self.events);
            }
            std::thread::sleep(Duration::from_millis(30));
        }
    }

    /// What the visible part of the page says.
    pub(crate) fn text(&mut self) -> String {
        self.value("document.body.innerText").as_str().unwrap_or_default().to_owned()
    }

    pub(crate) fn key(&mut self, key: &str) {
        let code = match key {
            "Tab" => 9,
            "Enter" => 13,
            _ => 0,
        };
        let text = if key == "Enter" { "\r" } else { "" };
        for kind in ["keyDown", "keyUp"] {
            let text = if kind == "keyDown" { text } else { "" };
            let params =
                json!({"type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code, "text": text});
            self.ask("Input.dispatchKeyEvent", params);
        }
    }

    pub(crate) fn size(&mut self, width: u32, height: u32) {
        let params = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500});
        self.ask("Emulation.setDeviceMetricsOverride", params);
    }

    pub(crate) fn scheme(&mut self, scheme: &str) {
        let features = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        self.ask("Emulation.setEmulatedMedia", json!({"features": features}));
    }

    /// Writes a picture of the page into the folder that `LLMC_SCREENSHOTS` names, if it does.
    pub(crate) fn picture(&mut self, name: &str) {
        let Some(folder) = std::env::var_os("LLMC_SCREENSHOTS") else { return };
        let shot = self.ask("Page.captureScreenshot", json!({"format": "png"}));
        let png = STANDARD.decode(shot["data"].as_str().unwrap()).unwrap();
        std::fs::write(Path::new(&folder).join(format!("{name}.png")), png).unwrap();
    }

    /// Nothing broke the page's policy, nothing was thrown, and nobody but the server was asked.
    #[track_caller]
    pub(crate) fn is_clean(&mut self, server: &str) {
        assert_eq!(self.value("window.violations"), json!([]));
        for event in &self.events {
            let params = &event["params"];
            match event["method"].as_str().unwrap_or_default() {
                "Runtime.exceptionThrown" => panic!("{event}"),
                "Network.requestWillBeSent" => {
                    let url = params["request"]["url"].as_str().unwrap();
                    assert!(url.starts_with(server) || url.starts_with("about:"), "asked {url}");
                }
                "Log.entryAdded" if params["entry"]["source"] == "security" => panic!("{event}"),
                _ => {}
            }
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // It ends when nobody speaks to it any more; its number is its own until it is waited for.
        drop(self.to.take());
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(5) {
            if self.child.try_wait().is_ok_and(|ended| ended.is_some()) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
