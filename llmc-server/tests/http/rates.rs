//! Too many requests, and who is told to wait for them.

use std::io::Write as _;
use std::time::Duration;

use serde_json::{Value, json};

use crate::client::{Http, call, configured, create_token, open, read_reply};

#[test]
fn more_than_the_rate_waits_and_says_how_long() {
    // A burst of ten, then one a second.
    let http = Http::start(open("requests_per_minute = 60"));
    let request =
        |more: &str| http.raw(http.request(&call("stat", json!({"path": "work:a.txt"})), more)).unwrap();
    let replies: Vec<_> = (0..30).map(|_| request("")).collect();
    let served = replies.iter().filter(|reply| reply.status == 200).count();
    assert!((10..30).contains(&served), "{served} served");
    let refused = replies.iter().find(|reply| reply.status == 429).unwrap();
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
    // What a client says about its address changes nothing.
    let forwarded = "X-Forwarded-For: 192.0.2.1\r\nForwarded: for=192.0.2.1\r\nX-Real-IP: 192.0.2.1\r\n";
    let forged: Vec<_> = (0..30).map(|_| request(forwarded).status).collect();
    assert!(forged.contains(&429), "{forged:?}");
    assert_eq!(http.get("/healthz").status, 200, "what asks for health is not limited");
    std::thread::sleep(Duration::from_secs(wait));
    http.works();
    http.server.stop();
}

#[test]
fn one_token_does_not_use_up_the_rate_of_another() {
    let setup = configured("tokens = 'tokens.json', requests_per_minute = 60", "");
    let (greedy, modest) = (create_token(&setup, &["greedy"]), create_token(&setup, &["modest"]));
    let mut http = Http { token: Some(greedy), ..Http::start(setup) };
    let statuses: Vec<_> = (0..30).map(|_| http.call("stat", json!({"path": "work:a.txt"})).status).collect();
    assert!(statuses.contains(&429), "{statuses:?}");
    http.token = Some(modest);
    http.works();
    http.server.stop();
}

#[test]
fn guessing_is_slowed_down_and_holders_of_tokens_are_not() {
    let mut http = Http::with_token("failures_per_minute = 12", "[audit]\npath = 'audit.jsonl'\n");
    let good = http.token.replace("llmc_wrong".into());
    let statuses: Vec<_> = (0..40).map(|_| http.call("stat", json!({"path": "work:a.txt"})).status).collect();
    assert_eq!(statuses[0], 401);
    assert!(statuses.iter().all(|status| matches!(status, 401 | 429)), "{statuses:?}");
    let told = statuses.iter().filter(|status| **status == 401).count();
    assert!((10..30).contains(&told), "{statuses:?}");
    http.token = good;
    http.works();
    let is_rejected = |record: &&Value| record["outcome"] == "unauthorised";
    // The call that worked comes after them.
    let records = http.server.setup.records(|records| records.iter().any(|record| record["outcome"] == "ok"));
    assert_eq!(
        records.iter().filter(is_rejected).count(),
        told,
        "each that was told is recorded, and no more"
    );
    let audit = std::fs::read_to_string(http.server.setup.audit()).unwrap();
    assert!(audit.contains("\"address\":\"127.0.0.1\"") && !audit.contains("llmc_wrong"), "{audit}");
    http.server.stop();
}

#[test]
fn more_requests_than_places_are_told_to_come_back() {
    let http = Http::start(open("concurrent_requests = 2"));
    let mut slow = [http.connect(), http.connect()];
    for stream in &mut slow {
        stream.write_all(&http.request(&call("stress_sleep", json!({"ms": 3_000})), "")).unwrap();
    }
    std::thread::sleep(Duration::from_millis(500));
    let refused = http.call("stat", json!({"path": "work:a.txt"}));
    assert_eq!(refused.status, 503, "{refused:?}");
    assert!(refused.header("retry-after").is_some(), "{refused:?}");
    for stream in &mut slow {
        assert_eq!(read_reply(stream).unwrap().status, 200);
    }
    http.works();
    http.server.stop();
}
