//! What is too old or too much is taken out, and the chain can still be checked.

use std::time::Duration;

use super::*;
use crate::audit::record::Event;
use crate::audit::store::Retention;
use crate::audit::writer::Writer;

#[test]
fn the_oldest_go_when_there_are_too_many_bytes() {
    for format in FORMATS {
        let mut ground = Ground::new(format);
        ground.config.max_bytes = 256 << 10;
        let mut store = ground.store();
        let retention = Retention { keep_ms: None, max_bytes: Some(ground.config.max_bytes) };
        let mut pruned = 0;
        for first in (0..6000).step_by(200) {
            append(&mut store, &bodies(first..first + 200));
            if let Some(out) = store.prune(&retention, 0).unwrap() {
                pruned += out.records;
                let report = ground.verify();
                assert!(report.is_good() && report.first_seq == out.before_seq, "{report:#?}");
            }
        }
        ground.assert_good(6000 - pruned);
        assert!(pruned > 3000, "{format:?}: {pruned}");
        let held = ground.bytes();
        assert!(held < 3 * ground.config.max_bytes, "{format:?}: {held} bytes");
        let rows = ground.rows(&query::Filter { limit: 10_000, ..Default::default() });
        assert_eq!((rows.len() as u64, rows.last().unwrap().seq), (6000 - pruned, 6000));
    }
}

/// However fast records come, and not once a minute only.
#[test]
fn there_are_never_many_more_bytes_than_there_may_be() {
    const BATCH: usize = 200;
    for format in FORMATS {
        let mut ground = Ground::new(format);
        ground.config.max_bytes = 256 << 10;
        let writer = Writer::start(&ground.config, &ground.path(), Arc::default()).unwrap();
        for _ in 0..50 {
            let mut answers = Vec::new();
            for number in 0..BATCH {
                let event = Event::Lost { records: number as u64 };
                answers.extend(writer.put(event.into(), None, number + 1 == BATCH));
            }
            assert!(answers.pop().unwrap().blocking_recv().unwrap());
        }
        writer.close(Duration::from_secs(10));
        let held = ground.bytes();
        assert!(held < 2 * ground.config.max_bytes, "{format:?}: {held} bytes");
        let report = ground.verify();
        assert!(report.is_good() && report.first_seq > 5_000, "{format:?}: {report:#?}");
    }
}

#[test]
fn the_old_go_and_the_young_stay() {
    let ground = Ground::new(AuditFormat::Sqlite);
    let mut store = ground.store();
    append(&mut store, &bodies(0..1000));
    let retention = Retention { keep_ms: Some(500), max_bytes: None };
    assert_eq!(store.prune(&retention, 200).unwrap(), None, "nothing is that old");
    let pruned = store.prune(&retention, 1000).unwrap().unwrap();
    assert_eq!((pruned.records, pruned.before_seq), (500, 501));
    ground.assert_good(500);
    let pruned = store.prune(&retention, 1_000_000).unwrap().unwrap();
    assert_eq!(pruned.records, 499, "the last one stays");
    append(&mut store, &bodies(0..10));
    ground.assert_good(11);
}

#[test]
fn whole_files_go_when_they_are_old() {
    let ground = Ground::new(AuditFormat::Jsonl);
    let mut config = ground.config.clone();
    config.max_bytes = 1;
    let key = Arc::new(Key::open(&beside(&ground.path(), ".key")).unwrap());
    let mut store = store::open(&config, &ground.path(), key).unwrap();
    for first in (0..2000).step_by(100) {
        append(&mut store, &bodies(first..first + 100));
    }
    let retention = Retention { keep_ms: Some(60_000), max_bytes: None };
    assert_eq!(store.prune(&retention, now_ms()).unwrap(), None);
    let pruned = store.prune(&retention, now_ms() + 120_000).unwrap().unwrap();
    ground.assert_good(2000 - pruned.records);
    assert!(pruned.records > 500);
}

/// The kill test meets this moment now and then.
#[test]
fn a_file_that_was_just_set_aside_is_all_there_is() {
    let ground = Ground::new(AuditFormat::Jsonl);
    append(&mut ground.store(), &bodies(0..10));
    let aside = beside(&ground.path(), &format!(".{:016}", 10));
    std::fs::rename(ground.path(), &aside).unwrap();
    ground.assert_good(10);
    assert_eq!(ground.rows(&query::Filter { limit: 100, ..Default::default() }).len(), 10);
    append(&mut ground.store(), &bodies(10..20));
    ground.assert_good(20);
    // Without either there is no audit, and without the newer one its records are missed.
    std::fs::remove_file(ground.path()).unwrap();
    ground.assert_bad("10");
    std::fs::remove_file(aside).unwrap();
    assert!(verify(&ground.path(), ground.config.format, &Trust::default()).is_err());
}
