//! Secrets: read by the server alone, handed out by name, and masked wherever they would show.

mod command;
mod mask;

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;
use zeroize::Zeroizing;

use crate::config::{Config, SecretSource};
use crate::files;
use mask::Mask;

/// Shorter secrets cannot be told from ordinary text.
const MIN_BYTES: usize = 8;

/// Larger files are no secrets.
const MAX_BYTES: u64 = 64 << 10;

/// The values of all secrets.
#[derive(Default)]
pub(crate) struct Secrets {
    /// Written over when the server ends. The mask has copies in its search tables, and so has what was handed out.
    values: BTreeMap<String, Zeroizing<String>>,
    mask: Mask,
}

impl fmt::Debug for Secrets {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.values.keys()).finish()
    }
}

/// Why a secret cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SecretError {
    /// Its file cannot be read.
    #[error("failed to read secret `{name}` from `{file}`: {source}")]
    File {
        /// The secret's name.
        name: String,
        /// The file.
        file: String,
        /// Why.
        source: std::io::Error,
    },
    /// Its variable is not set.
    #[error(
        "secret `{name}`: the environment of the server has no variable `{variable}`; set it where the server is started"
    )]
    Unset {
        /// The secret's name.
        name: String,
        /// The variable.
        variable: String,
    },
    /// Its command gave none.
    #[error(
        "secret `{name}`: command `{program}`: {source}; nothing that it says is shown, so run it by hand to read it"
    )]
    Command {
        /// The secret's name.
        name: String,
        /// The program.
        program: String,
        /// What went wrong.
        source: std::io::Error,
    },
    /// It could not be masked.
    #[error(
        "secret `{0}` has fewer than {MIN_BYTES} bytes, so it could not be masked in results; use a longer one"
    )]
    Short(String),
}

impl Secrets {
    /// Reads every secret of the configuration.
    pub(crate) fn read(config: &Config) -> Result<Self, SecretError> {
        let values: BTreeMap<String, Zeroizing<String>> = config
            .secrets
            .iter()
            .map(|(name, source)| Ok((name.clone(), value(name, source)?)))
            .collect::<Result<_, SecretError>>()?;
        let mask = Mask::new(&values);
        Ok(Self { values, mask })
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(|value| value.as_str())
    }

    /// Replaces every secret in a text.
    pub(crate) fn mask_text(&self, text: String) -> String {
        self.mask.text(text)
    }

    /// Replaces every secret in a text and cuts it afterwards: a cut through a secret would leave a part of it.
    pub(crate) fn mask_and_cut(&self, text: String, max_bytes: usize) -> String {
        let mut text = self.mask_text(text);
        text.truncate(text.floor_char_boundary(max_bytes));
        text
    }

    /// Replaces every secret in every string and key of a value.
    pub(crate) fn mask_value(&self, value: &mut Value) {
        if !self.values.is_empty() {
            self.mask.value(value);
        }
    }

    /// These secrets and those of before, so that both are masked: what was recorded with the old ones in mind may
    /// still be on its way.
    pub(crate) fn beside(&self, before: &Self) -> Self {
        let mut values = self.values.clone();
        for (name, value) in &before.values {
            if !values.values().any(|known| known == value) {
                values.insert(format!("{name}, before {}", values.len()), value.clone());
            }
        }
        let mask = Mask::new(&values);
        Self { values, mask }
    }

    /// Whether the same values have the same names.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.values == other.values
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.values.is_empty()
    }
}

fn value(name: &str, source: &SecretSource) -> Result<Zeroizing<String>, SecretError> {
    let value = match source {
        SecretSource::File(path) => {
            let text = files::read_text(path, MAX_BYTES).map_err(|source| SecretError::File {
                name: name.into(),
                file: path.display().to_string(),
                source,
            })?;
            without_newline(&Zeroizing::new(text))
        }
        SecretSource::Env(variable) => std::env::var(variable)
            .map(Zeroizing::new)
            .map_err(|_| SecretError::Unset { name: name.into(), variable: variable.clone() })?,
        SecretSource::Command(command) => {
            let program = command.first().cloned().unwrap_or_default();
            let text = command::output(command, MAX_BYTES).map_err(|source| SecretError::Command {
                name: name.into(),
                program,
                source,
            })?;
            without_newline(&text)
        }
    };
    if value.len() < MIN_BYTES { Err(SecretError::Short(name.into())) } else { Ok(value) }
}

/// One newline at the end is not part of a secret.
fn without_newline(text: &Zeroizing<String>) -> Zeroizing<String> {
    let line = text.strip_suffix('\n').unwrap_or(text);
    Zeroizing::new(line.strip_suffix('\r').unwrap_or(line).to_owned())
}
