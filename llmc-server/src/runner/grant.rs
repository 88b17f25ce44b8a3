//! From a request and a grant to the specification of a jail. A request can only ask for less.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use llmc_core::code;
use llmc_core::run::{RunFile, RunLimits, RunRequest, TerminalSize};
use llmc_wire::host::Failure;
use llmc_wire::runner::{self as wire, Bind, File, Limits, Profile, Program, Spec};

use super::programs::{Granted, ProgramError};
use crate::config::{self, Grants, RunGrant, RunProfile};
use crate::plugin::connection::failure;
use crate::roots::Root;

/// Interpreters that the runner knows. `python` is CPython, or `monty` where there is none.
pub(super) const ENGINES: [&str; 3] = ["python", "javascript", "monty"];

/// The file below `/llmc` that tells the interpreter where packages are, one directory a line.
const PACKAGES_LIST: &str = "packages";

/// Wall time of a run that outlives its call, in milliseconds, where the operator says nothing.
const DETACHED_WALL_MS: u64 = 60 * 60 * 1000;

/// Most rows and columns of a terminal.
const MAX_TERMINAL_SIDE: u16 = 1000;

/// Largest sum of a request's arguments, variables and files in bytes.
const MAX_REQUEST_BYTES: usize = 8 << 20;

/// What one plugin may run.
pub(crate) struct Grant {
    profile: Profile,
    programs: BTreeMap<String, Granted>,
    env: BTreeSet<String>,
    packages: Vec<PathBuf>,
    limits: Limits,
    /// Wall time of a run that outlives its call, in milliseconds.
    detached_wall_ms: u64,
    binds: Vec<Bind>,
    dirs: Vec<OwnedFd>,
    /// Everything that the plugin is granted, to say in a refusal what would grant more.
    all: Grants,
}

/// Why a grant cannot be given.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GrantError {
    /// A program cannot be used.
    #[error(transparent)]
    Program(#[from] ProgramError),
    /// A program is listed where only interpreters run.
    #[error(
        "plugin `{0}`: `programs` goes with profile \"workspace\"; profile \"code\" runs interpreters only"
    )]
    ProgramsInCode(String),
    /// Packages are granted where no interpreter of ours runs.
    #[error(
        "plugin `{0}`: `packages` goes with profile \"code\"; a command finds packages in the granted roots, with the \
         interpreter of a virtual environment there"
    )]
    PackagesInWorkspace(String),
    /// A directory of packages cannot be used.
    #[error("plugin `{plugin}` is granted packages `{}`, {reason}", path.display())]
    Packages {
        /// The plugin.
        plugin: String,
        /// The directory.
        path: PathBuf,
        /// What is wrong with it, and what to write.
        reason: String,
    },
    /// A root's handle could not be copied.
    #[error("plugin `{plugin}`: {source}")]
    Descriptors {
        /// The plugin.
        plugin: String,
        /// Why.
        source: std::io::Error,
    },
}

impl Grant {
    /// Resolves a grant of the configuration, once, at start-up.
    ///
    /// # Errors
    ///
    /// See [`GrantError`].
    pub(crate) fn new(
        plugin: &str,
        grant: &RunGrant,
        all: &Grants,
        roots: &[(&Root, bool)],
        settings: &BTreeMap<String, config::Program>,
    ) -> Result<Self, GrantError> {
        let profile = match grant.profile {
            RunProfile::Code => Profile::Code,
            RunProfile::Workspace => Profile::Workspace,
        };
        Self::check(plugin, grant)?;
        let packages = grant.packages.iter().map(|path| packages(plugin, path)).collect::<Result<_, _>>()?;
        let programs = grant.programs.iter().map(|entry| Granted::new(plugin, entry, settings));
        let programs = programs
            .map(|program| program.map(|program| (program.name.clone(), program)))
            .collect::<Result<_, _>>()?;
        // Code sees no roots, whatever the plugin that runs it may see.
        let roots = if profile == Profile::Code { &[] } else { roots };
        let bind = |(root, writable): &(&Root, bool)| Bind {
            target: Path::new("/").join(&root.name),
            writable: *writable,
        };
        let dirs = roots.iter().map(|(root, _)| root.as_fd().try_clone_to_owned()).collect::<Result<_, _>>();
        Ok(Self {
            profile,
            programs,
            env: grant.env.iter().cloned().collect(),
            packages,
            limits: configured(default_limits(profile), &grant.limits),
            detached_wall_ms: grant
                .limits
                .detached_wall_ms
                .or(grant.limits.wall_ms)
                .unwrap_or(DETACHED_WALL_MS),
            binds: roots.iter().map(bind).collect(),
            dirs: dirs.map_err(|source| GrantError::Descriptors { plugin: plugin.into(), source })?,
            all: all.clone(),
        })
    }

