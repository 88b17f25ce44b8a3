//! What a run may take is bounded, the bound that ended it is named, and what it printed until then is kept.

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::neighbour::{call_beside_hello, hello};
use crate::support::{Called, Server, Setup};

/// A shell over a writable root, with these limits. The root lies on a file system that nobody else writes to or
/// deletes from meanwhile.
fn serve(work: &TempDir, limits: &str) -> Server {
    let work = work.path().display();
    let config = format!(
        "[roots]\nwork = {{ path = '{work}', access = 'rw' }}\n[plugins.hello]\nlibrary = 'hello'\n\
         [plugins.cmd]\nlibrary = 'llmc_tools_cmd'\ngrants = {{ roots = ['work'], \
         run = {{ profile = 'workspace', programs = ['sh'], limits = {{ wall_ms = 5000, {limits} }} }} }}\n\
         [plugins.exec]\nlibrary = 'llmc_tools_exec'\ngrants = {{ run = {{ profile = 'code' }} }}"
    );
    let mut server = Setup::new(&config).serve();
    hello(&mut server);
    server
}

fn shell(server: &mut Server, script: &str) -> (Called, Value) {
    let arguments = json!({"argv": ["sh", "-c", script]});
    let (called, _) = call_beside_hello(server, "run_command", arguments);
    let done = called.0["result"]["structuredContent"].clone();
    assert!(done.is_object(), "{called:?}");
    (called, done)
}

/// 10 MB, which are taken away again.
const HONEST: &str = "head -c 10M /dev/zero > honest && wc -c < honest && rm honest";

#[test]
fn a_command_does_not_fill_the_disk_of_its_root() {
    let work = TempDir::new_in("/dev/shm").unwrap();
    let mut server = serve(&work, "workspace_bytes = 20971520");
    let attacks = [
        "echo begun; i=0; while [ $i -lt 1000 ]; do head -c 1M /dev/zero > f$i; i=$((i+1)); done; sleep 9",
        "echo begun; i=0; while [ $i -lt 1000 ]; do (head -c 1M /dev/zero > g$i &); i=$((i+1)); done; sleep 9",
        "echo begun; i=0; while [ $i -lt 900000 ]; do : > e$i; i=$((i+1)); done; sleep 9",
    ];
    for attack in attacks {
        let (called, done) = shell(&mut server, attack);
        assert!(called.is_error(), "{done:#}");
        assert_eq!((&done["limit"], &done["stdout"]), (&"workspace".into(), &"begun\n".into()), "{done:#}");
        assert!(called.text().contains("what was written is still there"), "{}", called.text());
        let sizes =
            std::fs::read_dir(work.path()).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len());
        assert!(sizes.sum::<u64>() < 512 << 20, "much more than the limit was written");
        for entry in std::fs::read_dir(work.path()).unwrap() {
            std::fs::remove_file(entry.unwrap().path()).unwrap();
        }
    }
    server.stop();
    let mut server = serve(&work, "memory_bytes = 268435456");
    let (_, done) = shell(&mut server, HONEST);
    assert_eq!((&done["exit_code"], &done["stdout"]), (&0.into(), &"10485760\n".into()), "{done:#}");
    assert_eq!((&done["limit"], &done["limits_reached"]), (&Value::Null, &Value::Null), "{done:#}");
    server.stop();
}

#[test]
fn limits_that_end_nothing_are_told() {
    let work = TempDir::new_in("/dev/shm").unwrap();
    let mut server = serve(&work, "processes = 8, scratch_bytes = 1048576, file_bytes = 2097152");
    let forks = "for i in 1 2 3 4 5 6 7 8 9; do sleep 1 & done; wait";
    let (called, done) = shell(&mut server, forks);
    assert_eq!(done["limits_reached"], json!(["processes"]), "{done:#}");
    assert!(called.text().contains("was at its limit of processes"), "{}", called.text());
    let (_, done) = shell(&mut server, "head -c 1500k /dev/zero > /tmp/full; echo end");
    assert_eq!((&done["limits_reached"], &done["stdout"]), (&json!(["scratch_bytes"]), &"end\n".into()));
    let (called, done) = shell(&mut server, "echo begun; exec head -c 3M /dev/zero > large");
    assert_eq!((&done["limit"], &done["stdout"]), (&"file_size".into(), &"begun\n".into()), "{done:#}");
    assert!(called.is_error() && called.text().contains("beyond its limit"), "{}", called.text());
    let (_, done) = shell(&mut server, "echo fine");
    assert_eq!((&done["limit"], &done["limits_reached"]), (&Value::Null, &Value::Null), "{done:#}");

    let code = "for n in range(2000): open(f'/tmp/{n}', 'w').close()";
    let (called, _) = call_beside_hello(&mut server, "execute_code", json!({"code": code}));
    let done = &called.0["result"]["structuredContent"];
    assert_eq!(done["limits_reached"], json!(["scratch_inodes"]), "{done:#}");
    assert_eq!((&done["limit"], &done["error"]["type"]), (&Value::Null, &"OSError".into()), "{done:#}");
    server.stop();
}
