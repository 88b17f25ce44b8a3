//! README as a stranger follows it: in an empty home, block by block, in the order of the page. A block or command that
//! nobody here knows how to follow fails the test.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{stage, target};

/// A block of code: the heading above it, its language, its lines.
struct Block {
    heading: String,
    language: String,
    text: String,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn blocks(page: &str) -> Vec<Block> {
    let (mut blocks, mut heading) = (Vec::new(), "");
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        if let Some(language) = line.strip_prefix("```") {
            let text =
                lines.by_ref().take_while(|line| *line != "```").map(|line| format!("{line}\n")).collect();
            blocks.push(Block { heading: heading.to_owned(), language: language.to_owned(), text });
        } else if line.starts_with('#') {
            heading = line.trim_start_matches(['#', ' ']);
        }
    }
    blocks
}

/// Somebody with a home, a project in it, and what was learnt so far.
struct Stranger {
    home: TempDir,
    /// Where the shell is.
    folder: PathBuf,
    /// The text of the token that was made.
    token: String,
    /// Address that the page gives to the server over HTTP.
    address: String,
    /// How often each kind of step was taken.
    taken: BTreeMap<&'static str, usize>,
}

impl Stranger {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("project");
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("README.md"), "a project\n").unwrap();
        let (token, address, taken) = Default::default();
        Self { home, folder, token, address, taken }
    }

    fn follow(&mut self, block: &Block) {
        let Block { heading, language, text } = block;
        match (language.as_str(), heading.as_str()) {
            ("sh", _) => text.lines().for_each(|line| self.line(line)),
            ("toml", "Configuration") => self.configuration(text),
            ("json", "Over HTTP") => self.entry(text),
            ("rust", "Write a plugin") => self.plugin(text),
            _ => panic!("nobody knows how to follow the block `{language}` under {heading}:\n{text}"),
        }
    }

    /// A line of a shell.
    fn line(&mut self, line: &str) {
        let (command, comment) = line.split_once(" # ").unwrap_or((line, ""));
        let words: Vec<&str> = command.split_whitespace().collect();
        let step = match words[..] {
            ["cargo", "xtask", verb, ..] => self.xtask(verb),
            ["claude", "mcp", "add", ..] => self.client_of_others(command),
            ["llmc", "serve", ..] if command.contains("--http") => self.serve_http(command),
            ["llmc", "serve", ..] => self.serve(command),
            // Nobody can be asked here, and the page says what to say instead.
            ["llmc", "init"] => self.run(comment.trim().strip_prefix("or: ").expect("what else to say")),
            ["llmc", "token", "create", ..] => {
                self.token = self.output(command).trim().to_owned();
                "run"
            }
            // What it finds is the machine's; the layers of this one are tested elsewhere.
            ["llmc", "doctor"] => self.run("llmc doctor || [ $? = 1 ]"),
            ["llmc", "dev", ..] => self.run(&format!("{command} --once")),
            ["llmc", ..] => self.run(command),
            _ => panic!("nobody knows how to follow: {line}"),
        };
        *self.taken.entry(step).or_default() += 1;
    }

    fn run(&mut self, command: &str) -> &'static str {
        self.output(command);
        "run"
    }

    /// Runs a command to its end, which must be good; the shell goes where it leads.
    fn output(&mut self, command: &str) -> String {
        let place = self.home.path().join("place");
        let output = self.shell(&format!("{command}\nstatus=$?; pwd > {}; exit $status", place.display()));
        let output = { output }.stdin(Stdio::null()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command}\n{}{said}", String::from_utf8_lossy(&output.stdout));
        self.folder = std::fs::read_to_string(place).unwrap().trim_end().into();
        String::from_utf8(output.stdout).unwrap()
    }

    fn shell(&self, script: &str) -> Command {
        let home = |variable: &str, name: &str| {
            let real = || std::env::home_dir().unwrap().join(name);
            std::env::var_os(variable).map_or_else(real, PathBuf::from)
        };
        let mut shell = Command::new("/bin/sh");
        shell.arg("-c").arg(script).current_dir(&self.folder);
        // What the workspace has fetched compiles plugins, once for all runs of the tests.
        shell
            .env("CARGO_HOME", home("CARGO_HOME", ".cargo"))
            .env("RUSTUP_HOME", home("RUSTUP_HOME", ".rustup"));
        shell.env("CARGO_NET_OFFLINE", "true").env("CARGO_TARGET_DIR", target().join("new-plugin"));
        shell.env("HOME", self.home.path()).env_remove("XDG_CONFIG_HOME").env_remove("XDG_STATE_HOME");
        let path = std::env::var("PATH").unwrap_or_default();
        shell.env("PATH", format!("{}:{path}", stage().canonicalize().unwrap().join("bin").display()));
        shell
    }

    /// The sources have this verb; what it does is tested by whoever uses it.
    fn xtask(&self, verb: &str) -> &'static str {
        let text = std::fs::read_to_string(root().join("xtask/src/main.rs")).unwrap();
        let capital = |word: &str| word[..1].to_ascii_uppercase() + &word[1..];
        let variant: String = verb.split('-').map(capital).collect();
        let is_it = |line: &str| {
            line.strip_prefix("    ").is_some_and(|line| {
                line.strip_prefix(&variant).is_some_and(|rest| rest.starts_with([',', ' ', '(']))
            })
        };
        assert!(text.lines().any(is_it), "`cargo xtask {verb}` is no verb");
        "xtask"
    }

    /// A client over stdin sees tools.
    fn serve(&self, command: &str) -> &'static str {
        let mut command = command.to_owned();
        for program in missing() {
            command = command.replace(&format!(" --program {program}"), "");
        }
        let mut server = self.start(&format!("exec {command}"));
        let mut stdin = server.0.stdin.take().unwrap();
        let hello = json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "a", "version": "0"}});
        for message in [
            json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello}),
            json!({"jsonrpc": "2.0", "method": "notifications/initialized"}),
            json!({"jsonrpc": "2.0", "id": 2, "method": "tools/list"}),
        ] {
            writeln!(stdin, "{message}").unwrap();
        }
        let stdout = BufReader::new(server.0.stdout.take().unwrap());
        let answers = stdout.lines().map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap());
        let tools = { answers }.find(|answer| answer["id"] == 2).expect("an answer");
        let names: Vec<&str> = tools["result"]["tools"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|tool| tool["name"].as_str())
            .collect();
        for name in ["read_file", "write_file", "run_command", "execute_code"] {
            assert!(names.contains(&name), "{command}: {names:?}");
        }
        drop(stdin);
        assert!(server.0.wait().unwrap().success(), "{command}");
        "serve"
    }

    /// The server listens and takes the token.
    fn serve_http(&mut self, command: &str) -> &'static str {
        let address = command.split("--http ").nth(1).unwrap().split(' ').next().unwrap().to_owned();
        // Somebody may have that port.
        let mut server = self.start(&format!("exec {}", command.replace(&address, "127.0.0.1:0")));
        self.address = address;
        let place = line_with(server.0.stderr.take().unwrap(), "serving MCP at ");
        let place = place.split("http://").nth(1).unwrap().strip_suffix("/mcp").unwrap().to_owned();
        let status = |token: &str| {
            let mut stream = TcpStream::connect(&place).unwrap();
            let body = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
                "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "a", "version": "0"}}})
            .to_string();
            write!(
                stream,
                "POST /mcp HTTP/1.1\r\nhost: {place}\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\n\
                 accept: application/json, text/event-stream\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                body.len()
            )
            .unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            answer.split(' ').nth(1).unwrap().to_owned()
        };
        assert_eq!((status(&self.token).as_str(), status("llmc_other").as_str()), ("200", "401"));
        "serve"
    }

    fn start(&self, script: &str) -> Running {
        let mut shell = self.shell(script);
        Running(shell.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
    }

    /// It is not ours to start; where it is told to connect is.
    fn client_of_others(&self, command: &str) -> &'static str {
        assert!(command.contains(&format!("http://{}/mcp", self.address)), "{command}");
        "client"
    }

    fn entry(&self, text: &str) {
        let entry: Value = serde_json::from_str(text).unwrap();
        assert_eq!(entry["mcpServers"]["llmc"]["url"], format!("http://{}/mcp", self.address));
    }

    fn configuration(&mut self, text: &str) {
        let text = missing().iter().fold(text.to_owned(), |text, program| {
            text.replace(&format!(", \"{program}\""), "").replace(&format!("\"{program}\", "), "")
        });
        std::fs::write(self.home.path().join("llmc.toml"), text).unwrap();
        let folder = std::mem::replace(&mut self.folder, self.home.path().to_owned());
        assert!(self.output("llmc config check --config llmc.toml").contains("exec: runs code"));
        self.folder = folder;
    }

    /// In the place of the tool that the new plugin came with.
    fn plugin(&mut self, text: &str) {
        std::fs::write(self.folder.join("src/lib.rs"), text).unwrap();
        assert!(self.output("llmc dev --once --call 'hello {\"name\": \"Ada\"}'").contains("Hello, Ada!"));
    }
}

