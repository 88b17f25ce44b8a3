//! Interactive processes: conversations over pipes and terminals, read exactly, within limits.

use serde_json::{Value, json};

use crate::support::{Server, Setup};

/// Longest wait for output in one call; an answer comes as soon as there is something to tell.
const LONG_MS: u64 = 20_000;

/// `cmd` with these programs.
fn cmd(programs: &str, limits: &str, more: &str) -> Setup {
    Setup::new(&format!(
        "{more}\n[roots]\nwork = {{ path = '{{work}}', access = 'rw' }}\n[plugins.cmd]\n\
         library = 'llmc_tools_cmd'\ngrants = {{ roots = ['work'], \
         run = {{ profile = 'workspace', programs = [{programs}], limits = {{ {limits} }} }} }}"
    ))
}

/// Python without the rules that leave it no code to run.
fn python() -> Setup {
    cmd("'python3'", "", "[programs.python3]\nrules = 'none'")
}

/// A process and everything that was read of it.
struct Talk {
    process: String,
    text: String,
    last: Value,
}

impl Talk {
    #[track_caller]
    fn start(server: &mut Server, mut arguments: Value) -> Self {
        arguments["wait_ms"] = 0.into();
        let last = server.call("start_process", arguments).ok().clone();
        Self {
            process: last["process"].as_str().unwrap().to_owned(),
            text: last["text"].as_str().unwrap().to_owned(),
            last,
        }
    }

    #[track_caller]
    fn call(&mut self, server: &mut Server, tool: &str, mut arguments: Value) {
        arguments["process"] = self.process.as_str().into();
        self.last = server.call(tool, arguments).ok().clone();
        assert_eq!(self.last["omitted_bytes"], 0, "{}", self.last);
        self.text += self.last["text"].as_str().unwrap();
    }

    /// Types text, then waits for output with another text in it. Returns what came since.
    #[track_caller]
    fn send(&mut self, server: &mut Server, text: &str, wanted: &str) -> String {
        let before = self.text.len();
        self.call(server, "send_input", json!({"text": text, "wait_ms": 0}));
        self.until_since(server, before, wanted);
        self.text[before..].to_owned()
    }

    #[track_caller]
    fn until(&mut self, server: &mut Server, wanted: &str) {
        self.until_since(server, 0, wanted);
    }

    #[track_caller]
    fn until_since(&mut self, server: &mut Server, since: usize, wanted: &str) {
        while !self.text[since..].contains(wanted) {
            assert!(
                self.last["running"] == true || self.last["unread_bytes"] != 0,
                "{wanted:?} never came: {:?} {}",
                self.text,
                self.last
            );
            self.call(server, "read_output", json!({"wait_ms": LONG_MS}));
        }
    }

    #[track_caller]
    fn until_end(&mut self, server: &mut Server) {
        while self.last["running"] == true || self.last["unread_bytes"] != 0 {
            self.call(server, "read_output", json!({"wait_ms": LONG_MS}));
        }
    }
}

#[test]
fn a_python_shell_keeps_its_state() {
    let mut server = python().serve();
    for pty in [false, true] {
        let mut talk = Talk::start(&mut server, json!({"argv": ["python3", "-i", "-q"], "pty": pty}));
        talk.until(&mut server, ">>> ");
        talk.send(&mut server, "x = 20\n", ">>> ");
        assert!(talk.send(&mut server, "x * 2 + 2\n", ">>> ").contains("42"), "{}", talk.text);
        assert!(talk.send(&mut server, "1 / 0\n", ">>> ").contains("ZeroDivisionError"), "{}", talk.text);
        let looping = "while True: pass\n\n";
        talk.call(&mut server, "send_input", json!({"text": looping, "wait_ms": 300}));
        let before = talk.text.len();
        match pty {
            true => talk.call(&mut server, "send_input", json!({"text": "\u{3}", "wait_ms": 0})),
            false => talk.call(&mut server, "send_input", json!({"interrupt": true, "wait_ms": 0})),
        }
        talk.until_since(&mut server, before, "KeyboardInterrupt");
        talk.until_since(&mut server, before, ">>> ");
        assert!(
            talk.send(&mut server, "print('grüße', x + 1)\n", ">>> ").contains("grüße 21"),
            "{}",
            talk.text
        );
        talk.call(&mut server, "send_input", json!({"close": true, "wait_ms": 0}));
        talk.until_end(&mut server);
        assert_eq!((&talk.last["exit_code"], talk.last.get("limit")), (&json!(0), None), "{}", talk.text);
    }
    server.stop();
}

