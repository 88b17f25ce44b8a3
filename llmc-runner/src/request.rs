//! From messages to jails and back.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use llmc_sandbox::jail::{
    self, ExitStatus, Function, GrantedRoot, JailLimits, JailSpec, Payload, SmallFile, Terminal,
};
use llmc_sandbox::profile;
use llmc_sandbox::{JailError, Layer};
use llmc_wire::runner::{
    Accounting, Isolation, Limit, Limits, Outcome, Profile, Program, Refused, Spec, Status,
};

use crate::embedded;
use crate::engine::Engine;

/// A request with its descriptors, in the order that [`Spec::descriptors`] tells, and the terminal that it asks for.
pub(crate) fn jail_spec(
    spec: Spec,
    engine: Option<Engine>,
    fds: Vec<OwnedFd>,
    terminal: Option<&Terminal>,
) -> Result<JailSpec, Refused> {
    check_count(&spec, &fds)?;
    check_terminal(&spec, terminal)?;
    let mut fds = fds.into_iter();
    let mut next = || fds.next().ok_or_else(missing);
    let [stdin, stdout, stderr] = match terminal {
        Some(terminal) => {
            [Some(copy(&terminal.slave)?), Some(copy(&terminal.slave)?), Some(copy(&terminal.slave)?)]
        }
        None => [spec.stdin.then(&mut next).transpose()?, Some(next()?), Some(next()?)],
    };
    let (Some(stdout), Some(stderr)) = (stdout, stderr) else { return Err(missing()) };
    let job = spec.job.then(&mut next).transpose()?;
    let roots = spec
        .binds
        .into_iter()
        .map(|bind| Ok(GrantedRoot { dir: next()?, target: bind.target, writable: bind.writable }))
        .collect::<Result<_, Refused>>()?;
    let files = spec.files.into_iter();
    let request = JailSpec {
        profile: match spec.profile {
            Profile::Code => &profile::CODE,
            Profile::Workspace if terminal.is_some() => &profile::WORKSPACE_TERMINAL,
            Profile::Workspace => &profile::WORKSPACE,
        },
        payload: Payload::Program { file: PathBuf::new(), args: spec.args },
        cwd: spec.cwd,
        env: with_terminal_type(spec.env, terminal.is_some()),
        files: files
            .map(|file| SmallFile { name: file.name, contents: file.contents.into_bytes() })
            .collect(),
        roots,
        system: spec.system,
        limits: limits(spec.limits),
        stdin,
        stdout,
        stderr,
        job,
        terminal: terminal.map(|terminal| copy(&terminal.mount)).transpose()?,
    };
    match (spec.program, engine) {
        (Program::File(file), _) => Ok(with_program(request, file)),
        (Program::Engine(_), Some(engine)) => match &engine {
            Engine::Embedded(function) => embedded_in(request, *function),
            Engine::Program { file, .. } => {
                let system = engine.system(&request.system);
                Ok(with_program(JailSpec { system, ..request }, file.clone()))
            }
        },
        (Program::Engine(name), None) => {
            let message = format!("engine `{name}` was not looked for");
            Err(Refused { layer: "engine".into(), message })
        }
    }
}

/// A terminal is for commands, which have namespaces around them, and is made for every request that asks for one.
fn check_terminal(spec: &Spec, terminal: Option<&Terminal>) -> Result<(), Refused> {
    let is_for_command = spec.profile == Profile::Workspace && matches!(spec.program, Program::File(_));
    if spec.terminal.is_some() == terminal.is_some() && (terminal.is_none() || is_for_command) {
        return Ok(());
    }
    let message = "a terminal goes with profile `workspace`".into();
    Err(Refused { layer: Layer::Request.name().into(), message })
}

/// Adds the kind of terminal, unless the request names one.
fn with_terminal_type(mut env: Vec<(String, String)>, has_terminal: bool) -> Vec<(String, String)> {
    if has_terminal && !env.iter().any(|(name, _)| name == "TERM") {
        env.push(("TERM".into(), "xterm-256color".into()));
    }
    env
}

fn missing() -> Refused {
    Refused { layer: Layer::Request.name().into(), message: "a descriptor is missing".into() }
}

fn copy(fd: &OwnedFd) -> Result<OwnedFd, Refused> {
    fd.try_clone().map_err(|error| Refused {
        layer: Layer::Request.name().into(),
        message: format!("failed to copy a descriptor: {error}"),
    })
}

fn with_program(request: JailSpec, file: PathBuf) -> JailSpec {
    let args = match request.payload {
        Payload::Program { args, .. } => args,
        Payload::Function(_) => Vec::new(),
    };
    JailSpec { payload: Payload::Program { file, args }, ..request }
}

