//! Granted programs: found once at start-up, checked, and each with the rules for its arguments.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use llmc_core::code;
use llmc_rules::{Decision, Explanation, Launcher, Place, Refusal, RuleSet};
use llmc_wire::host::Failure;
use sha2::{Digest, Sha256};

use crate::config::{self, NO_RULES};
use crate::files;
use crate::plugin::connection::failure;

/// Where programs are looked for; the operator names any other place.
const PROGRAM_FOLDERS: [&str; 6] =
    ["/usr/local/bin", "/usr/bin", "/bin", "/usr/local/sbin", "/usr/sbin", "/sbin"];

/// Largest program whose digest is compared: 1 GiB.
const MAX_PROGRAM_BYTES: u64 = 1 << 30;

/// Characters of an argument that a refusal repeats.
const MAX_SHOWN: usize = 100;

/// A granted program.
#[derive(Clone, Debug)]
pub(crate) struct Granted {
    /// The name that it is granted by.
    pub(crate) name: String,
    /// Its file.
    pub(crate) file: PathBuf,
    /// The rules for its arguments, if there are any.
    pub(crate) rules: Option<RuleSet>,
    settings: config::Program,
}

/// Why a program cannot be granted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProgramError {
    /// It is nowhere.
    #[error(
        "program `{program}` of plugin `{plugin}` is in none of {folders}; install it, or write \
         `{program}=/absolute/path`"
    )]
    Missing {
        /// The plugin.
        plugin: String,
        /// The program.
        program: String,
        /// Where it was looked for.
        folders: String,
    },
    /// It is not named in one of the two ways.
    #[error(
        "program `{entry}` of plugin `{plugin}`: write NAME, or NAME=/absolute/path of a file that exists, such as \
         `git=/usr/bin/git`"
    )]
    Form {
        /// The plugin.
        plugin: String,
        /// What stands in the list.
        entry: String,
    },
    /// Its settings do not fit it.
    #[error("{place}: {reason}")]
    Settings {
        /// The header of its settings.
        place: String,
        /// What is wrong, and what to write.
        reason: String,
    },
}

impl Granted {
    /// Finds an entry of `programs` and checks its settings.
    ///
    /// # Errors
    ///
    /// See [`ProgramError`].
    pub(crate) fn new(
        plugin: &str,
        entry: &str,
        settings: &BTreeMap<String, config::Program>,
    ) -> Result<Self, ProgramError> {
        let (name, file) = resolve(plugin, entry)?;
        let settings = settings.get(&name).cloned().unwrap_or_default();
        let wrong = |reason| ProgramError::Settings { place: config::header(&name), reason };
        if let Some(expected) = &settings.sha256 {
            check_digest(&file, expected).map_err(wrong)?;
        }
        settings.read.iter().try_for_each(|path| check_read(path)).map_err(wrong)?;
        let rules = rules(&name, &file, &settings).map_err(wrong)?;
        Ok(Self { name, file, rules, settings })
    }

    /// What the jail shows beside the profile's own: the program, and what its settings name.
    pub(crate) fn system(&self) -> Vec<PathBuf> {
        std::iter::once(&self.file).chain(&self.settings.read).cloned().collect()
    }

    /// Variables that are set whatever is asked for.
    pub(crate) fn env(&self) -> &BTreeMap<String, String> {
        &self.settings.env
    }

    /// How the rules read the arguments, in a directory of the jail where these are granted.
    pub(crate) fn explain<'a>(
        &'a self,
        args: &[String],
        cwd: Option<&Path>,
        roots: impl IntoIterator<Item = &'a Path>,
    ) -> Option<Explanation> {
        let read = self.settings.read.iter().map(PathBuf::as_path);
        let inside: Vec<Cow<'a, str>> = roots.into_iter().chain(read).map(Path::to_string_lossy).collect();
        let cwd = cwd.map(Path::to_string_lossy);
        let place = Place::new(cwd.as_deref(), inside.iter().map(|path| &**path));
        Some(self.rules.as_ref()?.explain(args, &place))
    }

    /// Refuses arguments that a rule refuses.
    ///
    /// # Errors
    ///
    /// The refusal, with the rule and the line that would allow it.
    pub(crate) fn check<'a>(
        &'a self,
        args: &[String],
        cwd: Option<&Path>,
        roots: impl IntoIterator<Item = &'a Path>,
    ) -> Result<(), Failure> {
        match self.explain(args, cwd, roots).map(|explanation| explanation.decision) {
            Some(Decision::Refused(refusal)) => Err(failure(code::DENIED, self.refusal(&refusal))),
            Some(Decision::Allowed) | None => Ok(()),
        }
    }

    /// A refusal in words.
    pub(crate) fn refusal(&self, refusal: &Refusal) -> String {
        let Self { name, .. } = self;
        let Refusal { rule, index, arg, why, .. } = refusal;
        let what = match arg.is_empty() {
            true => format!("program `{name}` is refused"),
            false => format!("program `{name}` is refused argument {} `{}`", index + 1, shown(arg)),
        };
        format!("{what}: {why} (rule {rule}); to allow it, write {}", self.line(refusal))
    }

    /// The line of the configuration that would allow what is refused.
    pub(crate) fn line(&self, refusal: &Refusal) -> String {
        self.settings.line_with(&self.name, &refusal.allow)
    }

    /// What kind of launcher it is, by its file's real name, whatever name it is granted by.
    pub(crate) fn launcher(&self) -> Option<&'static Launcher> {
        names(&self.name, &self.file).iter().find_map(|name| llmc_rules::launcher(name))
    }
}

