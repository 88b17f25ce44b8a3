//! The console in a real browser: who gets in, what it shows, and that nothing which others wrote becomes more than
//! text. Skipped, and said so, where there is no browser.

#![expect(clippy::unwrap_used, reason = "a surprise ends a test where it happens")]

#[path = "../http/client.rs"]
#[expect(dead_code, reason = "each test binary uses its part")]
mod client;
#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "each test binary uses its part")]
mod support;

mod browser;
mod pages;
mod pending;
mod sessions;
mod words;

use std::process::Command;

use browser::Browser;
use client::{Http, configured, create_token};

pub(crate) const TOKENS: &str = "tokens = 'tokens.json'";

/// A server with a token for calls, and what `rest` configures.
pub(crate) fn server(rest: &str) -> Http {
    let setup = configured(TOKENS, rest);
    let token = create_token(&setup, &["good"]);
    Http { token: Some(token), ..Http::start(setup) }
}

/// The link that `llmc console` prints.
pub(crate) fn link(http: &Http) -> String {
    let mut command = Command::new(support::stage().join("bin/llmc"));
    command.arg("console").arg("--config").arg(http.server.setup.folder.path().join("llmc.toml"));
    command.args(["--http", &http.address.to_string()]);
    let output = command.env_clear().output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}

/// A browser in which the console of a server is open.
pub(crate) fn inside(http: &Http) -> Option<Browser> {
    let mut browser = Browser::start()?;
    browser.visit(&link(http));
    browser.until("!document.getElementById('overview').hidden");
    Some(browser)
}

pub(crate) fn origin(http: &Http) -> String {
    format!("http://{}", http.address)
}
