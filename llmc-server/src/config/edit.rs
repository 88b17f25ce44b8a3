//! Editing the configuration file: what is not meant to change keeps its place, its form and its comments.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::ValueEnum;
use toml_edit::{Array, DocumentMut, InlineTable, Item, Table, Value};

use super::load::{MAX_BYTES, parse, user_file};
use super::{Access, Config, ConfigError, Grants, RunProfile, flags::parse_root};
use crate::audit;
use crate::files;

/// What can be granted, one at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum GrantWord {
    /// A directory: NAME of `[roots]`, NAME:ro for less, or NAME=PATH[:rw] to add it there, too.
    Root,
    /// Another tool that it may call, by name.
    Tool,
    /// A program that it may run in a jail: NAME, or NAME=/absolute/path.
    Program,
    /// A secret of `[secrets]`, by name.
    Secret,
    /// An environment variable that it may set for programs, by name.
    Env,
    /// A directory of Python packages for code.
    Package,
}

impl GrantWord {
    /// As it is written on the command line.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Tool => "tool",
            Self::Program => "program",
            Self::Secret => "secret",
            Self::Env => "env",
            Self::Package => "package",
        }
    }

    /// Key of its list, in `grants` or in `grants.run`.
    fn list(self) -> (bool, &'static str) {
        match self {
            Self::Root => (false, "roots"),
            Self::Tool => (false, "tools"),
            Self::Secret => (false, "secrets"),
            Self::Program => (true, "programs"),
            Self::Env => (true, "env"),
            Self::Package => (true, "packages"),
        }
    }

    /// What of this kind a plugin is granted.
    pub(crate) fn of(self, grants: &Grants) -> Vec<String> {
        let run = grants.run.as_ref();
        match self {
            Self::Root => grants.roots.clone(),
            Self::Tool => grants.tools.clone(),
            Self::Secret => grants.secrets.clone(),
            Self::Program => run.map(|run| run.programs.clone()).unwrap_or_default(),
            Self::Env => run.map(|run| run.env.clone()).unwrap_or_default(),
            Self::Package => run
                .map(|run| run.packages.iter().map(|path| path.display().to_string()).collect())
                .unwrap_or_default(),
        }
    }

    /// What names the thing that is granted: `docs` of `docs:ro`, `git` of `git=/opt/git`.
    fn name(self, value: &str) -> &str {
        match self {
            Self::Root => value.strip_suffix(":ro").unwrap_or(value),
            Self::Program => value.split_once('=').map_or(value, |(name, _)| name),
            _ => value,
        }
    }
}

/// A configuration file under change.
#[derive(Debug)]
pub(crate) struct Editor {
    pub(crate) file: PathBuf,
    before: String,
    document: DocumentMut,
}

impl Editor {
    /// Reads the named file, or the operator's own.
    ///
    /// # Errors
    ///
    /// When there is none, or it cannot be used as it is.
    pub(crate) fn open(named: Option<&Path>) -> anyhow::Result<Self> {
        let file = match named {
            Some(file) => file.to_owned(),
            None => user_file().filter(|file| file.exists()).ok_or_else(|| {
                ConfigError::Flag(
                    "there is no configuration file; `llmc init` writes one, `--config FILE` names one"
                        .into(),
                )
            })?,
        };
        let before =
            files::read_text(&file, MAX_BYTES).map_err(|source| ConfigError::reading(&file, source))?;
        parse(&file, &before)?;
        let document = before.parse().with_context(|| format!("configuration `{}`", file.display()))?;
        Ok(Self { file, before, document })
    }

    /// What the file says by now.
    ///
    /// # Errors
    ///
    /// When it would be no configuration.
    pub(crate) fn config(&self) -> Result<Config, ConfigError> {
        parse(&self.file, &self.document.to_string())
    }

    /// Writes what changed, whole or not at all, and records it as `change`; tells whether anything did.
    ///
    /// # Errors
    ///
    /// When it would be no configuration, or the file was changed by somebody else meanwhile.
    pub(crate) fn save(self, change: impl Into<String>) -> anyhow::Result<bool> {
        let config = self.config()?;
        let after = self.document.to_string();
        let file = self.file.display();
        if after == self.before {
            return Ok(false);
        }
        let now =
            files::read_text(&self.file, MAX_BYTES).with_context(|| format!("failed to read `{file}`"))?;
        if now != self.before {
            bail!("`{file}` was changed by somebody else meanwhile; nothing was written, try again");
        }
        let record = audit::Change::begin(&config)?;
        files::replace(&self.file, after.as_bytes()).with_context(|| format!("failed to write `{file}`"))?;
        record.done(audit::Event::Configuration {
            outcome: "changed",
            file: Some(self.file),
            sha256: audit::digest(&config),
            change: Some(change.into()),
            reason: None,
            by: audit::by(),
        })?;
        Ok(true)
    }

