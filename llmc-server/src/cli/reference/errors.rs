//! Every kind of failure, and every code in which it is told.

use hyper::StatusCode;
use llmc_core::code as abi;

use super::super::EXIT_CODES;
use super::text::{code, head, prose, shown, table};
use crate::call::{CallError, Kind};
use crate::mcp::CODES;

const FROM: &str = "\
A call that fails has a kind for programs and a sentence for the reader. The sentence names what is missing and what to \
do next; the kind stays the same from one version to the next. How to react to which stands in [Errors](../errors.md).";

/// Statuses of HTTP, and when.
const HTTP: [(StatusCode, &str); 16] = [
    (StatusCode::OK, "an answer, or a stream of messages that ends with it"),
    (StatusCode::ACCEPTED, "a notification or an answer was taken"),
    (StatusCode::BAD_REQUEST, "the request is malformed; the text says where"),
    (StatusCode::UNAUTHORIZED, "no valid token; `WWW-Authenticate` says what would be one"),
    (StatusCode::FORBIDDEN, "a `Host` or `Origin` that is not allowed, or a token that is not good for this"),
    (StatusCode::NOT_FOUND, "there is nothing at this path"),
    (StatusCode::METHOD_NOT_ALLOWED, "`Allow` names the methods that there are"),
    (StatusCode::NOT_ACCEPTABLE, "the client takes neither JSON nor a stream of events"),
    (StatusCode::REQUEST_TIMEOUT, "head or body took longer than `server.http.client_timeout_ms`"),
    (StatusCode::LENGTH_REQUIRED, "`Content-Length` is missing"),
    (StatusCode::PAYLOAD_TOO_LARGE, "more than `limits.max_message_bytes`"),
    (StatusCode::URI_TOO_LONG, "the path is too long"),
    (StatusCode::UNSUPPORTED_MEDIA_TYPE, "the body is no JSON in UTF-8, or is compressed"),
    (StatusCode::TOO_MANY_REQUESTS, "a rate was exceeded; `Retry-After` says when to come back"),
    (
        StatusCode::SERVICE_UNAVAILABLE,
        "no free place, not ready, or no keys of the authorization server yet; `Retry-After`",
    ),
    (StatusCode::HTTP_VERSION_NOT_SUPPORTED, "only HTTP/1.1 is spoken"),
];

pub(super) fn page() -> String {
    let mut text = head("Errors and codes", FROM);
    text.push_str(
        "\n## Kinds of failed calls\n\n\
         In results of tools `_meta` has the kind as `llmc/error`; `llmc call` prints it in brackets; the audit has it \
         as `outcome`. A plugin that called the tool gets the code of the last column.\n",
    );
    let kinds = Kind::ALL.iter().map(|(kind, doc)| {
        let there = CallError::new(*kind, "").to_plugin().code;
        [code(kind.as_str()), shown(&prose(doc)), code(name_of(there))]
    });
    text.push_str(&table(["Kind", "Meaning", "Code in a plugin"], kinds));

    text.push_str("\n## Codes of the plugin interface\n\nA number that is not here means `FAILED`.\n");
    let codes = abi::ALL
        .iter()
        .map(|code_of| [code(&code_of.value.to_string()), code(code_of.name), shown(&prose(code_of.doc))]);
    text.push_str(&table(["Code", "Name", "Meaning"], codes));

    text.push_str("\n## Codes of JSON-RPC\n");
    let codes = CODES.iter().map(|(number, when)| [code(&number.to_string()), (*when).to_owned()]);
    text.push_str(&table(["Code", "When"], codes));

    text.push_str("\n## Statuses of HTTP\n");
    let statuses = HTTP.iter().map(|(status, when)| [code(&status.to_string()), (*when).to_owned()]);
    text.push_str(&table(["Status", "When"], statuses));

    text.push_str("\n## Exit codes\n");
    let codes = EXIT_CODES.iter().map(|(number, meaning)| [code(&number.to_string()), (*meaning).to_owned()]);
    text.push_str(&table(["Code", "Meaning"], codes));
    text
}

fn name_of(number: i32) -> &'static str {
    abi::ALL.iter().find(|known| known.value == i64::from(number)).map_or("FAILED", |known| known.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_line() {
        let page = page();
        for (kind, _) in Kind::ALL {
            assert!(page.contains(&format!("\n| `{}` |", kind.as_str())), "{kind:?}");
        }
        assert!(page.contains("| `-32602` |") && page.contains("| `401 Unauthorized` |"), "{page}");
        assert!(
            page.contains("| `timed_out` | It took longer than `limits.call_timeout_ms`. | `TIMED_OUT` |"),
            "{page}"
        );
    }
}
