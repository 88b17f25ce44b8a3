//! What other programs execute or obey is not written, moved, made or deleted, whatever it is called, reached by or
//! laundered through (CVE-2025-54135, CVE-2025-54136, CVE-2026-27735).

use std::fs;

use serde_json::{Value, json};

use crate::attempts::{BAIT, LOOT, changes};
use crate::ground::{Ground, config};
use crate::prerequisites::not_checked;
use crate::support::{Called, Setup};

/// Files that are there, and each with a different meaning to some program.
const FILES: &[&str] = &[
    ".git/config",
    ".git/hooks/pre-commit",
    ".git/HEAD",
    "vendor/lib/.git/config",
    ".gitconfig",
    ".gitmodules",
    ".bashrc",
    ".zshrc",
    ".profile",
    ".envrc",
    ".ripgreprc",
    ".ssh/authorized_keys",
    ".config/fish/config.fish",
    ".cargo/config.toml",
    "crates/one/.cargo/config.toml",
    ".mcp.json",
    ".cursor/mcp.json",
    ".cursor/rules/evil.mdc",
    ".claude/settings.json",
    ".vscode/tasks.json",
    ".vscode/settings.json",
    ".idea/workspace.xml",
    ".codex/config.toml",
    ".gemini/settings.json",
    ".config/llmc/config.toml",
    ".config/llmc/config.lock",
    "llmc.lock",
    "llmc.toml",
    "deploy/llmc.toml",
];

/// Neighbours that nobody obeys by themselves.
const NEIGHBOURS: &[&str] = &[
    ".gitignore",
    ".github/workflows/ci.yml",
    ".gitattributes",
    "git/config",
    "mcp.json",
    ".mcp.json.md",
    ".vscode-notes/tasks.json",
    "bashrc",
    ".cargo/registry.toml",
    ".config/other/config.fish",
    ".config/llmc-notes/config.toml",
    "docs/llmc.toml.example",
];

fn start(more: &str) -> Ground {
    let ground = Ground::start(Setup::new(&config(more)));
    ground.file(BAIT, "bait");
    for file in FILES.iter().chain(NEIGHBOURS) {
        ground.file(file, "honest\n");
    }
    ground
}

/// Checks that nothing changes what is protected.
#[track_caller]
fn check_kept(ground: &Ground) {
    for file in FILES {
        assert_eq!(ground.text(file), "honest\n", "{file}");
    }
}

#[track_caller]
fn check_protected(ground: &mut Ground, tool: &str, arguments: Value) {
    let refusal = ground.refused(tool, arguments.clone());
    let is_refused = refusal.kind == "denied" && refusal.text.contains("is protected");
    assert!(is_refused, "{tool} {arguments}: {refusal:?}");
}

/// Checks that a call failed: what is not there, or no directory, may be noticed first.
#[track_caller]
fn check_stopped(tool: &str, arguments: &Value, called: &Called) {
    let reasons = ["is protected", "no such file", "not a directory"];
    let has_reason = reasons.iter().any(|reason| called.text().contains(reason));
    assert!(called.is_error() && has_reason, "{tool} {arguments}: {called:?}");
}

/// Other spellings of a path that some file system takes for the same.
fn spellings(path: &str) -> Vec<String> {
    let mixed = |(index, letter): (usize, char)| {
        if index % 2 == 0 { letter.to_ascii_uppercase() } else { letter.to_ascii_lowercase() }
    };
    let (first, rest) =
        path.split_once('/').map_or((path, String::new()), |(first, rest)| (first, format!("/{rest}")));
    vec![
        path.to_owned(),
        path.to_uppercase(),
        path.char_indices().map(mixed).collect(),
        format!("./{path}"),
        format!("docs/../{path}"),
        format!("work:{path}"),
        format!("/work/{path}"),
        format!("{first}.{rest}"),
        format!("{first} {rest}"),
        format!("{}\u{200C}{}{rest}", &first[..2], &first[2..]),
        path.chars().map(|letter| if letter == 'c' { 'ｃ' } else { letter }).collect(),
    ]
}

#[test]
fn nothing_changes_them_by_any_spelling() {
    let mut ground = start("");
    for path in FILES.iter().flat_map(|path| spellings(path)) {
        let calls = changes(&path);
        for ((tool, arguments), called) in calls.iter().zip(ground.batch(&calls)) {
            check_stopped(tool, arguments, &called);
        }
    }
    check_kept(&ground);
    // The same calls do their work beside them.
    for path in NEIGHBOURS {
        for path in [(*path).to_owned(), format!("docs/../{path}")] {
            ground.ok("write_file", json!({"path": path, "content": "honest 2\n", "overwrite": true}));
            ground.ok("append_file", json!({"path": path, "content": "more\n"}));
            ground.ok(
                "edit_file",
                json!({"path": path, "edits": [{"old": "honest 2\nmore", "new": "honest"}]}),
            );
            ground.ok("move_path", json!({"from": path, "to": LOOT}));
            ground.ok("move_path", json!({"from": LOOT, "to": path}));
            ground.ok("delete_path", json!({"path": path}));
            ground.ok("copy_path", json!({"from": BAIT, "to": path}));
        }
    }
    // To read them is no harm.
    for path in FILES {
        assert_eq!(ground.ok("read_file", json!({"path": path}))["text"], "honest\n");
        ground.ok("copy_path", json!({"from": path, "to": LOOT}));
        ground.ok("delete_path", json!({"path": LOOT}));
    }
    ground.end();
}