    /// Adds a plugin without any grant.
    ///
    /// # Errors
    ///
    /// When there is one of that name.
    pub(crate) fn add_plugin(
        &mut self,
        name: &str,
        library: &str,
        prefix: Option<&str>,
    ) -> anyhow::Result<()> {
        if self.config()?.plugins.contains_key(name) {
            bail!(
                "the configuration already has a plugin `{name}`; choose another name, or remove that one first"
            );
        }
        let root = self.document.as_table_mut();
        let plugins = root.entry("plugins").or_insert_with(|| {
            let mut table = Table::new();
            table.set_implicit(true);
            Item::Table(table)
        });
        let plugins = plugins.as_table_like_mut().context("`plugins` is no table")?;
        let mut table = Table::new();
        table.insert("library", library.into());
        prefix.map(|prefix| table.insert("prefix", prefix.into()));
        plugins.insert(name, Item::Table(table));
        Ok(())
    }

    /// Takes a plugin out, with its grants.
    ///
    /// # Errors
    ///
    /// When there is none of that name.
    pub(crate) fn remove_plugin(&mut self, name: &str) -> anyhow::Result<()> {
        self.plugin(name)?;
        let plugins = self.document.get_mut("plugins").and_then(Item::as_table_like_mut);
        plugins.and_then(|plugins| plugins.remove(name));
        Ok(())
    }

    /// Switches a plugin off or on.
    ///
    /// # Errors
    ///
    /// When there is none of that name.
    pub(crate) fn set_disabled(&mut self, name: &str, disabled: bool) -> anyhow::Result<()> {
        let plugin = self.plugin(name)?;
        if disabled {
            return insert(plugin, "disabled", true.into());
        }
        plugin.as_table_like_mut().and_then(|plugin| plugin.remove("disabled"));
        Ok(())
    }

    /// Grants one thing; a root or program of the same name is replaced.
    ///
    /// # Errors
    ///
    /// When it cannot be granted to this plugin; nothing is changed then.
    pub(crate) fn grant(&mut self, plugin: &str, word: GrantWord, value: &str) -> anyhow::Result<()> {
        let mut value = value.to_owned();
        if word == GrantWord::Root {
            value = self.root(plugin, &value)?;
        }
        self.check_run(plugin, word)?;
        let array = self.list(plugin, word)?;
        let is_same =
            |entry: &Value| entry.as_str().is_some_and(|entry| word.name(entry) == word.name(&value));
        let at = array.iter().position(is_same);
        match at {
            Some(at) if array.get(at).and_then(Value::as_str) != Some(&value) => {
                array.replace(at, value);
            }
            Some(_) => {}
            None => push(array, value),
        }
        Ok(())
    }

    /// Takes one thing back.
    ///
    /// # Errors
    ///
    /// When it was not granted.
    pub(crate) fn withdraw(&mut self, plugin: &str, word: GrantWord, value: &str) -> anyhow::Result<()> {
        self.plugin(plugin)?;
        let granted = self.config()?.plugins.remove(plugin).map(|plugin| word.of(&plugin.grants));
        let granted = granted.unwrap_or_default();
        let Some(at) = granted.iter().position(|granted| word.name(granted) == word.name(value)) else {
            let has = if granted.is_empty() { "none".to_owned() } else { granted.join(", ") };
            bail!("plugin `{plugin}` is not granted {} `{value}` (it is granted: {has})", word.word());
        };
        remove(self.list(plugin, word)?, at);
        Ok(())
    }