/// An embedded interpreter takes its job from the socket: what the request brings along for a program is left out.
fn embedded_in(request: JailSpec, function: Function) -> Result<JailSpec, Refused> {
    if request.profile.name != profile::CODE.name || !request.roots.is_empty() {
        let message = "embedded engines run with profile `code` and without granted directories".into();
        return Err(Refused { layer: Layer::Request.name().into(), message });
    }
    Ok(JailSpec {
        profile: &profile::ENGINE,
        payload: Payload::Function(function),
        cwd: None,
        env: Vec::new(),
        files: Vec::new(),
        system: Vec::new(),
        limits: embedded::limits(request.limits),
        ..request
    })
}

/// stdin, stdout, stderr and job socket of a request without binds.
pub(crate) fn streams<'a>(spec: &Spec, fds: &'a [OwnedFd]) -> Result<[Option<BorrowedFd<'a>>; 4], Refused> {
    check_count(spec, fds)?;
    let mut fds = fds.iter().map(AsFd::as_fd);
    let mut next = |is_there: bool| if is_there { fds.next() } else { None };
    Ok([next(spec.stdin), next(true), next(true), next(spec.job)])
}

fn check_count(spec: &Spec, fds: &[OwnedFd]) -> Result<(), Refused> {
    let wanted = spec.descriptors();
    if fds.len() == wanted {
        return Ok(());
    }
    let message = format!("{} descriptors came with the request, and {wanted} belong to it", fds.len());
    Err(Refused { layer: Layer::Request.name().into(), message })
}

/// A jail's error as an answer.
pub(crate) fn refused(error: &JailError) -> Refused {
    Refused { layer: error.layer().name().into(), message: error.to_string() }
}

/// How a run ended, as an answer.
pub(crate) fn outcome(ending: &jail::Ending) -> Outcome {
    let millis = |duration: std::time::Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    Outcome {
        status: match ending.status {
            ExitStatus::Exited(code) => Status::Exited(code),
            ExitStatus::Signalled(signal) => Status::Signalled(signal),
        },
        limit: ending.limit.map(limit),
        limits_reached: ending.reached.limits().map(limit).collect(),
        wall_ms: millis(ending.wall),
        cpu_ms: millis(ending.cpu),
        peak_memory_bytes: ending.peak_memory_bytes,
        accounting: match ending.accounting {
            jail::Accounting::Tree => Accounting::Tree,
            jail::Accounting::Cgroup => Accounting::Cgroup,
        },
    }
}

/// The strength of jails, as an answer.
pub(crate) fn isolation(isolation: llmc_sandbox::Isolation) -> Isolation {
    match isolation {
        llmc_sandbox::Isolation::Namespaces => Isolation::Namespaces,
        llmc_sandbox::Isolation::Landlock => Isolation::Landlock,
    }
}

fn limit(limit: jail::Limit) -> Limit {
    match limit {
        jail::Limit::Wall => Limit::Wall,
        jail::Limit::Cpu => Limit::Cpu,
        jail::Limit::Memory => Limit::Memory,
        jail::Limit::Killed => Limit::Killed,
        jail::Limit::Workspace => Limit::Workspace,
        jail::Limit::FileSize => Limit::FileSize,
        jail::Limit::Processes => Limit::Processes,
        jail::Limit::OpenFiles => Limit::OpenFiles,
        jail::Limit::ScratchBytes => Limit::ScratchBytes,
        jail::Limit::ScratchInodes => Limit::ScratchInodes,
    }
}

pub(crate) fn limits(limits: Limits) -> JailLimits {
    JailLimits {
        wall_ms: limits.wall_ms,
        cpu_ms: limits.cpu_ms,
        memory_bytes: limits.memory_bytes,
        processes: limits.processes,
        open_files: limits.open_files,
        file_bytes: limits.file_bytes,
        scratch_bytes: limits.scratch_bytes,
        scratch_inodes: limits.scratch_inodes,
        workspace_bytes: limits.workspace_bytes,
    }
}

#[cfg(test)]
mod tests {
    use llmc_wire::runner::Bind;

    use super::*;

    fn spec() -> Spec {
        Spec {
            profile: Profile::Workspace,
            program: Program::File("/bin/true".into()),
            args: Vec::new(),
            cwd: None,
            env: Vec::new(),
            files: Vec::new(),
            kit: None,
            binds: vec![Bind { target: "/work".into(), writable: true }],
            system: Vec::new(),
            limits: Limits {
                wall_ms: 1,
                cpu_ms: 2,
                memory_bytes: 3,
                processes: 4,
                open_files: 5,
                file_bytes: 6,
                scratch_bytes: 7,
                scratch_inodes: 8,
                workspace_bytes: 9,
            },
            stdin: true,
            job: true,
            terminal: None,
        }
    }

