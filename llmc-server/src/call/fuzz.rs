//! Doors for fuzzers: schemas of plugins, and texts that clients hand back.

use std::sync::LazyLock;
use std::time::Duration;

use serde_json::Value;

use super::schema::Schema;
use super::seal::{Broken, Seal};

/// What a sealed text is bound to, and something else.
const BOUND: &[u8] = b"caller, tool, arguments";
const OTHER: &[u8] = b"another caller";
const LIFETIME: Duration = Duration::from_secs(3600);

static SEAL: LazyLock<Seal> = LazyLock::new(|| Seal::open(None).expect("the kernel gives random bytes"));
static SEALED: LazyLock<String> =
    LazyLock::new(|| SEAL.seal(&"content", BOUND, LIFETIME).expect("the kernel gives random bytes"));

/// A schema, a line, and arguments: any schema is refused or decides, and what it lets pass is written as what it was.
pub fn schema(text: &str) {
    let (schema, arguments) = text.split_once('\n').unwrap_or((text, "{}"));
    let Ok(schema) = serde_json::from_str::<Value>(schema) else { return };
    let Ok(compiled) = Schema::compile(&schema) else { return };
    let Ok(arguments) = serde_json::from_str::<Value>(arguments) else { return };
    match compiled.arguments(&arguments) {
        Ok(bytes) => assert_eq!(serde_json::from_slice::<Value>(&bytes).ok(), Some(arguments)),
        Err(error) => assert!(!error.to_string().is_empty(), "a refusal without a word"),
    }
}

/// A text that was handed back: nothing but what was sealed opens, and that for what it is bound to alone. The first
/// byte changes the sealed text at the place that the second one names.
pub fn seal(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    for binding in [BOUND, OTHER] {
        assert!(matches!(SEAL.unseal::<Value>(&text, binding), Err(Broken::Forged)), "{text:?} was opened");
        assert_eq!(SEAL.read_mark::<Value>(&text, binding), None, "{text:?} passed for a mark");
    }
    let [change, place, ..] = *input else { return };
    let mut forged = SEALED.clone().into_bytes();
    let place = usize::from(place) * forged.len() / 256;
    forged[place] ^= change;
    let Ok(forged) = String::from_utf8(forged) else { return };
    if forged != *SEALED {
        assert!(matches!(SEAL.unseal::<Value>(&forged, BOUND), Err(Broken::Forged)), "{forged:?} was opened");
    }
    assert!(matches!(SEAL.unseal::<Value>(&SEALED, OTHER), Err(Broken::Forged)), "it was bound to another");
}