/// Programs that the page grants and this machine does not have.
#[expect(clippy::print_stdout, reason = "what was not tested is told")]
fn missing() -> Vec<&'static str> {
    let is_missing = |program: &&str| {
        !["/usr/bin", "/usr/local/bin", "/bin"].iter().any(|dir| Path::new(dir).join(program).exists())
    };
    let missing: Vec<_> = ["git", "rg"].into_iter().filter(is_missing).collect();
    if !missing.is_empty() {
        println!("NOT TESTED: {} of README, which this machine does not have", missing.join(" and "));
    }
    missing
}

/// Ended with the test, whatever becomes of it.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The first line that has this text.
fn line_with(stderr: ChildStderr, text: &str) -> String {
    let mut before = Vec::new();
    for line in BufReader::new(stderr).lines().map_while(Result::ok) {
        if line.contains(text) {
            return line;
        }
        before.push(line);
    }
    panic!("it never said {text:?}: {before:#?}")
}

#[test]
fn a_stranger_can_follow_the_readme() {
    let page = std::fs::read_to_string(root().join("README.md")).unwrap();
    let mut stranger = Stranger::new();
    for block in blocks(&page) {
        stranger.follow(&block);
    }
    let taken = |step| stranger.taken.get(step).copied().unwrap_or_default();
    assert!(taken("serve") == 2 && taken("run") >= 8, "the page was not read: {:?}", stranger.taken);
}
