//! `stat`.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use llmc_core::testing::{Harness, item};

use super::*;
use crate::testing::Playground;

#[test]
fn a_file_and_a_directory_are_described() {
    let place = Playground::new();
    place.file("dir/a.txt", "hello");
    fs::set_permissions(place.path("dir/a.txt"), fs::Permissions::from_mode(0o640)).unwrap();
    fs::hard_link(place.path("dir/a.txt"), place.path("b.txt")).unwrap();
    let metadata = fs::metadata(place.path("dir/a.txt")).unwrap();
    let found = place.ok::<Stat>(json!({"path": "dir/a.txt"}));
    assert_eq!(found["path"], "work:dir/a.txt");
    assert_eq!(
        (&found["kind"], &found["size_bytes"], &found["mode"]),
        (&json!("file"), &json!(5), &json!("0640"))
    );
    assert_eq!(
        (&found["uid"], &found["gid"], &found["links"]),
        (&json!(metadata.uid()), &json!(metadata.gid()), &json!(2))
    );
    assert_eq!(found.get("link"), None);
    let modified = found["modified"].as_str().unwrap();
    assert!(modified.starts_with("20") && modified.ends_with('Z'), "{modified}");

    let found = place.ok::<Stat>(json!({"path": "work:"}));
    assert_eq!((&found["kind"], &found["path"]), (&json!("dir"), &json!("work:")));
    assert_eq!(place.ok::<Stat>(json!({"path": "dir/"}))["kind"], "dir");
}

#[test]
fn times_are_those_of_the_file() {
    let place = Playground::new();
    place.file("a", "");
    let file = fs::File::options().write(true).open(place.path("a")).unwrap();
    let time = std::time::UNIX_EPOCH + std::time::Duration::new(951_782_400, 5);
    file.set_times(fs::FileTimes::new().set_modified(time).set_accessed(time)).unwrap();
    let found = place.ok::<Stat>(json!({"path": "a"}));
    assert_eq!(found["modified"], "2000-02-29T00:00:00.000000005Z");
    assert_eq!(found["accessed"], "2000-02-29T00:00:00.000000005Z");
}

#[test]
fn a_link_is_described_itself_and_by_what_it_leads_to() {
    let place = Playground::new();
    place.file("dir/a.txt", "hello").link("good", "dir/a.txt").link("chain", "good").link("folder", "dir");
    for (path, kind, text) in
        [("good", "file", "dir/a.txt"), ("chain", "file", "good"), ("folder", "dir", "dir")]
    {
        let found = place.ok::<Stat>(json!({"path": path}));
        assert_eq!((&found["kind"], &found["size_bytes"]), (&json!("symlink"), &json!(text.len())), "{path}");
        let link = &found["link"];
        assert_eq!(
            (&link["leads"], &link["text"], &link["target"]["kind"]),
            (&json!("inside"), &json!(text), &json!(kind))
        );
    }
    assert_eq!(place.ok::<Stat>(json!({"path": "folder/a.txt"}))["kind"], "file");
}

#[test]
fn what_lies_outside_is_not_described() {
    let place = Playground::new();
    place.check_walls::<Stat>();
    for path in ["to_file", "to_nothing", "to_dir", "up", "chain", "dir/chain", "proc"] {
        let found = place.ok::<Stat>(json!({"path": path}));
        assert_eq!(
            (&found["kind"], &found["link"]["leads"]),
            (&json!("symlink"), &json!("outside")),
            "{path}"
        );
        assert_eq!(found["link"].get("target"), None);
    }
}

#[test]
fn links_that_lead_nowhere_are_told() {
    let place = Playground::new();
    place.link("missing", "nothing").link("a", "b").link("b", "a");
    assert_eq!(
        place.ok::<Stat>(json!({"path": "missing"}))["link"],
        json!({"leads": "missing", "text": "nothing"})
    );
    assert_eq!(place.ok::<Stat>(json!({"path": "a"}))["link"], json!({"leads": "loop"}));
    let error = place.refused::<Stat>(json!({"path": "a/x"}));
    assert_eq!(error.code(), llmc_core::code::DENIED);
    assert_eq!(
        place.refused::<Stat>(json!({"path": "nothing"})).message(),
        "cannot look at `work:nothing`: no such file or directory"
    );
}

#[test]
fn the_links_of_proc_tell_nothing() {
    let harness = Harness::new().root("proc", "/proc", Access::Ro);
    for path in ["self/root", "self/cwd", "self/exe", "self/fd/0", "self/ns/pid"] {
        let found = harness.call::<Stat>(json!({"path": path})).unwrap().structured.unwrap();
        assert_eq!(
            (&found["kind"], &found["link"]),
            (&json!("symlink"), &json!({"leads": "loop"})),
            "{path}"
        );
        let error = harness.call::<Stat>(json!({"path": format!("{path}/x")})).unwrap_err();
        assert_eq!(error.code(), llmc_core::code::DENIED, "{path}: {error}");
    }
}

#[test]
fn special_files_are_named() {
    let place = Playground::new();
    place.fifo("pipe");
    let _socket = std::os::unix::net::UnixListener::bind(place.path("socket")).unwrap();
    assert_eq!(place.ok::<Stat>(json!({"path": "pipe"}))["kind"], "fifo");
    assert_eq!(place.ok::<Stat>(json!({"path": "socket"}))["kind"], "socket");
    let harness = Harness::new().root("dev", "/dev", Access::Ro);
    assert_eq!(harness.call::<Stat>(json!({"path": "null"})).unwrap().structured.unwrap()["kind"], "device");
}

#[test]
fn the_schema_is_flat() {
    let item = item::<Stat>();
    let properties = item.output_schema.unwrap()["properties"].clone();
    for field in ["path", "kind", "size_bytes", "mode", "modified", "link"] {
        assert!(properties.get(field).is_some(), "{field}: {properties}");
    }
    assert!(item.annotations.read_only);
}
