//! What holds of a Redis database alone: who may use it, what it sees, and what becomes of a server when it is gone.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

use super::super::remote::Remote;
use super::redis_server::Redis;
use super::*;

/// What docs/scaling.md grants.
const USER: &str =
    "+auth +select +info +set +get +getrange +zadd +zremrangebyscore +zrange +zrem +unlink +pexpireat";

fn connect(address: &str, password: Option<&str>) -> io::Result<Common> {
    let address = Address::read(address).unwrap();
    Ok(Common(Box::new(Remote::open(&address, password, None, "00aa")?)))
}

pub(super) fn open(redis: &Redis) -> Remote {
    Remote::open(&Address::read(&redis.address()).unwrap(), None, None, "00aa").unwrap()
}

/// A connection of somebody else.
fn other(redis: &Redis) -> redis::Connection {
    redis::Client::open(format!("redis+unix://{}", redis.socket().display()))
        .unwrap()
        .get_connection()
        .unwrap()
}

/// Every byte that a database wrote to the disk.
fn written(redis: &Redis) -> Vec<u8> {
    let files = std::fs::read_dir(redis.folder.path().join("appendonlydir")).unwrap();
    files.flat_map(|file| std::fs::read(file.unwrap().path()).unwrap()).collect()
}

fn keys(redis: &Redis) -> Vec<String> {
    redis::cmd("KEYS").arg("*").query(&mut other(redis)).unwrap()
}

#[test]
fn it_goes_away_and_comes_back() {
    let Some(mut redis) = Redis::start("") else { return };
    let server = Common(Box::new(open(&redis)));
    let later = now_ms() + 60_000;
    assert_eq!(server.use_up(1, later).unwrap(), Use::First);
    server.keep("me", "h", "text", room(1 << 20)).unwrap();
    redis.stop();
    for _ in 0..3 {
        let error = server.use_up(2, later).unwrap_err().to_string();
        assert!(error.contains("cannot be reached"), "{error}");
        assert!(
            server.read("me", "h", (0, 9), LONG).is_err() && server.keep("me", "i", "x", room(9)).is_err()
        );
    }
    redis.start_again();
    // What was used stays so, over a crash.
    assert_eq!(server.use_up(1, later).unwrap(), Use::Again);
    assert_eq!(server.use_up(2, later).unwrap(), Use::First);
    assert_eq!(text_of(server.read("me", "h", (0, 9), LONG).unwrap()), Some("text".into()));
}

#[test]
fn a_connection_that_was_closed_meanwhile_is_replaced() {
    let Some(redis) = Redis::start("") else { return };
    let server = Common(Box::new(open(&redis)));
    for number in 0..8 {
        assert_eq!(server.use_up(number, now_ms() + 60_000).unwrap(), Use::First);
        let closed =
            redis::cmd("CLIENT").arg(&["KILL", "TYPE", "normal", "SKIPME", "yes"]).query(&mut other(&redis));
        let _: i64 = closed.unwrap();
        assert_eq!(server.use_up(number, now_ms() + 60_000).unwrap(), Use::Again);
    }
}

/// Passes everything on to a database, but loses its answer to one `SET` as soon as `lose` says so.
fn losing(redis: &Redis, socket: &Path, lose: &Arc<AtomicBool>) {
    let (listener, target, lose) = (UnixListener::bind(socket).unwrap(), redis.socket(), Arc::clone(lose));
    // It ends with the test's process; nobody connects any more then.
    std::thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let mut ends = [client, UnixStream::connect(&target).unwrap()];
            let mut back = ends.each_ref().map(|end| end.try_clone().unwrap());
            let (lose, is_lost) = (Arc::clone(&lose), Arc::new(AtomicBool::new(false)));
            let mute = Arc::clone(&is_lost);
            std::thread::spawn(move || {
                let mut chunk = [0; 4096];
                while let Ok(count @ 1..) = back[1].read(&mut chunk) {
                    if mute.load(Ordering::SeqCst) || back[0].write_all(&chunk[..count]).is_err() {
                        let _ = back[0].shutdown(Shutdown::Both);
                        return;
                    }
                }
            });
            std::thread::spawn(move || {
                let mut chunk = [0; 4096];
                while let Ok(count @ 1..) = ends[0].read(&mut chunk) {
                    let is_set = chunk[..count].windows(5).any(|part| part == b"SET\r\n");
                    if is_set && lose.swap(false, Ordering::SeqCst) {
                        is_lost.store(true, Ordering::SeqCst);
                    }
                    ends[1].write_all(&chunk[..count]).unwrap();
                }
            });
        }
    });
}

