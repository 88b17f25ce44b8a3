//! Plays the other side of the job socket in tests.

use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::thread;

use serde_json::{Value, json};

use crate::{Ending, Limits, Prepared, Streams};

/// An engine.
pub(crate) type Engine = fn() -> Prepared;

/// As much as a thread that a program starts with has.
const STACK_BYTES: usize = 8 << 20;

/// What became of a job.
pub(crate) struct Told {
    pub(crate) ending: Ending,
    /// The body of the last frame; null without one.
    pub(crate) report: Value,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    /// Bodies of all calls.
    pub(crate) calls: Vec<Value>,
    /// Bodies of all reports of progress.
    pub(crate) progress: Vec<Value>,
    pub(crate) engine: String,
}

/// A job to be.
pub(crate) struct Play {
    pub(crate) engine: Engine,
    pub(crate) limits: Limits,
    pub(crate) stdin: String,
    pub(crate) tools: Option<String>,
    pub(crate) max_calls: u64,
}

impl Play {
    pub(crate) fn new(engine: Engine) -> Self {
        Self {
            engine,
            limits: Limits { wall_ms: 60_000, cpu_ms: 60_000, memory_bytes: 512 << 20 },
            stdin: String::new(),
            tools: Some(json!([{"name": "echo"}, {"name": "fail"}]).to_string()),
            max_calls: 1000,
        }
    }

    /// Runs code whose calls are answered by [`answer`].
    pub(crate) fn run(&self, code: &str) -> Told {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (stdin, mut typed) = std::io::pipe().unwrap();
        let (out, stdout) = std::io::pipe().unwrap();
        let (err, stderr) = std::io::pipe().unwrap();
        let (engine, limits) = (self.engine, self.limits);
        let fds = [OwnedFd::from(theirs), stdin.into(), stdout.into(), stderr.into()];
        let work = move || {
            let [job, stdin, stdout, stderr] = fds;
            let streams =
                Streams { job, stdin: Box::new(stdin), stdout: Box::new(stdout), stderr: Box::new(stderr) };
            engine()(streams, limits)
        };
        let worker = thread::Builder::new().stack_size(STACK_BYTES).spawn(work).unwrap();
        let input = self.stdin.clone();
        thread::spawn(move || typed.write_all(input.as_bytes()));
        let read = |mut pipe: std::io::PipeReader| {
            thread::spawn(move || {
                let mut text = String::new();
                pipe.read_to_string(&mut text).map(|_| text)
            })
        };
        let (out, err) = (read(out), read(err));
        let job = json!({"code": code, "tools": self.tools, "max_calls": self.max_calls, "max_open": 16});
        let (engine, calls, progress, report) = converse(ours, &job);
        Told {
            ending: worker.join().unwrap(),
            report,
            stdout: out.join().unwrap().unwrap(),
            stderr: err.join().unwrap().unwrap(),
            calls,
            progress,
            engine,
        }
    }
}

impl Told {
    /// The value as JSON; the code must have succeeded.
    #[track_caller]
    pub(crate) fn value(&self) -> Value {
        assert_eq!((&self.report.get("error"), self.ending), (&None, Ending::Done), "{}", self.report);
        self.report["value"]["json"].as_str().map_or(Value::Null, |json| serde_json::from_str(json).unwrap())
    }

    /// The error, as the four fields that it must have.
    #[track_caller]
    pub(crate) fn error(&self) -> &Value {
        let error = &self.report["error"];
        assert!(error.is_object(), "{}", self.report);
        error
    }
}

/// `echo` answers its arguments, `big` answers much, `fail` fails, `silent` never answers, any other name is unknown.
fn answer(call: &Value) -> Option<Value> {
    let id = &call["id"];
    Some(match call["name"].as_str().unwrap() {
        "echo" => json!({"id": id, "value": call["arguments"]}),
        "big" => json!({"id": id, "value": {"text": "x".repeat(1 << 20)}}),
        "fail" => {
            json!({"id": id, "error": {"kind": "failed", "message": "no such luck", "data": {"left": 3}}})
        }
        "silent" => return None,
        name => json!({"id": id, "error": {"kind": "unknown_tool", "message": format!("no tool `{name}`")}}),
    })
}

fn converse(mut socket: UnixStream, job: &Value) -> (String, Vec<Value>, Vec<Value>, Value) {
    let (mut engine, mut calls, mut progress, mut report) =
        (String::new(), Vec::new(), Vec::new(), Value::Null);
    while let Some((kind, body)) = receive(&mut socket) {
        assert!(report.is_null(), "a frame after the last one");
        match kind {
            b'r' => {
                assert_eq!(body["v"], 1);
                engine = body["engine"].as_str().unwrap().to_owned();
                send(&mut socket, b'J', job);
            }
            b'C' => {
                assert_eq!(body["id"], calls.len() + 1, "calls are counted");
                let answer = answer(&body);
                calls.push(body);
                answer.iter().for_each(|answer| send(&mut socket, b'R', answer));
            }
            b'P' => progress.push(body),
            b'D' => report = body,
            other => panic!("a frame of kind {other}"),
        }
    }
    (engine, calls, progress, report)
}

fn send(socket: &mut UnixStream, kind: u8, body: &Value) {
    let body = body.to_string().into_bytes();
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    // Code whose time is over reads no answer.
    let _ = socket.write_all(&[&length[..], &[kind], &body].concat());
}

fn receive(socket: &mut UnixStream) -> Option<(u8, Value)> {
    let mut header = [0; 5];
    socket.read_exact(&mut header).ok()?;
    let [a, b, c, d, kind] = header;
    let mut body = vec![0; u32::from_be_bytes([a, b, c, d]) as usize];
    socket.read_exact(&mut body).unwrap();
    Some((kind, serde_json::from_slice(&body).unwrap()))
}