    /// Whether its parts go together; what can be known without the machine.
    ///
    /// # Errors
    ///
    /// What does not go with its profile.
    pub(crate) fn check(plugin: &str, grant: &RunGrant) -> Result<(), GrantError> {
        match grant.profile {
            RunProfile::Code if !grant.programs.is_empty() => Err(GrantError::ProgramsInCode(plugin.into())),
            RunProfile::Workspace if !grant.packages.is_empty() => {
                Err(GrantError::PackagesInWorkspace(plugin.into()))
            }
            RunProfile::Code | RunProfile::Workspace => Ok(()),
        }
    }

    /// Whether it runs code, and not commands.
    pub(crate) fn runs_code(&self) -> bool {
        self.profile == Profile::Code
    }

    /// The directories of [`Spec::binds`], in their order.
    pub(crate) fn binds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.dirs.iter().map(AsFd::as_fd)
    }

    /// The jail for a request that has `left_ms` until its call must be over.
    pub(crate) fn spec(&self, plugin: &str, request: RunRequest, left_ms: u64) -> Result<Spec, Failure> {
        let invalid = |message: String| failure(code::INVALID_ARGUMENTS, message);
        let size: usize = request.args.iter().map(String::len).sum::<usize>()
            + request.env.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>()
            + request.files.iter().map(|file| file.contents.len()).sum::<usize>();
        if size > MAX_REQUEST_BYTES {
            return Err(failure(
                code::LIMIT,
                format!("the run request has {size} bytes, the limit is {MAX_REQUEST_BYTES}"),
            ));
        }
        if request.args.iter().any(|arg| arg.contains('\0')) {
            return Err(invalid("an argument contains a NUL byte".into()));
        }
        let cwd = request.cwd.map(|dir| self.cwd(plugin, &dir.root, &dir.path)).transpose()?;
        let (program, granted) = self.program(plugin, &request.program)?;
        if let Some(granted) = granted {
            let roots = self.binds.iter().map(|bind| bind.target.as_path());
            granted.check(&request.args, cwd.as_deref(), roots)?;
        }
        let system = granted.map_or_else(|| self.packages.clone(), Granted::system);
        let at_most = match request.detached {
            true => Limits { wall_ms: self.detached_wall_ms, ..self.limits },
            false => self.limits,
        };
        let mut limits = lowered(at_most, request.limits.unwrap_or_default());
        limits.wall_ms = limits.wall_ms.min(request.timeout_ms.unwrap_or(u64::MAX)).min(left_ms);
        Ok(Spec {
            profile: self.profile,
            program,
            args: request.args,
            cwd,
            env: self.env(plugin, granted, request.env)?,
            files: self.files(request.files)?,
            kit: None,
            binds: self.binds.clone(),
            system,
            limits,
            stdin: request.stdin,
            job: request.job,
            terminal: request.pty.map(|size| self.terminal(size)).transpose()?,
        })
    }

    /// A terminal, where there is more than an interpreter to use it.
    fn terminal(&self, size: TerminalSize) -> Result<wire::TerminalSize, Failure> {
        let TerminalSize { rows, cols } = size;
        let fits = 1..=MAX_TERMINAL_SIDE;
        if self.profile != Profile::Workspace {
            return Err(failure(code::DENIED, "a terminal goes with profile \"workspace\""));
        }
        if !fits.contains(&rows) || !fits.contains(&cols) {
            let message =
                format!("a terminal has 1 to {MAX_TERMINAL_SIDE} rows and columns, not {rows} and {cols}");
            return Err(failure(code::INVALID_ARGUMENTS, message));
        }
        Ok(wire::TerminalSize { rows, cols })
    }

    /// The list of packages before the files of the request, none of which can take its place.
    fn files(&self, requested: Vec<RunFile>) -> Result<Vec<File>, Failure> {
        let list: String = self.packages.iter().map(|path| format!("{}\n", path.display())).collect();
        let list = (!list.is_empty()).then(|| File { name: PACKAGES_LIST.into(), contents: list });
        let requested = requested.into_iter().map(|file| named(file.path, file.contents));
        list.map(Ok).into_iter().chain(requested).collect()
    }

    /// What to run, and the grant of a command.
    fn program(&self, plugin: &str, name: &str) -> Result<(Program, Option<&Granted>), Failure> {
        if self.profile == Profile::Code {
            return match ENGINES.contains(&name) {
                true => Ok((Program::Engine(name.to_owned()), None)),
                false => {
                    Err(failure(code::DENIED, format!("profile \"code\" runs {ENGINES:?}, not `{name}`")))
                }
            };
        }
        let granted = self.programs.get(name);
        granted.map(|granted| (Program::File(granted.file.clone()), Some(granted))).ok_or_else(|| {
            let line = self.all.line_with(plugin, |grants| grants.run_mut().programs.push(name.to_owned()));
            failure(
                code::DENIED,
                format!(
                    "plugin `{plugin}` is not granted program `{name}`; to allow it, start with `--program {name}` or \
                     write {line}"
                ),
            )
        })
    }

    fn cwd(&self, plugin: &str, root: &str, path: &str) -> Result<PathBuf, Failure> {
        let target = Path::new("/").join(root);
        if !self.binds.iter().any(|bind| bind.target == target) {
            let line = self.all.line_with(plugin, |grants| grants.roots.push(root.to_owned()));
            let message =
                format!("plugin `{plugin}` is not granted root `{root}`; to allow it, write {line}");
            return Err(failure(code::DENIED, message));
        }
        let inside =
            Path::new(path).components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
        if !inside || path.contains('\0') {
            let message = format!("working directory `{root}:{path}` must be a relative path without `..`");
            return Err(failure(code::INVALID_ARGUMENTS, message));
        }
        Ok(target.join(path))
    }

    fn env(
        &self,
        plugin: &str,
        granted: Option<&Granted>,
        mut env: BTreeMap<String, String>,
    ) -> Result<Vec<(String, String)>, Failure> {
        for (name, value) in granted.into_iter().flat_map(|granted| granted.env()) {
            if env.remove(name).is_some_and(|asked| asked != *value) {
                let program = granted.map_or("", |granted| &granted.name);
                let place = config::header(program);
                let message =
                    format!("plugin `{plugin}` may not change variable `{name}`, which `{place} env` sets");
                return Err(failure(code::DENIED, message));
            }
        }
        let refused = env.keys().find(|name| !self.env.contains(*name));
        if let Some(name) = refused {
            let line = self.all.line_with(plugin, |grants| grants.run_mut().env.push(name.clone()));
            let message =
                format!("plugin `{plugin}` may not set variable `{name}`; to allow it, write {line}");
            return Err(failure(code::DENIED, message));
        }
        if env.iter().any(|(name, value)| name.contains(['=', '\0']) || value.contains('\0')) {
            return Err(failure(
                code::INVALID_ARGUMENTS,
                "a variable contains `=` in its name or a NUL byte",
            ));
        }
        let fixed = granted.into_iter().flat_map(|granted| granted.env().clone());
        Ok(env.into_iter().chain(fixed).collect())
    }
}