#[test]
fn a_use_whose_answer_was_lost_is_found_again_and_counts_once() {
    let Some(redis) = Redis::start("") else { return };
    let (folder, lose) = (tempfile::tempdir().unwrap(), Arc::default());
    let socket = folder.path().join("s");
    losing(&redis, &socket, &lose);
    let one = connect(&format!("redis+unix://{}", socket.display()), None).unwrap();
    let another = Common(Box::new(open(&redis)));
    let later = now_ms() + 60_000;
    for number in 0..4 {
        lose.store(true, Ordering::SeqCst);
        assert_eq!(one.use_up(number, later).unwrap(), Use::First, "its own first attempt was carried out");
        assert!(!lose.load(Ordering::SeqCst), "an answer was lost");
        assert_eq!(another.use_up(number, later).unwrap(), Use::Again);
        assert_eq!(one.use_up(number, later).unwrap(), Use::Again);
    }
    assert_eq!(another.use_up(9, later).unwrap(), Use::First);
    lose.store(true, Ordering::SeqCst);
    assert_eq!(one.use_up(9, later).unwrap(), Use::Again, "another server was first");
}

#[test]
fn its_keys_are_its_own_expire_and_show_nothing() {
    let Some(redis) = Redis::start("") else { return };
    let server = Common(Box::new(open(&redis)));
    server.use_up(7, now_ms() + 60_000).unwrap();
    server.keep("me", "handle-of-it", &"what nobody may read ".repeat(9_000), room(1 << 20)).unwrap();
    let all = keys(&redis);
    assert_eq!(all.len(), 3, "{all:?}");
    for key in &all {
        assert!(key.starts_with("llmc:{00aa}:"), "{key}");
        let life_ms: i64 = redis::cmd("PTTL").arg(key).query(&mut other(&redis)).unwrap();
        assert!(
            (1..=i64::try_from(APART_MS).unwrap() + 60_000).contains(&life_ms),
            "{key} lives {life_ms} ms"
        );
    }
    let bytes = written(&redis);
    let holds = |text: &str| bytes.windows(text.len()).any(|part| part == text.as_bytes());
    assert!(holds("llmc:{00aa}:") && !holds("nobody may read") && !holds("handle-of-it"));
    // Another fleet sees another space.
    let address = Address::read(&redis.address()).unwrap();
    let stranger = Common(Box::new(Remote::open(&address, None, None, "00bb").unwrap()));
    assert_eq!(stranger.use_up(7, now_ms() + 60_000).unwrap(), Use::First);
    assert_eq!(text_of(stranger.read("me", "handle-of-it", (0, 9), LONG).unwrap()), None);
}

