//! Two servers with one shared state: what begins at one goes on at the other, once, for its owner alone; and what
//! becomes of it when the place where it lies is gone. A Redis database is tried where llmc was built for one.

#[cfg(feature = "redis")]
#[path = "../support/redis.rs"]
mod redis_server;

use std::io::Write as _;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::client::{Http, Reply, create_token, read_reply};
use crate::consent::{call, call_bytes, delete, state};
use crate::support::modern::{again, consent};
use crate::support::{Setup, eventually};

/// Lines of an output that no result holds.
const LINES: usize = 3_000;

/// Two servers with one key, one file of tokens, one shared state and one root.
struct Pair {
    servers: [Http; 2],
    folder: TempDir,
    store: Store,
}

/// Where the shared state lies, and how it is taken away.
enum Store {
    /// Somebody else holds the lock.
    File(Option<rusqlite::Connection>),
    #[cfg(feature = "redis")]
    Redis(redis_server::Redis),
}

impl Store {
    fn leave(&mut self, folder: &TempDir) {
        match self {
            Self::File(holder) => {
                let connection = rusqlite::Connection::open(folder.path().join("shared.db")).unwrap();
                connection.busy_timeout(crate::support::PATIENCE).unwrap();
                connection.execute_batch("BEGIN EXCLUSIVE").unwrap();
                *holder = Some(connection);
            }
            #[cfg(feature = "redis")]
            Self::Redis(redis) => redis.stop(),
        }
    }

    fn come_back(&mut self) {
        match self {
            Self::File(holder) => *holder = None,
            #[cfg(feature = "redis")]
            Self::Redis(redis) => redis.start_again(),
        }
    }
}

fn setup(folder: &TempDir, shared_state: &str, more: &str) -> Setup {
    let at = folder.path().display();
    Setup::new(&format!(
        "[server]\nstate_key = '{at}/key'\nshared_state = '{shared_state}'\n\
         http = {{ listen = '127.0.0.1:0', tokens = '{at}/tokens.json' }}\n{more}\n\
         [policy]\nconfirm_tools = {{ delete_path = 'always' }}\n\
         [roots]\nwork = {{ path = '{at}/work', access = 'rw' }}\n\
         [plugins.fs]\nlibrary = 'llmc_tools_fs'\ngrants = {{ roots = ['work'] }}\n\
         [plugins.cmd]\nlibrary = 'llmc_tools_cmd'\n\
         grants = {{ roots = ['work'], run = {{ profile = 'workspace', programs = ['sh'] }} }}\n"
    ))
}

/// A folder with a key and a root with a file.
fn ground() -> TempDir {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key");
    std::fs::write(&key, "a key of this test, known to two servers").unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::create_dir(folder.path().join("work")).unwrap();
    std::fs::write(folder.path().join("work/a.txt"), "first\nsecond\n").unwrap();
    folder
}

impl Pair {
    fn start(shared_state: &str, more: &str, folder: TempDir, store: Store) -> Self {
        let token = create_token(&setup(&folder, shared_state, more), &["mine"]);
        let servers = [(); 2]
            .map(|()| Http { token: Some(token.clone()), ..Http::start(setup(&folder, shared_state, more)) });
        Self { servers, folder, store }
    }

    fn has_file(&self) -> bool {
        self.folder.path().join("work/a.txt").exists()
    }

    /// Asks one server to delete the file; returns what it wants back.
    fn ask(&self, server: usize) -> Value {
        std::fs::write(self.folder.path().join("work/a.txt"), "first\nsecond\n").unwrap();
        state(&call(&self.servers[server], &delete("work:a.txt")))
    }

    /// Hands a consent to a server.
    fn consent(&self, server: usize, state: &Value) -> Reply {
        call(&self.servers[server], &again(&delete("work:a.txt"), consent(true), state))
    }