    /// The entry of `grants.roots` for `NAME`, `NAME:ro`, or `NAME=PATH[:rw]`, which adds to `[roots]` first.
    fn root(&mut self, plugin: &str, value: &str) -> anyhow::Result<String> {
        let known = self.config()?.roots;
        if !value.contains('=') {
            let name = GrantWord::Root.name(value);
            if !known.contains_key(name) {
                let names: Vec<&str> = known.keys().map(String::as_str).collect();
                let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
                bail!(
                    "[roots] has no `{name}` (it has: {names}); to add a directory, write \
                     `llmc grant add {plugin} root {name}=PATH`, or `{name}=PATH:rw`"
                );
            }
            return Ok(value.to_owned());
        }
        let (name, mut root) = parse_root(value).map_err(anyhow::Error::msg)?;
        root.path = std::path::absolute(&root.path)?;
        if let Some(known) = known.get(&name) {
            if std::path::absolute(&known.path)? != root.path || known.access != root.access {
                let access = if known.access == Access::Rw { "rw" } else { "ro" };
                bail!(
                    "[roots] has `{name}` already, as `{}` ({access}); choose another name, or change it there",
                    known.path.display()
                );
            }
            return Ok(name);
        }
        if !root.path.is_dir() {
            bail!("`{}` is no directory", root.path.display());
        }
        let path = root.path.to_str().context("the path is not UTF-8; write it into the file by hand")?;
        let mut table = InlineTable::new();
        table.insert("path", path.into());
        if root.access == Access::Rw {
            table.insert("access", "rw".into());
        }
        let roots = self.document.as_table_mut().entry("roots").or_insert_with(|| Item::Table(Table::new()));
        roots.as_table_like_mut().context("`roots` is no table")?.insert(&name, table.into());
        Ok(name)
    }

    /// Programs and packages go with one profile each.
    fn check_run(&mut self, plugin: &str, word: GrantWord) -> anyhow::Result<()> {
        self.plugin(plugin)?;
        let config = self.config()?;
        let run = config.plugins.get(plugin).and_then(|plugin| plugin.grants.run.as_ref());
        match (word, run.map(|run| run.profile)) {
            (GrantWord::Program, Some(RunProfile::Code)) => bail!(
                "plugin `{plugin}` runs code (`profile = \"code\"`), where no program can be started; grant programs to \
                 a plugin with `profile = \"workspace\"`"
            ),
            (GrantWord::Package, None | Some(RunProfile::Workspace)) => {
                bail!(
                    "plugin `{plugin}` does not run code (`profile = \"code\"`), so packages are no use to it"
                )
            }
            (GrantWord::Env, None) => bail!(
                "plugin `{plugin}` may not run anything; grant it a program first: \
                 `llmc grant add {plugin} program NAME`"
            ),
            (GrantWord::Program, None) => {
                let mut run = InlineTable::new();
                run.insert("profile", "workspace".into());
                insert(self.grants(plugin)?, "run", run.into())
            }
            _ => Ok(()),
        }
    }

    fn plugin(&mut self, name: &str) -> anyhow::Result<&mut Item> {
        let plugins = self.document.get_mut("plugins");
        let table = plugins.as_ref().and_then(|plugins| plugins.as_table_like());
        let known: Vec<String> =
            table.iter().flat_map(|table| table.iter()).map(|(name, _)| name.to_owned()).collect();
        let table = plugins.and_then(Item::as_table_like_mut);
        table.and_then(|table| table.get_mut(name)).with_context(|| no_plugin(name, &known))
    }

    fn grants(&mut self, plugin: &str) -> anyhow::Result<&mut Item> {
        child(self.plugin(plugin)?, "grants")
    }

    fn list(&mut self, plugin: &str, word: GrantWord) -> anyhow::Result<&mut Array> {
        let (in_run, key) = word.list();
        let grants = self.grants(plugin)?;
        let table = if in_run { child(grants, "run")? } else { grants };
        if table.get(key).is_none() {
            insert(table, key, Array::new().into())?;
        }
        table.get_mut(key).and_then(Item::as_array_mut).with_context(|| format!("`{key}` is no list"))
    }
}

/// Says that a configuration has no such plugin, and which it has.
pub(crate) fn no_plugin(name: &str, known: &[String]) -> String {
    let nearest = crate::call::nearest(name, known.iter().map(String::as_str));
    let hint = nearest.map_or(String::new(), |name| format!("; did you mean `{name}`?"));
    let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
    format!("the configuration has no plugin `{name}`{hint} (it has: {known})")
}

/// What is below a key; an empty table, if there is nothing.
fn child<'a>(table: &'a mut Item, key: &str) -> anyhow::Result<&'a mut Item> {
    if table.get(key).is_none() {
        insert(table, key, InlineTable::new().into())?;
    }
    table.get_mut(key).with_context(|| format!("there is no `{key}`"))
}

