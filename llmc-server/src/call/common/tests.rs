//! What holds wherever it lies.

use super::*;
use crate::audit::now_ms;
use crate::config;

const LONG: Duration = Duration::from_secs(600);

/// Room for so many bytes.
fn room(max_bytes: u64) -> Room {
    Room { max_bytes, lifetime: LONG }
}

fn text_of(part: Option<Part>) -> Option<String> {
    part.map(|part| part.text)
}

/// Two servers with one file.
fn two(folder: &Path) -> [Common; 2] {
    [(); 2].map(|()| Common(Box::new(File::open(&folder.join("shared.db")).unwrap())))
}

/// Runs a test with two servers that share a file, and with two that share a Redis database if there is one.
fn with_each(test: impl Fn([Common; 2])) {
    let folder = tempfile::tempdir().unwrap();
    test(two(folder.path()));
    #[cfg(feature = "redis")]
    if let Some(redis) = redis_server::Redis::start("") {
        test([(); 2].map(|()| Common(Box::new(remote_tests::open(&redis)))));
    }
}

#[test]
fn what_one_server_used_is_used_for_the_other() {
    with_each(|[one, other]| {
        let later = now_ms() + 60_000;
        assert_eq!(one.use_up(7, later).unwrap(), Use::First);
        assert_eq!(other.use_up(7, later).unwrap(), Use::Again);
        assert_eq!(one.use_up(7, later).unwrap(), Use::Again);
        assert_eq!(other.use_up(8, later).unwrap(), Use::First);
        assert_eq!(one.use_up(8, later).unwrap(), Use::Again);
        // Another one's clock may be behind: it is remembered longer than it is good here.
        assert_eq!(one.use_up(9, now_ms()).unwrap(), Use::First);
        assert_eq!(other.use_up(9, now_ms()).unwrap(), Use::Again);
    });
}

#[test]
fn of_many_that_use_one_at_the_same_time_one_is_first() {
    with_each(|servers| {
        for number in 0..20 {
            let firsts = std::thread::scope(|scope| {
                let four = servers.iter().chain(&servers);
                let uses: Vec<_> = four
                    .map(|server| scope.spawn(move || server.use_up(number, now_ms() + 60_000).unwrap()))
                    .collect();
                uses.into_iter().map(|used| used.join().unwrap()).collect::<Vec<_>>()
            });
            assert_eq!(firsts.iter().filter(|used| **used == Use::First).count(), 1, "{firsts:?}");
        }
    });
}

#[test]
fn an_output_is_read_anywhere_by_its_owner_alone() {
    with_each(|[one, other]| {
        let text = "aä€😀\n".repeat(40_000);
        one.keep("me", "handle", &text, room(10 << 20)).unwrap();
        for window in [5, 1_000, PIECE_BYTES, PIECE_BYTES + 1, 300_000] {
            let (mut seen, mut offset) = (String::new(), 0);
            while let Some(part) = other.read("me", "handle", (offset, window), LONG).unwrap() {
                assert_eq!((part.offset, part.total), (offset, text.len() as u64));
                offset += part.text.len() as u64;
                seen += &part.text;
                if part.text.is_empty() || window < 1_000 && seen.len() > 500 {
                    break;
                }
            }
            assert!(text.starts_with(&seen) && (window < 1_000 || seen == text), "windows of {window}");
        }
        let end = other.read("me", "handle", (u64::MAX, 10), LONG).unwrap().unwrap();
        assert_eq!((end.text.as_str(), end.offset), ("", text.len() as u64));
        assert_eq!(text_of(other.read("you", "handle", (0, 10), LONG).unwrap()), None);
        assert_eq!(text_of(other.read("me", "another", (0, 10), LONG).unwrap()), None);
    });
}

#[test]
fn what_is_too_old_is_there_no_more() {
    with_each(|[one, other]| {
        let short = Room { max_bytes: 1 << 20, lifetime: Duration::from_millis(1) };
        one.keep("me", "old", "text", short).unwrap();
        one.keep("me", "new", "text", room(1 << 20)).unwrap();
        std::thread::sleep(Duration::from_millis(20));
        assert_eq!(text_of(other.read("me", "old", (0, 10), short.lifetime).unwrap()), None);
        assert_eq!(text_of(other.read("me", "new", (0, 10), LONG).unwrap()), Some("text".into()));
    });
}

