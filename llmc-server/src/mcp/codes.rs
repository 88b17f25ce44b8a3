//! Codes of JSON-RPC that clients get, and when, for the reference.

use rmcp::model::ErrorCode;

/// The codes, from the most general.
pub(crate) const CODES: [(i32, &str); 9] = [
    (ErrorCode::PARSE_ERROR.0, "the message is no JSON"),
    (ErrorCode::INVALID_REQUEST.0, "the message is no request of the protocol"),
    (ErrorCode::METHOD_NOT_FOUND.0, "there is no such method, or this server does not have it"),
    (
        ErrorCode::INVALID_PARAMS.0,
        "the parameters do not fit; there is no such tool, prompt or task; a `requestState` that this client was not \
         given, or used before",
    ),
    (
        ErrorCode::INTERNAL_ERROR.0,
        "a prompt or a resource failed (a tool that fails has a result with `isError` instead)",
    ),
    (ErrorCode::RESOURCE_NOT_FOUND.0, "there is no such resource"),
    (ErrorCode::HEADER_MISMATCH.0, "a header of HTTP says something else than the message"),
    (
        ErrorCode::MISSING_REQUIRED_CLIENT_CAPABILITY.0,
        "the client would have to be asked something that it does not say it can be asked",
    ),
    (
        ErrorCode::UNSUPPORTED_PROTOCOL_VERSION.0,
        "this server does not speak that revision; the data names those it does",
    ),
];
