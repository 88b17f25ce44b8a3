//! `llmc plugin lock`, `verify` and `accept`

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use serde_json::{Value, json};

use super::super::output::{Output, Paint};
use super::Place;
use crate::app;
use crate::audit;
use crate::config::{self, Config, Flags, Loaded};
use crate::lock::{self, Drift, Finding, LockError, Pin, lock_path};

/// `llmc plugin lock`
#[derive(Args)]
pub(in super::super) struct Lock {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    output: Output,
}

/// `llmc plugin verify`
#[derive(Args)]
pub(in super::super) struct Verify {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    output: Output,
}

/// `llmc plugin accept`
#[derive(Args)]
pub(in super::super) struct Accept {
    /// Name of the plugin in the configuration.
    plugin: String,
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    output: Output,
}

/// A configuration and its lock.
struct Ground {
    flags: Flags,
    loaded: Loaded,
    file: PathBuf,
    /// None if there is no lock yet.
    lock: Option<lock::Lock>,
}

/// A plugin as it is now.
struct Now {
    pin: Pin,
    findings: Vec<Finding>,
}

impl Ground {
    fn read(place: &Place) -> anyhow::Result<Self> {
        let flags = place.flags();
        let loaded = config::load(&flags)?;
        let file = lock_path(loaded.file.as_deref().ok_or(LockError::NoConfiguration)?);
        let lock = lock::Lock::read(&file)?;
        Ok(Self { flags, loaded, file, lock })
    }

    /// The lock; without one, pinning a single plugin would stop all others.
    fn existing(&self) -> anyhow::Result<&lock::Lock> {
        self.lock.as_ref().with_context(|| {
            let file = self.file.display();
            format!(
                "there is no lock `{file}`, so nothing is pinned; `llmc plugin lock{}` writes it",
                self.flag()
            )
        })
    }

    /// What names this configuration in a command.
    fn flag(&self) -> String {
        config::flag(self.loaded.file.as_deref())
    }

    fn config(&self) -> &Config {
        &self.loaded.config
    }

    /// Writes the lock, and records what became of which plugin.
    fn write<'a>(
        &self,
        lock: &lock::Lock,
        changes: impl Iterator<Item = (&'static str, &'a String)>,
    ) -> anyhow::Result<()> {
        let records: Vec<_> = changes
            .map(|change| Ok((audit::Change::begin(self.config())?, change)))
            .collect::<anyhow::Result<_>>()?;
        lock.write(&self.file)?;
        for (record, (outcome, plugin)) in records {
            record.done(audit::Event::Plugin {
                outcome,
                plugin: plugin.clone(),
                plugin_sha256: lock.plugins.get(plugin).map(|pin| pin.sha256.clone()),
                reason: None,
                by: audit::by(),
            })?;
        }
        Ok(())
    }

    /// Loads a plugin in a jail without any grant, and looks at it.
    async fn look(&self, name: &str) -> anyhow::Result<Now> {
        let configured = &self.config().plugins[name];
        let found = app::manifest(&configured.library, &self.flags)
            .await
            .with_context(|| format!("failed to look at plugin `{name}`"))?;
        let tools = lock::tools(&found.manifest, configured.prefix.as_deref())
            .with_context(|| format!("manifest of plugin `{name}`"))?;
        let grants = lock::grants(self.config(), configured);
        let findings = lock::scan(&found.manifest);
        Ok(Now { pin: Pin::new(&found.sha256, grants, tools), findings })
    }

    fn drift(&self, name: &str, pin: &Pin, now: &Pin) -> Option<Drift> {
        Drift::of(name, pin, self.config(), &now.sha256, &now.grants, Some(&now.tools))
    }

    /// Pins that belong to no plugin of the configuration, not even a disabled one.
    fn orphans(&self) -> Vec<String> {
        let is_known = |name: &String| {
            self.config().plugins.contains_key(name) || self.loaded.disabled.contains_key(name)
        };
        let pins = self.lock.iter().flat_map(|lock| lock.plugins.keys());
        pins.filter(|name| !is_known(name)).cloned().collect()
    }
}

