//! What the compiler says to the author of a plugin who forgot something. `TRYBUILD=overwrite` writes the texts anew.

#[test]
fn mistakes_are_told_at_compile_time() {
    let cases = trybuild::TestCases::new();
    cases.pass("tests/messages/good.rs");
    cases.compile_fail("tests/messages/wrong_*.rs");
}
