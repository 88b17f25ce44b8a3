//! Finding and reading the configuration file.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use super::{Config, Flags, Plugin, SecretSource, syntax};
use crate::files;
use crate::plugin::signature::Trust;

/// Records that wait longer could as well be lost.
const MAX_COMMIT_MS: u64 = 10_000;

/// Larger files are no configurations.
pub(super) const MAX_BYTES: u64 = 1 << 20;

/// A configuration, and where it came from.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What it says; every path in it is absolute or relative to the working directory at start-up.
    pub config: Config,
    /// The file, if there was one.
    pub file: Option<PathBuf>,
    /// Plugins that the file has and switches off.
    pub disabled: BTreeMap<String, Plugin>,
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("failed to read configuration `{}`", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// There is no such file.
    #[error(
        "configuration `{0}` does not exist; `llmc init --config {0}` writes one",
        file.display()
    )]
    Missing {
        /// The file.
        file: PathBuf,
    },
    /// The file does not say what a configuration can say.
    #[error("configuration `{}`, {message}", file.display())]
    Syntax {
        /// The file.
        file: PathBuf,
        /// Where and what, with the nearest valid key.
        message: String,
    },
    /// A flag and the file do not go together.
    #[error("{0}")]
    Flag(String),
    /// The parts do not fit together.
    #[error("{0}")]
    Invalid(String),
}

impl ConfigError {
    /// Why a file could not be read.
    pub(super) fn reading(file: &Path, source: std::io::Error) -> Self {
        let file = file.to_owned();
        match source.kind() {
            std::io::ErrorKind::NotFound => Self::Missing { file },
            _ => Self::Read { file, source },
        }
    }
}

/// Reads the file that the flags name, or the operator's own, and applies the flags.
///
/// A `llmc.toml` in the working directory is *not* looked for: a client starts the server inside projects, and
/// what lies in a project is data of that project, not a decision of the operator.
///
/// # Errors
///
/// See [`ConfigError`].
pub fn load(flags: &Flags) -> Result<Loaded, ConfigError> {
    let file = match &flags.config {
        Some(file) => Some(file.clone()),
        None => existing(user_file())?,
    };
    let mut config = match &file {
        Some(file) => read(file)?,
        None => Config::default(),
    };
    flags.apply(&mut config).map_err(ConfigError::Flag)?;
    check(&config).map_err(ConfigError::Invalid)?;
    config.file.clone_from(&file);
    let disabled = config.plugins.extract_if(.., |_, plugin| plugin.disabled).collect();
    Ok(Loaded { config, file, disabled })
}

fn read(file: &Path) -> Result<Config, ConfigError> {
    let text = files::read_text(file, MAX_BYTES).map_err(|source| ConfigError::reading(file, source))?;
    read_text(file, &text)
}

/// A configuration file with this text, checked but without any flag.
///
/// # Errors
///
/// See [`ConfigError`].
pub(crate) fn parse(file: &Path, text: &str) -> Result<Config, ConfigError> {
    let config = read_text(file, text)?;
    check(&config).map_err(ConfigError::Invalid)?;
    Ok(config)
}

fn read_text(file: &Path, text: &str) -> Result<Config, ConfigError> {
    let mut config: Config = toml::from_str(text).map_err(|error| ConfigError::Syntax {
        file: file.to_owned(),
        message: syntax::told(text, &error),
    })?;
    let folder = file.parent().unwrap_or(Path::new("."));
    resolve(&mut config, folder);
    Ok(config)
}

/// Relative paths count from the folder of the file.
fn resolve(config: &mut Config, folder: &Path) {
    let from_folder = |path: &mut PathBuf| *path = folder.join(&*path);
    config.roots.values_mut().for_each(|root| from_folder(&mut root.path));
    config.audit.path.iter_mut().for_each(from_folder);
    config.server.state.iter_mut().for_each(from_folder);
    config.server.state_key.iter_mut().for_each(from_folder);
    config.server.shared_state.iter_mut().for_each(|state| state.resolve(folder));
    config.server.shared_state_ca.iter_mut().for_each(from_folder);
    if let Some(http) = &mut config.server.http {
        http.resolve(folder);
    }
    for source in config.secrets.values_mut() {
        if let SecretSource::File(path) = source {
            from_folder(path);
        }
    }
    for plugin in config.plugins.values_mut().filter(|plugin| is_path(&plugin.library)) {
        plugin.library = folder.join(&plugin.library).to_string_lossy().into_owned();
    }
}

/// Whether a plugin's `library` is a file rather than the name of an installed one.
pub(crate) fn is_path(library: &str) -> bool {
    library.contains('/') || library.ends_with(".so")
}

