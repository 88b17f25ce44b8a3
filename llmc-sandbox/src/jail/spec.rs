//! What to run in a one-shot jail.

use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};
use std::time::Instant;

use crate::error::JailError;
use crate::profile::{Execute, Profile};

/// Scratch directory, and the home of the payload.
pub(crate) const SCRATCH: &str = "/tmp";
/// Directory of the files that come with the request.
pub(crate) const FILES: &str = "/llmc";
/// A file that no rule of any profile opens: reading it must fail.
pub(crate) const CANARY: &str = "/.llmc-canary";

/// Top-level names that a granted directory cannot have inside.
const RESERVED: [&str; 22] = [
    "bin",
    "boot",
    "dev",
    "etc",
    "home",
    "lib",
    "lib32",
    "lib64",
    "libx32",
    "llmc",
    "lost+found",
    "media",
    "mnt",
    "opt",
    "proc",
    "root",
    "run",
    "sbin",
    "sys",
    "tmp",
    "usr",
    "var",
];

/// One jail.
#[derive(Debug)]
pub struct JailSpec {
    /// Its rules.
    pub profile: &'static Profile,
    /// What runs.
    pub payload: Payload,
    /// Working directory inside; scratch when absent.
    pub cwd: Option<PathBuf>,
    /// Environment beside the fixed one; a name given here replaces a fixed value.
    pub env: Vec<(String, String)>,
    /// Small read-only files under `/llmc`.
    pub files: Vec<SmallFile>,
    /// Granted directories.
    pub roots: Vec<GrantedRoot>,
    /// Further files and directories of the machine, read-only at the same path.
    pub system: Vec<PathBuf>,
    /// Limits of the tree.
    pub limits: JailLimits,
    /// Becomes descriptor 0; `/dev/null` when absent.
    pub stdin: Option<OwnedFd>,
    /// Becomes descriptor 1.
    pub stdout: OwnedFd,
    /// Becomes descriptor 2.
    pub stderr: OwnedFd,
    /// Becomes descriptor 3.
    pub job: Option<OwnedFd>,
    /// [`super::Terminal::mount`] of a terminal that `stdin` belongs to; it becomes the controlling one. Goes with
    /// profiles that say so, and with those only.
    pub terminal: Option<OwnedFd>,
}

/// What runs in a jail.
#[derive(Clone, Debug)]
pub enum Payload {
    /// A program.
    Program {
        /// Absolute path, on the machine and in the jail alike.
        file: PathBuf,
        /// Arguments after the program's name.
        args: Vec<String>,
    },
    /// A function of the launcher's own image. It runs in a copy of the launcher's memory: nothing is executed, so
    /// nothing has to be visible.
    Function(Function),
}

/// Gets ready for a job and returns what does it, which is called after the last step.
///
/// In a jail that waits, this is called while that waits: the tree, its rights and Landlock are in force, limits and the
/// filter for system calls come with the job. So it must not touch anything but memory of its own.
pub type Function = fn() -> Ready;

/// Does a job. What it returns is its exit code; see [`CPU_USED_UP`], [`MEMORY_USED_UP`] and [`TIME_USED_UP`].
pub type Ready = Box<dyn FnOnce(Inside) -> u8>;

/// Exit code of a function that ended itself because its time by the clock was over.
pub const TIME_USED_UP: u8 = 64;
/// Exit code of a function that ended itself because its memory was used up.
pub const MEMORY_USED_UP: u8 = 65;
/// Exit code of a function that ended itself because its processor time was used up.
pub const CPU_USED_UP: u8 = 66;

/// What a function finds in its jail, beside descriptors 0, 1 and 2.
#[derive(Debug)]
pub struct Inside {
    /// Descriptor 3.
    pub job: Option<OwnedFd>,
    /// Limits of the jail.
    pub limits: JailLimits,
    /// Since when they count: before it got ready, in a jail that did not wait.
    pub since: Instant,
}

/// A small file put into the jail.
#[derive(Clone, Debug)]
pub struct SmallFile {
    /// Its name under `/llmc`.
    pub name: String,
    /// Its contents.
    pub contents: Vec<u8>,
}

/// A granted directory.
#[derive(Debug)]
pub struct GrantedRoot {
    /// The directory; a handle (`O_PATH`) is enough.
    pub dir: OwnedFd,
    /// Where it appears: a slash and one name.
    pub target: PathBuf,
    /// Whether it may be written to.
    pub writable: bool,
}

