//! Invariant 6: a layer that is required and missing stops the start, is named, and no variable makes up for it.

use std::process::Output;
use std::time::{Duration, Instant};

use seccompiler::SeccompCmpOp;
use serde_json::Value;

use crate::observe::{adopt_orphans, orphans};
use crate::support::{Setup, eventually};
use crate::without::{Missing, user_namespaces, without};

const HELLO: &str = "[plugins.hello]\nlibrary = 'hello'";
const REQUIRED: &str = "[server]\nrequire_namespaces = true\n[plugins.hello]\nlibrary = 'hello'";
const RUNS: &str = "[plugins.exec]\nlibrary = 'llmc_tools_exec'\ngrants = { run = { profile = 'code' } }";

/// Names that somebody might hope for.
const HOPES: &[&str] = &[
    "LLMC_ISOLATED",
    "LLMC_UNSAFE",
    "LLMC_NO_SANDBOX",
    "LLMC_DISABLE_SANDBOX",
    "LLMC_INSECURE",
    "LLMC_TRUSTED",
    "LLMC_ALLOW_UNSANDBOXED",
    "LLMC_SKIP_CHECKS",
    "IS_SANDBOX",
    "CI",
];

fn setup(config: &str, missing: &[Missing]) -> Setup {
    let setup = Setup::new(config).prepare(without(missing));
    HOPES.iter().fold(setup, |setup, name| setup.env(name, "1"))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Neither `serve` nor `tools` nor `call` starts; each says which layer is missing and what to do.
#[track_caller]
fn refused(config: &str, missing: &[Missing], layer: &str) -> String {
    adopt_orphans();
    let mut reason = String::new();
    for (verb, args) in [("serve", &[][..]), ("tools", &[]), ("call", &["hello", r#"{"name": "Ada"}"#])] {
        let begun = Instant::now();
        let output = setup(config, missing).run(verb, args);
        check_refusal(&output, layer);
        assert!(begun.elapsed() < Duration::from_secs(8), "{verb} took {:?}", begun.elapsed());
        reason = text(&output.stderr);
    }
    eventually("nothing is left running", || orphans().is_empty());
    starts(config);
    reason
}

#[track_caller]
fn check_refusal(output: &Output, layer: &str) {
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert_eq!(text(&output.stdout), "", "nothing is offered");
    let sentence =
        stderr.lines().find(|line| line.starts_with("llmc: ")).unwrap_or_else(|| panic!("{stderr}"));
    assert!(sentence.contains(&format!("`{layer}`")), "layer `{layer}` is not named: {stderr}");
}

/// The neighbour: with the whole kernel, the same configuration starts.
#[track_caller]
fn starts(config: &str) {
    let output = setup(config, &[]).run("tools", &[]);
    assert!(output.status.success() && !output.stdout.is_empty(), "{output:?}");
}

#[test]
fn without_landlock_nothing_starts() {
    for errno in [libc::ENOSYS, libc::EOPNOTSUPP] {
        let missing = Missing::call(libc::SYS_landlock_create_ruleset, errno);
        let reason = refused(HELLO, &[missing], "landlock");
        assert!(reason.contains("Linux") && reason.contains("lsm="), "what to do: {reason}");
    }
}

#[test]
fn without_seccomp_nothing_starts() {
    let missing =
        [Missing::prctl(libc::PR_SET_SECCOMP, libc::EINVAL), Missing::call(libc::SYS_seccomp, libc::ENOSYS)];
    let reason = refused(HELLO, &missing, "seccomp");
    assert!(reason.contains("CONFIG_SECCOMP_FILTER"), "what to do: {reason}");
}

#[test]
fn without_no_new_privs_nothing_starts() {
    refused(HELLO, &[Missing::prctl(libc::PR_SET_NO_NEW_PRIVS, libc::EINVAL)], "no_new_privs");
}

#[test]
fn without_a_death_signal_nothing_starts() {
    refused(HELLO, &[Missing::prctl(libc::PR_SET_PDEATHSIG, libc::EINVAL)], "parent death");
}

#[test]
fn a_server_that_others_could_look_into_does_not_start() {
    refused(HELLO, &[Missing::prctl(libc::PR_SET_DUMPABLE, libc::EINVAL)], "dumpable");
}

#[test]
fn a_host_that_keeps_capabilities_does_not_start() {
    refused(HELLO, &[Missing::call(libc::SYS_capset, libc::EPERM)], "capabilities");
}

#[test]
fn without_resource_limits_nothing_starts() {
    let setting = Missing::when(libc::SYS_prlimit64, 2, SeccompCmpOp::Ne, 0, libc::EPERM);
    refused(HELLO, &[setting], "limits");
}

#[test]
fn a_library_that_cannot_be_sealed_is_not_loaded() {
    let sealing = Missing::when(libc::SYS_fcntl, 1, SeccompCmpOp::Eq, libc::F_ADD_SEALS as u64, libc::EINVAL);
    let output = setup(HELLO, &[sealing]).run("tools", &[]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(text(&output.stdout), "");
    assert!(text(&output.stderr).contains("libhello.so"), "{output:?}");
    starts(HELLO);
}

#[test]
fn required_namespaces_that_are_missing_stop_the_start() {
    let reason = refused(REQUIRED, &user_namespaces(), "user namespace");
    assert!(reason.contains("user.max_user_namespaces"), "what to do: {reason}");
}

#[test]
fn without_namespaces_nothing_that_runs_programs_starts() {
    refused(RUNS, &user_namespaces(), "user namespace");
}

/// A call that starts only what it needs does without the rest, and is refused what it comes to need.
#[test]
fn what_is_started_on_demand_is_refused_on_demand() {
    let both = format!("{RUNS}\n{HELLO}");
    let pipes = Missing::call(libc::SYS_mknodat, libc::EPERM);
    for (missing, layer) in [(user_namespaces(), "user namespace"), (vec![pipes], "trial")] {
        let call = |tool: &str, arguments: &str| {
            let output = setup(&both, &missing).run("call", &["--only-needed", tool, arguments]);
            (output.status.code(), text(&output.stdout) + &text(&output.stderr))
        };
        let (code, said) = call("execute_code", r#"{"code": "print(6 * 7)"}"#);
        assert_eq!((code, said.contains("42")), (Some(5), false), "{said}");
        assert!(said.contains(layer), "{said}");
        let (code, said) = call("hello", r#"{"name": "Ada"}"#);
        assert_eq!((code, said.contains("Ada")), (Some(0), true), "{said}");
    }
    let output =
        setup(&both, &[]).run("call", &["--only-needed", "execute_code", r#"{"code": "print(6 * 7)"}"#]);
    assert!(text(&output.stdout).contains("42"), "{output:?}");
}

/// Not a layer is missing, but something that honest work needs: what a jail is like is tried and not believed.
#[test]
fn a_jail_that_is_not_as_it_should_be_runs_nothing() {
    let pipes = Missing::call(libc::SYS_mknodat, libc::EPERM);
    let reason = refused(RUNS, std::slice::from_ref(&pipes), "trial");
    assert!(reason.contains("a named pipe in scratch space: EPERM, expected possible"), "{reason}");
    let (code, findings) = doctor(HELLO, &[pipes]);
    assert_eq!((code, &findings["self_test"]["holds"]), (Some(1), &false.into()), "{findings:#}");
}

#[test]
fn doctor_shows_every_attempt_of_the_self_test() {
    let (code, findings) = doctor(HELLO, &[]);
    assert_eq!((code, &findings["self_test"]["holds"]), (Some(0), &true.into()), "{findings:#}");
    let attempts = findings["self_test"]["findings"].as_array().unwrap();
    let shown = text(&setup(HELLO, &[]).run("doctor", &[]).stdout);
    for attempt in attempts {
        assert!(attempt["seen"].is_string() && attempt["expected"].is_string(), "{attempt}");
        assert!(shown.contains(attempt["probe"].as_str().unwrap()), "{attempt}");
    }
    assert!(shown.contains(", 0 not as expected"), "{shown}");

    let (_, findings) = doctor(HELLO, &user_namespaces());
    assert!(findings["self_test"]["error"].as_str().unwrap().contains("`user namespace`"), "{findings:#}");
}

/// What `doctor` says about a configuration and a kernel.
fn doctor(config: &str, missing: &[Missing]) -> (Option<i32>, Value) {
    let output = setup(config, missing).run("doctor", &["--json"]);
    let findings = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
    (output.status.code(), findings)
}

/// How a layer stands in the survey.
#[track_caller]
fn layer<'a>(findings: &'a Value, name: &str) -> &'a Value {
    let layers = findings["layers"].as_array().unwrap();
    layers
        .iter()
        .find(|layer| layer["name"] == name)
        .unwrap_or_else(|| panic!("no layer `{name}`: {findings:#}"))
}

#[test]
fn doctor_tells_what_is_missing_and_fails() {
    let (code, findings) = doctor(HELLO, &[]);
    assert_eq!(code, Some(0), "{findings:#}");
    assert!(layer(&findings, "landlock")["status"]["active"].is_object(), "{findings:#}");

    let landlock = Missing::call(libc::SYS_landlock_create_ruleset, libc::ENOSYS);
    let (code, findings) = doctor(HELLO, std::slice::from_ref(&landlock));
    assert_eq!(code, Some(1), "{findings:#}");
    let found = layer(&findings, "landlock");
    assert!(found["status"]["missing"].is_object(), "{found:#}");
    assert!(!found["how"].as_str().unwrap().is_empty(), "{found:#}");
    assert_eq!((&findings["healthy"], &findings["server"]["starts"]), (&false.into(), &false.into()));
    assert!(findings["server"]["error"].as_str().unwrap().contains("`landlock`"), "{findings:#}");

    let output = setup(HELLO, &[landlock]).run("doctor", &[]);
    assert_eq!(output.status.code(), Some(1));
    let shown = text(&output.stdout);
    assert!(shown.lines().any(|line| line.starts_with("REQUIRED") && line.contains("landlock")), "{shown}");
    assert!(shown.contains("the server does not start"), "{shown}");
}

#[test]
fn doctor_tells_that_hosts_lack_namespaces() {
    let (_, findings) = doctor(HELLO, &user_namespaces());
    assert!(layer(&findings, "user namespace")["status"]["missing"].is_object(), "{findings:#}");
    // Hosts may do without, unless the operator says otherwise; then it is said where the weakness is.
    let jail = &findings["server"]["plugins"][0]["jail"];
    assert_eq!(jail["isolation"], "landlock", "{findings:#}");
    assert!(jail["gaps"][0].as_str().unwrap().contains("visible"), "{findings:#}");

    let (code, findings) = doctor(REQUIRED, &user_namespaces());
    assert_eq!(code, Some(1), "{findings:#}");
    assert_eq!(findings["server"]["starts"], false, "{findings:#}");
}