#[test]
fn nor_does_anything_make_them() {
    let mut ground = Ground::new();
    ground
        .file(BAIT, "bait")
        .file("dir/hooks/pre-commit", "#!/bin/sh\n")
        .file("dir/config.toml", "[build]\n");
    ground.file("docs/page", "page");
    for path in FILES.iter().flat_map(|path| spellings(path)) {
        for (tool, arguments) in [
            ("write_file", json!({"path": path, "content": "planted"})),
            ("create_dir", json!({"path": path})),
        ] {
            check_protected(&mut ground, tool, arguments);
        }
        let append = json!({"path": path, "content": "planted"});
        check_stopped("append_file", &append, &ground.call("append_file", append.clone()));
    }
    // Things that are made elsewhere do not come to such a name, neither themselves nor within a directory.
    for (from, to) in [
        ("dir", ".git"),
        ("dir/hooks", ".git"),
        ("dir", ".GIT"),
        ("dir", ".cargo"),
        ("dir", "docs/../.Cargo"),
        ("dir", ".config"),
        ("dir", ".vscode"),
        ("dir", ".cursor"),
        (BAIT, ".bashrc"),
        (BAIT, ".mcp.json"),
        (BAIT, "dir/.MCP.JSON"),
    ] {
        check_protected(&mut ground, "move_path", json!({"from": from, "to": to}));
    }
    for (from, to) in [("dir", ".git"), ("dir", ".cargo"), ("dir/hooks", ".Git"), (BAIT, ".bashrc")] {
        check_protected(&mut ground, "copy_path", json!({"from": from, "to": to}));
    }
    let names: Vec<_> =
        fs::read_dir(ground.path("")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 3, "{names:?}");
    ground.ok("move_path", json!({"from": "dir", "to": ".github"}));
    ground.end();
}

#[test]
fn links_are_no_way_round() {
    let mut ground = start("");
    ground.link("dot", ".git").link("repo", "vendor/lib").link("hooks", ".git/hooks").link("g", "dot");
    ground.link("cfg", ".git/config").link("rc", "./vendor/../.bashrc").link("up", "vendor/lib/../../.git");
    ground.link("absent", ".git/hooks/post-commit").link("mcp", ".cursor/new/mcp.json");
    for path in [
        "dot/config",
        "g/config",
        "g/hooks/pre-commit",
        "hooks/pre-commit",
        "hooks/new",
        "repo/.git/config",
        "up/HEAD",
        "dot/new",
        "repo/../lib/.git/config",
        "g/../.git/config",
    ] {
        for (tool, arguments) in changes(path) {
            let called = ground.call(tool, arguments.clone());
            check_stopped(tool, &arguments, &called);
        }
        check_protected(
            &mut ground,
            "write_file",
            json!({"path": path, "content": "planted", "overwrite": true}),
        );
    }
    // At the end of a path a link stands for what it leads to when contents are written ...
    for path in ["cfg", "rc", "absent", "mcp"] {
        for (tool, arguments) in [
            ("write_file", json!({"path": path, "content": "planted", "overwrite": true})),
            ("append_file", json!({"path": path, "content": "planted"})),
            ("edit_file", json!({"path": path, "edits": [{"old": "honest", "new": "planted"}]})),
        ] {
            let refusal = ground.refused(tool, arguments);
            assert!(
                refusal.kind == "denied" || refusal.text.contains("no such"),
                "{tool} {path}: {refusal:?}"
            );
        }
    }
    for path in ["cfg", "dot", "up"] {
        // ... and for itself when it is moved, copied or deleted.
        ground.ok("move_path", json!({"from": path, "to": LOOT}));
        ground.ok("copy_path", json!({"from": LOOT, "to": path}));
        ground.ok("delete_path", json!({"path": LOOT, "recursive": true}));
    }
    check_kept(&ground);
    assert!(!ground.path(".git/hooks/post-commit").exists() && !ground.path(".cursor/new").exists());
    ground.end();
}

