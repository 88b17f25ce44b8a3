//! Invariant 7: a refusal teaches the operator and not the attacker. It names the plugin, what is missing and the line
//! that would add it; of what lies outside a root it tells nothing.

use std::path::Path;

use serde_json::{Value, json};

use crate::support::{Server, Setup};

/// The line in a refusal: `[plugins.NAME] grants = { … }`, as header and assignment.
#[track_caller]
fn line(refusal: &str) -> (String, String) {
    let quoted = refusal.split('`').find(|quoted| quoted.starts_with("[plugins."));
    let quoted = quoted.unwrap_or_else(|| panic!("no line for the configuration is in: {refusal}"));
    let (header, assignment) = quoted.split_once("] ").unwrap_or_else(|| panic!("{quoted}"));
    (format!("{header}]"), assignment.to_owned())
}

/// A configuration in which the assignment stands under its header, in the place of an older one.
fn applied(config: &str, (header, assignment): &(String, String)) -> String {
    let key = assignment.split_once(" = ").unwrap().0;
    let mut lines = Vec::new();
    let mut is_there = false;
    for line in config.lines() {
        if line.starts_with('[') {
            is_there = line == header;
        }
        if !(is_there && line.starts_with(&format!("{key} = "))) {
            lines.push(line);
        }
        if line == header {
            lines.push(assignment);
        }
    }
    assert!(
        lines.contains(&assignment.as_str()),
        "the header {header} of the message is none of the configuration"
    );
    lines.join("\n")
}

fn serve(config: &str) -> Server {
    Setup::new(config).file("a.txt", "contents").env("TOKEN_VARIABLE", "a-long-secret").serve()
}

/// The call is refused; with the line of the refusal it works, and so do the calls that worked before.
#[track_caller]
fn is_taught(
    config: &str,
    plugin: &str,
    missing: &str,
    (tool, arguments): (&str, Value),
    before: &[(&str, Value)],
) {
    let mut server = serve(config);
    for (tool, arguments) in before {
        server.call(tool, arguments.clone()).ok();
    }
    let refusal = server.call(tool, arguments.clone()).error();
    assert!(refusal.contains(&format!("plugin `{plugin}`")), "{refusal}");
    assert!(refusal.contains(missing), "{refusal}");
    server.stop();

    let config = applied(config, &line(&refusal));
    let mut server = serve(&config);
    server.call(tool, arguments).ok();
    for (tool, arguments) in before {
        server.call(tool, arguments.clone()).ok();
    }
    server.stop();
}

const STRESS: &str = "[secrets]\nTOKEN = { env = 'TOKEN_VARIABLE' }\nOTHER = { env = 'TOKEN_VARIABLE' }\n\
                      [roots]\nwork = { path = '{work}', access = 'rw' }\ndocs = { path = '{work}' }\n\
                      [plugins.hello]\nlibrary = 'hello'\n[plugins.stress]\nlibrary = '{stress}'\n";

fn nested(tool: &str, arguments: &Value) -> (&'static str, Value) {
    ("stress_nested", json!({"tool": tool, "arguments": arguments}))
}

fn secret(name: &str) -> (&'static str, Value) {
    ("stress_secret", json!({"name": name}))
}

#[test]
fn a_missing_tool_grant_is_taught() {
    let hello = nested("hello", &json!({"name": "Ada"}));
    is_taught(STRESS, "stress", "tool `hello`", hello.clone(), &[]);
    // What was granted before is part of the line.
    let granted = format!("{STRESS}grants = {{ tools = ['stress_sleep'], secrets = ['TOKEN'] }}");
    let before = [nested("stress_sleep", &json!({"ms": 1})), secret("TOKEN")];
    is_taught(&granted, "stress", "tool `hello`", hello, &before);
}

#[test]
fn a_missing_secret_grant_is_taught() {
    is_taught(STRESS, "stress", "secret `TOKEN`", secret("TOKEN"), &[]);
    let granted = format!("{STRESS}grants = {{ secrets = ['OTHER'], tools = ['stress_sleep'] }}");
    let before = [nested("stress_sleep", &json!({"ms": 1})), secret("OTHER")];
    is_taught(&granted, "stress", "secret `TOKEN`", secret("TOKEN"), &before);
}

const CMD: &str = "[roots]\nwork = { path = '{work}', access = 'rw' }\ndocs = { path = '{work}' }\n\
                   [plugins.cmd]\nlibrary = 'llmc_tools_cmd'\n";

