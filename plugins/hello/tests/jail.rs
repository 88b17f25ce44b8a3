//! Calls the tool in a real host jail. `LLMC=/path/to/llmc` names the server, if it is not on `PATH`.

use hello::Hello;
use llmc_core::prelude::*;
use llmc_core::testing::Harness;

#[test]
fn greets_from_its_jail() {
    let jail = Harness::new().in_jail::<Hello>();
    assert_eq!(jail.call::<Hello>(json!({"name": "Ada"})).unwrap().all_text(), "Hello, Ada!");
    // The server refuses what the schema does not allow before it reaches the plugin.
    let refused = jail.call::<Hello>(json!({"nam": "Ada"})).unwrap_err();
    assert_eq!(refused.kind, "invalid_arguments", "{refused}");
}
