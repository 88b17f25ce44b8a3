//! Calls the tool without a server.

use hello::Hello;
use llmc_core::code;
use llmc_core::prelude::*;
use llmc_core::testing::{Harness, item};

#[test]
fn greets() {
    let answer = Harness::new().call::<Hello>(json!({"name": "Ada"})).unwrap();
    assert_eq!(answer.all_text(), "Hello, Ada!");
    assert_eq!(answer.structured, Some(json!({"text": "Hello, Ada!"})));
}

#[test]
fn says_what_is_wrong_with_the_arguments() {
    let error = Harness::new().call::<Hello>(json!({"name": 7})).unwrap_err();
    assert_eq!(error.code(), code::INVALID_ARGUMENTS);
    assert_eq!(
        error.message(),
        "invalid arguments for `hello` at `name`: invalid type: integer `7`, expected a string"
    );
}

#[test]
fn is_described_by_its_doc_comments() {
    let item = item::<Hello>();
    assert_eq!(item.description, "Greets someone by name.");
    assert_eq!(
        item.input_schema,
        json!({
            "type": "object",
            "properties": {"name": {"type": "string", "description": "Who to greet, such as \"Ada\"."}},
            "required": ["name"],
            "additionalProperties": false,
        })
    );
    assert!(item.annotations.read_only);
}