#[test]
fn a_prompt_without_echo_shows_no_password() {
    let code = "import getpass\np = getpass.getpass('Password for db: ')\nprint('got', len(p))\n\
                print('db=>', end=' ', flush=True)\nprint('ran', input())";
    let mut server = python().serve();
    let mut talk = Talk::start(&mut server, json!({"argv": ["python3", "-c", code], "pty": true}));
    talk.until(&mut server, "Password for db: ");
    let answer = talk.send(&mut server, "open sesame\n", "db=> ");
    assert!(answer.contains("got 11") && !answer.contains("sesame"), "{answer}");
    let answer = talk.send(&mut server, "select 1;\n", "ran select 1;");
    assert!(answer.starts_with("select 1;"), "what is typed at a prompt with echo shows: {answer}");
    talk.until_end(&mut server);
    assert_eq!(talk.last["exit_code"], 0);
    server.stop();
}

/// Tells its size and each key, and ends with `q`.
const SCREEN: &str = "
import curses
def main(screen):
    rows, cols = screen.getmaxyx()
    screen.keypad(True)
    screen.addstr(1, 1, f'size {rows}x{cols}', curses.A_BOLD)
    screen.addstr(rows - 2, cols - 12, 'bottom')
    while True:
        screen.refresh()
        key = screen.getch()
        screen.addstr(3, 1, 'key ' + curses.keyname(key).decode() + '.      ')
        if key == ord('q'):
            break
curses.wrapper(main)
print('left', flush=True)
";

#[test]
fn a_full_screen_program_works() {
    let mut server = python().file("screen.py", SCREEN).serve();
    let argv = json!({"argv": ["python3", "screen.py"], "pty": true});
    let mut talk = Talk::start(&mut server, argv);
    talk.until(&mut server, "bottom");
    assert!(talk.text.contains("\u{1b}[?1049h"), "it knows the terminal: {:?}", talk.text);
    assert!(talk.text.contains("size 24x80"), "{:?}", talk.text);
    assert!(
        talk.text.contains("\u{1b}[23;69H"),
        "something stands in the last line but one: {:?}",
        talk.text
    );
    talk.send(&mut server, "\u{1b}OA", "KEY_UP");
    talk.send(&mut server, "q", "left");
    talk.until_end(&mut server);
    assert!(talk.text.contains("\u{1b}[?1049l") && talk.last["exit_code"] == 0, "{:?}", talk.text);
    server.stop();
}

#[test]
fn a_terminal_has_the_size_and_the_name_that_programs_expect() {
    let mut server = cmd("'sh', 'stty', 'tty', 'env'", "", "").serve();
    let script = "stty size; tty; env | grep ^TERM=; stty -a < /dev/tty | grep -o iutf8; test -t 0 && test -t 2 && echo terminal";
    for (arguments, size) in [
        (json!({"argv": ["sh", "-c", script], "pty": true}), "24 80"),
        (json!({"argv": ["sh", "-c", script], "pty": true, "rows": 50, "cols": 132}), "50 132"),
    ] {
        let mut talk = Talk::start(&mut server, arguments);
        talk.until_end(&mut server);
        let expected = format!("{size}\r\n/dev/pts/0\r\nTERM=xterm-256color\r\niutf8\r\nterminal\r\n");
        assert_eq!(talk.text, expected);
    }
    let mut piped = Talk::start(&mut server, json!({"argv": ["sh", "-c", "tty; env | grep -c ^TERM="]}));
    piped.until_end(&mut server);
    assert_eq!(piped.text, "not a tty\n0\n", "without a terminal nothing pretends");
    server.stop();
}

