//! Several writers of one audit, readers beside them, and what happens when it cannot be written.

use std::time::Duration;

use super::*;

#[test]
fn two_writers_make_one_chain() {
    for format in FORMATS {
        let ground = Ground::new(format);
        std::thread::scope(|scope| {
            for writer in 0..2_u64 {
                let mut store = ground.store();
                scope.spawn(move || {
                    for n in 0..40 {
                        append(&mut store, &bodies(writer * 1000 + n..writer * 1000 + n + 2));
                    }
                });
            }
            let reading = scope.spawn(|| {
                for _ in 0..10 {
                    let report = ground.verify();
                    assert!(report.is_good(), "{report:#?}");
                }
            });
            reading.join().unwrap();
        });
        ground.assert_good(160);
    }
}

#[test]
fn queries_find_what_fits() {
    for format in FORMATS {
        let ground = Ground::new(format);
        append(&mut ground.store(), &bodies(0..100));
        let seqs = |filter: query::Filter| ground.rows(&filter).iter().map(|row| row.seq).collect::<Vec<_>>();
        let all = query::Filter { limit: 1000, ..Default::default() };
        assert_eq!(seqs(query::Filter { limit: 3, ..all.clone() }), [98, 99, 100]);
        assert_eq!(seqs(query::Filter { refused: true, ..all.clone() }).len(), 20);
        assert_eq!(seqs(query::Filter { outcome: Some("denied".into()), limit: 2, ..all.clone() }), [91, 96]);
        assert_eq!(seqs(query::Filter { tool: Some("tool_0".into()), ..all.clone() }).len(), 34);
        assert_eq!(
            seqs(query::Filter { since_ms: Some(90), until_ms: Some(92), ..all.clone() }),
            [91, 92, 93]
        );
        assert_eq!(
            seqs(query::Filter { after_seq: Some(10), before_seq: Some(13), ..all.clone() }),
            [11, 12]
        );
        assert_eq!(seqs(query::Filter { text: Some("\"n\":77".into()), ..all.clone() }), [78]);
        assert_eq!(seqs(query::Filter { caller: Some("nobody".into()), ..all }), [0_u64; 0]);
    }
}

#[tokio::test]
async fn calls_wait_for_room_and_nothing_is_lost_when_the_disk_comes_back() {
    let ground = Ground::new(AuditFormat::Sqlite);
    let audit = Audit::open(&ground.config, &Arc::default()).unwrap();
    let room = audit.room(Duration::ZERO).await;
    assert!(audit.allows_calls(&room));
    // Somebody else holds the database, so commits fail.
    let blocker = rusqlite::Connection::open(ground.path()).unwrap();
    blocker.execute_batch("BEGIN IMMEDIATE").unwrap();
    audit.call(Call { tool: "first".into(), ..Call::default() }, room);
    let mut room = audit.room(Duration::ZERO).await;
    while audit.allows_calls(&room) {
        tokio::time::sleep(Duration::from_millis(20)).await;
        room = audit.room(Duration::ZERO).await;
    }
    audit.call(Call { tool: "second".into(), ..Call::default() }, room);
    blocker.execute_batch("ROLLBACK").unwrap();
    let mut room = audit.room(Duration::ZERO).await;
    while !audit.allows_calls(&room) {
        tokio::time::sleep(Duration::from_millis(20)).await;
        room = audit.room(Duration::ZERO).await;
    }
    audit.writer.as_ref().unwrap().close(Duration::from_secs(20));
    let tools: Vec<_> =
        ground.rows(&query::Filter::default()).into_iter().map(|row| row.fields.tool.unwrap()).collect();
    assert_eq!(tools, ["first", "second"]);
    ground.assert_good(2);
}

#[tokio::test]
async fn what_there_is_no_room_for_is_counted() {
    let ground = Ground::new(AuditFormat::Jsonl);
    let mut config = ground.config.clone();
    config.on_failure = OnFailure::Warn;
    let audit = Audit::open(&config, &Arc::default()).unwrap();
    audit.call(Call { tool: "without room".into(), ..Call::default() }, Room::default());
    let room = audit.room(Duration::ZERO).await;
    let written = audit.call(Call { tool: "with room".into(), ..Call::default() }, room);
    assert!(written.is_none(), "nobody waits");
    audit.writer.as_ref().unwrap().close(Duration::from_secs(20));
    let rows = ground.rows(&query::Filter::default());
    let events: Vec<_> = rows.iter().map(|row| row.fields.event.as_str()).collect();
    assert_eq!(events, ["call", "lost"]);
    assert_eq!(rows[1].record["records"], 1);
}

#[tokio::test]
async fn secrets_are_masked_and_so_are_those_of_a_new_configuration() {
    let ground = Ground::new(AuditFormat::Jsonl);
    let secrets = |name: &str| {
        let file = ground.folder.path().join(name);
        std::fs::write(&file, format!("{name}-0123456789")).unwrap();
        let source = config::SecretSource::File(file);
        let config = Config { secrets: [(name.to_owned(), source)].into(), ..Config::default() };
        Arc::new(Secrets::read(&config).unwrap())
    };
    let config = config::Audit { arguments: config::ArgumentsIn::Redacted, ..ground.config.clone() };
    let audit = Audit::open(&config, &secrets("OLD")).unwrap();
    let write = async |text: &str| {
        let arguments = Arguments { value: serde_json::json!({"text": text}), bytes: Vec::new() };
        let room = audit.room(Duration::ZERO).await;
        audit.call(Call { request_id: Some(text.into()), arguments, ..Call::default() }, room);
    };
    write("it is OLD-0123456789").await;
    while ground.rows(&query::Filter::default()).is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    audit.mask(&secrets("NEW"));
    write("it is NEW-0123456789").await;
    audit.writer.as_ref().unwrap().close(Duration::from_secs(20));
    let rows = ground.rows(&query::Filter::default());
    for (row, name) in rows.iter().zip(["OLD", "NEW"]) {
        assert_eq!(row.record["request_id"], format!("it is [secret {name}]"));
        assert_eq!(row.record["arguments"]["text"], format!("it is [secret {name}]"));
    }
    assert_eq!(rows.len(), 2);
}

#[tokio::test]
async fn a_durable_call_is_on_the_disk_when_it_is_answered() {
    let mut ground = Ground::new(AuditFormat::Sqlite);
    ground.config.durability = Durability::Call;
    // Nobody waits for this long.
    ground.config.commit_ms = 3_600_000;
    let audit = Audit::open(&ground.config, &Arc::default()).unwrap();
    for n in 1..=20 {
        let room = audit.room(Duration::ZERO).await;
        let written = audit.call(Call { tool: format!("tool_{n}"), ..Call::default() }, room).unwrap();
        assert!(written.await.unwrap());
        ground.assert_good(n);
    }
}
