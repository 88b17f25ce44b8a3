//! The script that an interpreter begins with, compiled ahead: a cold one would do that anew in every run, which takes
//! it as long as a fifth of its start.
//!
//! As with everything that is made ahead of time, what to compile is learned from the first run. The interpreter itself
//! compiles it, in a jail of its own that sees the text of the script and nothing of a job. What it says is bytes
//! here; they are run by the same interpreter, where the text would have been.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use llmc_sandbox::jail::{ExitStatus, JailSpec, Launcher, Payload, SmallFile};

use crate::trial::{self, Started};

/// Directory of files that come with a request.
const FILES: &str = "/llmc/";
/// Name of the compiled script beside them; the interpreter knows what to do with it by its ending.
const COMPILED: &str = "compiled.pyc";
/// Longest text in bytes. What comes of it has to fit into a pipe (64 KiB), and is less than twice as long.
const MAX_SOURCE_BYTES: usize = 24 << 10;
/// Bytes of the header of a compiled file (PEP 552).
const HEADER_BYTES: usize = 16;
/// Time after which a script is compiled although runs are under way; without any, it is at once.
const PATIENCE: Duration = Duration::from_secs(1);
/// Between two looks whether it is done.
const LOOK: Duration = Duration::from_millis(5);

/// Writes a compiled file whose source nobody looks for: flags, time and size in the header are 0.
const COMPILE: &str = "\
import marshal, sys
from _frozen_importlib_external import MAGIC_NUMBER
path, text = sys.argv[1:]
sys.stdout.buffer.write(MAGIC_NUMBER + bytes(12) + marshal.dumps(compile(text, path, 'exec', 0, True)))";

/// The one script that was used last.
pub(crate) struct Bytecode {
    is_wanted: bool,
    state: State,
}

enum State {
    /// Nothing is known.
    None,
    /// A run began with this script.
    Seen(Script, Instant),
    /// It is being compiled.
    Pending(Script, Box<Started>),
    /// It is compiled; `None` for one that cannot be.
    Known(Script, Option<Vec<u8>>),
}

/// What the result depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Script {
    program: PathBuf,
    /// Device, number, and times of change of the program: an upgrade may bring another bytecode.
    identity: [i128; 4],
    system: Vec<PathBuf>,
    /// Arguments before the script.
    flags: Vec<String>,
    path: String,
    text: Vec<u8>,
}

impl Script {
    /// The script that this run of an interpreter begins with, if it can be compiled.
    fn of(spec: &JailSpec) -> Option<Self> {
        let Payload::Program { file, args } = &spec.payload else { return None };
        let (path, flags) = args.split_last()?;
        let name = path.strip_prefix(FILES).filter(|name| name.ends_with(".py"))?;
        let script = spec.files.iter().find(|file| file.name == name)?;
        let is_free = spec.files.iter().all(|file| file.name != COMPILED);
        (is_free && script.contents.len() <= MAX_SOURCE_BYTES).then_some(())?;
        Some(Self {
            program: file.clone(),
            identity: identity(file)?,
            system: spec.system.clone(),
            flags: flags.to_vec(),
            path: path.clone(),
            text: script.contents.clone(),
        })
    }

    /// Starts to compile it.
    fn compile(&self, launcher: &mut Launcher) -> Result<Started, String> {
        let text = std::str::from_utf8(&self.text).map_err(|error| error.to_string())?;
        let flags = self.flags.iter().map(String::as_str);
        let args: Vec<&str> = flags.chain(["-c", COMPILE, &self.path, text]).collect();
        trial::start_code(launcher, &self.program, &args, self.system.clone())
            .map_err(|error| error.to_string())
    }
}

fn identity(file: &Path) -> Option<[i128; 4]> {
    let seen = std::fs::metadata(file).ok()?;
    let time = |seconds: i64, nanoseconds: i64| i128::from(seconds) * 1_000_000_000 + i128::from(nanoseconds);
    let changed = [time(seen.mtime(), seen.mtime_nsec()), time(seen.ctime(), seen.ctime_nsec())];
    Some([seen.dev().into(), seen.ino().into(), changed[0], changed[1]])
}

impl Bytecode {
    /// `is_wanted` where a jail shows files by fixed names: code knows where it comes from.
    pub(crate) fn new(is_wanted: bool) -> Self {
        Self { is_wanted, state: State::None }
    }

    /// Has the run of an interpreter begin with the compiled script, if that is known; else it will be for the next.
    pub(crate) fn put_in(&mut self, spec: &mut JailSpec) {
        let Some(script) = self.is_wanted.then(|| Script::of(spec)).flatten() else { return };
        match &self.state {
            State::Known(known, compiled) if *known == script => {
                if let (Some(contents), Payload::Program { args, .. }) = (compiled, &mut spec.payload) {
                    spec.files.push(SmallFile { name: COMPILED.into(), contents: contents.clone() });
                    args.pop();
                    args.push(format!("{FILES}{COMPILED}"));
                }
            }
            // One at a time.
            State::Pending(..) => {}
            State::Seen(seen, _) if *seen == script => {}
            _ => self.state = State::Seen(script, Instant::now()),
        }
    }

