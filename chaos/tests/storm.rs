//! A short storm over the staged programs: whatever strikes, every claim holds.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Whether a user of this machine may have namespaces, without which nothing can be tried.
fn has_namespaces() -> bool {
    let tried = Command::new("unshare")
        .args([
            "--user",
            "--map-root-user",
            "--mount",
            "--pid",
            "--net",
            "--ipc",
            "--fork",
            "--mount-proc",
            "true",
        ])
        .stderr(Stdio::null())
        .status();
    tried.is_ok_and(|status| status.success())
}

fn stage() -> PathBuf {
    let default = || Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("target").join("stage");
    let stage = std::env::var_os("LLMC_STAGE").map_or_else(default, PathBuf::from);
    assert!(
        stage.join("bin/llmc").exists(),
        "`{}` holds no installation; run `cargo xtask test`",
        stage.display()
    );
    stage
}

#[test]
fn every_claim_holds_in_a_short_storm() {
    if !has_namespaces() {
        println!("NOT CHECKED: chaos, for which the kernel must give a user namespaces");
        return;
    }
    let parts = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_llmc-chaos"))
        .arg("--stage")
        .arg(stage())
        .arg("--parts")
        .arg(parts.path())
        // A machine that runs all tests at once may be slow; a call that hangs is noticed all the same.
        .args(["chaos", "--minutes", "0.5", "--seed", "7", "--servers", "1", "--http-clients", "2"])
        .args(["--slack-ms", "45000"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{}: {said}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    let part = llmc_proof::Part::read(&parts.path().join("chaos.json")).unwrap();
    assert!(part.held() && part.claims.len() > 12, "{:#?}", part.claims);
    let struck: u64 = part.tables[0].rows.iter().map(|row| row[1].parse::<u64>().unwrap()).sum();
    assert!(struck > 10, "{:#?}", part.tables[0]);
}
