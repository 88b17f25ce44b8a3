//! `llmc token`

use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use clap::{Args, Subcommand};

use super::print;
use crate::audit::{self, now_ms};
use crate::config::{self, Flags, is_name};
use crate::tokens::{self, File, Scope, Token};

/// Make, list and revoke tokens of HTTP clients.
#[derive(Subcommand)]
pub(super) enum Command {
    /// Make a token and print it, this once; a running server takes it at once.
    Create(Create),
    /// List the tokens: name, age, expiry, tools.
    List(Source),
    /// Revoke a token; a running server refuses it at once.
    Revoke(Revoke),
}

/// Which file of tokens.
#[derive(Args)]
pub(super) struct Source {
    #[command(flatten)]
    flags: Flags,
}

#[derive(Args)]
pub(super) struct Create {
    /// Name in audit and logs, such as that of the client: small letters, digits, `_` and `-`.
    #[arg(value_parser = name)]
    name: String,
    /// The only tools that the token opens, for code that its holder runs, too; without it all that clients may use.
    #[arg(long, value_delimiter = ',', value_name = "NAMES", value_parser = tool)]
    tools: Option<Vec<String>>,
    /// What it is good for: `call` for tools, `metrics` for reading `/metrics`, `admin` for both the console and
    /// `/metrics`.
    #[arg(long, value_delimiter = ',', value_name = "SCOPES", value_enum, default_value = "call")]
    scope: Vec<Scope>,
    /// How long it is good for, such as 90d, 12h or 30m; without it until revoked.
    #[arg(long, value_name = "TIME", value_parser = lifetime)]
    expires: Option<Duration>,
    #[command(flatten)]
    flags: Flags,
}

#[derive(Args)]
pub(super) struct Revoke {
    /// Name of the token.
    name: String,
    #[command(flatten)]
    flags: Flags,
}

impl Command {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::Create(create) => create.run()?,
            Self::List(source) => list(&file(&source.flags)?)?,
            Self::Revoke(revoke) => revoke.run()?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Create {
    fn run(self) -> anyhow::Result<()> {
        let config = config::load(&self.flags)?.config;
        let (file, record) = (File::at(tokens::path(&config)?), audit::Change::begin(&config)?);
        let tools = self.tools.map(BTreeSet::from_iter);
        let scopes = BTreeSet::from_iter(self.scope);
        let text = file.change(|tokens| {
            if tokens.iter().any(|token| token.name == self.name) {
                bail!("there is a token `{}` already; revoke it first, or choose another name", self.name);
            }
            let (token, text) = Token::create(&self.name, tools, self.expires)?;
            tokens.push(token.with_scopes(scopes));
            Ok(text)
        })?;
        // First, so that a token that is not recorded is not used.
        record.done(audit::Event::Token { outcome: "created", token: self.name, by: audit::by() })?;
        print(&format!("{text}\n"))?;
        // stdout holds the token alone, so that it can go straight to where it belongs.
        let _ = writeln!(
            std::io::stderr(),
            "llmc: this is the only time that the token is shown; its digest is in `{}`",
            file.path().display()
        );
        Ok(())
    }
}

impl Revoke {
    fn run(self) -> anyhow::Result<()> {
        let config = config::load(&self.flags)?.config;
        let record = audit::Change::begin(&config)?;
        File::at(tokens::path(&config)?).change(|tokens| {
            let before = tokens.len();
            tokens.retain(|token| token.name != self.name);
            match tokens.len() == before {
                true => {
                    bail!("there is no token `{}`; `llmc token list` shows those that there are", self.name)
                }
                false => Ok(()),
            }
        })?;
        record.done(audit::Event::Token { outcome: "revoked", token: self.name, by: audit::by() })
    }
}

fn list(file: &File) -> anyhow::Result<()> {
    let tokens = file.read()?;
    let width = tokens.iter().map(|token| token.name.len()).max().unwrap_or(0);
    let line = |token: &Token| {
        let age = days(now_ms().saturating_sub(token.created_ms));
        let expiry = match token.expires_ms {
            None => "never expires".to_owned(),
            Some(_) if token.is_expired() => "expired".to_owned(),
            Some(expires_ms) => format!("expires in {}", days(expires_ms.saturating_sub(now_ms()))),
        };
        let tools = token.tools.as_ref().map_or("all tools".to_owned(), |tools| {
            tools.iter().map(String::as_str).collect::<Vec<_>>().join(",")
        });
        let tools = if token.scopes.contains(&Scope::Call) { tools } else { "no tools".to_owned() };
        let others = token.scopes.iter().filter(|scope| **scope != Scope::Call);
        let others: String = others.map(|scope| format!("  {scope:?}").to_lowercase()).collect();
        format!("{:width$}  {age} old  {expiry}  {tools}{others}\n", token.name)
    };
    print(&tokens.iter().map(line).collect::<String>())
}

fn file(flags: &Flags) -> anyhow::Result<File> {
    Ok(File::at(tokens::path(&config::load(flags)?.config)?))
}

/// Whole days, or hours where there are none.
fn days(time_ms: u64) -> String {
    let hours = time_ms / 3_600_000;
    match hours / 24 {
        0 => format!("{hours} h"),
        days => format!("{days} d"),
    }
}

fn name(text: &str) -> Result<String, String> {
    let fits = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-');
    match (1..=64).contains(&text.len()) && text.bytes().all(fits) {
        true => Ok(text.to_owned()),
        false => Err("a name has 1 to 64 small letters, digits, `_` and `-`".into()),
    }
}

fn tool(text: &str) -> Result<String, String> {
    match is_name(text) {
        true => Ok(text.to_owned()),
        false => Err("no tool can have this name; `llmc tools` lists those that there are".into()),
    }
}

fn lifetime(text: &str) -> Result<Duration, String> {
    let problem = || "write a number and `d`, `h` or `m`, such as 90d".to_owned();
    let unit = text.chars().next_back().ok_or_else(problem)?;
    let seconds: u64 = match unit {
        'd' => 86_400,
        'h' => 3_600,
        'm' => 60,
        _ => return Err(problem()),
    };
    let count: u64 = text[..text.len() - 1].parse().map_err(|_| problem())?;
    match count.checked_mul(seconds).filter(|seconds| *seconds > 0) {
        Some(seconds) => Ok(Duration::from_secs(seconds)),
        None => Err(problem()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lifetimes_have_a_unit() {
        assert_eq!(lifetime("90d"), Ok(Duration::from_hours(90 * 24)));
        assert_eq!(lifetime("1m"), Ok(Duration::from_mins(1)));
        for text in ["", "d", "90", "90s", "-1d", "0d", "1.5h", "99999999999999999999d", "1ä"] {
            assert!(lifetime(text).is_err(), "{text}");
        }
    }

    #[test]
    fn names_are_plain() {
        assert!(name("ci-2").is_ok());
        for text in ["", "A", "a b", "a\n", "ä", &"a".repeat(65)] {
            assert!(name(text).is_err(), "{text}");
        }
    }
}
