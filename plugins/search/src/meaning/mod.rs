//! What texts mean, by a model that the operator has put into a folder. Behind the feature `embeddings`; nothing is
//! downloaded.
//!
//! A model is static, as model2vec makes them: a vector for each token, of which the mean is that of a text. So there is
//! no network to run, a vector takes microseconds, and the two files are read by a few lines of ours.

#[cfg(not(feature = "embeddings"))]
mod absent;
#[cfg(feature = "embeddings")]
mod model;
#[cfg(feature = "embeddings")]
mod tensors;
#[cfg(feature = "embeddings")]
mod wordpiece;

#[cfg(not(feature = "embeddings"))]
pub(crate) use absent::Model;
#[cfg(feature = "embeddings")]
pub(crate) use model::Model;

/// Vectors have length one, in units of this.
const UNIT: f32 = 127.0;

/// The cosine of two vectors; 0 if they are of different models.
pub(crate) fn likeness(one: &[i8], other: &[i8]) -> f32 {
    if one.len() != other.len() {
        return 0.0;
    }
    let products = one.iter().zip(other).map(|(one, other)| i32::from(*one) * i32::from(*other));
    products.sum::<i32>() as f32 / (UNIT * UNIT)
}