impl Lock {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let ground = Ground::read(&self.place)?;
        let before = ground.lock.clone();
        let mut after = before.clone().unwrap_or_default();
        let removed = ground.orphans();
        after.plugins.retain(|name, _| !removed.contains(name));
        let (mut pinned, mut drifted, mut suspicious) = (Vec::new(), Vec::new(), Vec::new());
        for name in ground.config().plugins.keys() {
            let now = ground.look(name).await?;
            match after.plugins.get(name) {
                Some(pin) => drifted.extend(ground.drift(name, pin, &now.pin)),
                None if now.findings.is_empty() => {
                    pinned.push(name.clone());
                    after.plugins.insert(name.clone(), now.pin);
                }
                None => suspicious.push((name.clone(), now.findings)),
            }
        }
        let is_changed = before.as_ref() != Some(&after);
        if is_changed {
            ground.write(
                &after,
                pinned
                    .iter()
                    .map(|name| ("pinned", name))
                    .chain(removed.iter().map(|name| ("unpinned", name))),
            )?;
        }
        let (paint, flag) = (Paint::for_stdout(), ground.flag());
        let mut text = String::new();
        for name in &pinned {
            text.push_str(&pinned_text(name, &after.plugins[name], paint));
        }
        for name in &removed {
            text.push_str(&format!("{}: no longer configured, taken out of the lock\n", paint.bold(name)));
        }
        drifted.iter().for_each(|drift| text.push_str(&drift_text(drift, &flag, paint)));
        for (name, findings) in &suspicious {
            text.push_str(&findings_text(name, findings, paint));
            text.push_str(&format!(
                "it was not pinned; if you trust it, `llmc plugin accept {name}{flag}`\n"
            ));
        }
        if is_changed {
            text.push_str(&format!("wrote `{}`\n", ground.file.display()));
        }
        let suspicious: Vec<Value> = suspicious
            .into_iter()
            .map(|(plugin, findings)| json!({ "plugin": plugin, "findings": findings }))
            .collect();
        let is_clean = drifted.is_empty() && suspicious.is_empty();
        let json = json!({
            "lock": ground.file, "pinned": pinned, "removed": removed, "drifted": drifted, "suspicious": suspicious,
        });
        self.output.print(&json, &text)?;
        Ok(if is_clean { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

impl Verify {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let ground = Ground::read(&self.place)?;
        let lock = ground.existing()?;
        let (mut drifted, mut findings) = (Vec::new(), Vec::new());
        for name in ground.config().plugins.keys() {
            let now = ground.look(name).await?;
            let found = match lock.plugins.get(name) {
                None => Some(Drift::unknown(name)),
                Some(pin) => ground.drift(name, pin, &now.pin),
            };
            // What was accepted as it is was seen by then.
            if let Some(drift) = found {
                drifted.push(drift);
                findings.push((name.clone(), now.findings));
            }
        }
        let (paint, flag) = (Paint::for_stdout(), ground.flag());
        let mut text = String::new();
        for (drift, (name, findings)) in drifted.iter().zip(&findings) {
            text.push_str(&drift_text(drift, &flag, paint));
            text.push_str(&findings_text(name, findings, paint));
        }
        let orphans = ground.orphans();
        for name in &orphans {
            text.push_str(&format!(
                "{name}: in the lock, not in the configuration; `llmc plugin lock{flag}` takes it out\n"
            ));
        }
        if drifted.is_empty() {
            text.push_str(&format!("every plugin is what `{}` pins\n", ground.file.display()));
        }
        let json = json!({
            "lock": ground.file,
            "drifted": drifted,
            "not_configured": orphans,
            "suspicious": findings.iter().filter(|(_, findings)| !findings.is_empty())
                .map(|(plugin, findings)| json!({ "plugin": plugin, "findings": findings })).collect::<Vec<_>>(),
        });
        self.output.print(&json, &text)?;
        Ok(if drifted.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

impl Accept {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let ground = Ground::read(&self.place)?;
        let name = &self.plugin;
        if !ground.config().plugins.contains_key(name) {
            anyhow::bail!(super::no_plugin(name, &ground.loaded));
        }
        let mut lock = ground.existing()?.clone();
        let now = ground.look(name).await?;
        let drift = match lock.plugins.get(name) {
            Some(pin) => ground.drift(name, pin, &now.pin),
            None => Some(Drift::unknown(name)),
        };
        let paint = Paint::for_stdout();
        let json = json!({
            "lock": ground.file, "plugin": name, "accepted": drift, "findings": now.findings, "by": now.pin.accepted_by,
        });
        let Some(drift) = drift else {
            let text = format!("plugin `{name}` is what the lock pins; there is nothing to accept\n");
            self.output.print(&json, &text)?;
            return Ok(ExitCode::SUCCESS);
        };
        let mut text = match drift.is_new {
            true => pinned_text(name, &now.pin, paint),
            false => paint.diff(&drift.differences()) + "\n",
        };
        text.push_str(&findings_text(name, &now.findings, paint));
        text.push_str(&format!(
            "accepted by {}, written to `{}`\n",
            now.pin.accepted_by,
            ground.file.display()
        ));
        lock.plugins.insert(name.clone(), now.pin);
        ground.write(&lock, [("accepted", name)].into_iter())?;
        self.output.print(&json, &text)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// What was pinned, so that whoever pins it sees it.
fn pinned_text(name: &str, pin: &Pin, paint: Paint) -> String {
    let names: Vec<&str> = pin.tools.keys().map(String::as_str).collect();
    let tools = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    let grants = lock::grant_lines(&pin.grants);
    let grants = if grants.is_empty() { "none".to_owned() } else { grants.join("; ") };
    let name = paint.bold(name);
    format!("{name}: pinned\n  sha256 {}\n  tools  {tools}\n  grants {grants}\n", pin.sha256)
}

fn drift_text(drift: &Drift, flag: &str, paint: Paint) -> String {
    if drift.is_new {
        return drift.told(flag) + "\n";
    }
    let accept = paint.bold(&format!("llmc plugin accept {}{flag}", drift.plugin));
    format!("{}\nif the change is wanted: {accept}\n", paint.diff(&drift.differences()))
}

pub(super) fn findings_text(name: &str, findings: &[Finding], paint: Paint) -> String {
    let mut text = String::new();
    for Finding { rule, reason, place, excerpt } in findings {
        let head = paint.warning(&format!("suspicious text ({rule})"));
        text.push_str(&format!("{head} in plugin `{name}`, {place}: {reason}\n  {excerpt}\n"));
    }
    text
}