/// What is around them is moved or deleted as a whole only where nothing is obeyed differently afterwards.
#[test]
fn directories_that_hold_them() {
    let mut ground = start("");
    for path in [".cargo", "crates/one/.cargo", ".config", ".CARGO"] {
        check_protected(&mut ground, "delete_path", json!({"path": path, "recursive": true}));
        check_protected(&mut ground, "move_path", json!({"from": path, "to": LOOT}));
    }
    // A copy of a repository would be a new one that is obeyed.
    for path in ["vendor", "vendor/lib", "crates"] {
        check_protected(&mut ground, "copy_path", json!({"from": path, "to": LOOT}));
        assert!(!ground.path(LOOT).exists(), "nothing is left of it");
    }
    check_kept(&ground);
    // Moved along, it is still obeyed by what is around it, and still protected.
    ground.ok("move_path", json!({"from": "vendor", "to": "moved"}));
    assert_eq!(ground.text("moved/lib/.git/config"), "honest\n");
    let write = json!({"path": "moved/lib/.git/config", "content": "planted", "overwrite": true});
    check_protected(&mut ground, "write_file", write);
    ground.ok("move_path", json!({"from": "moved", "to": "vendor"}));
    check_kept(&ground);
    // Deleted with all that obeyed it; the result says so.
    let deleted = ground.ok("delete_path", json!({"path": "vendor", "recursive": true}));
    assert_eq!(deleted["protected"], json!([".git"]));
    ground.ok("copy_path", json!({"from": "docs", "to": "docs2"}));
    ground.end();
}

#[test]
fn the_operator_decides_what_is_protected() {
    let mut ground = start("[policy]\nprotected_paths = []");
    for path in FILES {
        ground.ok("write_file", json!({"path": path, "content": "planted", "overwrite": true}));
        assert_eq!(ground.text(path), "planted");
    }
    ground.ok("copy_path", json!({"from": "vendor", "to": "vendor2"}));
    ground.ok("delete_path", json!({"path": ".git", "recursive": true}));
    ground.ok("move_path", json!({"from": "vendor2/lib/.git", "to": ".git"}));
    ground.end();

    let mut ground = start("[policy]\nprotected_paths = ['secrets/prod.env', '.git/hooks']");
    ground.file("secrets/prod.env", "x").file("a/b/Secrets/Prod.ENV", "x").file("secrets/test.env", "x");
    ground.link("s", "secrets");
    for path in [
        "secrets/prod.env",
        "a/b/Secrets/Prod.ENV",
        "s/prod.env",
        "SECRETS/PROD.ENV",
        ".git/hooks/pre-commit",
    ] {
        let write = json!({"path": path, "content": "planted", "overwrite": true});
        check_protected(&mut ground, "write_file", write);
    }
    check_protected(&mut ground, "delete_path", json!({"path": "secrets", "recursive": true}));
    check_protected(&mut ground, "move_path", json!({"from": "a/b/Secrets", "to": LOOT}));
    for path in ["secrets/test.env", "prod.env", ".git/config", ".bashrc"] {
        ground.ok("write_file", json!({"path": path, "content": "planted", "overwrite": true}));
    }
    ground.end();
}

/// Code that may call the tools can do no more by them than who calls them directly.
#[test]
fn code_gets_no_more_by_calling_tools() {
    if !["/usr/bin/python3", "/usr/local/bin/python3"].iter().any(|file| std::path::Path::new(file).exists())
    {
        return not_checked("file tools called by code, because there is no Python");
    }
    let exec = "[plugins.exec]\nlibrary = 'llmc_tools_exec'\ngrants = { run = { profile = 'code' }, tools = \
                ['write_file', 'copy_path', 'move_path', 'read_file', 'delete_path'] }";
    let mut ground = start(exec);
    let code = "
from llmc import tools
attempts = [
    ('write_file', dict(path='.git/hooks/pre-commit', content='planted', overwrite=True)),
    ('write_file', dict(path='../evil', content='planted')),
    ('copy_path', dict({'from': '../../.kube/config', 'to': 'loot'})),
    ('copy_path', dict({'from': 'bait.txt', 'to': '../evil'})),
    ('copy_path', dict({'from': 'bait.txt', 'to': '.mcp.json.d/../.MCP.json'})),
    ('move_path', dict({'from': 'bait.txt', 'to': '.bash_login'})),
    ('read_file', dict(path='/etc/passwd')),
    ('read_file', dict(path='../there.txt')),
    ('delete_path', dict(path='.git', recursive=True)),
]
said = []
for name, arguments in attempts:
    try:
        said.append(['done', str(tools.call(name, **arguments))])
    except Exception as error:
        said.append(['refused', str(error)])
tools.write_file(path='by code.txt', content='honest')
said
";
    ground.file(".mcp.json.d/x", "x");
    let done = ground.ok("execute_code", json!({"code": code}));
    let said = done["result"].as_array().unwrap_or_else(|| panic!("{done:#}"));
    assert_eq!(said.len(), 9);
    for attempt in said {
        let text = attempt[1].as_str().unwrap();
        let is_refused = text.contains("is protected") || text.contains("outside the granted roots");
        assert!(attempt[0] == "refused" && is_refused, "{attempt}");
    }
    check_kept(&ground);
    assert_eq!(ground.text("by code.txt"), "honest");
    ground.end();
}