/// Adds a value, and sets the spaces of a table in one line right where no comment can be lost by that.
fn insert(table: &mut Item, key: &str, value: Value) -> anyhow::Result<()> {
    table
        .as_table_like_mut()
        .with_context(|| format!("what holds `{key}` is no table"))?
        .insert(key, value.into());
    if let Item::Value(Value::InlineTable(inline)) = table
        && !inline.to_string().contains('#')
    {
        inline.fmt();
    }
    Ok(())
}

/// Adds an entry in the form of the last one.
fn push(array: &mut Array, value: String) {
    let last = array.len().checked_sub(1).and_then(|last| array.get(last));
    let prefix = last.and_then(|last| last.decor().prefix()?.as_str().map(str::to_owned));
    let is_first = array.is_empty();
    let prefix = prefix
        .map(|prefix| prefix.rsplit_once('\n').map_or(prefix.clone(), |(_, indent)| format!("\n{indent}")));
    let prefix = match prefix {
        Some(prefix) if !prefix.is_empty() => prefix,
        _ if is_first => String::new(),
        _ => " ".to_owned(),
    };
    array.push_formatted(Value::from(value).decorated(prefix, ""));
}

/// Takes an entry out; comments that stand before it stay.
fn remove(array: &mut Array, at: usize) {
    let removed = array.remove(at);
    let prefix = removed.decor().prefix().and_then(|prefix| prefix.as_str()).unwrap_or_default().to_owned();
    let keeps_comment = prefix.contains('#');
    if let Some(next) = array.get_mut(at) {
        let own = next.decor().prefix().and_then(|prefix| prefix.as_str()).unwrap_or_default().to_owned();
        if keeps_comment {
            next.decor_mut().set_prefix(format!("{}{own}", prefix.trim_end_matches([' ', '\t', '\n'])));
        } else if at == 0 && !own.contains('#') {
            next.decor_mut().set_prefix(prefix);
        }
    } else if keeps_comment {
        let trailing = array.trailing().as_str().unwrap_or_default().to_owned();
        array.set_trailing(format!("{}{trailing}", prefix.trim_end_matches([' ', '\t', '\n'])));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
# my llmc
[roots]
work = { path = \"/\" } # all of it

[plugins.fs] # files
library = \"llmc_tools_fs\"
grants = { roots = [\"work\"] }

[plugins.cmd]
library = \"llmc_tools_cmd\"
[plugins.cmd.grants.run]
profile = \"workspace\"
programs = [
    \"git\", # history
    # and search
    \"rg\",
]

[plugins.exec]
library = \"llmc_tools_exec\"
grants = { run = { profile = \"code\" } }
";

    /// The file after an edit.
    fn edited(edit: impl FnOnce(&mut Editor) -> anyhow::Result<()>) -> Result<String, String> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("llmc.toml");
        std::fs::write(&file, TEXT).unwrap();
        let mut editor = Editor::open(Some(&file)).map_err(|error| error.to_string())?;
        edit(&mut editor).and_then(|()| editor.save("test")).map_err(|error| error.to_string())?;
        Ok(std::fs::read_to_string(&file).unwrap())
    }

    /// The lines that an edit takes away and adds.
    #[track_caller]
    fn check(edit: impl FnOnce(&mut Editor) -> anyhow::Result<()>, removed: &[&str], added: &[&str]) {
        let after = edited(edit).unwrap();
        let diff = similar::TextDiff::from_lines(TEXT, &after);
        let lines = |tag| -> Vec<String> {
            let changes = diff.iter_all_changes().filter(|change| change.tag() == tag);
            changes
                .map(|change| change.value().trim_end().to_owned())
                .filter(|line| !line.is_empty())
                .collect()
        };
        assert_eq!(lines(similar::ChangeTag::Delete), removed, "{after}");
        assert_eq!(lines(similar::ChangeTag::Insert), added, "{after}");
    }

    #[test]
    fn grants_are_added_where_they_belong_and_nothing_else_moves() {
        let fs = "grants = { roots = [\"work\"] }";
        check(
            |editor| editor.grant("fs", GrantWord::Tool, "stat"),
            &[fs],
            &["grants = { roots = [\"work\"], tools = [\"stat\"] }"],
        );
        check(
            |editor| editor.grant("fs", GrantWord::Root, "work:ro"),
            &[fs],
            &["grants = { roots = [\"work:ro\"] }"],
        );
        check(|editor| editor.grant("fs", GrantWord::Root, "work"), &[], &[]);
        check(|editor| editor.grant("cmd", GrantWord::Program, "cargo"), &[], &["    \"cargo\","]);
        check(|editor| editor.grant("cmd", GrantWord::Env, "LANG"), &[], &["env = [\"LANG\"]"]);
        check(
            |editor| editor.grant("fs", GrantWord::Root, "docs=/usr:rw"),
            &[fs],
            &["docs = { path = \"/usr\", access = \"rw\" }", "grants = { roots = [\"work\", \"docs\"] }"],
        );
        check(
            |editor| editor.grant("fs", GrantWord::Program, "git"),
            &[fs],
            &["grants = { roots = [\"work\"], run = { profile = \"workspace\", programs = [\"git\"] } }"],
        );
        check(
            |editor| editor.grant("exec", GrantWord::Package, "/opt/venv"),
            &["grants = { run = { profile = \"code\" } }"],
            &["grants = { run = { profile = \"code\", packages = [\"/opt/venv\"] } }"],
        );
    }

    #[test]
    fn grants_are_taken_back_and_comments_stay() {
        check(|editor| editor.withdraw("cmd", GrantWord::Program, "rg"), &["    \"rg\","], &[]);
        check(
            |editor| editor.withdraw("cmd", GrantWord::Program, "git"),
            &["programs = [", "    \"git\", # history"],
            &["programs = [ # history"],
        );
        check(
            |editor| editor.withdraw("fs", GrantWord::Root, "work"),
            &["grants = { roots = [\"work\"] }"],
            &["grants = { roots = [] }"],
        );
    }

    #[test]
    fn plugins_come_and_go() {
        check(
            |editor| editor.add_plugin("hello", "hello", Some("x")),
            &[],
            &["[plugins.hello]", "library = \"hello\"", "prefix = \"x\""],
        );
        check(|editor| editor.set_disabled("fs", true), &[], &["disabled = true"]);
        check(
            |editor| editor.set_disabled("fs", true).and_then(|()| editor.set_disabled("fs", false)),
            &[],
            &[],
        );
        check(
            |editor| editor.remove_plugin("exec"),
            &["[plugins.exec]", "library = \"llmc_tools_exec\"", "grants = { run = { profile = \"code\" } }"],
            &[],
        );
    }

    #[test]
    fn what_cannot_be_granted_is_refused_and_nothing_is_written() {
        let refused = |plugin: &str, word, value: &str, part: &str| {
            let error = edited(|editor| editor.grant(plugin, word, value)).unwrap_err();
            assert!(error.contains(part), "{error}");
        };
        refused("fz", GrantWord::Tool, "stat", "did you mean `fs`?");
        refused("fs", GrantWord::Root, "docs", "`llmc grant add fs root docs=PATH`");
        refused("fs", GrantWord::Root, "work=/usr", "[roots] has `work` already");
        refused("fs", GrantWord::Root, "docs=/no/such/folder", "is no directory");
        refused("fs", GrantWord::Root, "usr=/usr", "directory of every jail");
        refused("fs", GrantWord::Secret, "TOKEN", "[secrets] does not have");
        refused("exec", GrantWord::Program, "git", "profile = \"workspace\"");
        refused("fs", GrantWord::Env, "LANG", "llmc grant add fs program NAME");
        refused("cmd", GrantWord::Package, "/opt", "does not run code");
        let error = edited(|editor| editor.withdraw("cmd", GrantWord::Program, "vi")).unwrap_err();
        assert!(error.contains("(it is granted: git, rg)"), "{error}");
        let error = edited(|editor| editor.add_plugin("fs", "x", None)).unwrap_err();
        assert!(error.contains("already has a plugin `fs`"), "{error}");
    }

    #[test]
    fn a_file_that_somebody_else_changed_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("llmc.toml");
        std::fs::write(&file, TEXT).unwrap();
        let mut editor = Editor::open(Some(&file)).unwrap();
        editor.set_disabled("fs", true).unwrap();
        std::fs::write(&file, "# new\n").unwrap();
        assert!(editor.save("test").unwrap_err().to_string().contains("somebody else"));
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "# new\n");
    }
}
