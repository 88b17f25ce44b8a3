//! Public keys of a JWK Set (RFC 7517, 7518, 8037), and signatures made with them. The arithmetic is `ring`'s.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{self, RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm};
use serde::Deserialize;
use serde_json::Value;

use super::token::Parsed;
use crate::config::Algorithm;

/// Keys that are looked at; sets have a handful.
const MAX_KEYS: usize = 64;

/// A key as it is published.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

/// A set as it is published; what cannot be read of it is left out, since sets may hold keys for other purposes.
#[derive(Deserialize)]
struct Published {
    keys: Vec<Value>,
}

/// A key that signatures can be checked with.
#[derive(Clone, Debug)]
pub(super) struct Key {
    kid: Option<String>,
    alg: Option<String>,
    material: Material,
}

#[derive(Clone, Debug)]
enum Material {
    Rsa { n: Vec<u8>, e: Vec<u8> },
    P256(Vec<u8>),
    P384(Vec<u8>),
    Ed25519(Vec<u8>),
}

/// The keys of a set that can be used here.
///
/// # Errors
///
/// When it is no set, or there is no such key in it.
pub(super) fn read(text: &[u8]) -> Result<Vec<Key>, String> {
    let published: Published =
        serde_json::from_slice(text).map_err(|error| format!("no JWK Set: {error}"))?;
    if published.keys.len() > MAX_KEYS {
        return Err(format!("more than {MAX_KEYS} keys"));
    }
    let known = published.keys.into_iter().filter_map(|key| serde_json::from_value::<Jwk>(key).ok());
    let keys: Vec<Key> = known.filter_map(Key::new).collect();
    match keys.is_empty() {
        true => Err("no public key in it that could check a signature (RSA, P-256, P-384, Ed25519)".into()),
        false => Ok(keys),
    }
}

impl Key {
    fn new(jwk: Jwk) -> Option<Self> {
        let is_for_signatures = jwk.usage.as_deref().is_none_or(|usage| usage == "sig")
            && jwk.key_ops.as_ref().is_none_or(|all| all.iter().any(|one| one == "verify"));
        if !is_for_signatures {
            return None;
        }
        let bytes = |part: &Option<String>| URL_SAFE_NO_PAD.decode(part.as_ref()?).ok();
        // An uncompressed point, SEC 1, 2.3.3.
        let point = |length: usize| {
            let (x, y) = (bytes(&jwk.x)?, bytes(&jwk.y)?);
            (x.len() == length && y.len() == length).then(|| [&[4][..], &x, &y].concat())
        };
        let material = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
            ("RSA", _) => Material::Rsa { n: bytes(&jwk.n)?, e: bytes(&jwk.e)? },
            ("EC", Some("P-256")) => Material::P256(point(32)?),
            ("EC", Some("P-384")) => Material::P384(point(48)?),
            ("OKP", Some("Ed25519")) => Material::Ed25519(bytes(&jwk.x)?),
            _ => return None,
        };
        Some(Self { kid: jwk.kid, alg: jwk.alg, material })
    }

    /// Whether it could have signed this token.
    pub(super) fn fits(&self, token: &Parsed<'_>) -> bool {
        let has_name = |name: &String| self.kid.as_ref() == Some(name);
        token.kid.as_ref().is_none_or(has_name) && self.can(token.algorithm)
    }

    fn can(&self, algorithm: Algorithm) -> bool {
        let is_named = self.alg.as_ref().is_none_or(|alg| *alg == format!("{algorithm:?}"));
        is_named && self.verifier(algorithm).is_some()
    }

    /// Whether the owner of this key made the signature.
    pub(super) fn verifies(&self, algorithm: Algorithm, signed: &[u8], signature: &[u8]) -> bool {
        match (&self.material, self.verifier(algorithm)) {
            (Material::Rsa { n, e }, Some(Verifier::Rsa(parameters))) => {
                RsaPublicKeyComponents { n, e }.verify(parameters, signed, signature).is_ok()
            }
            (
                Material::P256(key) | Material::P384(key) | Material::Ed25519(key),
                Some(Verifier::Other(algorithm)),
            ) => UnparsedPublicKey::new(algorithm, key).verify(signed, signature).is_ok(),
            _ => false,
        }
    }

    /// How this key checks signatures of an algorithm; none if it is one of another kind. RSA keys below 2048 bits check
    /// none.
    fn verifier(&self, algorithm: Algorithm) -> Option<Verifier> {
        Some(match (&self.material, algorithm) {
            (Material::Rsa { .. }, Algorithm::RS256) => Verifier::Rsa(&signature::RSA_PKCS1_2048_8192_SHA256),
            (Material::Rsa { .. }, Algorithm::RS384) => Verifier::Rsa(&signature::RSA_PKCS1_2048_8192_SHA384),
            (Material::Rsa { .. }, Algorithm::RS512) => Verifier::Rsa(&signature::RSA_PKCS1_2048_8192_SHA512),
            (Material::Rsa { .. }, Algorithm::PS256) => Verifier::Rsa(&signature::RSA_PSS_2048_8192_SHA256),
            (Material::Rsa { .. }, Algorithm::PS384) => Verifier::Rsa(&signature::RSA_PSS_2048_8192_SHA384),
            (Material::Rsa { .. }, Algorithm::PS512) => Verifier::Rsa(&signature::RSA_PSS_2048_8192_SHA512),
            (Material::P256(_), Algorithm::ES256) => Verifier::Other(&signature::ECDSA_P256_SHA256_FIXED),
            (Material::P384(_), Algorithm::ES384) => Verifier::Other(&signature::ECDSA_P384_SHA384_FIXED),
            (Material::Ed25519(_), Algorithm::EdDSA) => Verifier::Other(&signature::ED25519),
            _ => return None,
        })
    }
}

