//! What somebody without the key does to the files is found; the honest files are good.

use rusqlite::Connection;

use super::*;
use crate::audit::chain::{self, Checkpoint, End, hex};

/// Records of the audits here: more than one checkpoint's worth.
const RECORDS: u64 = 600;

fn full(format: AuditFormat) -> Ground {
    let ground = Ground::new(format);
    let mut store = ground.store();
    for first in (0..RECORDS).step_by(50) {
        append(&mut store, &bodies(first..first + 50));
    }
    ground.assert_good(RECORDS);
    ground
}

fn sql(ground: &Ground, statement: &str) {
    let connection = Connection::open(ground.path()).unwrap();
    connection.execute_batch(statement).unwrap();
}

/// Rewrites the lines of a file.
fn lines(ground: &Ground, change: impl FnOnce(&mut Vec<String>)) {
    let text = std::fs::read_to_string(ground.path()).unwrap();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    change(&mut lines);
    std::fs::write(ground.path(), lines.join("\n") + "\n").unwrap();
}

/// Where the line of a record is.
fn at(lines: &[String], seq: u64) -> usize {
    let place = format!(",\"seq\":{seq},\"hash\"");
    lines.iter().position(|line| line.contains(&place)).unwrap()
}

#[test]
fn a_changed_record_is_found() {
    let ground = full(AuditFormat::Sqlite);
    sql(&ground, "UPDATE records SET text = replace(text, 'denied', 'ok') WHERE seq = 301");
    ground.assert_bad("record 301 was changed");
    assert_eq!(ground.verify().findings.len(), 2, "one change is found in the chain and in its column");

    let ground = full(AuditFormat::Jsonl);
    lines(&ground, |lines| {
        let at = at(lines, 301);
        lines[at] = lines[at].replace("denied", "ok");
    });
    ground.assert_bad("record 301 was changed");
    assert_eq!(ground.verify().findings.len(), 1);
}

#[test]
fn a_column_that_says_something_else_is_found() {
    let ground = full(AuditFormat::Sqlite);
    sql(&ground, "UPDATE records SET outcome = 'ok' WHERE seq = 301");
    ground.assert_bad("record 301: the columns");
}

#[test]
fn dropped_records_are_found() {
    let ground = full(AuditFormat::Sqlite);
    sql(&ground, "DELETE FROM records WHERE seq BETWEEN 10 AND 12");
    ground.assert_bad("records 10 to 12 are missing");
    sql(&ground, "UPDATE records SET seq = seq - 3 WHERE seq > 12");
    ground.assert_bad("record 10 was changed");

    let ground = full(AuditFormat::Jsonl);
    lines(&ground, |lines| {
        lines.remove(at(lines, 10));
    });
    ground.assert_bad("record 10 is missing");
}

#[test]
fn the_first_records_do_not_pass_for_retired_ones() {
    let ground = full(AuditFormat::Sqlite);
    sql(
        &ground,
        "DELETE FROM records WHERE seq <= 256;
         INSERT OR REPLACE INTO checkpoints SELECT -1, text FROM checkpoints WHERE place = 256 OR place > 256 LIMIT 1",
    );
    ground.assert_bad("the beginning of the chain");
}

#[test]
fn reordered_records_are_found() {
    let ground = full(AuditFormat::Sqlite);
    sql(
        &ground,
        "UPDATE records SET seq = -1 WHERE seq = 20; UPDATE records SET seq = 20 WHERE seq = 21;
         UPDATE records SET seq = 21 WHERE seq = -1",
    );
    ground.assert_bad("record 20 was changed");

    let ground = full(AuditFormat::Jsonl);
    lines(&ground, |lines| {
        let at = at(lines, 20);
        lines.swap(at, at + 1);
    });
    ground.assert_bad("out of place");
}

#[test]
fn a_chain_that_was_computed_anew_lacks_its_signatures() {
    let ground = full(AuditFormat::Sqlite);
    let connection = Connection::open(ground.path()).unwrap();
    let mut select =
        connection.prepare("SELECT seq, text, hash FROM records WHERE seq >= 299 ORDER BY seq").unwrap();
    let rows = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap();
    let rows: Vec<(i64, String, [u8; 32])> = rows.map(Result::unwrap).collect();
    let mut end = End { seq: 299, hash: rows[0].2 };
    for (seq, text, _) in &rows[1..] {
        let text = text.replace("denied", "ok");
        let seq_after = end.seq + 1;
        end = End { seq: seq_after, hash: chain::next(&end.hash, seq_after, text.as_bytes()) };
        let outcome = "ok";
        connection
            .execute(
                "UPDATE records SET text = ?1, hash = ?2, outcome = ?3 WHERE seq = ?4",
                rusqlite::params![text, &end.hash[..], outcome, seq],
            )
            .unwrap();
    }
    ground.assert_bad("was signed of another record 600");
    // Nor does it help to leave the statements out.
    sql(&ground, "DELETE FROM checkpoints WHERE place >= 300 OR place = -2");
    ground.assert_bad("the end kept beside the records was signed of another record");
    std::fs::remove_file(head::path(&ground.path())).unwrap();
    ground.assert_bad("is gone");
}

