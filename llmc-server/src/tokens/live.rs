//! The tokens as they are now: a server notices at once when one is made or revoked.

use std::hint::black_box;
use std::sync::{Arc, Mutex, PoisonError};

use tracing::error;

use super::{File, Token, digest};
use crate::files::Version;

/// Tokens that follow their file.
#[derive(Debug)]
pub(crate) struct Live {
    file: File,
    seen: Mutex<Seen>,
}

#[derive(Debug)]
struct Seen {
    version: Option<Version>,
    tokens: Arc<Vec<Token>>,
}

impl Live {
    /// # Errors
    ///
    /// When the tokens cannot be read.
    pub(crate) fn open(file: File) -> anyhow::Result<Self> {
        let version = Version::at(file.path());
        let tokens = Arc::new(file.read()?);
        Ok(Self { file, seen: Mutex::new(Seen { version, tokens }) })
    }

    /// All tokens. None while their file cannot be read: who is not known is not let in.
    pub(crate) fn tokens(&self) -> Arc<Vec<Token>> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let version = Version::at(self.file.path());
        if version != seen.version {
            let tokens = self.file.read().unwrap_or_else(|problem| {
                error!("nobody is let in: {problem:#}");
                Vec::new()
            });
            *seen = Seen { version, tokens: Arc::new(tokens) };
        }
        Arc::clone(&seen.tokens)
    }

    /// The token that a text opens, expired or not.
    pub(crate) fn find(&self, text: &str) -> Option<Token> {
        let (wanted, tokens) = (digest(text), self.tokens());
        // All are compared, and each whole: how long it takes tells nothing of any digest.
        let fits: Vec<bool> =
            tokens.iter().map(|token| equal(token.sha256.as_bytes(), wanted.as_bytes())).collect();
        fits.iter().position(|fits| *fits).map(|at| tokens[at].clone())
    }
}

/// Compares in a time that depends on the lengths alone.
fn equal(one: &[u8], other: &[u8]) -> bool {
    let differences =
        one.iter().zip(other).fold(0, |differences, (one, other)| black_box(differences | (one ^ other)));
    one.len() == other.len() && differences == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(file: &File, new: Vec<Token>) {
        file.change(|tokens| {
            *tokens = new;
            Ok(())
        })
        .unwrap();
    }

    #[test]
    fn what_is_made_or_revoked_counts_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let file = File::at(folder.path().join("tokens.json"));
        let live = Live::open(file.clone()).unwrap();
        let (token, text) = Token::create("a", None, None).unwrap();
        assert!(live.find(&text).is_none());
        set(&file, vec![token.clone()]);
        assert_eq!(live.find(&text), Some(token));
        assert!(live.find(&text[..text.len() - 1]).is_none() && live.find("").is_none());
        set(&file, Vec::new());
        assert!(live.find(&text).is_none());
    }

    #[test]
    fn while_the_file_cannot_be_read_nobody_is_let_in() {
        let folder = tempfile::tempdir().unwrap();
        let file = File::at(folder.path().join("tokens.json"));
        let (token, text) = Token::create("a", None, None).unwrap();
        set(&file, vec![token]);
        let live = Live::open(file.clone()).unwrap();
        assert!(live.find(&text).is_some());
        std::fs::write(file.path(), "{").unwrap();
        assert!(live.find(&text).is_none());
        std::fs::remove_file(file.path()).unwrap();
        assert!(live.find(&text).is_none());
    }

    #[test]
    fn comparison_is_of_the_whole() {
        assert!(equal(b"abc", b"abc") && equal(b"", b""));
        assert!(
            !equal(b"abc", b"abd") && !equal(b"xbc", b"abc") && !equal(b"ab", b"abc") && !equal(b"", b"a")
        );
    }
}