#[test]
fn what_somebody_else_wrote_there_is_refused() {
    let Some(redis) = Redis::start("") else { return };
    let server = Common(Box::new(open(&redis)));
    let text = "a".repeat(2 * PIECE_BYTES);
    let read = || server.read("me", "h", (0, text.len()), LONG);
    let change = |command: &str, arguments: &[&str]| {
        server.keep("me", "h", &text, room(1 << 20)).unwrap();
        assert!(text_of(read().unwrap()).as_ref() == Some(&text));
        let all = keys(&redis);
        let key = all.iter().find(|key| key.contains(":output:")).unwrap();
        let _: redis::Value = redis::cmd(command).arg(key).arg(arguments).query(&mut other(&redis)).unwrap();
        let error = read().unwrap_err();
        let _: i64 = redis::cmd("DEL").arg(key).query(&mut other(&redis)).unwrap();
        error.to_string()
    };
    assert!(change("SETRANGE", &["70000", "forged"]).contains("changed"));
    assert!(change("SETRANGE", &["0", "\u{1}"]).contains("changed"));
    assert!(change("SETRANGE", &["6", "\u{1}"]).contains("something else"));
    assert!(change("SET", &["short"]).contains("something else"));
    assert!(change("SET", &["\0\0\u{2}\0\0\0\0\0"]).contains("missing"));
    assert!(change("APPEND", &["more"]).contains("changed"));
    server.keep("me", "h", &text, room(1 << 20)).unwrap();
    let key = keys(&redis).into_iter().find(|key| key.contains(":output:")).unwrap();
    let replaced =
        redis::pipe().cmd("DEL").arg(&key).cmd("RPUSH").arg(&key).arg("x").exec(&mut other(&redis));
    replaced.unwrap();
    assert!(read().unwrap_err().to_string().contains("refuses"));
    // Entries that are none count nothing and stop nothing.
    let mut other = other(&redis);
    for entry in ["", "x:y", "00:99999999999", ":::"] {
        let add = redis::cmd("ZADD").arg("llmc:{00aa}:outputs").arg(1e15).arg(entry).query(&mut other);
        let _: i64 = add.unwrap();
    }
    server.keep("me", "h", &text, room(1 << 20)).unwrap();
    assert!(text_of(read().unwrap()).as_ref() == Some(&text));
    for key in keys(&redis) {
        let life_ms: i64 = redis::cmd("PTTL").arg(&key).query(&mut other).unwrap();
        assert!(life_ms > 0, "{key} lives {life_ms} ms");
    }
}

#[test]
fn one_that_may_forget_is_refused_and_a_full_one_uses_nothing_up() {
    let Some(redis) = Redis::start("maxmemory 100mb\nmaxmemory-policy volatile-lru") else { return };
    let error = connect(&redis.address(), None).err().unwrap().to_string();
    assert!(error.contains("noeviction"), "{error}");
    let mut settings = other(&redis);
    let mut set = |name: &str, value: &str| {
        let _: redis::Value = redis::cmd("CONFIG").arg(&["SET", name, value]).query(&mut settings).unwrap();
    };
    set("maxmemory-policy", "noeviction");
    let server = connect(&redis.address(), None).unwrap();
    assert_eq!(server.use_up(1, now_ms() + 60_000).unwrap(), Use::First);
    set("maxmemory", "1");
    let error = server.use_up(2, now_ms() + 60_000).unwrap_err().to_string();
    assert!(error.contains("is full"), "{error}");
    let error = server.keep("me", "h", "text", room(1 << 20)).unwrap_err().to_string();
    assert!(error.contains("is full"), "{error}");
    set("maxmemory", "100mb");
    assert_eq!(server.use_up(2, now_ms() + 60_000).unwrap(), Use::First);
}

#[test]
fn a_user_needs_no_more_than_is_documented_and_its_password_is_never_told() {
    let docs = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/scaling.md")).unwrap();
    assert!(docs.contains(USER), "docs/scaling.md grants something else");
    let users = format!(
        "user default off\nuser llmc on >hush-hush-hush ~llmc:* resetchannels -@all {USER}\n\
                         user poor on >hush-hush-hush ~llmc:* resetchannels -@all +auth +select +info"
    );
    let Some(mut redis) = Redis::start(&users) else { return };
    let place = redis.socket().display().to_string();
    let server = connect(&format!("redis+unix://llmc@{place}?db=1"), Some("hush-hush-hush")).unwrap();
    assert_eq!(server.use_up(1, now_ms() + 60_000).unwrap(), Use::First);
    for handle in ["a", "b", "c"] {
        server.keep("me", handle, "text", room(2 * LEAST_BYTES)).unwrap();
    }
    assert_eq!(text_of(server.read("me", "c", (0, 9), LONG).unwrap()), Some("text".into()));
    // With the default user switched off it still knows everything when it comes back.
    redis.stop();
    redis.start_again();
    assert_eq!(server.use_up(1, now_ms() + 60_000).unwrap(), Use::Again);
    let there = ["a", "b", "c"].map(|handle| server.read("me", handle, (0, 9), LONG).unwrap().is_some());
    assert_eq!(there, [false, true, true]);
    let poor = connect(&format!("redis+unix://poor@{place}"), Some("hush-hush-hush")).unwrap();
    let error = poor.use_up(2, now_ms() + 60_000).unwrap_err().to_string();
    assert!(error.contains("does not permit"), "{error}");
    for (user, password, expected) in [
        ("llmc@", Some("hush-hush-WRONG"), "refuses the user or the password"),
        ("nobody@", Some("hush-hush-hush"), "refuses the user or the password"),
        ("", None, "asks for a password"),
    ] {
        let error = connect(&format!("redis+unix://{user}{place}"), password).err().unwrap().to_string();
        assert!(error.contains(expected) && !error.contains("hush"), "{error}");
    }
}