    /// Begins to compile what is to be, when nothing else is under way; takes in what is done.
    pub(crate) fn tend(&mut self, launcher: &mut Launcher, is_idle: bool) {
        self.state = match std::mem::replace(&mut self.state, State::None) {
            State::Seen(script, since) if is_idle || since.elapsed() >= PATIENCE => {
                match script.compile(launcher) {
                    Ok(started) => State::Pending(script, Box::new(started)),
                    Err(why) => give_up(script, &why),
                }
            }
            State::Pending(script, started) if started.is_over() => {
                let answer = started.finish(launcher);
                let is_whole = answer.stdout.len() > HEADER_BYTES;
                match answer.ending.status {
                    ExitStatus::Exited(0) if is_whole => State::Known(script, Some(answer.stdout)),
                    status => give_up(script, &format!("its interpreter ended {status:?}")),
                }
            }
            state => state,
        };
    }

    /// When [`Bytecode::tend`] has something to do.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        match &self.state {
            State::None | State::Known(..) => None,
            State::Seen(_, since) => Some(*since + PATIENCE),
            State::Pending(..) => Some(Instant::now() + LOOK),
        }
    }
}

/// Runs go on beginning with the text.
fn give_up(script: Script, why: &str) -> State {
    crate::note(&format!("`{}` could not be compiled ahead of time: {why}", script.path));
    State::Known(script, None)
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use llmc_sandbox::profile::CODE;

    use super::*;

    fn spec(program: &Path, text: &str) -> JailSpec {
        let null = || File::open("/dev/null").unwrap().into();
        JailSpec {
            profile: &CODE,
            payload: Payload::Program {
                file: program.to_owned(),
                args: ["-I", "/llmc/boot.py"].map(String::from).to_vec(),
            },
            cwd: None,
            env: Vec::new(),
            files: vec![SmallFile { name: "boot.py".into(), contents: text.into() }],
            roots: Vec::new(),
            system: Vec::new(),
            limits: CODE.limits,
            stdin: None,
            stdout: null(),
            stderr: null(),
            job: None,
            terminal: None,
        }
    }

    fn args(spec: &JailSpec) -> &[String] {
        let Payload::Program { args, .. } = &spec.payload else { panic!("a program") };
        args
    }

    #[test]
    fn a_known_script_is_put_in_and_any_other_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("python3");
        std::fs::write(&program, "one").unwrap();
        let script = Script::of(&spec(&program, "1")).unwrap();
        let known = || State::Known(script.clone(), Some(b"compiled".to_vec()));
        let mut bytecode = Bytecode { is_wanted: true, state: known() };
        let mut same = spec(&program, "1");
        bytecode.put_in(&mut same);
        assert_eq!(args(&same), ["-I", "/llmc/compiled.pyc"]);
        let put_in = same.files.iter().find(|file| file.name == COMPILED).unwrap();
        assert_eq!(put_in.contents, b"compiled");

        let untouched = |bytecode: &mut Bytecode, mut spec: JailSpec| {
            bytecode.put_in(&mut spec);
            assert_eq!((args(&spec).last().unwrap().as_str(), spec.files.len()), ("/llmc/boot.py", 1));
        };
        untouched(&mut Bytecode::new(false), spec(&program, "1"));
        untouched(&mut bytecode, spec(&program, "2"));
        assert!(matches!(bytecode.state, State::Seen(..)), "the new one is to be compiled");
        // Another interpreter under the same name.
        bytecode.state = known();
        std::fs::remove_file(&program).unwrap();
        std::fs::write(folder.path().join("new"), "two").unwrap();
        std::fs::rename(folder.path().join("new"), &program).unwrap();
        untouched(&mut bytecode, spec(&program, "1"));
        // One that cannot be compiled is not tried again and again.
        let script = Script::of(&spec(&program, "1")).unwrap();
        bytecode.state = State::Known(script, None);
        untouched(&mut bytecode, spec(&program, "1"));
        assert!(bytecode.next_due().is_none());
    }

    #[test]
    fn only_a_short_script_of_the_request_is_compiled() {
        let program = Path::new("/dev/null");
        assert!(Script::of(&spec(program, "1")).is_some());
        assert!(Script::of(&spec(program, &"#".repeat(MAX_SOURCE_BYTES + 1))).is_none());
        let mut taken = spec(program, "1");
        taken.files.push(SmallFile { name: COMPILED.into(), contents: Vec::new() });
        assert!(Script::of(&taken).is_none());
        for last in ["/llmc/other.py", "/tmp/boot.py", "print(1)"] {
            let mut other = spec(program, "1");
            other.payload = Payload::Program { file: program.into(), args: vec!["-I".into(), last.into()] };
            assert!(Script::of(&other).is_none(), "{last}");
        }
    }
}
