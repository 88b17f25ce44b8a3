//! `ruta run`: the scenarios that are shipped, and what a run may and may not do.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use crate::support::{Folder, asserting, repository};

/// All shipped scenarios, in the order of their names.
fn shipped() -> Vec<PathBuf> {
    let entries = fs::read_dir(repository().join("scenarios")).unwrap();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn llmc_passes_the_shipped_scenarios() {
    let folder = Folder::new(&[]);
    let files = shipped();
    assert!(files.len() >= 7, "{files:?}");
    let mut args = vec!["run", "--trace-dir", "traces"];
    args.extend(files.iter().map(|file| file.to_str().unwrap()));
    let ended = folder.ruta(&args).with_code(0);
    let verdict = format!("{0} of {0} passed\n", files.len());
    assert!(ended.stdout().ends_with(&verdict), "{}", ended.stdout());

    let traces: Vec<_> = fs::read_dir(folder.path("traces")).unwrap().map(|entry| entry.unwrap()).collect();
    assert_eq!(traces.len(), files.len());
    for trace in traces {
        let name = trace.file_name().into_string().unwrap();
        assert!(name.starts_with("trace_") && name.ends_with("Z.jsonl"), "{name}");
        assert_eq!(trace.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{name}");
        // What was judged live is judged alike later.
        let scenario =
            files.iter().find(|file| name.contains(file.file_stem().unwrap().to_str().unwrap())).unwrap();
        let trace = trace.path();
        folder.ruta(&["judge", scenario.to_str().unwrap(), trace.to_str().unwrap()]).with_code(0);
    }
}

#[test]
fn the_tutorial_tells_what_happens() {
    let readme = fs::read_to_string(repository().join("plugins/judge/README.md")).unwrap();
    let (_, rest) = readme.split_once("```yaml\n").unwrap();
    let (scenario, rest) = rest.split_once("```").unwrap();
    let (_, rest) = rest.split_once("$ ruta run first.yaml\n").unwrap();
    let (told, _) = rest.split_once("```").unwrap();
    let folder = Folder::new(&[("first.yaml", scenario), ("wrong.yaml", &scenario.replace("0.9", "1.1"))]);
    assert_eq!(folder.ruta(&["run", "first.yaml"]).with_code(0).stdout(), told);
    let wrong = folder.ruta(&["run", "wrong.yaml"]).with_code(1).stdout();
    assert!(
        wrong.contains("  P1  both orders agree      `both orders agree` does not hold: 1.0 >= 1.1\n"),
        "{wrong}"
    );
}

#[test]
fn a_broken_promise_is_found() {
    let scenario = fs::read_to_string(repository().join("scenarios/read-only-refused.yaml")).unwrap();
    // The same script where writing is allowed: the judge has to see that files change.
    let folder = Folder::new(&[("writable.yaml", &scenario.replace("read_only: true", "read_only: false"))]);
    let told = folder.ruta(&["run", "writable.yaml"]).with_code(1).stdout();
    assert!(told.contains("P0  nothing is written"), "{told}");
}

#[test]
fn a_run_id_is_no_path() {
    let folder = Folder::new(&[("s.yaml", &(asserting("success()") + "script: [{ call: list_dir }]\n"))]);
    for id in ["../out", "a/b", "/tmp/x", ".hidden", "", "a\nb"] {
        let error =
            folder.ruta(&["run", "s.yaml", "--trace-dir", "traces", "--run-id", id]).with_code(2).stderr();
        assert!(error.contains("letters, digits"), "{error}");
    }
    assert!(!folder.path("traces").exists());
    folder.ruta(&["run", "s.yaml", "--trace-dir", "traces", "--run-id", "mine-1.2"]).with_code(0);
    let trace = fs::read_dir(folder.path("traces")).unwrap().next().unwrap().unwrap().file_name();
    assert!(trace.to_str().unwrap().starts_with("trace_mine-1.2_"), "{trace:?}");
}

#[test]
fn preconditions_name_no_path_of_the_machine() {
    let scenario = |preconditions: &str| {
        asserting("success()") + &format!("preconditions: {preconditions}\nscript: [{{ call: list_dir }}]\n")
    };
    for preconditions in [
        "{ files: { ../out.md: x } }",
        "{ files: { /tmp/out.md: x } }",
        "{ files: { a/../../out.md: x } }",
        "{ files: { ./: x } }",
        "{ programs: [\"sh=/bin/sh\"] }",
        "{ programs: [\"--config=x\"] }",
        "{ roots: { all: / } }",
    ] {
        let folder = Folder::new(&[("s.yaml", &scenario(preconditions))]);
        let error = folder.ruta(&["run", "s.yaml"]).with_code(1).stderr();
        assert!(error.contains("preconditions") || error.contains("unknown field `roots`"), "{error}");
        assert!(!folder.path("out.md").exists());
    }
    let folder = Folder::new(&[("s.yaml", &scenario("{ files: { a/b.md: x } }"))]);
    folder.ruta(&["run", "s.yaml"]).with_code(0);
}

#[test]
fn a_script_that_goes_wrong_is_told() {
    let script = |script: &str| asserting("success()") + &format!("script: {script}\n");
    for (text, expected) in [
        (script("[{ call: read_file, with: { path: \"${nothing}\" } }]"), "there is no variable `nothing`"),
        (
            script("[{ call: list_dir, save: { x: /none } }]"),
            "the result of `list_dir` has nothing at `/none`",
        ),
        (script("[{ call: list_dir, items: { list: /none } }]"), "there is no list at `/none`"),
        (
            script("[{ call: stat, for_each: { x: [] }, with: { path: . } }]"),
            "needs a list with something in it",
        ),
        (script("[]"), "it has no `script`"),
    ] {
        let folder = Folder::new(&[("s.yaml", &text)]);
        let error = folder.ruta(&["run", "s.yaml"]).with_code(1).stderr();
        assert!(error.starts_with("error: scenario `s.yaml`: ") && error.contains(expected), "{error}");
    }
}

#[test]
fn a_server_that_fails_is_no_verdict() {
    let scenario = asserting("success()") + "script: [{ call: list_dir }]\n";
    let folder = Folder::new(&[
        ("s.yaml", &scenario),
        ("garbage", "#!/bin/sh\necho no json\nsleep 1\n"),
        ("gone", "#!/bin/sh\necho the reason >&2\nexit 4\n"),
    ]);
    for program in ["garbage", "gone"] {
        fs::set_permissions(folder.path(program), fs::Permissions::from_mode(0o755)).unwrap();
    }
    for (program, expected) in
        [("garbage", "what is no JSON"), ("gone", "it said: the reason"), ("none", "failed to start")]
    {
        let program = format!("./{program}");
        let ended = folder.ruta(&["run", "s.yaml", "--llmc", &program]).with_code(3);
        assert!(ended.stderr().contains(expected) && ended.stdout().is_empty(), "{}", ended.stderr());
    }
}
