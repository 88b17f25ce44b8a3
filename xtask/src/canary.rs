//! A secret that every server of a test run has, and that must be nowhere afterwards: the tests search what their
//! servers say, and this what the run as a whole printed and left behind.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail};

/// The variable that tells the tests its value.
pub(crate) const VARIABLE: &str = "LLMC_CANARY";

/// Larger files are not searched.
const MAX_BYTES: u64 = 64 << 20;

/// Beginnings of names of what tests leave in the folder for temporary files.
const TEMPORARY: [&str; 2] = [".tmp", "llmc"];

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// The value, and where it was found.
pub(crate) struct Canary {
    core: String,
    forms: Vec<String>,
    begun: SystemTime,
    found: Vec<String>,
}

impl Canary {
    /// A new one: nothing that is older can hold it.
    pub(crate) fn new() -> Result<Self> {
        let mut bytes = [0; 16];
        File::open("/dev/urandom")
            .and_then(|mut file| file.read_exact(&mut bytes))
            .context("no random bytes")?;
        let core = hex(&bytes);
        // Times of files are a little coarser than those of the clock.
        let begun = SystemTime::now() - Duration::from_secs(1);
        Ok(Self { forms: forms(&core), core, begun, found: Vec::new() })
    }

    pub(crate) fn value(&self) -> &str {
        &self.core
    }

    /// Takes note of a line of the tests that holds it; such a line must not be shown.
    pub(crate) fn hears(&mut self, line: &[u8]) -> bool {
        let sings = self.sings(line);
        if sings {
            self.found.push("the output of the tests".into());
        }
        sings
    }

    fn sings(&self, bytes: &[u8]) -> bool {
        // All forms are ASCII, which stays what it is.
        let text = String::from_utf8_lossy(bytes);
        self.forms.iter().any(|form| text.contains(form.as_str()))
    }

    /// Searches what the run left behind: temporary files, reports, memory of programs that crashed.
    pub(crate) fn search(mut self, workspace: &Path, target: &Path) -> Result<()> {
        let mut files = Vec::new();
        let temporary = |name: &str| TEMPORARY.iter().any(|beginning| name.starts_with(beginning));
        self.collect(&std::env::temp_dir(), 6, &temporary, &mut files);
        self.collect(&target.join("tmp"), 6, &|_| true, &mut files);
        self.collect(target, 0, &|_| true, &mut files);
        // Tests run in the folders of their crates.
        let is_core = |name: &str| name == "core" || name.starts_with("core.");
        for folder in
            fs::read_dir(workspace)?.flatten().map(|entry| entry.path()).filter(|path| path.is_dir())
        {
            self.collect(&folder, 0, &is_core, &mut files);
        }
        self.collect(workspace, 0, &is_core, &mut files);
        let searched = files.len();
        for file in files {
            // What is gone by now holds nothing.
            if fs::read(&file).is_ok_and(|bytes| self.sings(&bytes)) {
                self.found.push(file.display().to_string());
            }
        }
        self.found.dedup();
        match self.found.as_slice() {
            [] => {
                println!(
                    "canary: in nothing that was printed, and in none of {searched} files that were left"
                );
                Ok(())
            }
            found => bail!("the canary of this run is in {}", found.join(", ")),
        }
    }

    /// Files of a folder that were changed since the beginning, and of the folders in it down to `depth`.
    fn collect(&self, folder: &Path, depth: u32, wanted: &dyn Fn(&str) -> bool, files: &mut Vec<PathBuf>) {
        let Ok(entries) = fs::read_dir(folder) else { return };
        for entry in entries.flatten().filter(|entry| wanted(&entry.file_name().to_string_lossy())) {
            let Ok(metadata) = entry.metadata() else { continue };
            let is_new = metadata.modified().is_ok_and(|modified| modified >= self.begun);
            if metadata.is_dir() && depth > 0 {
                self.collect(&entry.path(), depth - 1, &|_| true, files);
            } else if metadata.is_file() && is_new && metadata.len() <= MAX_BYTES {
                files.push(entry.path());
            }
        }
    }
}

/// As it is, in capitals, backwards, in hexadecimal, and in base64 at the three offsets.
fn forms(core: &str) -> Vec<String> {
    let hexadecimal = hex(core.as_bytes());
    let mut forms = vec![
        core.to_owned(),
        core.to_uppercase(),
        core.chars().rev().collect(),
        hexadecimal.to_uppercase(),
        hexadecimal,
    ];
    for offset in 0..3 {
        let padded = [&[0; 2][..offset], core.as_bytes()].concat();
        // The characters at both ends also depend on what stands beside it.
        let (skip, keep) = ([0, 2, 3][offset], padded.len() * 8 / 6);
        forms.push(base64(&padded)[skip..keep].to_owned());
    }
    forms
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// RFC 4648, without padding.
fn base64(bytes: &[u8]) -> String {
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let bits = group.iter().fold(0, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
        for place in 0..=group.len() {
            text.push(char::from(BASE64[(bits >> (18 - 6 * place) & 63) as usize]));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_found_in_every_form_and_nothing_else_is() {
        let canary = Canary::new().unwrap();
        let core = canary.value();
        for before in ["", "a", "ab"] {
            let text = base64(format!("{before}{core}, and more").as_bytes());
            assert!(canary.sings(text.as_bytes()), "{before}: {text}");
        }
        assert!(
            canary.sings(format!("x{core}y").as_bytes()) && canary.sings(hex(core.as_bytes()).as_bytes())
        );
        assert!(!canary.sings(&core.as_bytes()[1..]) && !canary.sings(b"") && !canary.sings(&[0; 5000]));
        assert_eq!(base64(b"ab"), "YWI");
        assert_eq!(base64(b"abc\xff"), "YWJj/w");
    }

    #[test]
    fn what_is_left_behind_is_searched() {
        let folder = tempfile::Builder::new().prefix("canary-").tempdir().unwrap();
        let folder = folder.path();
        fs::create_dir_all(folder.join("target/tmp/deep")).unwrap();
        let file = folder.join("target/tmp/deep/file");
        let canary = || Canary::new().unwrap();
        let search = |canary: Canary| canary.search(folder, &folder.join("target"));
        let (good, bad) = (canary(), canary());
        fs::write(&file, format!("it is {}", bad.value())).unwrap();
        assert!(search(good).is_ok());
        assert!(search(bad).unwrap_err().to_string().contains("deep/file"));
        let mut heard = canary();
        let line = heard.value().to_owned();
        assert!(heard.hears(line.as_bytes()) && !heard.hears(b"other"));
        assert!(search(heard).is_err());
    }
}