/// A file under `/llmc`: one plain component.
fn named(name: String, contents: String) -> Result<File, Failure> {
    let plain = !name.is_empty() && name != "." && name != ".." && !name.contains(['/', '\0']);
    if plain {
        Ok(File { name, contents })
    } else {
        Err(failure(
            code::INVALID_ARGUMENTS,
            format!("file name `{}` must be one path component", name.escape_debug()),
        ))
    }
}

/// A directory of packages, by the path that no link in the way can change later.
fn packages(plugin: &str, path: &Path) -> Result<PathBuf, GrantError> {
    let refused = |reason: String| GrantError::Packages { plugin: plugin.into(), path: path.into(), reason };
    if !path.is_absolute() {
        return Err(refused(
            "which is not an absolute path; write `/path/of/venv/lib/python3.N/site-packages`".into(),
        ));
    }
    let real = path.canonicalize().map_err(|error| refused(format!("which cannot be found: {error}")))?;
    match real.to_str() {
        _ if !real.is_dir() => Err(refused("which is not a directory".into())),
        Some(text) if config::is_narrow(&real) && !text.contains('\n') => Ok(real),
        _ => Err(refused(
            "which holds more than packages; name the `site-packages` of a virtual environment".into(),
        )),
    }
}

/// What a profile allows when the operator says nothing.
fn default_limits(profile: Profile) -> Limits {
    const MIB: u64 = 1 << 20;
    match profile {
        Profile::Code => Limits {
            wall_ms: 60_000,
            cpu_ms: 30_000,
            memory_bytes: 512 * MIB,
            processes: 16,
            open_files: 64,
            file_bytes: 16 * MIB,
            scratch_bytes: 16 * MIB,
            scratch_inodes: 1024,
            workspace_bytes: 0,
        },
        Profile::Workspace => Limits {
            wall_ms: 120_000,
            cpu_ms: 120_000,
            memory_bytes: 2048 * MIB,
            processes: 64,
            open_files: 256,
            file_bytes: 256 * MIB,
            scratch_bytes: 64 * MIB,
            scratch_inodes: 8192,
            workspace_bytes: 2048 * MIB,
        },
    }
}