#[test]
fn a_missing_program_is_taught() {
    let cat = ("run_command", json!({"argv": ["cat", "a.txt"]}));
    let granted = format!(
        "{CMD}grants = {{ roots = ['work'], run = {{ profile = \"workspace\", programs = ['true'] }} }}"
    );
    is_taught(&granted, "cmd", "program `cat`", cat, &[("run_command", json!({"argv": ["true"]}))]);
}

#[test]
fn a_missing_run_grant_is_taught() {
    let mut server = serve(CMD);
    let refusal = server.call("run_command", json!({"argv": ["true"]})).error();
    assert!(refusal.contains("plugin `cmd` may not run programs"), "{refusal}");
    let (header, assignment) = line(&refusal);
    server.stop();
    // The program's name is the operator's to fill in.
    let config = applied(CMD, &(header, assignment.replace("PROGRAM", "true")));
    let mut server = serve(&config);
    assert_eq!(server.call("run_command", json!({"argv": ["true"]})).ok()["exit_code"], 0);
    server.stop();
}

#[test]
fn a_missing_variable_is_taught() {
    let env = ("run_command", json!({"argv": ["true"], "env": {"LC_ALL": "C"}}));
    let granted = format!(
        "{CMD}grants = {{ roots = ['work'], run = {{ profile = \"workspace\", programs = ['true'] }} }}"
    );
    is_taught(&granted, "cmd", "variable `LC_ALL`", env, &[("run_command", json!({"argv": ["true"]}))]);
}

#[test]
fn a_missing_root_is_taught() {
    let fs = "[roots]\nwork = { path = '{work}', access = 'rw' }\ndocs = { path = '{work}' }\n\
              [plugins.fs]\nlibrary = 'llmc_tools_fs'\ngrants = { roots = [\"work\"] }\n";
    let mut server = serve(fs);
    server.call("read_file", json!({"path": "work:a.txt"})).ok();
    let refusal = server.call("read_file", json!({"path": "docs:a.txt"})).error();
    assert!(refusal.contains("`docs`") && refusal.contains("plugin `fs`"), "{refusal}");
    server.stop();
    // A plugin does not know which other roots there are, so the name is the operator's to fill in.
    let (header, assignment) = line(&refusal);
    let mut server = serve(&applied(fs, &(header, assignment.replace("NAME", "docs"))));
    for path in ["docs:a.txt", "work:a.txt"] {
        assert_eq!(server.call("read_file", json!({"path": path})).ok()["text"], "contents");
    }
    server.stop();
}

const FS: &str = "[roots]\nwork = { path = '{work}', access = 'rw' }\n\
                  [plugins.fs]\nlibrary = 'llmc_tools_fs'\ngrants = { roots = ['work'] }";

/// A server whose root has neighbours: files and folders that begin with the name of the root, and links out of it.
fn with_neighbours() -> Server {
    let setup =
        Setup::new(FS).file("a.txt", "contents").file("sub/b.txt", "contents").file("..test", "contents");
    let outside = setup.folder.path();
    for name in ["outside.txt", "work2/x.txt", "work_backup/x.txt", "work-old/x.txt", "work.bak/x.txt"] {
        std::fs::create_dir_all(outside.join(name).parent().unwrap()).unwrap();
        std::fs::write(outside.join(name), "do not read").unwrap();
    }
    let link = |from: &str, to: &str| std::os::unix::fs::symlink(to, setup.work(from)).unwrap();
    link("to_file", "../outside.txt");
    link("to_nothing", "../no_such_file.txt");
    link("to_absolute", outside.join("outside.txt").to_str().unwrap());
    link("to_folder", "..");
    link("chain", "to_file");
    link("inside", "sub/b.txt");
    setup.serve()
}

/// File tools for a first try. All of them are attacked in `tests/files`, which notices when one is added.
const TRIED: [&str; 3] = ["list_dir", "read_file", "stat"];

/// Reads a path and returns what the refusal says, with the path itself blanked out.
#[track_caller]
fn refused_read(server: &mut Server, path: &str) -> String {
    let called = server.call("read_file", json!({"path": path}));
    assert!(!called.0.to_string().contains("do not read"), "{path}: {called:?}");
    let text = called.error();
    let host_folder = server.setup.folder.path().to_str().unwrap().to_owned();
    let is_own_argument = path.starts_with('/');
    assert!(is_own_argument || !text.contains(&host_folder), "a host path is in: {text}");
    text.replace(path, "PATH").replace(path.split_once(':').map_or(path, |(_, path)| path), "PATH")
}

