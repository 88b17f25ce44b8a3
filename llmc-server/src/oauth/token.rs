//! A JSON Web Token as RFC 7515, 7519 and 9068 have it, read in one way only.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::config::{Algorithm, OAuth};

/// Longest token in bytes; half of what all headers together may have.
pub(crate) const MAX_BYTES: usize = 8 << 10;

/// Longest name of a key in bytes.
const MAX_KID_BYTES: usize = 256;

/// Longest name of a subject in bytes.
const MAX_NAME_BYTES: usize = 256;

/// What a token may be: an access token, or one that its maker did not name more closely.
const TYPES: [&str; 3] = ["at+jwt", "application/at+jwt", "jwt"];

/// A token that has been taken apart; nothing in it is believed yet.
#[derive(Debug)]
pub(super) struct Parsed<'a> {
    pub(super) algorithm: Algorithm,
    /// Which key it says that it was signed with. Compared with known names, and nothing else is done with it.
    pub(super) kid: Option<String>,
    /// The bytes that were signed.
    pub(super) signed: &'a [u8],
    pub(super) signature: Vec<u8>,
    payload: Vec<u8>,
}

/// Keys in the header (`jwk`, `jku`, `x5c`, `x5u`) are not looked at: an attacker has those, too. serde refuses a name
/// that comes twice.
#[derive(Deserialize)]
struct Header {
    alg: String,
    typ: Option<String>,
    kid: Option<String>,
    #[serde(default, deserialize_with = "present")]
    crit: bool,
}

/// What a token says. Times are seconds since 1970.
#[derive(Debug, Deserialize)]
pub(super) struct Claims {
    iss: String,
    aud: OneOrMany,
    sub: Option<String>,
    exp: f64,
    nbf: Option<f64>,
    iat: Option<f64>,
    scope: Option<String>,
    scp: Option<OneOrMany>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl OneOrMany {
    fn contains(&self, wanted: &str) -> bool {
        match self {
            Self::One(one) => one == wanted,
            Self::Many(many) => many.iter().any(|one| one == wanted),
        }
    }
}

/// Whether a key is there at all, whatever its value.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    Value::deserialize(deserializer).map(|_| true)
}

impl<'a> Parsed<'a> {
    /// # Errors
    ///
    /// What of it is no token of a kind that is taken.
    pub(super) fn of(token: &'a str) -> Result<Self, &'static str> {
        if token.len() > MAX_BYTES {
            return Err("a token of an impossible length");
        }
        let (signed, signature) = token.rsplit_once('.').ok_or("no JSON Web Token")?;
        let (header, payload) = signed.split_once('.').ok_or("no JSON Web Token")?;
        // A fourth part, or padding, is in none of the alphabets.
        let decoded = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| "no JSON Web Token");
        let header: Header =
            serde_json::from_slice(&decoded(header)?).map_err(|_| "a header that cannot be read")?;
        if header.crit {
            return Err("a header with `crit`, whose extensions nobody here understands");
        }
        let is_known = |typ: &String| TYPES.iter().any(|known| typ.eq_ignore_ascii_case(known));
        if !header.typ.as_ref().is_some_and(is_known) {
            return Err("a `typ` that is not an access token's");
        }
        if header.kid.as_ref().is_some_and(|kid| kid.len() > MAX_KID_BYTES) {
            return Err("a `kid` of an impossible length");
        }
        let algorithm = serde_json::from_value(Value::from(header.alg))
            .map_err(|_| "an algorithm that is not asymmetric, or unknown")?;
        let (payload, signature) = (decoded(payload)?, decoded(signature)?);
        Ok(Self { algorithm, kid: header.kid, signed: signed.as_bytes(), signature, payload })
    }

    /// To be asked once the signature is known to be good.
    ///
    /// # Errors
    ///
    /// When a claim that every token has is missing, or of another kind.
    pub(super) fn claims(&self) -> Result<Claims, &'static str> {
        serde_json::from_slice(&self.payload).map_err(|_| "claims that cannot be read")
    }
}

