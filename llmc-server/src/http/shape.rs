//! What a body looks like, before anything parses it.

use super::refusal::Refusal;

/// Deepest nesting. A tool's arguments need a handful of levels; parsers and validators use the stack for each.
pub(super) const MAX_DEPTH: usize = 64;

/// Whether a body can be one JSON-RPC message.
///
/// # Errors
///
/// Why not.
pub(super) fn check(body: &[u8]) -> Result<(), Refusal> {
    let text = std::str::from_utf8(body).map_err(|_| Refusal::bad_request("the body is not UTF-8"))?;
    match text.trim_start_matches([' ', '\t', '\r', '\n']).bytes().next() {
        Some(b'{') => {}
        Some(b'[') => {
            return Err(Refusal::bad_request("batches are not taken: send one message in each request"));
        }
        _ => return Err(Refusal::bad_request("the body is not a JSON object")),
    }
    if depth(body) > MAX_DEPTH {
        return Err(Refusal::bad_request("the body is nested more than 64 levels deep"));
    }
    Ok(())
}

/// How deep brackets are nested outside of strings. What is no JSON the parser refuses later.
fn depth(body: &[u8]) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let (mut in_string, mut escaped) = (false, false);
    for byte in body {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_in_strings_do_not_count() {
        assert_eq!(depth(br#"{"a": "[[[[{{{\"[[", "b": [1, {"c": "\\"}]}"#), 3);
        assert_eq!(depth(br#"}}}}{"a": 1}"#), 1);
    }

    #[test]
    fn messages_pass_and_the_rest_is_named() {
        assert!(check(b" \r\n\t{\"jsonrpc\": \"2.0\"}").is_ok());
        let nested = |levels: usize| [b"{\"a\":".repeat(levels), b"1".to_vec(), b"}".repeat(levels)].concat();
        assert!(check(&nested(MAX_DEPTH)).is_ok());
        for (body, reason) in [
            (nested(MAX_DEPTH + 1), "levels deep"),
            (b"[{}]".to_vec(), "batches"),
            (b"".to_vec(), "not a JSON object"),
            (b"1".to_vec(), "not a JSON object"),
            (b"\xEF\xBB\xBF{}".to_vec(), "not a JSON object"),
            (b"{\"a\": \"\xff\"}".to_vec(), "UTF-8"),
        ] {
            assert!(check(&body).unwrap_err().reason.contains(reason), "{reason}");
        }
    }
}