    fn terminal() -> Terminal {
        let [master, slave, mount] = <[OwnedFd; 3]>::try_from(numbered(3)).unwrap();
        Terminal { master, slave, mount }
    }

    #[test]
    fn a_terminal_takes_the_place_of_the_streams() {
        let terminal = terminal();
        let size = llmc_wire::runner::TerminalSize { rows: 24, cols: 80 };
        let asked = || Spec { terminal: Some(size), ..spec() };
        let jail = jail_spec(asked(), None, numbered(2), Some(&terminal)).unwrap();
        let streams = [jail.stdin.as_ref().unwrap(), &jail.stdout, &jail.stderr];
        assert_eq!(streams.map(number), ["1", "1", "1"], "the slave, never the master");
        assert_eq!(number(jail.job.as_ref().unwrap()), "0", "what was passed is job and root");
        assert_eq!(number(jail.terminal.as_ref().unwrap()), "2");
        assert_eq!(jail.profile.name, "workspace with a terminal");
        assert_eq!(jail.env, [("TERM".to_owned(), "xterm-256color".to_owned())]);
        let named = Spec { env: vec![("TERM".into(), "dumb".into())], ..asked() };
        assert_eq!(jail_spec(named, None, numbered(2), Some(&terminal)).unwrap().env[0].1, "dumb");
        let code = Spec { profile: Profile::Code, ..asked() };
        assert_eq!(jail_spec(code, None, numbered(2), Some(&terminal)).unwrap_err().layer, "request");
        assert_eq!(jail_spec(asked(), None, numbered(2), None).unwrap_err().layer, "request");
        assert!(jail_spec(spec(), None, numbered(5), None).unwrap().env.is_empty());
    }

    fn numbered(count: usize) -> Vec<OwnedFd> {
        (0..count)
            .map(|index| {
                let fd =
                    rustix::fs::memfd_create(index.to_string(), rustix::fs::MemfdFlags::CLOEXEC).unwrap();
                rustix::io::write(&fd, index.to_string().as_bytes()).unwrap();
                fd
            })
            .collect()
    }

    fn number(fd: &OwnedFd) -> String {
        let mut buffer = [0; 8];
        let count = rustix::io::pread(fd, &mut buffer[..], 0).unwrap();
        String::from_utf8_lossy(&buffer[..count]).into_owned()
    }

    #[test]
    fn descriptors_keep_their_order() {
        let jail = jail_spec(spec(), None, numbered(5), None).unwrap();
        let order = [jail.stdin.as_ref().unwrap(), &jail.stdout, &jail.stderr, jail.job.as_ref().unwrap()];
        assert_eq!(order.map(number), ["0", "1", "2", "3"]);
        assert_eq!(number(&jail.roots[0].dir), "4");
        assert!(jail.roots[0].writable);
    }

    #[test]
    fn a_wrong_number_of_descriptors_is_refused() {
        for count in [0, 4, 6] {
            let refused = jail_spec(spec(), None, numbered(count), None).unwrap_err();
            assert_eq!(refused.layer, "request");
        }
    }

    #[test]
    fn an_embedded_engine_gets_its_streams_and_nothing_else() {
        let asked = || Spec {
            profile: Profile::Code,
            program: Program::Engine("javascript".into()),
            args: vec!["-x".into()],
            env: vec![("KEY".into(), "value".into())],
            system: vec!["/usr/lib".into()],
            binds: Vec::new(),
            ..spec()
        };
        let engine = || Some(Engine::Embedded(embedded::quickjs));
        let jail = jail_spec(asked(), engine(), numbered(4), None).unwrap();
        assert_eq!(jail.profile.name, "engine");
        assert!(jail.env.is_empty() && jail.system.is_empty() && jail.files.is_empty());
        assert_eq!((jail.limits.wall_ms, jail.limits.processes, jail.limits.file_bytes), (1, 1, 0));
        assert!(matches!(jail.payload, Payload::Function(_)));
        let with_root = Spec { binds: spec().binds, ..asked() };
        assert_eq!(jail_spec(with_root, engine(), numbered(5), None).unwrap_err().layer, "request");
        let as_command = Spec { profile: Profile::Workspace, ..asked() };
        assert_eq!(jail_spec(as_command, engine(), numbered(4), None).unwrap_err().layer, "request");
    }
}
