//! Protected Resource Metadata (RFC 9728), and the challenges that lead clients to it (RFC 6750).

use hyper::Uri;
use serde_json::{Value, json};

use crate::config::OAuth;

/// Where clients look for it.
pub(crate) const PATH: &str = "/.well-known/oauth-protected-resource";

/// What clients are told.
pub(crate) struct Metadata {
    document: Value,
    /// Its own URL.
    url: String,
    /// All scopes, separated by blanks.
    scopes: String,
}

impl Metadata {
    pub(super) fn new(config: &OAuth) -> Self {
        // Those for tools alone: clients ask for all that they read here.
        let scopes: Vec<&str> = config.scopes.keys().map(String::as_str).collect();
        let document = json!({
            "resource": config.resource(),
            "resource_name": "llmc",
            "authorization_servers": [config.issuer],
            "scopes_supported": scopes,
            "bearer_methods_supported": ["header"],
        });
        // RFC 9728, 3.1: between host and path.
        let resource: Uri = config.resource().parse().unwrap_or_default();
        let (scheme, authority) = (resource.scheme_str(), resource.authority());
        let (scheme, authority) =
            (scheme.unwrap_or_default(), authority.map_or("", |authority| authority.as_str()));
        let url = format!("{scheme}://{authority}{PATH}{}", resource.path().trim_end_matches('/'));
        Self { document, url, scopes: scopes.join(" ") }
    }

    pub(crate) fn document(&self) -> &Value {
        &self.document
    }

    /// The value of `WWW-Authenticate`, with the error of RFC 6750 if there was a token.
    pub(crate) fn challenge(&self, error: Option<&str>) -> String {
        let error = error.map_or(String::new(), |error| format!("error=\"{error}\", "));
        format!("Bearer {error}resource_metadata=\"{}\", scope=\"{}\"", self.url, self.scopes)
    }

    /// The value of `WWW-Authenticate` for a token that lacks these scopes. None of the texts may hold a quote.
    pub(crate) fn challenge_for(&self, error: &str, scopes: &str, description: Option<&str>) -> String {
        let description = description.map_or(String::new(), |text| format!(", error_description=\"{text}\""));
        let url = &self.url;
        format!("Bearer error=\"{error}\", scope=\"{scopes}\", resource_metadata=\"{url}\"{description}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_url_stands_between_host_and_path() {
        let challenge = |resource: &str| {
            let text = format!(
                "issuer = 'https://as.example'\naudience = '{resource}'\njwks = 'k'\nscopes = {{ b = ['*'], a = ['*'] }}"
            );
            Metadata::new(&toml::from_str(&text).unwrap()).challenge(None)
        };
        assert_eq!(
            challenge("https://llmc.example:8443/mcp"),
            "Bearer resource_metadata=\"https://llmc.example:8443/.well-known/oauth-protected-resource/mcp\", scope=\"a b\""
        );
        assert!(
            challenge("https://llmc.example").contains("llmc.example/.well-known/oauth-protected-resource\"")
        );
        assert!(challenge("https://llmc.example/").contains("/oauth-protected-resource\""));
    }
}