/// `$XDG_CONFIG_HOME/llmc/config.toml`, as in the XDG Base Directory Specification.
pub(crate) fn user_file() -> Option<PathBuf> {
    let folder = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let home = || std::env::var_os("HOME").map(PathBuf::from).filter(|home| home.is_absolute());
    let folder = folder.or_else(|| home().map(|home| home.join(".config")))?;
    Some(folder.join("llmc/config.toml"))
}

/// What names a configuration in a command that is told: nothing for the operator's own, else `--config FILE`.
pub(crate) fn flag(file: Option<&Path>) -> String {
    match file {
        Some(file) if user_file().as_deref() != Some(file) => {
            format!(" --config {}", shell_words::quote(&file.to_string_lossy()))
        }
        _ => String::new(),
    }
}

/// A file that is there. One that cannot be looked at is an error: it may hold restrictions.
fn existing(file: Option<PathBuf>) -> Result<Option<PathBuf>, ConfigError> {
    let Some(file) = file else { return Ok(None) };
    match file.try_exists() {
        Ok(true) => Ok(Some(file)),
        Ok(false) => Ok(None),
        Err(source) => Err(ConfigError::reading(&file, source)),
    }
}

/// Names must exist where they are used, and numbers must leave something to work with.
fn check(config: &Config) -> Result<(), String> {
    config.server.http.as_ref().map_or(Ok(()), super::Http::check)?;
    Trust::of(config)?;
    for name in config.roots.keys() {
        if !is_name(name) {
            return Err(format!("root name `{name}` must match ^[a-z][a-z0-9_]{{0,63}}$"));
        }
        if RESERVED.contains(&name.as_str()) {
            return Err(format!(
                "root name `{name}` is a directory of every jail; choose another, such as `work`"
            ));
        }
    }
    for entry in &config.policy.protected_paths {
        let is_name = |part: Component<'_>| matches!(part, Component::Normal(_));
        if entry.is_empty() || !Path::new(entry).components().all(is_name) {
            return Err(format!(
                "policy.protected_paths: `{entry}` must be a name or a relative path without `..`, such as `.git/hooks`"
            ));
        }
    }
    for (name, plugin) in &config.plugins {
        let place = format!("[plugins.{name}]");
        let mut granted = std::collections::BTreeSet::new();
        for root in &plugin.grants.roots {
            let root = root.strip_suffix(":ro").unwrap_or(root);
            if !granted.insert(root) {
                return Err(format!("{place} is granted root `{root}` twice"));
            }
            if !config.roots.contains_key(root) {
                return Err(format!(
                    "{place} is granted root `{root}`, which [roots] does not have (it has: {})",
                    listed(config.roots.keys())
                ));
            }
        }
        for secret in &plugin.grants.secrets {
            if !config.secrets.contains_key(secret) {
                return Err(format!(
                    "{place} is granted secret `{secret}`, which [secrets] does not have (it has: {})",
                    listed(config.secrets.keys())
                ));
            }
        }
        if plugin.prefix.as_ref().is_some_and(|prefix| !is_name(prefix)) {
            return Err(format!("{place} prefix must match ^[a-z][a-z0-9_]{{0,63}}$"));
        }
        if plugin
            .sha256
            .as_ref()
            .is_some_and(|digest| digest.len() != 64 || !digest.bytes().all(|byte| byte.is_ascii_hexdigit()))
        {
            return Err(format!("{place} sha256 must be 64 hexadecimal digits"));
        }
    }
    for (name, source) in &config.secrets {
        if let SecretSource::Command(command) = source
            && !command.first().is_some_and(|program| Path::new(program).is_absolute())
        {
            return Err(format!("[secrets] `{name}`: `command` begins with the absolute path of a program"));
        }
    }
    if config.audit.keep_days == Some(0) || config.audit.max_bytes == 0 {
        return Err("audit.keep_days and audit.max_bytes must be at least 1".into());
    }
    if config.audit.commit_ms > MAX_COMMIT_MS {
        return Err(format!("audit.commit_ms must be at most {MAX_COMMIT_MS}"));
    }
    super::shared_state::check(config)?;
    super::programs::check(config)?;
    let limits = &config.limits;
    let positive = [
        ("call_timeout_ms", limits.call_timeout_ms),
        ("concurrent_calls", limits.concurrent_calls as u64),
        ("workers_per_plugin", u64::from(limits.workers_per_plugin)),
        ("call_depth", u64::from(limits.call_depth)),
        ("nested_calls", u64::from(limits.nested_calls)),
        ("nested_bytes", limits.nested_bytes),
        ("max_message_bytes", limits.max_message_bytes as u64),
        ("max_result_bytes", limits.max_result_bytes as u64),
        ("load_timeout_ms", limits.load_timeout_ms),
        ("concurrent_runs", u64::from(limits.concurrent_runs)),
    ];
    if let Some((name, _)) = positive.iter().find(|(_, value)| *value == 0) {
        return Err(format!("limits.{name} must be at least 1"));
    }
    let largest = llmc_wire::frame::MAX_PAYLOAD_BYTES;
    if limits.max_result_bytes > largest || limits.max_message_bytes > largest {
        return Err(format!("limits.max_result_bytes and limits.max_message_bytes can be at most {largest}"));
    }
    if [limits.concurrent_runs, limits.detached_runs, limits.parked_runs].into_iter().any(|runs| runs > 64) {
        return Err(
            "limits.concurrent_runs, limits.detached_runs and limits.parked_runs can be at most 64".into()
        );
    }
    if limits.nested_calls > MAX_NESTED_CALLS {
        return Err(format!("limits.nested_calls can be at most {MAX_NESTED_CALLS}"));
    }
    if limits.workers_per_plugin > 256 {
        return Err("limits.workers_per_plugin can be at most 256".into());
    }
    Ok(())
}