#[test]
fn who_answers_nonsense_or_nothing_costs_a_bounded_time() {
    type Answer = fn(&mut dyn Talk);
    trait Talk: io::Read + io::Write {}
    impl<T: io::Read + io::Write> Talk for T {}
    fn first_line(stream: &mut dyn Talk) {
        let _ = stream.read(&mut [0; 512]);
    }
    let cases: [(Answer, &str); 4] = [
        (
            |stream| {
                first_line(stream);
                std::thread::sleep(Duration::from_secs(5))
            },
            "does not answer",
        ),
        (
            |stream| {
                first_line(stream);
                let _ = stream.write_all(b"HTTP/1.1 400 Bad\r\n\r\n");
            },
            "something else",
        ),
        (
            |stream| {
                first_line(stream);
                let _ = stream.write_all(b"*1\r\n:1\r\n");
            },
            "something else",
        ),
        (first_line, "cannot be reached"),
    ];
    for (answer, expected) in cases {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("s");
        let listener = UnixListener::bind(&socket).unwrap();
        let answering = std::thread::spawn(move || answer(&mut listener.accept().unwrap().0));
        let error = connect(&format!("redis+unix://{}", socket.display()), None).err().unwrap().to_string();
        assert!(error.contains(expected), "{error}");
        answering.join().unwrap();
    }
}

#[test]
fn tls_is_checked_by_the_certificates_that_are_named() {
    let authority = || {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        (params.self_signed(&key).unwrap().pem(), Issuer::new(params, key))
    };
    let ((good, issuer), (wrong, _)) = (authority(), authority());
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec!["localhost".into()]).unwrap().signed_by(&key, &issuer).unwrap();
    let files = tempfile::tempdir().unwrap();
    std::fs::write(files.path().join("cert.pem"), leaf.pem()).unwrap();
    std::fs::write(files.path().join("key.pem"), key.serialize_pem()).unwrap();
    std::fs::write(files.path().join("ca.pem"), &good).unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let at = files.path().display();
    let settings = format!(
        "bind 127.0.0.1\ntls-port {port}\ntls-cert-file {at}/cert.pem\ntls-key-file {at}/key.pem\n\
         tls-ca-cert-file {at}/ca.pem\ntls-auth-clients no"
    );
    let Some(_redis) = Redis::start(&settings) else { return };
    let open = |scheme: &str, host: &str, ca: &str| {
        let address = Address::read(&format!("{scheme}://{host}:{port}")).unwrap();
        Remote::open(&address, None, Some(ca.into()), "00aa")
    };
    let server = Common(Box::new(open("rediss", "localhost", &good).unwrap()));
    assert_eq!(server.use_up(1, now_ms() + 60_000).unwrap(), Use::First);
    for (scheme, host, ca) in
        [("rediss", "localhost", &wrong), ("rediss", "127.0.0.1", &good), ("redis", "localhost", &good)]
    {
        assert!(open(scheme, host, ca).is_err(), "{scheme} {host}");
    }
    let error = open("rediss", "localhost", "no certificate").err().unwrap().to_string();
    assert!(!error.is_empty());
}