/// `NAME`, found in the usual folders, or `NAME=/absolute/path`.
fn resolve(plugin: &str, entry: &str) -> Result<(String, PathBuf), ProgramError> {
    let missing = |name: &str| ProgramError::Missing {
        plugin: plugin.into(),
        program: name.into(),
        folders: PROGRAM_FOLDERS.join(", "),
    };
    let (name, candidates): (&str, Vec<PathBuf>) = match entry.split_once('=') {
        Some((name, path)) => (name, vec![PathBuf::from(path)]),
        None => (entry, PROGRAM_FOLDERS.iter().map(|folder| Path::new(folder).join(entry)).collect()),
    };
    let form = || ProgramError::Form { plugin: plugin.into(), entry: entry.into() };
    if name.is_empty() || name.contains('/') {
        return Err(form());
    }
    let usable = |path: &PathBuf| path.is_absolute() && path.is_file();
    let refused = || if name == entry { missing(name) } else { form() };
    let file = candidates.into_iter().find(usable).ok_or_else(refused)?;
    Ok((name.to_owned(), file))
}

/// What a program may be called: by its real file, by its path, by its grant. The file goes first: a shell that is
/// granted as `ls` is a shell.
fn names(name: &str, file: &Path) -> Vec<String> {
    let real = file.canonicalize().unwrap_or_else(|_| file.to_owned());
    let of_file = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
    let (of_real, of_path) = (of_file(&real), of_file(file));
    let goes_by_path = of_real != of_path && of_real.as_deref().is_some_and(|real| BY_PATH.contains(&real));
    let of_real = of_real.filter(|_| !goes_by_path);
    [of_real, of_path, Some(name.to_owned())].into_iter().flatten().collect()
}

/// Files that are the program by whose name they are started: a link `cargo` to `rustup` is cargo.
const BY_PATH: [&str; 4] = ["busybox", "coreutils", "rustup", "toybox"];

/// The rule set of a program with the operator's changes.
fn rules(name: &str, file: &Path, settings: &config::Program) -> Result<Option<RuleSet>, String> {
    let changes = settings.changes();
    let base = match settings.rules.as_deref() {
        Some(NO_RULES) => None,
        Some(set) => Some(llmc_rules::shipped(set).ok_or_else(|| {
            let known: Vec<_> = llmc_rules::shipped_names().chain([NO_RULES]).collect();
            format!("there is no rule set `{set}`, only {}", known.join(", "))
        })?),
        None => default_rules(&names(name, file)),
    };
    match base.cloned() {
        None if changes == Default::default() => Ok(None),
        base => base.unwrap_or_else(|| RuleSet::empty(name)).changed(&changes).map(Some),
    }
}

/// The shipped set of the first name that has one. A launcher without a set has none, whatever it is granted as.
fn default_rules(names: &[String]) -> Option<&'static RuleSet> {
    for name in names {
        let set = llmc_rules::shipped_for(name);
        if set.is_some() || llmc_rules::launcher(name).is_some() {
            return set;
        }
    }
    None
}

fn check_digest(file: &Path, expected: &str) -> Result<(), String> {
    let found =
        digest(file).map_err(|error| format!("failed to read program `{}`: {error}", file.display()))?;
    match found.eq_ignore_ascii_case(expected) {
        true => Ok(()),
        false => Err(format!(
            "program `{}` has SHA-256 {found}, the configuration expects {expected}; if the change is wanted, write \
             the new digest into `sha256`",
            file.display()
        )),
    }
}

