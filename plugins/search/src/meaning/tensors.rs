//! The format `safetensors`: eight bytes with the length of a header, a header in JSON, numbers.
//!
//! See <https://github.com/huggingface/safetensors#format>.

use llmc_core::serde_json::{self, Value};

/// Longest header, in bytes; a model has one or a few tensors.
const MAX_HEADER_BYTES: usize = 1 << 20;
/// Names that model2vec has given to its tensor.
const NAMES: [&str; 2] = ["embeddings", "0"];
/// Widest vector.
const MAX_WIDTH: usize = 4_096;

/// Numbers in rows.
#[derive(Debug)]
pub(super) struct Matrix {
    width: usize,
    values: Vec<f32>,
}

impl Matrix {
    /// Reads the tensor with the vectors.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let (length, rest) = bytes.split_first_chunk::<8>().ok_or("is too short")?;
        let length = usize::try_from(u64::from_le_bytes(*length)).unwrap_or(usize::MAX);
        if length > MAX_HEADER_BYTES || length > rest.len() {
            return Err("has a header that is too long".into());
        }
        let (header, data) = rest.split_at(length);
        let header: Value =
            serde_json::from_slice(header).map_err(|error| format!("has a bad header: {error}"))?;
        let tensor = NAMES.iter().find_map(|name| header.get(name)).ok_or("has no tensor `embeddings`")?;
        let number = |value: &Value| value.as_u64().and_then(|number| usize::try_from(number).ok());
        let pair = |name: &str| match tensor[name].as_array().map(Vec::as_slice) {
            Some([one, other]) => number(one).zip(number(other)),
            _ => None,
        };
        let (rows, width) = pair("shape").ok_or("has no table of vectors")?;
        let (from, to) = pair("data_offsets").ok_or("does not tell where its vectors are")?;
        let data = data.get(from..to).ok_or("is shorter than its header says")?;
        let values: Vec<f32> = match tensor["dtype"].as_str() {
            Some("F32") => data.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect(),
            Some("F16") => {
                data.as_chunks::<2>().0.iter().map(|bytes| half(u16::from_le_bytes(*bytes))).collect()
            }
            Some("I8") => data.iter().map(|byte| f32::from(byte.cast_signed())).collect(),
            other => {
                return Err(format!("holds {} and not `F32`, `F16` or `I8`", other.unwrap_or("nothing")));
            }
        };
        if !(1..=MAX_WIDTH).contains(&width) || rows.checked_mul(width) != Some(values.len()) {
            return Err(format!("has {} numbers, which is not {rows} times {width}", values.len()));
        }
        Ok(Self { width, values })
    }

    pub(super) fn width(&self) -> usize {
        self.width
    }

    pub(super) fn rows(&self) -> usize {
        self.values.len() / self.width
    }

    /// A row; empty if there is none of that number.
    pub(super) fn row(&self, number: usize) -> &[f32] {
        self.values.chunks_exact(self.width).nth(number).unwrap_or_default()
    }
}

/// A number of 16 bits, see IEEE 754 binary16: one bit of sign, five of exponent, ten of fraction.
fn half(bits: u16) -> f32 {
    let (exponent, fraction) = (i32::from(bits >> 10 & 0x1f), f32::from(bits & 0x3ff) / 1024.0);
    let value = match exponent {
        0 => fraction * 2_f32.powi(-14),
        31 if fraction == 0.0 => f32::INFINITY,
        31 => f32::NAN,
        _ => (1.0 + fraction) * 2_f32.powi(exponent - 15),
    };
    if bits >> 15 == 1 { -value } else { value }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(header: &str, data: &[u8]) -> Vec<u8> {
        [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat()
    }

    #[test]
    fn vectors_are_read_in_three_formats() {
        for (dtype, data) in [
            (
                "F32",
                [1.0_f32, -2.0, 0.5, 0.0].iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>(),
            ),
            ("F16", [0x3c00_u16, 0xc000, 0x3800, 0].iter().flat_map(|value| value.to_le_bytes()).collect()),
        ] {
            let header = format!(
                r#"{{"embeddings":{{"dtype":"{dtype}","shape":[2,2],"data_offsets":[0,{}]}}}}"#,
                data.len()
            );
            let matrix = Matrix::parse(&file(&header, &data)).unwrap();
            assert_eq!((matrix.rows(), matrix.row(0), matrix.row(1)), (2, &[1.0, -2.0][..], &[0.5, 0.0][..]));
            assert_eq!(matrix.row(2), [0.0; 0]);
        }
        let header = r#"{"0":{"dtype":"I8","shape":[1,2],"data_offsets":[0,2]}}"#;
        assert_eq!(Matrix::parse(&file(header, &[1, 255])).unwrap().row(0), [1.0, -1.0]);
        assert!(half(0x7c00).is_infinite() && half(0x7e00).is_nan() && half(1) > 0.0);
    }

    #[test]
    fn what_is_no_model_is_refused() {
        let header = |shape: &str, offsets: &str| {
            format!(r#"{{"embeddings":{{"dtype":"F32","shape":{shape},"data_offsets":{offsets}}}}}"#)
        };
        for (file, text) in [
            (vec![], "too short"),
            (vec![255; 8], "too long"),
            (file("{", &[]), "bad header"),
            (file("{}", &[]), "no tensor"),
            (file(&header("[1]", "[0,4]"), &[0; 4]), "no table"),
            (file(&header("[1,1]", "[0,8]"), &[0; 4]), "shorter"),
            (file(&header("[1,1]", "[4,0]"), &[0; 4]), "shorter"),
            (file(&header("[9223372036854775807,4]", "[0,4]"), &[0; 4]), "not 9223372036854775807 times 4"),
            (file(&header("[0,0]", "[0,0]"), &[]), "times 0"),
            (file(&header("[1,1]", "[0,4]").replace("F32", "BF16"), &[0; 4]), "`F32`"),
        ] {
            let error = Matrix::parse(&file).unwrap_err();
            assert!(error.contains(text), "{error}");
        }
    }
}