    /// What is not wanted did not happen, and is told so.
    #[track_caller]
    fn assert_refused(&self, reply: &Reply, words: &str) {
        let error = &reply.json()["error"];
        let message = error["message"].as_str().unwrap_or_default();
        assert!(error["code"] == -32602 && message.contains(words), "{reply:?}");
        assert!(self.has_file());
    }

    #[track_caller]
    fn assert_done(&self, reply: &Reply) {
        assert_eq!(reply.json()["result"]["isError"], json!(false), "{reply:?}");
        assert!(!self.has_file());
    }

    fn stop(self) {
        self.servers.into_iter().for_each(|http| assert!(http.server.stop().success()));
    }
}

/// Runs a test with a file, and with a Redis database if llmc was built for one and one is installed.
fn with_each(test: impl Fn(Pair)) {
    let folder = ground();
    let file = folder.path().join("shared.db").display().to_string();
    test(Pair::start(&file, "", folder, Store::File(None)));
    #[cfg(feature = "redis")]
    if let Some(redis) = redis_server::Redis::start("") {
        test(Pair::start(&redis.address(), "", ground(), Store::Redis(redis)));
    }
}

fn run_long(http: &Http) -> Value {
    let script = format!("i=0; while [ $i -lt {LINES} ]; do echo line $i of it; i=$((i+1)); done");
    let reply = http.call("run_command", json!({"argv": ["sh", "-c", script], "max_output_bytes": 2000}));
    reply.json()["result"].clone()
}

fn keep(http: &Http) -> String {
    let result = run_long(http);
    let handle = result["structuredContent"]["stdout_handle"].as_str();
    handle.unwrap_or_else(|| panic!("{result}")).to_owned()
}

/// Reads all of it through these servers in turn.
fn read_on(servers: &[&Http], handle: &str) -> String {
    let (mut text, mut offset) = (String::new(), 0);
    for http in servers.iter().cycle() {
        let reply = http.call("read_more", json!({"handle": handle, "offset": offset, "max_bytes": 5000}));
        let part = &reply.json()["result"]["structuredContent"];
        text += part["text"].as_str().unwrap_or_else(|| panic!("{reply:?}"));
        match part["next_offset"].as_u64() {
            Some(next) => offset = next,
            None => break,
        }
    }
    text
}

fn whole() -> String {
    (0..LINES).map(|line| format!("line {line} of it\n")).collect()
}

#[test]
fn a_consent_that_one_server_took_is_taken_by_no_other() {
    with_each(|pair| {
        for (asks, takes) in [(0, 0), (0, 1), (1, 0)] {
            let state = pair.ask(asks);
            pair.assert_done(&pair.consent(takes, &state));
            std::fs::write(pair.folder.path().join("work/a.txt"), "again").unwrap();
            for server in [0, 1, takes] {
                pair.assert_refused(&pair.consent(server, &state), "was used before");
            }
        }
        // Handed to both at the same time, one takes it.
        for _ in 0..5 {
            let state = pair.ask(0);
            let params = again(&delete("work:a.txt"), consent(true), &state);
            let sent = pair.servers.each_ref().map(|http| {
                let (mut stream, bytes) = (http.connect(), call_bytes(http, &params));
                std::thread::spawn(move || {
                    stream.write_all(&bytes).unwrap();
                    read_reply(&mut stream).unwrap()
                })
            });
            let replies = sent.map(|reply| reply.join().unwrap());
            let refused = replies.iter().filter(|reply| reply.json().get("error").is_some()).count();
            assert_eq!(refused, 1, "{replies:?}");
            assert!(!pair.has_file());
        }
        pair.stop();
    });
}

#[test]
fn an_output_that_one_server_kept_is_read_on_at_the_other_by_its_owner_alone() {
    with_each(|mut pair| {
        let handle = keep(&pair.servers[0]);
        let [one, other] = &pair.servers;
        assert_eq!(read_on(&[other], &handle), whole());
        assert_eq!(read_on(&[one, other], &handle), whole());
        let stranger = create_token(&other.server.setup, &["stranger"]);
        pair.servers[1].token = Some(stranger);
        let refused = pair.servers[1].call("read_more", json!({"handle": handle}));
        assert!(refused.text().contains("there is no kept output"), "{refused:?}");
        pair.stop();
    });
}

