//! Which frame may come when: `ready`, then any number of calls, reports and files, then `done`, then nothing.
//!
//! Pure: frames in, events out. Frames come from the jail and are hostile input.

use llmc_core::serde::Deserialize;
use serde_json::value::RawValue;

use crate::files::SentFile;
use crate::frame::{Frame, FrameError, Kind};
use crate::limits::{MAX_CALLS, MAX_OPEN_CALLS};
use crate::report::Report;

/// Version of the protocol; `boot.py` tells the same.
const VERSION: u32 = 1;

/// What a frame means.
#[derive(Debug)]
pub(crate) enum Event {
    /// The interpreter is ready; the job may be there already.
    Ready(Ready),
    /// The code calls a tool.
    Call(Call),
    /// The code tells how far it is.
    Progress(Progress),
    /// A result file.
    File(SentFile),
    /// The job is done.
    Done(Box<Report>),
}

/// The first frame.
#[derive(Debug, Deserialize)]
#[serde(crate = "llmc_core::serde")]
pub(crate) struct Ready {
    v: u32,
    /// Name and version of the interpreter.
    pub(crate) engine: String,
    /// Whether it takes long texts beside its answers.
    #[serde(default)]
    pub(crate) texts: bool,
}

/// A tool call.
#[derive(Debug, Deserialize)]
#[serde(crate = "llmc_core::serde")]
pub(crate) struct Call {
    /// Counts 1, 2, 3, ...
    pub(crate) id: u64,
    /// Name of the tool, as the code wrote it.
    pub(crate) name: String,
    /// Its arguments, unread: the server judges them.
    pub(crate) arguments: Box<RawValue>,
}

/// How far the code is.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(crate = "llmc_core::serde")]
pub(crate) struct Progress {
    pub(crate) done: f64,
    pub(crate) total: Option<f64>,
    #[serde(default)]
    pub(crate) message: String,
}

