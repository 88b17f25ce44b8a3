//! A model: `tokenizer.json` and `model.safetensors` of a folder, as model2vec saves them.

use std::os::fd::BorrowedFd;

use super::UNIT;
use super::tensors::Matrix;
use super::wordpiece::WordPiece;
use crate::document::hash_of;
use crate::files;

/// Largest files that are read, in bytes. In memory a model takes up to twice as much as on the disk.
const MAX_TOKENIZER_BYTES: u64 = 32 << 20;
const MAX_MODEL_BYTES: u64 = 256 << 20;
/// Tokens of a text that count, as in model2vec.
const MAX_TOKENS: usize = 512;

/// A vector for each token.
#[derive(Debug)]
pub(crate) struct Model {
    tokenizer: WordPiece,
    vectors: Matrix,
    id: String,
}

impl Model {
    /// Reads the model of a folder.
    ///
    /// # Errors
    /// If a file is missing or is not what it should be; the text names it.
    pub(crate) fn load(folder: BorrowedFd<'_>) -> Result<Self, String> {
        let read = |name: &str, max_bytes: u64| {
            let opened = files::read(folder, name, max_bytes);
            opened.map(|opened| opened.bytes).map_err(|error| format!("failed to read `{name}`: {error}"))
        };
        let tokenizer = read("tokenizer.json", MAX_TOKENIZER_BYTES)?;
        let model = read("model.safetensors", MAX_MODEL_BYTES)?;
        let hashes = [hash_of(&tokenizer), hash_of(&model)];
        let id = hashes.as_flattened().iter().map(|byte| format!("{byte:02x}")).collect();
        let tokenizer = WordPiece::parse(&tokenizer).map_err(|error| format!("`tokenizer.json` {error}"))?;
        let vectors = Matrix::parse(&model).map_err(|error| format!("`model.safetensors` {error}"))?;
        if tokenizer.max_token().is_some_and(|token| token >= vectors.rows()) {
            return Err("`tokenizer.json` has tokens that `model.safetensors` has no vector for".into());
        }
        Ok(Self { tokenizer, vectors, id })
    }

    /// Tells one model from another.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// The vector of a text; `None` if the model knows none of its words.
    pub(crate) fn vector(&self, text: &str) -> Option<Vec<i8>> {
        let mut sum = vec![0.0_f32; self.vectors.width()];
        for token in self.tokenizer.tokens(text, MAX_TOKENS) {
            for (sum, value) in sum.iter_mut().zip(self.vectors.row(token)) {
                *sum += value;
            }
        }
        let length = sum.iter().map(|value| value * value).sum::<f32>().sqrt();
        // The cast saturates, and turns what is no number into 0.
        (length.is_finite() && length > 0.0)
            .then(|| sum.iter().map(|value| (value / length * UNIT).round() as i8).collect())
    }
}