#[test]
fn a_megabyte_of_lines_is_read_exactly() {
    let mut server = cmd("'seq'", "", "").serve();
    let started = server.call("start_process", json!({"argv": ["seq", "-w", "200000"], "wait_ms": 0}));
    let started = started.ok().clone();
    let (mut position, mut lost) = (0, 0);
    let mut check = |seen: &Value| {
        let (text, omitted) = (seen["text"].as_str().unwrap(), seen["omitted_bytes"].as_u64().unwrap());
        position += omitted;
        lost += omitted;
        for byte in text.bytes() {
            let line = format!("{:06}\n", position / 7 + 1);
            assert_eq!(byte, line.as_bytes()[usize::try_from(position % 7).unwrap()], "at {position}");
            position += 1;
        }
        assert_eq!(seen["cursor"], position);
        position
    };
    check(&started);
    for max_bytes in [4, 999, 65_537, 123_457].into_iter().cycle() {
        let arguments = json!({"process": started["process"], "max_bytes": max_bytes, "wait_ms": LONG_MS});
        let seen = server.call("read_output", arguments).ok().clone();
        let position = check(&seen);
        if seen["running"] == false && seen["unread_bytes"] == 0 {
            assert_eq!(position, 1_400_000);
            break;
        }
    }
    // A mebibyte is kept: whatever the timing, no more than the rest can be lost.
    assert!(lost <= 1_400_000 - (1 << 20), "{lost}");
    server.stop();
}

#[test]
fn processes_take_no_places_of_calls() {
    let mut server =
        cmd("'cat', 'true'", "", "[limits]\nconcurrent_runs = 1\ndetached_runs = 2\nqueue_timeout_ms = 500")
            .serve();
    let cat = json!({"argv": ["cat"], "wait_ms": 0});
    let first = Talk::start(&mut server, cat.clone());
    let _second = Talk::start(&mut server, cat.clone());
    let refused = server.call("start_process", cat.clone()).error();
    assert!(refused.contains("limits.detached_runs"), "{refused}");
    assert_eq!(server.call("run_command", json!({"argv": ["true"]})).ok()["exit_code"], 0);
    server.call("stop_process", json!({"process": first.process})).ok();
    Talk::start(&mut server, cat);
    let listed = server.call("list_processes", json!({})).ok().clone();
    let states: Vec<_> = listed["processes"].as_array().unwrap().iter().map(|line| &line["state"]).collect();
    assert_eq!(states, ["ended by SIGTERM", "running", "running"]);
    server.stop();
}

#[test]
fn the_life_of_a_process_is_limited_by_the_operator() {
    let mut server = cmd("'sleep'", "wall_ms = 60000, detached_wall_ms = 700", "").serve();
    let mut talk = Talk::start(&mut server, json!({"argv": ["sleep", "1000"]}));
    talk.until_end(&mut server);
    assert_eq!((&talk.last["limit"], &talk.last["signal"]), (&json!("wall"), &json!("SIGKILL")));
    assert_eq!(server.call("run_command", json!({"argv": ["sleep", "1.2"]})).ok()["exit_code"], 0);
    server.stop();
}

#[test]
fn a_process_that_code_started_belongs_to_the_client() {
    let text = "[roots]\nwork = { path = '{work}', access = 'rw' }\n\
        [plugins.cmd]\nlibrary = 'llmc_tools_cmd'\n\
        grants = { roots = ['work'], run = { profile = 'workspace', programs = ['cat'] } }\n\
        [plugins.exec]\nlibrary = 'llmc_tools_exec'\n\
        grants = { run = { profile = 'code' }, tools = ['start_process', 'send_input', 'list_processes'] }";
    let mut server = Setup::new(text).serve();
    let code = "from llmc import tools\n\
        process = tools.start_process(argv=['cat'], wait_ms=0)['process']\n\
        {'process': process, 'text': tools.send_input(process=process, text='from code\\n', wait_ms=20000)['text']}";
    let result = server.call("execute_code", json!({"code": code})).ok()["result"].clone();
    assert_eq!(result["text"], "from code\n");
    let arguments = json!({"process": result["process"], "text": "from client\n", "wait_ms": LONG_MS});
    let seen = server.call("send_input", arguments).ok().clone();
    assert_eq!((&seen["text"], &seen["running"]), (&json!("from client\n"), &json!(true)));
    server.stop();
}
