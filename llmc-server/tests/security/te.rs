//! The plugin `te`, as a client sees it: with and without namespaces, and no further than its grants.

use serde_json::{Value, json};

use crate::support::{Server, Setup};
use crate::without::{user_namespaces, without};

const CONFIG: &str = "\
    [server]\nstate = 'state'\n\
    [roots]\nwork = { path = '{work}' }\ndocs = { path = '{work}/docs' }\n\
    [plugins.fs]\nlibrary = 'llmc_tools_fs'\ngrants = { roots = ['work', 'docs'] }\n\
    [plugins.te]\nlibrary = 'te'\n[plugins.te.grants]\nroots = ['docs']\nstate = true\n\
    tools = ['search_files', 'read_file']\n";

fn setup(text: &str) -> Setup {
    let lines: String = (0..30).map(|n| format!("needle {n}\n")).collect();
    Setup::new(text).file("docs/a.txt", lines).file("secret.txt", "needle of all needles\n")
}

/// The header of an answer, and all of it.
fn te(server: &mut Server, arguments: Value) -> (Value, String) {
    let text = server.call("te_run", arguments).text();
    let header = text.lines().nth(1).unwrap_or_default();
    (serde_json::from_str(header).unwrap_or_else(|_| panic!("{text}")), text)
}

fn handles_work(server: &mut Server) {
    let (header, _) = te(server, json!({"argv": ["grep", "needle"]}));
    assert_eq!((&header["matches"], &header["truncated"]), (&json!(30), &json!(true)), "{header}");
    let (_, text) = te(server, json!({"handle": header["handle"]}));
    assert!(text.contains("needle 29"), "{text}");
}

#[test]
fn it_works_with_and_without_namespaces() {
    let mut server = setup(CONFIG).serve();
    handles_work(&mut server);
    server.stop();
    let mut server = setup(CONFIG).prepare(without(&user_namespaces())).serve();
    handles_work(&mut server);
    server.stop();
}

/// `fs` may read all of `work`; `te` asks on behalf of its own roots alone.
#[test]
fn it_does_not_lend_the_roots_of_the_tools_it_asks() {
    let mut server = setup(CONFIG).serve();
    for path in ["work:secret.txt", "../secret.txt", "docs:../secret.txt", "/work/secret.txt", "work:"] {
        for argv in [json!(["cat", path]), json!(["grep", "of all", path])] {
            let (header, text) = te(&mut server, json!({"argv": argv}));
            assert!(header["error"].is_string() && !text.contains("needle of all"), "{path}: {text}");
        }
    }
    let (secret, docs) = (server.setup.work("secret.txt"), server.setup.work("docs"));
    let (header, _) = te(&mut server, json!({"argv": ["cat", secret], "cwd": docs}));
    assert!(header["error"].as_str().unwrap().contains("outside the granted roots"), "{header}");
    // Tools and programs that it is not granted it cannot use either.
    for argv in [json!(["ls"]), json!(["find", "."]), json!(["git", "log"]), json!(["sh", "-c", "id"])] {
        let (header, _) = te(&mut server, json!({"argv": argv}));
        assert!(header["error"].as_str().unwrap().contains("grant"), "{header}");
    }
    assert!(server.call("read_file", json!({"path": "work:secret.txt"})).text().contains("needle of all"));
    handles_work(&mut server);
    server.stop();
}