#[test]
fn an_end_that_was_cut_off_is_found() {
    for format in FORMATS {
        let ground = full(format);
        match format {
            AuditFormat::Sqlite => sql(&ground, "DELETE FROM records WHERE seq > 590"),
            AuditFormat::Jsonl => lines(&ground, |lines| lines.truncate(at(lines, 591))),
        }
        ground.assert_bad("the end is cut off");
        // The server notices, too, and says so in the chain itself.
        let mut cuts = Vec::new();
        let mut told = |cut: store::Cut| {
            cuts.push((cut.expected.seq, cut.found.seq));
            vec![Body {
                text: r#"{"time_ms":1,"event":"cut","expected_seq":600,"found_seq":590}"#.into(),
                fields: Fields { time_ms: 1, event: "cut".into(), ..Fields::default() },
            }]
        };
        ground.store().append(&bodies(0..1), &mut told).unwrap();
        assert_eq!(cuts, [(600, 590)]);
        ground.assert_bad("record 591: the server found records missing");
    }
}

#[test]
fn an_older_copy_is_found_by_the_end_beside_it() {
    for format in FORMATS {
        let ground = full(format);
        let old = tempfile::tempdir().unwrap();
        copy(ground.folder.path(), old.path());
        append(&mut ground.store(), &bodies(600..610));
        let head = std::fs::read(head::path(&ground.path())).unwrap();
        std::fs::remove_dir_all(ground.folder.path()).unwrap();
        std::fs::create_dir(ground.folder.path()).unwrap();
        copy(old.path(), ground.folder.path());
        ground.assert_good(600);
        std::fs::write(head::path(&ground.path()), head).unwrap();
        ground.assert_bad("the end is cut off");
    }
}

#[test]
fn checkpoints_that_are_kept_elsewhere_find_what_was_done_with_the_key() {
    for format in FORMATS {
        let ground = full(format);
        let mut reader = query::Reader::open(&ground.path(), format.into()).unwrap();
        let checkpoints = reader.checkpoints().unwrap();
        assert!(checkpoints.len() >= 4, "base, two marks and the end: {checkpoints:?}");
        let trust = Trust { checkpoints, public_key: None };
        assert!(reader.verify(&trust).unwrap().is_good());
        // Whoever has the key writes another story.
        for entry in std::fs::read_dir(ground.folder.path()).unwrap().map(Result::unwrap) {
            if entry.path() != beside(&ground.path(), ".key") {
                std::fs::remove_file(entry.path()).unwrap();
            }
        }
        append(&mut ground.store(), &bodies(0..700));
        ground.assert_good(700);
        let report = verify(&ground.path(), Some(format), &trust).unwrap();
        assert!(
            report.findings.iter().any(|finding| finding.contains("belongs to another chain")),
            "{report:#?}"
        );
    }
}

#[test]
fn the_audit_of_another_server_is_found() {
    for format in FORMATS {
        let (ground, other) = (full(format), full(format));
        std::fs::copy(beside(&other.path(), ".key"), beside(&ground.path(), ".key")).unwrap();
        ground.assert_bad("was signed by another key");

        // The same key, another chain: the end beside the records belongs to the one before.
        let (ground, other) = (full(format), Ground::new(format));
        std::fs::copy(beside(&ground.path(), ".key"), beside(&other.path(), ".key")).unwrap();
        append(&mut other.store(), &bodies(0..600));
        let head = std::fs::read(head::path(&ground.path())).unwrap();
        std::fs::write(head::path(&other.path()), head).unwrap();
        other.assert_bad("belongs to another chain");
    }
}

#[test]
fn a_replaced_checkpoint_is_found() {
    let changed = "was not signed by this audit's key, or was changed";
    let other_key = hex(ed25519_dalek::SigningKey::from_bytes(&[7; 32]).verifying_key().as_bytes());
    for (what, value, words) in [
        ("signature", hex(&[7; 64]), changed),
        ("hash", hex(&[7; 32]), changed),
        ("chain", hex(&[7; 16]), changed),
        // Which key it was is what people look at.
        ("public_key", hex(&[7; 31]), changed),
        ("public_key", other_key, "was signed by another key"),
    ] {
        let ground = full(AuditFormat::Sqlite);
        let connection = Connection::open(ground.path()).unwrap();
        let (place, text): (i64, String) = connection
            .query_row("SELECT place, text FROM checkpoints WHERE place > 0 LIMIT 1", [], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .unwrap();
        let mut mark: serde_json::Value = serde_json::from_str(&text).unwrap();
        mark[what] = value.into();
        connection
            .execute(
                "UPDATE checkpoints SET text = ?1 WHERE place = ?2",
                rusqlite::params![mark.to_string(), place],
            )
            .unwrap();
        ground.assert_bad(words);
    }
    let ground = full(AuditFormat::Sqlite);
    let path = head::path(&ground.path());
    let mut head: Checkpoint = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    head.seq = 10;
    std::fs::write(&path, serde_json::to_vec(&head).unwrap()).unwrap();
    ground.assert_bad(changed);
}

#[test]
fn files_that_are_something_else_are_refused() {
    for format in FORMATS {
        let ground = Ground::new(format);
        std::fs::write(ground.path(), "something else\n").unwrap();
        let key = Arc::new(Key::open(&beside(&ground.path(), ".key")).unwrap());
        assert!(store::open(&ground.config, &ground.path(), key).is_err());
        assert_eq!(std::fs::read_to_string(ground.path()).unwrap(), "something else\n");
    }
    let ground = Ground::new(AuditFormat::Sqlite);
    sql(&ground, "CREATE TABLE t(x)");
    let key = Arc::new(Key::open(&beside(&ground.path(), ".key")).unwrap());
    assert!(
        store::open(&ground.config, &ground.path(), key)
            .is_err_and(|error| error.to_string().contains("no audit"))
    );
}