/// The jail did not keep to the protocol. Such a run is ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Violation {
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error("an unexpected {kind:?} frame {when}")]
    Unexpected { kind: Kind, when: &'static str },
    #[error("a {kind:?} frame that cannot be read")]
    Unreadable { kind: Kind, source: serde_json::Error },
    #[error("protocol version {0}, expected {VERSION}")]
    Version(u32),
    #[error("call {found}, expected call {expected}")]
    Id { found: u64, expected: u64 },
    #[error("{0}")]
    File(&'static str),
    #[error("more than {MAX_CALLS} calls")]
    TooManyCalls,
    #[error("more than {MAX_OPEN_CALLS} calls at the same time")]
    TooManyOpen,
}

/// Where a job stands.
#[derive(Debug, Default)]
pub(crate) struct Protocol {
    state: State,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Starting,
    Running {
        calls: u64,
    },
    Done,
}

impl Protocol {
    /// Judges the next frame; `open` calls have no answer yet.
    pub(crate) fn accept(&mut self, frame: &Frame, open: usize) -> Result<Event, Violation> {
        match (&mut self.state, frame.kind) {
            (State::Starting, Kind::Ready) => {
                let ready: Ready = read(frame)?;
                if ready.v != VERSION {
                    return Err(Violation::Version(ready.v));
                }
                self.state = State::Running { calls: 0 };
                Ok(Event::Ready(ready))
            }
            (State::Running { calls }, Kind::Call) => {
                let call: Call = read(frame)?;
                *calls += 1;
                if call.id != *calls {
                    return Err(Violation::Id { found: call.id, expected: *calls });
                }
                if *calls > MAX_CALLS {
                    return Err(Violation::TooManyCalls);
                }
                if open >= MAX_OPEN_CALLS {
                    return Err(Violation::TooManyOpen);
                }
                Ok(Event::Call(call))
            }
            (State::Running { .. }, Kind::Progress) => Ok(Event::Progress(read(frame)?)),
            (State::Running { .. }, Kind::File) => Ok(Event::File(read(frame)?)),
            (State::Running { .. }, Kind::Done) => {
                let report = read(frame)?;
                self.state = State::Done;
                Ok(Event::Done(report))
            }
            (State::Starting, kind) => Err(Violation::Unexpected { kind, when: "before the job" }),
            (State::Running { .. }, kind) => Err(Violation::Unexpected { kind, when: "during the job" }),
            (State::Done, kind) => Err(Violation::Unexpected { kind, when: "after the end" }),
        }
    }
}

fn read<'a, T: Deserialize<'a>>(frame: &'a Frame) -> Result<T, Violation> {
    serde_json::from_slice(&frame.body).map_err(|source| Violation::Unreadable { kind: frame.kind, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    const READY: (Kind, &str) = (Kind::Ready, r#"{"v":1,"engine":"CPython 3.11.2"}"#);
    const DONE: (Kind, &str) = (Kind::Done, "{}");

    fn call(id: u64) -> (Kind, String) {
        (Kind::Call, format!(r#"{{"id":{id},"name":"echo","arguments":{{}}}}"#))
    }

    /// Feeds frames and tells the violation, if any.
    fn check<S: AsRef<str>>(frames: impl IntoIterator<Item = (Kind, S)>) -> Result<(), String> {
        let mut protocol = Protocol::default();
        for (kind, body) in frames {
            let frame = Frame { kind, body: body.as_ref().as_bytes().to_vec() };
            protocol.accept(&frame, 0).map_err(|violation| violation.to_string())?;
        }
        Ok(())
    }

    fn refused<S: AsRef<str>>(frames: impl IntoIterator<Item = (Kind, S)>, text: &str) {
        assert_eq!(check(frames), Err(text.to_owned()));
    }

    #[test]
    fn a_job_with_calls_passes() {
        let (one, two) = (call(1), call(2));
        assert_eq!(check([READY, (one.0, &one.1), (two.0, &two.1), DONE]), Ok(()));
    }

    #[test]
    fn order_matters() {
        refused([DONE], "an unexpected Done frame before the job");
        refused([call(1)], "an unexpected Call frame before the job");
        refused([READY, READY], "an unexpected Ready frame during the job");
        refused([READY, (Kind::Job, "{}")], "an unexpected Job frame during the job");
        refused([READY, (Kind::Reply, "{}")], "an unexpected Reply frame during the job");
        refused([READY, (Kind::Text, "{}")], "an unexpected Text frame during the job");
        refused([READY, DONE, DONE], "an unexpected Done frame after the end");
        for kind in [Kind::Progress, Kind::File] {
            refused([(kind, "{}")], &format!("an unexpected {kind:?} frame before the job"));
            refused([READY, (kind, "{}")], &format!("a {kind:?} frame that cannot be read"));
            refused([READY, DONE, (kind, "{}")], &format!("an unexpected {kind:?} frame after the end"));
        }
        let (progress, file) = (r#"{"done":1,"total":null}"#, r#"{"path":"a","text":"b"}"#);
        assert_eq!(check([READY, (Kind::Progress, progress), (Kind::File, file), DONE]), Ok(()));
    }

    #[test]
    fn ids_count_up() {
        refused([(READY.0, READY.1.to_owned()), call(2)], "call 2, expected call 1");
        refused([(READY.0, READY.1.to_owned()), call(1), call(1)], "call 1, expected call 2");
    }

    #[test]
    fn calls_are_counted() {
        let ready = [(READY.0, READY.1.to_owned())];
        assert_eq!(check(ready.clone().into_iter().chain((1..=MAX_CALLS).map(call))), Ok(()));
        refused(ready.into_iter().chain((1..=MAX_CALLS + 1).map(call)), "more than 10000 calls");
        let mut protocol = Protocol { state: State::Running { calls: 0 } };
        let (kind, body) = call(1);
        let frame = Frame { kind, body: body.into_bytes() };
        let violation = protocol.accept(&frame, MAX_OPEN_CALLS).unwrap_err();
        assert_eq!(violation.to_string(), "more than 16 calls at the same time");
    }

    #[test]
    fn versions_must_match() {
        refused([(Kind::Ready, r#"{"v":2,"engine":"x"}"#)], "protocol version 2, expected 1");
    }

    #[test]
    fn bodies_must_be_what_they_should() {
        for body in ["", "null", "[]", "{", "{}", r#"{"v":"1","engine":"x"}"#, "\"\\ud800\""] {
            refused([(Kind::Ready, body)], "a Ready frame that cannot be read");
        }
        for body in ["", "3", r#"{"error":3}"#, r#"{"exit_code":"x"}"#, r#"{"value":{"json":1}}"#] {
            refused([READY, (Kind::Done, body)], "a Done frame that cannot be read");
        }
        for body in [
            r#"{"id":1,"name":"x"}"#,
            r#"{"id":-1,"name":"x","arguments":{}}"#,
            r#"{"id":1,"name":"x","arguments":{}"#,
        ] {
            refused([READY, (Kind::Call, body)], "a Call frame that cannot be read");
        }
    }

    #[test]
    fn arguments_are_passed_on_unread() {
        let odd = format!(
            r#"{{"n":1e9999,"big":{},"deep":{}{}}}"#,
            "9".repeat(400),
            "[".repeat(500),
            "]".repeat(500)
        );
        let body = format!(r#"{{"id":1,"name":"x","arguments":{odd}}}"#);
        let mut protocol = Protocol { state: State::Running { calls: 0 } };
        let event = protocol.accept(&Frame { kind: Kind::Call, body: body.into_bytes() }, 0).unwrap();
        let Event::Call(call) = event else { panic!("{event:?}") };
        assert_eq!(call.arguments.get(), odd);
    }
}