/// Limits of a jail. They hold for the whole tree unless said otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JailLimits {
    /// Time by the clock in milliseconds.
    pub wall_ms: u64,
    /// Processor time in milliseconds.
    pub cpu_ms: u64,
    /// Anonymous and shared memory in bytes.
    pub memory_bytes: u64,
    /// Processes and threads.
    pub processes: u32,
    /// Open descriptors of each process.
    pub open_files: u32,
    /// Largest file in bytes.
    pub file_bytes: u64,
    /// Scratch space in bytes.
    pub scratch_bytes: u64,
    /// Files and directories in scratch space.
    pub scratch_inodes: u64,
    /// Growth of each file system with a writable root in bytes.
    pub workspace_bytes: u64,
}

impl JailLimits {
    /// No limits but those of the process that starts the jail, and nothing is counted. Scratch space stays small.
    pub(crate) const UNLIMITED: Self = Self {
        wall_ms: u64::MAX,
        cpu_ms: u64::MAX,
        memory_bytes: u64::MAX,
        processes: u32::MAX,
        open_files: u32::MAX,
        file_bytes: u64::MAX,
        scratch_bytes: 1 << 20,
        scratch_inodes: 64,
        workspace_bytes: 0,
    };

    /// Whether use has to be counted to keep these limits.
    pub(crate) fn are_counted(&self) -> bool {
        self.cpu_ms < u64::MAX || self.memory_bytes < u64::MAX
    }
}

impl JailSpec {
    /// Checks what can be checked without touching the machine.
    pub(crate) fn validate(&self) -> Result<(), JailError> {
        let invalid = |what: String| Err(JailError::Invalid(what.into()));
        match &self.payload {
            Payload::Program { file, args } => {
                if !is_plain_absolute(file) {
                    return invalid(format!("program `{}` is not an absolute path", file.display()));
                }
                if args.iter().any(|arg| arg.contains('\0')) {
                    return invalid("an argument contains a zero byte".to_owned());
                }
            }
            Payload::Function(_) => {
                if !(self.files.is_empty() && self.roots.is_empty() && self.system.is_empty()) {
                    return invalid("a function sees no files, roots or system paths".to_owned());
                }
            }
        }
        let executes_nothing = self.profile.execute == Execute::Nothing;
        if executes_nothing != matches!(self.payload, Payload::Function(_)) {
            return invalid(format!("profile `{}` is not for this kind of payload", self.profile.name));
        }
        if self.profile.terminal != self.terminal.is_some()
            || (self.terminal.is_some() && self.stdin.is_none())
        {
            let name = self.profile.name;
            return invalid(format!("profile `{name}` and the terminal of the request do not go together"));
        }
        if let Some(cwd) = self.cwd.as_deref().filter(|cwd| !cwd.is_absolute()) {
            return invalid(format!("working directory `{}` is not an absolute path", cwd.display()));
        }
        for path in &self.system {
            if !is_plain_absolute(path) || path.components().count() < 2 {
                return invalid(format!(
                    "system path `{}` is not an absolute path below `/`",
                    path.display()
                ));
            }
        }
        for file in &self.files {
            if !is_plain_name(&file.name) {
                return invalid(format!("file name `{}` is not one path component", file.name));
            }
        }
        for (index, root) in self.roots.iter().enumerate() {
            let name = root.name();
            if name.is_none_or(|name| RESERVED.contains(&name) || name.starts_with('.')) {
                let target = root.target.display();
                return invalid(format!("a granted directory cannot appear as `{target}`: rename the root"));
            }
            if self.roots[..index].iter().any(|other| other.target == root.target) {
                return invalid(format!("two granted directories appear as `{}`", root.target.display()));
            }
        }
        for (name, value) in &self.env {
            if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
                return invalid(format!("environment variable `{}` is malformed", name.escape_default()));
            }
        }
        if self.limits.processes == 0 || self.limits.wall_ms == 0 || self.limits.open_files < 4 {
            return invalid("limits leave no room for one process with its standard descriptors".to_owned());
        }
        Ok(())
    }
}

impl GrantedRoot {
    /// The one component of its target.
    fn name(&self) -> Option<&str> {
        let name = self.target.to_str()?.strip_prefix('/')?;
        is_plain_name(name).then_some(name)
    }
}

fn is_plain_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= 255 && !name.contains(['/', '\0']) && name != "." && name != ".."
}