/// Names for a message.
pub(super) fn listed<'a>(names: impl Iterator<Item = &'a String>) -> String {
    let names: Vec<&str> = names.map(String::as_str).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

/// Calls that the plugin which runs code keeps account of.
const MAX_NESTED_CALLS: u32 = 10_000;

/// Directories that a jail has by itself, so that no root can be bound there.
const RESERVED: [&str; 15] = [
    "bin", "dev", "etc", "home", "lib", "lib32", "lib64", "llmc", "opt", "proc", "root", "sbin", "sys",
    "tmp", "usr",
];

/// Whether a name can be a tool, a root or a prefix.
pub(crate) fn is_name(name: &str) -> bool {
    name.len() <= 64
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load_text(text: &str) -> Result<Config, String> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("llmc.toml");
        std::fs::write(&file, text).unwrap();
        let flags = Flags { config: Some(file), ..Flags::default() };
        load(&flags).map(|loaded| loaded.config).map_err(|error| error.to_string())
    }

    #[test]
    fn the_example_of_the_readme_is_accepted() {
        let config = load_text(
            r#"
            [server]
            mode = ["read_file", "execute_code"]
            [roots]
            work = { path = ".", access = "rw" }
            docs = { path = "/usr/share/doc" }
            [plugins.fs]
            library = "llmc_tools_fs"
            grants = { roots = ["work", "docs:ro"] }
            [plugins.cmd]
            library = "llmc_tools_cmd"
            grants = { roots = ["work"], run = { profile = "workspace", programs = ["git"] } }
            [secrets]
            GITHUB_TOKEN = { file = "token" }
            [audit]
            path = "/var/lib/llmc/audit.db"
            "#,
        )
        .unwrap();
        assert_eq!(config.roots["docs"].access, Access::Ro);
        assert!(config.roots["work"].path.is_absolute());
        assert!(matches!(&config.secrets["GITHUB_TOKEN"], SecretSource::File(path) if path.is_absolute()));
    }

    use super::super::{Access, Mode, NamedMode};

    #[test]
    fn a_misspelt_key_is_refused_with_the_nearest_one() {
        let error = load_text("[policy]\nreadonly = true").unwrap_err();
        assert!(error.contains("did you mean `read_only`?"), "{error}");
        let error = load_text("[plugins.fs]\nlibrary = 'x'\ngrants = { rots = ['work'] }").unwrap_err();
        assert!(error.contains("did you mean `roots`?"), "{error}");
        let error = load_text("[rotos]").unwrap_err();
        assert!(error.contains("did you mean `roots`?"), "{error}");
    }

    #[test]
    fn a_network_cannot_be_granted() {
        let text = "[plugins.cmd]\nlibrary = 'x'\ngrants = { net = ['example.org:443'] }";
        let error = load_text(text).unwrap_err();
        assert!(error.contains("no network can be granted"), "{error}");
    }

    #[test]
    fn a_mode_is_all_code_or_a_list() {
        let mode =
            |text: &str| load_text(&format!("[server]\nmode = {text}")).map(|config| config.server.mode);
        assert_eq!(mode("'all'"), Ok(Mode::default()));
        assert_eq!(mode("'code'"), Ok(Mode::Named(NamedMode::Code)));
        assert_eq!(mode("['read_file']"), Ok(Mode::Listed(vec!["read_file".into()])));
        let error = mode("'cod'").unwrap_err();
        assert!(error.contains("expected \"all\", \"code\" or a list of tool names"), "{error}");
    }

    #[test]
    fn grants_of_things_that_do_not_exist_are_refused() {
        let error = load_text("[plugins.fs]\nlibrary = 'x'\ngrants = { roots = ['work'] }").unwrap_err();
        assert!(error.contains("granted root `work`"), "{error}");
        let error = load_text("[secrets]\nT = { command = ['pass', 'show'] }").unwrap_err();
        assert!(error.contains("absolute path"), "{error}");
        assert!(
            load_text("[audit]\nkeep_days = 0").is_err() && load_text("[audit]\ncommit_ms = 60000").is_err()
        );
        let error = load_text("[plugins.fs]\nlibrary = 'x'\ngrants = { secrets = ['T'] }").unwrap_err();
        assert!(error.contains("granted secret `T`"), "{error}");
    }

    #[test]
    fn a_shared_state_and_its_password_fit_together() {
        let error = |text: &str| load_text(&format!("[server]\n{text}")).unwrap_err();
        let unknown = error("shared_state = 'redis://h'\nshared_state_password = 'PW'");
        assert!(unknown.contains("names secret `PW`") && unknown.contains("it has: none"), "{unknown}");
        let secret = "[secrets]\nPW = { env = 'X' }";
        let no_address = error(&format!("shared_state = 'a.db'\nshared_state_password = 'PW'\n{secret}"));
        assert!(no_address.contains("is for the address of a Redis database"), "{no_address}");
        assert!(error("shared_state = 'redis://u@h'").contains("user `u` has no password"));
        assert!(error("shared_state = 'redis://h'\nshared_state_ca = 'ca'").contains("rediss://"));
        let told = error("shared_state = 'redis://u:hush-hush@h'");
        assert!(told.contains("holds no password") && !told.contains("hush-hush"), "{told}");
        let text =
            "shared_state = 'rediss://u@h'\nshared_state_password = 'PW'\nshared_state_ca = 'ca.pem'\n";
        let good = load_text(&format!("[server]\n{text}{secret}")).unwrap();
        assert!(good.server.shared_state_ca.unwrap().is_absolute());
        assert!(load_text("[server]\nshared_state = 'a.db'").is_ok());
    }

    #[test]
    fn settings_of_programs_are_of_granted_ones() {
        let git = "[plugins.cmd]\nlibrary = 'x'\ngrants = { run = { profile = 'workspace', programs = ['git=/usr/bin/git'] } }\n";
        let error = |settings: &str| load_text(&format!("{git}{settings}")).unwrap_err();
        assert!(error("[programs.gti]").contains("no plugin is granted program `gti`; did you mean `git`?"));
        assert!(error("[programs.git]\nsha256 = 'abc'").contains("64 hexadecimal digits"));
        assert!(error("[programs.git]\nread = ['x']").contains("must be an absolute path"));
        assert!(error("[programs.git]\nenv = { 'A=B' = 'x' }").contains("is no variable"));
        assert!(error("[programs.git]\nalow_flags = []").contains("did you mean `allow_flags`?"));
        let settings = "[programs.git]\nallow_flags = ['log --output']\nread = ['/opt/x']\nenv = { A = 'b' }";
        assert_eq!(load_text(&format!("{git}{settings}")).unwrap().programs["git"].env["A"], "b");
        assert!(load_text("[programs.git]").unwrap_err().contains("no plugin is granted"));
    }

    #[test]
    fn a_root_is_granted_once() {
        let text = "[roots]\nwork = { path = '.' }\n[plugins.fs]\nlibrary = 'x'\ngrants = { roots = ['work', 'work:ro'] }";
        assert!(load_text(text).unwrap_err().contains("`work` twice"));
    }

    #[test]
    fn a_root_cannot_take_the_place_of_a_system_directory() {
        assert!(load_text("[roots]\nusr = { path = '.' }").unwrap_err().contains("directory of every jail"));
        assert!(load_text("[roots]\n'../x' = { path = '.' }").unwrap_err().contains("must match"));
    }

    #[test]
    fn limits_that_leave_nothing_are_refused() {
        assert!(load_text("[limits]\ncall_depth = 0").unwrap_err().contains("limits.call_depth"));
        assert!(load_text("[limits]\nmax_result_bytes = 999999999999").unwrap_err().contains("at most"));
        assert!(load_text("[limits]\nnested_calls = 0").unwrap_err().contains("limits.nested_calls"));
        assert!(load_text("[limits]\nnested_calls = 10001").unwrap_err().contains("at most 10000"));
        assert!(load_text("[limits]\nnested_calls = 10000\nnested_bytes = 1").is_ok());
    }
}