#[test]
fn an_output_without_a_byte_is_kept_too() {
    with_each(|[one, other]| {
        one.keep("me", "h", "", room(10_000)).unwrap();
        assert_eq!(text_of(other.read("me", "h", (0, 10), LONG).unwrap()), Some(String::new()));
    });
}

#[test]
fn the_oldest_make_room() {
    with_each(|[one, other]| {
        for handle in ["a", "b", "c"] {
            one.keep("me", handle, "text", room(2 * LEAST_BYTES)).unwrap();
            std::thread::sleep(Duration::from_millis(2));
        }
        let there = ["a", "b", "c"].map(|handle| other.read("me", handle, (0, 9), LONG).unwrap().is_some());
        assert_eq!(there, [false, true, true]);
    });
}

#[test]
fn the_file_shows_no_output_and_a_changed_one_is_refused() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let [one, _] = two(folder.path());
    one.keep("me", "handle-of-it", &"what nobody may read ".repeat(50), room(1 << 20)).unwrap();
    let file = folder.path().join("shared.db");
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let bytes = std::fs::read(&file).unwrap();
    let holds = |text: &str| bytes.windows(text.len()).any(|part| part == text.as_bytes());
    assert!(!holds("nobody may read") && !holds("handle-of-it"));
    assert!(one.read("me", "handle-of-it", (0, 10), LONG).unwrap().is_some());
    let other = rusqlite::Connection::open(&file).unwrap();
    other.execute("UPDATE pieces SET sealed = zeroblob(length(sealed))", []).unwrap();
    assert!(one.read("me", "handle-of-it", (0, 10), LONG).is_err());
}

#[test]
fn what_is_too_old_leaves_the_file_when_something_new_comes() {
    let folder = tempfile::tempdir().unwrap();
    let [one, other] = two(folder.path());
    let short = Room { max_bytes: 1 << 20, lifetime: Duration::from_millis(1) };
    one.keep("me", "old", "text", short).unwrap();
    std::thread::sleep(Duration::from_millis(20));
    other.keep("me", "new", "text", short).unwrap();
    let file = rusqlite::Connection::open(folder.path().join("shared.db")).unwrap();
    for table in ["outputs", "pieces"] {
        let count = format!("SELECT count(*) FROM {table}");
        assert_eq!(file.query_row(&count, [], |row| row.get::<_, i64>(0)).unwrap(), 1, "{table}");
    }
}

#[test]
fn what_is_something_else_or_in_reach_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("other.db");
    rusqlite::Connection::open(&file).unwrap().execute_batch("CREATE TABLE x(y)").unwrap();
    assert!(File::open(&file).err().unwrap().to_string().contains("no shared state"));
    let mut config = Config::default();
    let open = |config: &Config| Common::open(config, &Secrets::default(), "0");
    assert!(open(&config).unwrap().is_none());
    config.server.shared_state = Some(SharedState::File(folder.path().join("shared.db")));
    let root = |access| config::Root { path: folder.path().to_owned(), access };
    config.roots.insert("work".into(), root(Access::Rw));
    let error = open(&config).err().unwrap().to_string();
    assert!(error.contains("writable root `work`"), "{error}");
    let socket = format!("redis+unix://{}/redis.sock", folder.path().display());
    config.server.shared_state = Some(SharedState::Address(socket));
    let error = open(&config).err().unwrap().to_string();
    assert!(error.contains("writable root `work`"), "{error}");
    config.server.shared_state = Some(SharedState::File(folder.path().join("shared.db")));
    config.roots.insert("work".into(), root(Access::Ro));
    assert!(open(&config).unwrap().is_some());
}

#[cfg(feature = "redis")]
#[path = "../../../tests/support/redis.rs"]
mod redis_server;

#[cfg(feature = "redis")]
#[path = "remote_tests.rs"]
mod remote_tests;