/// Absolute, and without `.` or `..` that a symbolic link could give another meaning.
fn is_plain_absolute(path: &Path) -> bool {
    let mut components = path.components();
    let text = path.as_os_str().as_encoded_bytes();
    components.next() == Some(Component::RootDir)
        && components.all(|component| matches!(component, Component::Normal(_)))
        && !text.contains(&0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn null() -> OwnedFd {
        std::fs::File::open("/dev/null").unwrap().into()
    }

    fn program(file: &str, args: &[&str]) -> Payload {
        Payload::Program { file: file.into(), args: args.iter().map(|&arg| arg.to_owned()).collect() }
    }

    fn spec() -> JailSpec {
        JailSpec {
            profile: &crate::profile::WORKSPACE,
            payload: program("/bin/true", &[]),
            cwd: None,
            env: Vec::new(),
            files: Vec::new(),
            roots: Vec::new(),
            system: Vec::new(),
            limits: crate::profile::WORKSPACE.limits,
            stdin: None,
            stdout: null(),
            stderr: null(),
            job: None,
            terminal: None,
        }
    }

    fn refused(change: impl FnOnce(&mut JailSpec)) -> bool {
        let mut spec = spec();
        change(&mut spec);
        spec.validate().is_err()
    }

    #[test]
    fn an_ordinary_request_is_valid() {
        let mut spec = spec();
        spec.roots.push(GrantedRoot { dir: null(), target: "/work".into(), writable: true });
        spec.env.push(("KEY".into(), "value=1".into()));
        spec.files.push(SmallFile { name: "boot.py".into(), contents: Vec::new() });
        spec.validate().unwrap();
    }

    #[test]
    fn a_terminal_goes_with_its_profile() {
        let terminal = |spec: &mut JailSpec| {
            spec.profile = &crate::profile::WORKSPACE_TERMINAL;
            (spec.terminal, spec.stdin) = (Some(null()), Some(null()));
        };
        assert!(!refused(terminal));
        assert!(refused(|spec| spec.terminal = Some(null())));
        assert!(refused(|spec| spec.profile = &crate::profile::WORKSPACE_TERMINAL));
        assert!(refused(|spec| {
            terminal(spec);
            spec.stdin = None;
        }));
    }

    #[test]
    fn odd_requests_are_refused() {
        assert!(refused(|spec| spec.payload = program("bin/true", &[])));
        assert!(refused(|spec| spec.payload = program("/usr/../bin/true", &[])));
        assert!(refused(|spec| spec.cwd = Some("work".into())));
        assert!(refused(|spec| spec.system.push("/".into())));
        assert!(refused(|spec| spec.files.push(SmallFile { name: "a/b".into(), contents: Vec::new() })));
        assert!(refused(|spec| spec.files.push(SmallFile { name: "..".into(), contents: Vec::new() })));
        assert!(refused(|spec| spec.env.push(("A=B".into(), String::new()))));
        assert!(refused(|spec| spec.payload = program("/bin/true", &["a\0b"])));
        assert!(refused(|spec| spec.limits.processes = 0));
        for target in ["/usr", "work", "/a/b", "/", "/..", "/.hidden", "/tmp"] {
            assert!(
                refused(|spec| {
                    spec.roots.push(GrantedRoot { dir: null(), target: target.into(), writable: false });
                }),
                "{target}"
            );
        }
        assert!(refused(|spec| {
            for _ in 0..2 {
                spec.roots.push(GrantedRoot { dir: null(), target: "/work".into(), writable: false });
            }
        }));
    }

    #[test]
    fn a_function_sees_nothing_and_nothing_else_gets_its_profile() {
        let function = |spec: &mut JailSpec| {
            spec.profile = &crate::profile::ENGINE;
            spec.payload = Payload::Function(|| Box::new(|_| 0));
        };
        assert!(!refused(function));
        assert!(refused(|spec| spec.profile = &crate::profile::ENGINE));
        assert!(refused(|spec| spec.payload = Payload::Function(|| Box::new(|_| 0))));
        assert!(refused(|spec| {
            function(spec);
            spec.roots.push(GrantedRoot { dir: null(), target: "/work".into(), writable: false });
        }));
        assert!(refused(|spec| {
            function(spec);
            spec.system.push("/usr/lib".into());
        }));
        assert!(refused(|spec| {
            function(spec);
            spec.files.push(SmallFile { name: "boot.py".into(), contents: Vec::new() });
        }));
    }
}