enum Verifier {
    Rsa(&'static signature::RsaParameters),
    Other(&'static dyn VerificationAlgorithm),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(set: &str) -> usize {
        read(set.as_bytes()).map_or(0, |keys| keys.len())
    }

    #[test]
    fn only_public_keys_for_signatures_are_taken() {
        let (x, y) = (URL_SAFE_NO_PAD.encode([1; 32]), URL_SAFE_NO_PAD.encode([2; 32]));
        let ec = |more: &str| format!(r#"{{"kty":"EC","crv":"P-256","x":"{x}","y":"{y}"{more}}}"#);
        let set = |keys: &[String]| format!(r#"{{"keys":[{}]}}"#, keys.join(","));
        assert_eq!(kinds(&set(&[ec(""), ec(r#","use":"sig","key_ops":["verify"]"#)])), 2);
        for other in [
            ec(r#","use":"enc""#),
            ec(r#","key_ops":["sign"]"#),
            format!(r#"{{"kty":"EC","crv":"P-256","x":"{x}"}}"#),
            format!(r#"{{"kty":"EC","crv":"P-384","x":"{x}","y":"{y}"}}"#),
            format!(r#"{{"kty":"EC","crv":"secp256k1","x":"{x}","y":"{y}"}}"#),
            format!(r#"{{"kty":"oct","k":"{x}"}}"#),
            r#"{"kty":"RSA","n":"!","e":"AQAB"}"#.to_owned(),
            "1".to_owned(),
        ] {
            assert_eq!(kinds(&set(std::slice::from_ref(&other))), 0, "{other}");
            assert_eq!(kinds(&set(&[other, ec("")])), 1, "the others still count");
        }
        assert!(read(b"[]").is_err() && read(b"{\"keys\":[]}").is_err() && read(b"{").is_err());
        assert!(read(set(&vec![ec(""); MAX_KEYS + 1]).as_bytes()).unwrap_err().contains("more than"));
    }
}