/// The operator's numbers over the profile's; they may be higher.
fn configured(limits: Limits, over: &config::RunLimits) -> Limits {
    Limits {
        wall_ms: over.wall_ms.unwrap_or(limits.wall_ms),
        cpu_ms: over.cpu_ms.unwrap_or(limits.cpu_ms),
        memory_bytes: over.memory_bytes.unwrap_or(limits.memory_bytes),
        processes: over.processes.unwrap_or(limits.processes),
        open_files: over.open_files.unwrap_or(limits.open_files),
        file_bytes: over.file_bytes.unwrap_or(limits.file_bytes),
        scratch_bytes: over.scratch_bytes.unwrap_or(limits.scratch_bytes),
        scratch_inodes: over.scratch_inodes.unwrap_or(limits.scratch_inodes),
        workspace_bytes: over.workspace_bytes.unwrap_or(limits.workspace_bytes),
    }
}

/// A plugin's numbers under the granted ones; they cannot be higher.
fn lowered(granted: Limits, asked: RunLimits) -> Limits {
    let lower = |granted: u64, asked: Option<u64>| asked.map_or(granted, |asked| asked.min(granted));
    let lower_32 =
        |granted: u32, asked: Option<u64>| u32::try_from(lower(u64::from(granted), asked)).unwrap_or(granted);
    Limits {
        wall_ms: lower(granted.wall_ms, asked.wall_ms),
        cpu_ms: lower(granted.cpu_ms, asked.cpu_ms),
        memory_bytes: lower(granted.memory_bytes, asked.memory_bytes),
        processes: lower_32(granted.processes, asked.processes),
        open_files: lower_32(granted.open_files, asked.open_files),
        file_bytes: lower(granted.file_bytes, asked.file_bytes),
        scratch_bytes: lower(granted.scratch_bytes, asked.scratch_bytes),
        scratch_inodes: lower(granted.scratch_inodes, asked.scratch_inodes),
        workspace_bytes: lower(granted.workspace_bytes, asked.workspace_bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(profile: RunProfile, programs: &[&str]) -> Result<Grant, GrantError> {
        let programs = programs.iter().map(|&program| program.to_owned()).collect();
        let (env, packages) = (vec!["LANG".into()], Vec::new());
        let grant = RunGrant { profile, programs, packages, env, limits: Default::default() };
        let all = Grants { run: Some(grant.clone()), ..Grants::default() };
        Grant::new("cmd", &grant, &all, &[], &BTreeMap::new())
    }

    fn refusal(request: RunRequest) -> String {
        grant(RunProfile::Workspace, &["true"]).unwrap().spec("cmd", request, 1000).unwrap_err().message
    }

    #[test]
    fn a_granted_program_runs_and_another_is_refused_with_the_line_that_would_allow_it() {
        let granted = grant(RunProfile::Workspace, &["true"]).unwrap();
        let spec = granted.spec("cmd", RunRequest::new("true", ["-x"]), u64::MAX).unwrap();
        assert!(matches!(spec.program, Program::File(file) if file.ends_with("true")));
        let message = refusal(RunRequest::new("git", [""; 0]));
        assert!(
            message.contains("--program git") && message.contains("programs = [\"true\", \"git\"]"),
            "{message}"
        );
        assert!(refusal(RunRequest::new("/usr/bin/true", [""; 0])).contains("not granted program"));
    }

    #[test]
    fn a_request_lowers_limits_and_never_raises_them() {
        let granted = grant(RunProfile::Workspace, &["true"]).unwrap();
        let mut request = RunRequest::new("true", [""; 0]);
        request.limits =
            Some(RunLimits { processes: Some(1 << 40), cpu_ms: Some(5), ..RunLimits::default() });
        request.timeout_ms = Some(70);
        let limits = granted.spec("cmd", request, 90).unwrap().limits;
        assert_eq!((limits.processes, limits.cpu_ms, limits.wall_ms), (64, 5, 70));
    }

    #[test]
    fn a_run_that_outlives_its_call_has_a_wall_time_of_its_own() {
        let wall_ms = |limits: config::RunLimits, detached| {
            let mut grant = grant(RunProfile::Workspace, &["true"]).unwrap().all.run.unwrap();
            grant.limits = limits;
            let granted = Grant::new("cmd", &grant, &Grants::default(), &[], &BTreeMap::new()).unwrap();
            let request = RunRequest { detached, ..RunRequest::new("true", [""; 0]) };
            granted.spec("cmd", request, u64::MAX).unwrap().limits.wall_ms
        };
        let limits =
            |wall_ms, detached_wall_ms| config::RunLimits { wall_ms, detached_wall_ms, ..Default::default() };
        assert_eq!(
            (wall_ms(limits(None, None), false), wall_ms(limits(None, None), true)),
            (120_000, 3_600_000)
        );
        assert_eq!(wall_ms(limits(Some(5), None), true), 5, "what the operator wrote for runs holds for all");
        assert_eq!(
            (wall_ms(limits(Some(5), Some(7)), false), wall_ms(limits(Some(5), Some(7)), true)),
            (5, 7)
        );
    }

    #[test]
    fn a_terminal_is_for_commands_and_has_a_size() {
        let sized = |rows, cols| RunRequest {
            pty: Some(TerminalSize { rows, cols }),
            ..RunRequest::new("true", [""; 0])
        };
        let commands = grant(RunProfile::Workspace, &["true"]).unwrap();
        let spec = commands.spec("cmd", sized(24, 80), 1).unwrap();
        assert_eq!(spec.terminal, Some(wire::TerminalSize { rows: 24, cols: 80 }));
        assert_eq!(spec.descriptors(), 0, "the runner makes it");
        for (rows, cols) in [(0, 80), (24, 0), (24, MAX_TERMINAL_SIDE + 1)] {
            assert!(refusal(sized(rows, cols)).contains("1 to 1000 rows"));
        }
        let code = grant(RunProfile::Code, &[]).unwrap();
        let request = RunRequest { program: "python".into(), ..sized(24, 80) };
        assert!(code.spec("exec", request, 1).unwrap_err().message.contains("profile \"workspace\""));
    }

    #[test]
    fn variables_files_and_directories_are_checked() {
        let mut request = RunRequest::new("true", [""; 0]);
        request.env.insert("LD_PRELOAD".into(), "x".into());
        assert!(refusal(request).contains("`LD_PRELOAD`"));
        assert!(refusal(RunRequest::new("true", [""; 0]).file("../x", "")).contains("one path component"));
        assert!(
            refusal(RunRequest::new("true", [""; 0]).cwd("work", "")).contains("not granted root `work`")
        );
        assert!(refusal(RunRequest::new("true", ["a\0b"])).contains("NUL"));
    }

    #[test]
    fn code_runs_interpreters_only() {
        assert!(grant(RunProfile::Code, &["true"]).is_err());
        let code = grant(RunProfile::Code, &[]).unwrap();
        for engine in ENGINES {
            assert!(code.spec("exec", RunRequest::new(engine, [""; 0]), 1).is_ok());
        }
        assert!(code.spec("exec", RunRequest::new("bash", [""; 0]), 1).is_err());
    }

    #[test]
    fn a_program_that_is_nowhere_stops_the_start() {
        let error = grant(RunProfile::Workspace, &["no-such-program"]).err().unwrap().to_string();
        assert!(error.contains("no-such-program=/absolute/path"), "{error}");
    }
}
