//! What a call was answered with.

use serde_json::Value;

/// Where results name the kind of their error.
const KIND: &str = "llmc/error";

/// An answer to a call.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Answer {
    /// The result.
    Done(Value),
    /// A typed error: its kind, and what it says.
    Failed { kind: String, text: String },
    /// Nothing that a client can make sense of.
    Odd(String),
}

impl Answer {
    /// Of a JSON-RPC answer.
    pub(crate) fn of(mut message: Value) -> Self {
        if let Some(error) = message.get("error") {
            let kind = error["data"][KIND].as_str().map(str::to_owned);
            let kind = kind.or_else(|| error["code"].as_i64().map(|code| format!("code {code}")));
            let text = error["message"].as_str().unwrap_or_default().to_owned();
            return kind.map_or_else(|| Self::Odd(message.to_string()), |kind| Self::Failed { kind, text });
        }
        let result = message["result"].take();
        match (result.is_object(), result["isError"] == true) {
            (false, _) => Self::Odd(message.to_string()),
            (true, false) => Self::Done(result),
            (true, true) => {
                let kind = result["_meta"][KIND].as_str().unwrap_or("tool_error").to_owned();
                Self::Failed { kind, text: text(&result) }
            }
        }
    }

    /// The structured content of a success.
    pub(crate) fn done(&self) -> Option<&Value> {
        match self {
            Self::Done(result) => Some(&result["structuredContent"]),
            Self::Failed { .. } | Self::Odd(_) => None,
        }
    }

    /// In few words.
    pub(crate) fn shown(&self) -> String {
        let whole = match self {
            Self::Done(result) => result.to_string(),
            Self::Failed { kind, text } => format!("{kind}: {text}"),
            Self::Odd(text) => format!("odd: {text}"),
        };
        whole.chars().take(300).collect()
    }
}

/// All text of a result.
pub(crate) fn text(result: &Value) -> String {
    let blocks = result["content"].as_array().into_iter().flatten();
    blocks.filter_map(|block| block["text"].as_str()).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn answers_are_told_apart() {
        assert!(matches!(Answer::of(json!({"result": {"content": []}})), Answer::Done(_)));
        let refused =
            json!({"result": {"isError": true, "_meta": {KIND: "denied"}, "content": [{"text": "no"}]}});
        assert_eq!(Answer::of(refused), Answer::Failed { kind: "denied".into(), text: "no".into() });
        let broken = json!({"error": {"code": -32603, "message": "m"}});
        assert_eq!(Answer::of(broken), Answer::Failed { kind: "code -32603".into(), text: "m".into() });
        for odd in [json!({}), json!({"result": 5}), json!({"error": {}})] {
            assert!(matches!(Answer::of(odd), Answer::Odd(_)));
        }
    }
}