impl Claims {
    /// Whether the token is for us, and now.
    ///
    /// # Errors
    ///
    /// Why not.
    pub(super) fn check(&self, config: &OAuth, now_s: f64) -> Result<(), &'static str> {
        #[expect(clippy::cast_precision_loss, reason = "it is at most 300")]
        let leeway = config.leeway_s as f64;
        if self.iss != config.issuer {
            return Err("a token of another issuer");
        }
        if !self.aud.contains(&config.audience) {
            return Err("a token for another audience");
        }
        // JSON has no NaN, and an infinite number cannot be read.
        if self.exp + leeway <= now_s {
            return Err("an expired token");
        }
        if self.nbf.is_some_and(|from| from > now_s + leeway)
            || self.iat.is_some_and(|at| at > now_s + leeway)
        {
            return Err("a token of the future");
        }
        Ok(())
    }

    /// When it is none any more, in milliseconds since 1970.
    pub(super) fn until_ms(&self, config: &OAuth) -> u64 {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a float that is too large or negative becomes the nearest number"
        )]
        let exp_ms = (self.exp * 1e3) as u64;
        exp_ms.saturating_add(config.leeway_s * 1000)
    }

    /// Who holds it, fit for a line of a log.
    pub(super) fn name(&self) -> Option<String> {
        let is_usable = |name: &&String| {
            (1..=MAX_NAME_BYTES).contains(&name.len()) && !name.chars().any(char::is_control)
        };
        self.sub.as_ref().filter(is_usable).cloned()
    }

    /// `scope` is the standard's, `scp` what some servers write.
    pub(super) fn scopes(&self) -> BTreeSet<&str> {
        let mut scopes: BTreeSet<&str> = self.scope.iter().flat_map(|text| text.split(' ')).collect();
        match &self.scp {
            Some(OneOrMany::One(text)) => scopes.extend(text.split(' ')),
            Some(OneOrMany::Many(many)) => scopes.extend(many.iter().map(String::as_str)),
            None => {}
        }
        scopes
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn token(header: &str, payload: &str) -> String {
        [header, payload, "signature"].map(|part| URL_SAFE_NO_PAD.encode(part)).join(".")
    }

    fn parsed(header: &str) -> Result<(), &'static str> {
        Parsed::of(&token(header, "{}")).map(drop)
    }

    #[test]
    fn a_header_says_one_thing() {
        assert_eq!(parsed(r#"{"alg":"ES256","typ":"at+jwt","kid":"a","x":1}"#), Ok(()));
        assert_eq!(parsed(r#"{"alg":"RS256","typ":"JWT"}"#), Ok(()));
        for header in [
            r#"{"alg":"none","typ":"JWT"}"#,
            r#"{"alg":"None","typ":"JWT"}"#,
            r#"{"alg":"HS256","typ":"JWT"}"#,
            r#"{"alg":"es256","typ":"JWT"}"#,
            r#"{"alg":null,"typ":"JWT"}"#,
            r#"{"typ":"JWT"}"#,
            r#"{"alg":"ES256"}"#,
            r#"{"alg":"ES256","typ":"logout+jwt"}"#,
            r#"{"alg":"ES256","typ":"JWT","crit":["b64"],"b64":false}"#,
            r#"{"alg":"ES256","typ":"JWT","crit":[]}"#,
            r#"{"alg":"ES256","typ":"JWT","crit":null}"#,
            r#"{"alg":"none","alg":"ES256","typ":"JWT"}"#,
            r#"{"alg":"ES256","typ":"JWT","kid":1}"#,
            r#"{"alg":"ES256","typ":"JWT","kid":"a","kid":"b"}"#,
            r#"["ES256"]"#,
            "",
        ] {
            assert!(parsed(header).is_err(), "{header}");
        }
        let kid = "k".repeat(MAX_KID_BYTES + 1);
        assert!(parsed(&format!(r#"{{"alg":"ES256","typ":"JWT","kid":"{kid}"}}"#)).is_err());
    }

    #[test]
    fn a_token_has_three_parts_without_padding() {
        let good = token(r#"{"alg":"ES256","typ":"JWT"}"#, "{}");
        assert!(Parsed::of(&good).is_ok());
        let mut parts: Vec<&str> = good.split('.').collect();
        parts.push("e30");
        for bad in [
            parts.join("."),
            format!("{good}="),
            format!("{good}\n"),
            good.replacen('.', "..", 1),
            good.replacen('.', "", 1),
            good.replace('.', ""),
            "..".to_owned(),
            String::new(),
            format!("{good}{}", "A".repeat(MAX_BYTES)),
        ] {
            assert!(Parsed::of(&bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn claims_are_for_us_and_now() {
        let config: OAuth = toml::from_str(
            "issuer = 'https://as.example'\naudience = 'https://a/mcp'\njwks = 'k'\nscopes = { a = ['*'] }\nleeway_s = 10",
        )
        .unwrap();
        let good = json!({"iss": "https://as.example", "aud": "https://a/mcp", "sub": "me", "exp": 1000});
        let check = |name: &str, value: Value| {
            let mut claims = good.clone();
            claims[name] = value;
            let claims: Claims = serde_json::from_value(claims).map_err(|_| "unreadable")?;
            claims.check(&config, 1000.0)
        };
        for (name, value) in [
            ("exp", json!(990.5)),
            ("exp", json!(1e18)),
            ("aud", json!(["b", "https://a/mcp"])),
            ("nbf", json!(1010)),
            ("iat", json!(900)),
        ] {
            assert_eq!(check(name, value.clone()), Ok(()), "{name} {value}");
        }
        for (name, value) in [
            ("exp", json!(990)),
            ("exp", json!(-1)),
            ("exp", json!(null)),
            ("exp", json!("9999999999")),
            ("nbf", json!(1011)),
            ("nbf", json!("soon")),
            ("iat", json!(1011)),
            ("iss", json!("https://as.example/")),
            ("iss", json!(["https://as.example"])),
            ("iss", json!(null)),
            ("aud", json!("https://a/mcp/")),
            ("aud", json!("https://a")),
            ("aud", json!([])),
            ("aud", json!({"https://a/mcp": 1})),
            ("aud", json!(null)),
        ] {
            assert!(check(name, value.clone()).is_err(), "{name} {value}");
        }
        assert!(serde_json::from_str::<Claims>(r#"{"iss":"a","aud":"b","exp":1,"exp":2}"#).is_err());
        let named = |sub: Value| {
            let mut claims = good.clone();
            claims["sub"] = sub;
            serde_json::from_value::<Claims>(claims).unwrap().name()
        };
        assert_eq!(named(json!("me")), Some("me".into()));
        assert_eq!(
            [named(json!("")), named(json!("a\nb")), named(json!("x".repeat(300)))],
            [None, None, None]
        );
    }

    #[test]
    fn scopes_are_words() {
        let scopes = |claims: Value| {
            let mut all = json!({"iss": "i", "aud": "a", "exp": 1});
            all.as_object_mut().unwrap().extend(claims.as_object().unwrap().clone());
            let claims: Claims = serde_json::from_value(all).unwrap();
            claims.scopes().into_iter().map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(scopes(json!({"scope": "b a"})), ["a", "b"]);
        assert_eq!(scopes(json!({"scp": ["a", "b c"]})), ["a", "b c"]);
        assert_eq!(scopes(json!({"scp": "a b"})), ["a", "b"]);
        assert_eq!(scopes(json!({})), [""; 0]);
    }
}
