//! A plugin's state folder is its own: it stays, and it is the only place outside the roots that the plugin reaches.

use serde_json::json;

use crate::support::Setup;
use crate::without::{Missing, user_namespaces, without};

/// Three plugins: two with a folder each, one without. They have one root in common.
const CONFIG: &str = "\
    [server]\nstate = 'state'\n\
    [roots]\nwork = { path = '{work}' }\n\
    [plugins.one]\nlibrary = '{stress}'\nprefix = 'one'\ngrants = { roots = ['work'], state = true }\n\
    [plugins.two]\nlibrary = '{stress}'\nprefix = 'two'\ngrants = { roots = ['work'], state = true }\n\
    [plugins.poor]\nlibrary = '{stress}'\nprefix = 'poor'\n";

fn check(missing: &[Missing]) {
    let setup = Setup::new(CONFIG);
    let folder = setup.folder.path().to_owned();
    let mut server = setup.prepare(without(missing)).serve();

    // The neighbours: what is written is there, for its plugin.
    let write = |text: &str| json!({"path": "notes", "write": text});
    assert_eq!(server.call("one_stress_state", write("of one")).ok()["text"], "of one");
    assert_eq!(server.call("two_stress_state", write("of two")).ok()["text"], "of two");
    assert_eq!(server.call("one_stress_state", json!({"path": "notes"})).ok()["text"], "of one");

    let key = only_entry(&folder.join("state/one"));
    assert_eq!(std::fs::read_to_string(folder.join("state/one").join(&key).join("notes")).unwrap(), "of one");
    std::fs::write(folder.join("state/secret"), "of nobody").unwrap();
    std::os::unix::fs::symlink(&folder, folder.join("state/one").join(&key).join("out")).unwrap();
    for path in [
        format!("../../two/{key}/notes"),
        "../../secret".into(),
        "../../../llmc.toml".into(),
        "out/llmc.toml".into(),
        "out/state/secret".into(),
        "../../../../../../../../../../etc/hostname".into(),
    ] {
        let text = server.call("one_stress_state", json!({"path": path})).error();
        assert!(text.contains("failed to read"), "{path}: {text}");
    }
    for path in ["../planted", "../../planted", "out/planted"] {
        let text = server.call("one_stress_state", json!({"path": path, "write": "x"})).error();
        assert!(text.contains("failed to write"), "{path}: {text}");
    }
    for place in ["planted", "state/planted", "state/one/planted"] {
        assert!(!folder.join(place).exists(), "{place}");
    }

    let text = server.call("poor_stress_state", json!({"path": "notes"})).error();
    assert!(text.contains("no state folder is granted") && text.contains("state = true"), "{text}");
    assert!(!folder.join("state/poor").exists());
    server.stop();
}

#[test]
fn a_plugin_reaches_its_own_folder_and_nothing_beside_it() {
    check(&[]);
}

#[test]
fn landlock_alone_keeps_it_there_too() {
    check(&user_namespaces());
}

#[test]
fn it_stays_for_the_same_roots() {
    let folder = tempfile::tempdir().unwrap();
    let serve = |root: &str| {
        let root = folder.path().join(root);
        std::fs::create_dir_all(&root).unwrap();
        let state = format!("'{}'", folder.path().join("state").display());
        Setup::new(&CONFIG.replace("{work}", root.to_str().unwrap()).replace("'state'", &state)).serve()
    };
    let mut server = serve("first");
    server.call("one_stress_state", json!({"path": "notes", "write": "kept"})).ok();
    server.stop();
    // Another root: nothing of the first is known there.
    let mut server = serve("second");
    assert!(server.call("one_stress_state", json!({"path": "notes"})).error().contains("failed to read"));
    server.stop();
    let mut server = serve("first");
    assert_eq!(server.call("one_stress_state", json!({"path": "notes"})).ok()["text"], "kept");
    server.stop();
}

#[test]
fn a_server_without_a_place_for_it_does_not_start() {
    for (state, says) in [("{work}", "lie inside each other"), ("{work}/deep", "lie inside each other")] {
        let output = Setup::new(&CONFIG.replace("'state'", &format!("'{state}'"))).run("doctor", &[]);
        let text = String::from_utf8_lossy(&output.stderr) + String::from_utf8_lossy(&output.stdout);
        assert!(!output.status.success() && text.contains(says), "{text}");
    }
}

fn only_entry(folder: &std::path::Path) -> String {
    let mut names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    let name = names.next().unwrap().into_string().unwrap();
    assert!(names.next().is_none());
    name
}
