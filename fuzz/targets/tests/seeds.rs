//! Seeds are what their names say: one that is refused at its first byte would teach a fuzzer nothing.

#![expect(clippy::unwrap_used, reason = "a surprise ends a test where it happens")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use llmc_fuzz::TARGETS;
use llmc_rules::shipped_names;
use llmc_wire::{Decoder, host, runner};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Fewest seeds of a target.
const LEAST: usize = 10;

/// Whether a payload is a message of one kind.
type IsMessage = fn(&[u8]) -> bool;

/// What the target accepts as a payload.
const MAX_PAYLOAD_BYTES: usize = 4096;

fn folder(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("corpus").join(target)
}

fn names(target: &str) -> Vec<String> {
    let entries = fs::read_dir(folder(target)).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn seed(target: &str, name: &str) -> Vec<u8> {
    fs::read(folder(target).join(name)).unwrap()
}

/// The payloads of whole frames, and whether nothing else stands there.
fn payloads(mut bytes: &[u8]) -> (Vec<Vec<u8>>, bool) {
    let mut decoder = Decoder::new(MAX_PAYLOAD_BYTES);
    let mut payloads = Vec::new();
    let mut whole = 0;
    let all = bytes.len();
    while !bytes.is_empty() {
        let space = decoder.space();
        let count = bytes.len().min(space.len());
        space[..count].copy_from_slice(&bytes[..count]);
        decoder.filled(count);
        bytes = &bytes[count..];
        while let Ok(Some((_, payload))) = decoder.next_frame() {
            whole += llmc_wire::frame::HEADER_BYTES + payload.len();
            payloads.push(payload.to_vec());
        }
    }
    (payloads, whole == all)
}

fn is<T: DeserializeOwned>(payload: &[u8]) -> bool {
    serde_json::from_slice::<T>(payload).is_ok()
}

#[test]
fn every_target_has_many() {
    for (target, _) in TARGETS {
        let count = names(target).len();
        assert!(count >= LEAST, "`{target}` has {count} seeds");
    }
}

#[test]
fn frames_hold_the_messages_of_their_names() {
    let messages: [(&str, IsMessage); 11] = [
        ("host-init", is::<host::Init>),
        ("host-ready", is::<host::Ready>),
        ("host-load-failed", is::<host::LoadFailed>),
        ("host-failure", is::<host::Failure>),
        ("runner-init", is::<runner::Init>),
        ("runner-hello", is::<runner::Hello>),
        ("runner-hello-without-jails", is::<runner::Hello>),
        ("runner-spec", is::<runner::Spec>),
        ("runner-spec-with-a-terminal", is::<runner::Spec>),
        ("runner-refused", is::<runner::Refused>),
        ("runner-outcome", is::<runner::Outcome>),
    ];
    for (name, is_message) in messages {
        let (payloads, is_all) = payloads(&seed("frames", name));
        assert!(is_all && payloads.len() == 1 && is_message(&payloads[0]), "{name}");
    }
    for (name, count) in [("conversation-of-a-call", 8), ("conversation-of-a-run", 4)] {
        let (payloads, is_all) = payloads(&seed("frames", name));
        assert!(is_all && payloads.len() == count, "{name}: {}", payloads.len());
    }
    assert_eq!(payloads(&seed("frames", "one-byte-over-the-limit")), (Vec::new(), false));
}

#[test]
fn manifests_of_plugins_are_manifests() {
    let names = names("manifest");
    let real: Vec<&String> = names.iter().filter(|name| name.starts_with("of-")).collect();
    assert!(real.len() >= 4, "{real:?}");
    for name in real {
        let manifest: Value = serde_json::from_slice(&seed("manifest", name)).unwrap();
        assert!(manifest["items"][0]["input_schema"].is_object(), "{name}");
    }
}

#[test]
fn rules_begin_with_the_set_of_their_names() {
    let sets: Vec<&str> = shipped_names().collect();
    let mut seen = BTreeSet::new();
    for name in names("rules") {
        let Some(set) = sets.iter().position(|set| name.starts_with(&format!("{set}-"))) else { continue };
        assert_eq!(usize::from(seed("rules", &name)[0] - b'0'), set, "{name}");
        seen.insert(set);
    }
    assert_eq!(seen.len(), sets.len(), "every set has a seed");
}

#[test]
fn lines_of_a_client_are_json_where_their_name_does_not_deny_it() {
    for name in ["session", "stateless", "resources-and-prompts", "answers-of-the-client", "batch"] {
        let text = String::from_utf8(seed("messages", name)).unwrap();
        assert!(text.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()), "{name}");
    }
}