#[test]
fn while_the_store_is_gone_no_consent_counts_and_everything_else_works() {
    with_each(|mut pair| {
        let handle = keep(&pair.servers[0]);
        let used = pair.ask(0);
        pair.assert_done(&pair.consent(0, &used));
        let (first, second) = (pair.ask(0), pair.ask(1));
        pair.store.leave(&pair.folder);
        for (server, state) in [(0, &first), (1, &first), (1, &second), (0, &used)] {
            pair.assert_refused(&pair.consent(server, state), "cannot be told (`server.shared_state`)");
        }
        for http in &pair.servers {
            http.works();
            let result = run_long(http);
            assert_eq!(result["isError"], json!(false), "{result}");
            assert_eq!(result["structuredContent"]["exit_code"], 0, "{result}");
            assert!(result["structuredContent"].get("stdout_handle").is_none(), "{result}");
        }
        let lost = pair.servers[1].call("read_more", json!({"handle": handle}));
        assert!(lost.text().contains("the kept output cannot be read: "), "{lost:?}");
        pair.store.come_back();
        pair.assert_refused(&pair.consent(1, &used), "was used before");
        let fresh = pair.ask(1);
        eventually("a consent counts again", || pair.consent(0, &fresh).json().get("error").is_none());
        assert!(!pair.has_file());
        assert_eq!(read_on(&[&pair.servers[1], &pair.servers[0]], &handle), whole());
        assert_eq!(read_on(&[&pair.servers[0]], &keep(&pair.servers[1])), whole());
        pair.stop();
    });
}

/// The password comes from a secret, and shows nowhere.
#[cfg(feature = "redis")]
#[test]
fn a_database_with_a_password_is_opened_by_a_secret() {
    const PASSWORD: &str = "a-password-of-a-database";
    let users = format!("user default off\nuser llmc on >{PASSWORD} ~llmc:* +@all");
    let Some(redis) = redis_server::Redis::start(&users) else { return };
    let address = format!("redis+unix://llmc@{}", redis.socket().display());
    let with = |folder: &TempDir, password: &str| {
        let file = folder.path().join("password");
        std::fs::write(&file, format!("{password}\n")).unwrap();
        format!("shared_state_password = 'DATABASE'\n[secrets]\nDATABASE = {{ file = '{}' }}", file.display())
    };
    let folder = ground();
    let wrong = with(&folder, "another-password-of-it");
    let server = setup(&folder, &address, &wrong);
    create_token(&server, &["good"]);
    let output = server.run("serve", &["--log", "trace"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("refuses the user or the password") && !said.contains("another-password"),
        "{said}"
    );

    let right = with(&folder, PASSWORD);
    let pair = Pair::start(&address, &right, folder, Store::Redis(redis));
    let state = pair.ask(0);
    pair.assert_done(&pair.consent(1, &state));
    std::fs::write(pair.folder.path().join("work/a.txt"), PASSWORD).unwrap();
    pair.assert_refused(&pair.consent(0, &state), "was used before");
    let shown = pair.servers[0].call("read_file", json!({"path": "work:a.txt"}));
    assert!(!shown.body.contains(PASSWORD), "it is masked like every secret: {shown:?}");
    for http in &pair.servers {
        assert!(!http.server.log().contains(PASSWORD), "{}", http.server.log());
    }
    pair.stop();
}

#[cfg(feature = "redis")]
#[test]
fn a_database_that_is_not_there_stops_the_start() {
    let folder = ground();
    let nowhere = format!("redis+unix://{}/none.sock", folder.path().display());
    let server = setup(&folder, &nowhere, "");
    create_token(&server, &["good"]);
    let output = server.run("serve", &[]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("server.shared_state") && said.contains("cannot be reached"), "{said}");
}