/// SHA-256 of a file in hexadecimal.
fn digest(file: &Path) -> io::Result<String> {
    let (mut file, _) = files::open(file, MAX_PROGRAM_BYTES)?;
    let mut digest = Sha256::new();
    let mut piece = vec![0; 64 << 10];
    loop {
        match file.read(&mut piece) {
            Ok(0) => return Ok(digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect()),
            Ok(count) => digest.update(&piece[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// A path that is shown at the same place: it is the real one, so that no link in the way can change it later.
fn check_read(path: &Path) -> Result<(), String> {
    let shown = path.display();
    let real = path.canonicalize().map_err(|error| format!("read: `{shown}` cannot be found: {error}"))?;
    if real != path {
        return Err(format!("read: `{shown}` leads to `{}`; write that path", real.display()));
    }
    if !(real.is_dir() || real.is_file()) {
        return Err(format!("read: `{shown}` is neither file nor directory"));
    }
    match config::is_narrow(&real) {
        true => Ok(()),
        false => Err(format!("read: `{shown}` is more than one program needs; name what it reads")),
    }
}

/// An argument as it may stand in a refusal.
pub(crate) fn shown(arg: &str) -> String {
    match arg.char_indices().nth(MAX_SHOWN) {
        Some((at, _)) => format!("{}…", arg[..at].escape_debug()),
        None => arg.escape_debug().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn granted(entry: &str, settings: &str) -> Result<Granted, String> {
        let settings = toml::from_str(settings).unwrap();
        let name = config::name_of(entry).to_owned();
        Granted::new("cmd", entry, &BTreeMap::from([(name, settings)])).map_err(|error| error.to_string())
    }

    fn set_of(entry: &str, settings: &str) -> Option<String> {
        granted(entry, settings).unwrap().rules.map(|set| set.name().to_owned())
    }

    fn args(line: &str) -> Vec<String> {
        line.split(' ').map(str::to_owned).collect()
    }

    /// A folder with a file, and a link to it.
    fn linked(file: &str, link: &str) -> (tempfile::TempDir, String) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(file), "program").unwrap();
        std::os::unix::fs::symlink(file, folder.path().join(link)).unwrap();
        let link = folder.path().join(link).display().to_string();
        (folder, link)
    }

    #[test]
    fn rules_follow_the_file_and_not_the_name() {
        let (_folder, ls) = linked("bash", "ls");
        assert_eq!(set_of(&format!("ls={ls}"), ""), None, "a shell has no rules of ls");
        assert!(granted(&format!("ls={ls}"), "").unwrap().launcher().is_some());
        let (_folder, tool) = linked("python3.12", "tool");
        assert_eq!(set_of(&format!("tool={tool}"), ""), Some("python".into()));
        let (_folder, cargo) = linked("rustup", "cargo");
        assert_eq!(set_of(&format!("build={cargo}"), ""), Some("cargo".into()));
        let (folder, sh) = linked("busybox", "sh");
        let busybox = folder.path().join("busybox").display().to_string();
        for shell in [sh, busybox] {
            assert_eq!(set_of(&format!("ls={shell}"), ""), None);
            assert!(granted(&format!("ls={shell}"), "").unwrap().launcher().is_some());
        }
        let (_folder, cat) = linked("coreutils", "cat");
        assert_eq!(set_of(&format!("x={cat}"), ""), Some("cat".into()));
        assert_eq!(set_of(&format!("git={cat}"), ""), Some("cat".into()));
        assert!(granted(&format!("x={cat}"), "").unwrap().launcher().is_none());
        assert_eq!(set_of("true", ""), None);
    }

    #[test]
    fn the_operator_chooses_and_changes_rules() {
        assert_eq!(set_of("ls", "rules = 'none'"), None);
        assert_eq!(set_of("true", "rules = 'git'"), Some("git".into()));
        assert_eq!(set_of("true", "deny_flags = ['--version']"), Some("true".into()));
        let error = granted("ls", "rules = 'gti'").unwrap_err();
        assert!(
            error.contains("[programs.ls]: there is no rule set `gti`") && error.contains("git, ls"),
            "{error}"
        );
        assert!(granted("ls", "deny_flags = ['x']").unwrap_err().contains("is no flag"));
    }

    #[test]
    fn a_refusal_names_program_argument_rule_and_line() {
        let ls = granted("ls", "").unwrap();
        let roots = || [Path::new("/work")];
        let check = |line: &str| ls.check(&args(line), Some(Path::new("/work/src")), roots());
        assert!(check("-la ..").is_ok());
        let refused = check("-la /etc/ssl").unwrap_err();
        assert_eq!(refused.code, code::DENIED);
        assert_eq!(
            refused.message,
            "program `ls` is refused argument 2 `/etc/ssl`: `/etc/ssl` lies outside the granted directories (rule \
             paths of ls: operands); to allow it, write `[programs.ls] read = [\"/etc/ssl\"]`"
        );
    }

    #[test]
    fn digests_and_read_paths_are_checked() {
        let folder = tempfile::tempdir().unwrap();
        let base = folder.path().canonicalize().unwrap();
        let file = base.join("tool");
        std::fs::write(&file, "abc").unwrap();
        let entry = format!("tool={}", file.display());
        let digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert!(granted(&entry, &format!("sha256 = '{}'", digest.to_uppercase())).is_ok());
        let error = granted(&entry, &format!("sha256 = '{}'", "0".repeat(64))).unwrap_err();
        assert!(
            error.contains(digest) && error.contains("expects 000") && error.contains("`sha256`"),
            "{error}"
        );

        let read = |path: &Path| granted(&entry, &format!("read = [{:?}]", path.display().to_string()));
        assert_eq!(read(&base).unwrap().system(), [file.clone(), base.clone()]);
        std::os::unix::fs::symlink(&base, base.join("link")).unwrap();
        assert!(read(&base.join("link")).unwrap_err().contains("write that path"));
        assert!(read(&base.join("missing")).unwrap_err().contains("cannot be found"));
        for broad in ["/", "/usr", "/proc/self/fd"] {
            assert!(read(Path::new(broad)).is_err(), "{broad}");
        }
    }
}