#[test]
fn every_form_of_traversal_is_refused() {
    let mut server = with_neighbours();
    let root = server.setup.work("").to_str().unwrap().trim_end_matches('/').to_owned();
    let relative = [
        "../outside.txt",
        "work:../outside.txt",
        "sub/../../outside.txt",
        "./../outside.txt",
        "a.txt/../../outside.txt",
        "no_such/../../outside.txt",
        "../work2/x.txt",
        "..",
        "work:..",
        "sub/../..",
        "/etc/passwd",
        "//etc/passwd",
        "to_file",
        "to_absolute",
        "to_folder/outside.txt",
        "chain",
        "to_folder/work2/x.txt",
        "to_folder",
        "work:/etc/passwd",
        "work:to_folder/../outside.txt",
        "\0",
        "a.txt\0",
        "\0/etc/passwd",
        "..\\outside.txt",
        "%2e%2e/outside.txt",
        "/proc/self/root/etc/passwd",
        "/proc/self/cwd/outside.txt",
        "/dev/stdin",
    ]
    .map(str::to_owned);
    let absolute = [
        "2/x.txt",
        "_backup/x.txt",
        "-old/x.txt",
        ".bak/x.txt",
        "/../outside.txt",
        "/sub/../../work2/x.txt",
        "/../work2/x.txt",
        "/./../outside.txt",
        "\0/etc/passwd",
        "/a.txt\0.png",
    ]
    .map(|rest| format!("{root}{rest}"));
    for path in relative.iter().chain(&absolute) {
        refused_read(&mut server, path);
        let written = server
            .call("write_file", json!({"path": path, "content": "overwritten", "contents": "overwritten"}));
        assert!(written.is_error() || !written.0["error"].is_null(), "{path}: {written:?}");
    }
    let outside = server.setup.folder.path();
    for name in ["outside.txt", "work2/x.txt", "work_backup/x.txt", "work-old/x.txt", "work.bak/x.txt"] {
        assert_eq!(std::fs::read_to_string(outside.join(name)).unwrap(), "do not read", "{name}");
    }

    // What only looks like one is read.
    for path in
        ["a.txt", "./a.txt", "sub/../a.txt", "..test", "work:sub/b.txt", "inside", &format!("{root}/a.txt")]
    {
        assert_eq!(server.call("read_file", json!({"path": path})).ok()["text"], "contents", "{path}");
    }
    server.stop();
}

#[test]
fn a_refusal_does_not_tell_whether_a_file_outside_exists() {
    let mut server = with_neighbours();
    let folder = server.setup.folder.path().to_str().unwrap().to_owned();
    assert!(Path::new(&folder).join("outside.txt").exists());
    let pairs = [
        ("../outside.txt", "../no_such_file.txt"),
        ("work:../outside.txt", "work:../no_such_file.txt"),
        ("to_file", "to_nothing"),
        ("to_folder/outside.txt", "to_folder/no_such_file.txt"),
        ("to_folder/work2/x.txt", "to_folder/work3/x.txt"),
        ("../work2/x.txt", "../work3/x.txt"),
        ("/etc/passwd", "/etc/no_such_file"),
        ("/root/.ssh/id_rsa", "/no_such_folder/id_rsa"),
        (&format!("{folder}/outside.txt"), &format!("{folder}/no_such_file.txt")),
    ];
    for (there, not_there) in pairs {
        for tool in TRIED {
            let mut text = |path: &str| {
                let called = server.call(tool, json!({"path": path}));
                // Looking at a link itself is looking inside the root.
                if called.is_error() {
                    called.error().replace(path, "PATH")
                } else {
                    format!("{tool} succeeds")
                }
            };
            let texts = (text(there), text(not_there));
            let name = |path: &str| path.rsplit_once(':').map_or(path, |(_, path)| path).to_owned();
            let bare = (texts.0.replace(&name(there), "PATH"), texts.1.replace(&name(not_there), "PATH"));
            assert_eq!(bare.0, bare.1, "{tool} tells `{there}` from `{not_there}`");
        }
    }
    server.stop();
}

#[test]
fn a_missing_file_inside_is_told_from_a_refused_one() {
    let mut server = with_neighbours();
    let missing = server.call("read_file", json!({"path": "work:no_such_file.txt"})).error();
    let refused = server.call("read_file", json!({"path": "work:../outside.txt"})).error();
    assert_ne!(missing.replace("no_such_file.txt", ""), refused.replace("../outside.txt", ""));
    assert!(missing.contains("no_such_file.txt"), "{missing}");
    server.stop();
}
