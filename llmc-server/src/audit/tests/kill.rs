//! SIGKILL at any moment: the chain stays whole, and nothing that was acknowledged is lost.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::time::Duration;

use super::*;

/// Kills for each form.
const ROUNDS: u32 = 200;

/// Says to a child that it is the writer, and of which audit.
const FOLDER: &str = "LLMC_TEST_AUDIT_WRITER";

/// Says that a commit is on the disk; the test harness never writes this byte.
const ACKNOWLEDGED: u8 = 1;

/// Records of one commit.
const BATCH: u64 = 7;

/// The child: writes and acknowledges until it is killed. Without the variable it has nothing to write.
#[test]
#[ignore = "the writer of the kill loop, which starts it"]
fn writer() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let folder = PathBuf::from(folder);
    let format = if folder.join("is-jsonl").exists() { AuditFormat::Jsonl } else { AuditFormat::Sqlite };
    // Small files, so that it is also killed while they are set aside and taken out.
    let config = config::Audit {
        path: Some(folder.join("audit")),
        format: Some(format),
        max_bytes: 256 << 10,
        ..Default::default()
    };
    let key = Arc::new(Key::open(&beside(&folder.join("audit"), ".key")).unwrap());
    let mut store = store::open(&config, &folder.join("audit"), key).unwrap();
    let mut out = std::io::stdout().lock();
    let retention = store::Retention { keep_ms: None, max_bytes: Some(config.max_bytes) };
    for n in (0_u64..).step_by(usize::try_from(BATCH).unwrap()) {
        // Says which was missing by failing: a kill must not look like an attack.
        append(&mut store, &bodies(n..n + BATCH));
        out.write_all(&[ACKNOWLEDGED]).unwrap();
        out.flush().unwrap();
        if n % (BATCH * 16) == 0 {
            store.prune(&retention, now_ms()).unwrap();
        }
    }
}

fn rounds(format: AuditFormat) {
    let ground = Ground::new(format);
    let folder = ground.folder.path();
    if format == AuditFormat::Jsonl {
        std::fs::write(folder.join("is-jsonl"), "").unwrap();
    }
    let (mut acknowledged, mut seed) = (0, 88_172_645_463_325_252_u64);
    for round in 0..ROUNDS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "audit::tests::kill::writer", "--ignored", "--nocapture", "--test-threads=1"])
            .env(FOLDER, folder)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = child.stdout.take().unwrap();
        let (begun, has_begun) = channel();
        let counted = std::thread::spawn(move || {
            let mut reader = BufReader::new(stdout);
            let mut acknowledged = 0;
            while let Ok(bytes @ [_, ..]) = reader.fill_buf() {
                let more = bytes.iter().filter(|byte| **byte == ACKNOWLEDGED).count() as u64;
                let length = bytes.len();
                reader.consume(length);
                if acknowledged == 0 && more > 0 {
                    // Nobody waits for it in every other round.
                    let _ = begun.send(());
                }
                acknowledged += more;
            }
            acknowledged
        });
        // xorshift64: any moment of the start in some rounds; of commits, and of what is between them, in the others.
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        if round % 2 == 1 {
            // It ends with the writer.
            has_begun.recv().unwrap();
        }
        std::thread::sleep(Duration::from_micros(seed % 20_000));
        child.kill().unwrap();
        let output = child.wait_with_output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(!errors.contains("panicked"), "round {round}: {errors}");
        acknowledged += counted.join().unwrap();
        if acknowledged == 0 && !ground.path().exists() {
            continue;
        }
        let report = match verify(&ground.path(), ground.config.format, &Trust::default()) {
            Ok(report) => report,
            // It was killed while it made the tables.
            Err(_) if acknowledged == 0 => continue,
            Err(error) => panic!("round {round}: {error}"),
        };
        assert!(report.is_good() || report.last_seq == 0, "round {round}: {report:#?}");
        assert!(
            report.last_seq >= acknowledged * BATCH,
            "round {round}: {acknowledged} commits were acknowledged, the chain ends at {}",
            report.last_seq
        );
    }
    assert!(acknowledged >= u64::from(ROUNDS / 2), "the writer hardly wrote anything: {acknowledged}");
    // What a kill left is gone on with.
    append(&mut ground.store(), &bodies(0..1));
    assert!(ground.verify().is_good());
}

#[test]
fn sqlite_stays_whole() {
    rounds(AuditFormat::Sqlite);
}

#[test]
fn jsonl_stays_whole() {
    rounds(AuditFormat::Jsonl);
}
