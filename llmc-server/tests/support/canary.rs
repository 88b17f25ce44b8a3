//! Secrets that every server of the tests has, and that nothing may ever show: one in its environment, one in a file
//! beside its configuration, one in `[secrets]`. Whatever a server says or writes is searched for them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex};

use aho_corasick::AhoCorasick;
use serde_json::Value;
use tempfile::TempDir;

/// In a configuration: records go to the log.
pub(crate) const NO_AUDIT: &str = "# without an audit";

/// Larger files are not searched whole: what tests write to fill a disk.
const MAX_BYTES: u64 = 64 << 20;

/// The part that all canaries of this run have: 32 hexadecimal digits, from `cargo xtask test`, which searches for it, too.
static CORE: LazyLock<String> = LazyLock::new(|| {
    let own = || {
        let mut bytes = [0; 16];
        rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()).unwrap();
        hex(&bytes)
    };
    std::env::var("LLMC_CANARY").ok().filter(|core| core.len() == 32).unwrap_or_else(own)
});

static SEARCH: LazyLock<AhoCorasick> = LazyLock::new(|| AhoCorasick::new(forms(&CORE)).unwrap());

/// The value of the canary of this kind: with characters that are escaped in JSON and URLs around what is searched for.
pub(crate) fn value(kind: &str) -> String {
    format!("{kind}+/\"\\{}é&?", *CORE)
}

/// Where the canaries of one server are, and its audit.
pub(crate) struct Nest {
    folder: TempDir,
    /// Refusals that the client on stdio was told of, by kind.
    told: Mutex<BTreeMap<String, u64>>,
}

impl Nest {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("canary"), value("file")).unwrap();
        std::fs::write(folder.path().join("granted"), value("granted")).unwrap();
        Self { folder, told: Mutex::default() }
    }

    /// The configuration with a secret and an audit, where it has none of its own and can be read.
    pub(crate) fn configured(&self, text: &str) -> String {
        let Ok(table) = text.parse::<toml::Table>() else { return text.to_owned() };
        // Before the rest, because tests add lines at the end, and without a header, because theirs may have none.
        let mut own = String::new();
        if !table.contains_key("secrets") {
            own += &format!("secrets.CANARY = {{ file = '{}' }}\n", self.path("granted").display());
        }
        // The audit takes the digests of all programs that are started, which costs half a second where they are built
        // without optimisation: only where refusals are what is tested.
        let is_wanted = module_path!().starts_with("security") && !text.contains(NO_AUDIT);
        if is_wanted && !table.contains_key("audit") {
            own += &format!("audit = {{ path = '{}', arguments = 'redacted' }}\n", self.audit().display());
        }
        own + text
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn audit(&self) -> PathBuf {
        self.path("audit.jsonl")
    }

    /// Takes note of a refusal, if a message is one.
    pub(crate) fn hear(&self, message: &Value) {
        let kind = message["result"]["_meta"]["llmc/error"].as_str();
        let unknown =
            message["error"]["message"].as_str().is_some_and(|text| text.starts_with("there is no tool"));
        if let Some(kind) = kind.or(unknown.then_some("unknown_tool")) {
            *self.told.lock().unwrap().entry(kind.to_owned()).or_default() += 1;
        }
    }

    /// Every refusal that the client was told of has a record. To be asked when the server has ended by itself.
    #[track_caller]
    pub(crate) fn check_refusals(&self) {
        // Absent where the test has an audit of its own.
        let Ok(text) = std::fs::read_to_string(self.audit()) else { return };
        let records = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let mut recorded: BTreeMap<String, u64> = BTreeMap::new();
        for record in records.filter(|record| record["event"] == "call" && record["caller"] == "client") {
            *recorded.entry(record["outcome"].as_str().unwrap().to_owned()).or_default() += 1;
        }
        for (kind, told) in self.told.lock().unwrap().iter() {
            let recorded = recorded.get(kind).copied().unwrap_or(0);
            assert!(
                recorded >= *told,
                "{told} calls were refused as `{kind}`, {recorded} of them are in the audit"
            );
        }
    }

    /// No canary is in what the server wrote, here or in its folder.
    #[track_caller]
    pub(crate) fn check_files(&self, folder: &Path) {
        for folder in [self.folder.path(), folder] {
            files(folder, &mut |file| {
                let is_own = file.parent() == Some(self.folder.path())
                    && ["canary", "granted"].contains(&file.file_name().unwrap().to_str().unwrap());
                let is_small = file.metadata().is_ok_and(|metadata| metadata.len() <= MAX_BYTES);
                if !is_own
                    && is_small
                    && let Ok(bytes) = std::fs::read(file)
                {
                    check(&file.display().to_string(), &bytes);
                }
            });
        }
    }
}

/// Whether a canary is in something.
pub(crate) fn sings(bytes: &[u8]) -> bool {
    SEARCH.is_match(bytes)
}

/// No canary is in what somebody said; the text itself is not shown, since it would be in the output of the tests.
#[track_caller]
pub(crate) fn check(place: &str, bytes: impl AsRef<[u8]>) {
    if let Some(found) = SEARCH.find(bytes.as_ref()) {
        panic!("a canary is in {place}, at byte {} (form {})", found.start(), found.pattern().as_usize());
    }
}

/// Regular files below a folder.
fn files(folder: &Path, visit: &mut dyn FnMut(&Path)) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => files(&entry.path(), visit),
            Ok(kind) if kind.is_file() => visit(&entry.path()),
            _ => {}
        }
    }
}

/// As it is, backwards, in hexadecimal, and in base64 at the three offsets.
fn forms(core: &str) -> Vec<String> {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD_NO_PAD;
    let mut forms =
        vec![core.to_owned(), core.to_uppercase(), core.chars().rev().collect(), hex(core.as_bytes())];
    forms.push(hex(core.as_bytes()).to_uppercase());
    for offset in 0..3 {
        let padded = [&[0; 2][..offset], core.as_bytes()].concat();
        let (skip, keep) = ([0, 2, 3][offset], padded.len() * 8 / 6);
        // Digits and small letters have no `+` and `/` in base64, so this is its alphabet for URLs, too.
        forms.push(STANDARD_NO_PAD.encode(&padded)[skip..keep].to_owned());
    }
    forms
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
