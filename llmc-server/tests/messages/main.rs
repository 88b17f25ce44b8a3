//! Every error message that a person can meet on the command line, as it is printed: `cases/*.md`, compared word by word.
//!
//! A case is a heading, files to make, perhaps a script that prepares more, and commands with what they print; see
//! `cases/README.md`. `LLMC_BLESS=1` writes what is printed now into the files: read the diff as a user would.

#![expect(clippy::unwrap_used, reason = "a surprise ends a test where it happens")]
#![expect(clippy::print_stdout, reason = "what was not checked is told")]

mod case;
mod check;
mod coverage;
mod ground;
mod programs;
#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "each test binary uses its part")]
mod support;

/// A test for each file of cases, and the list of them.
macro_rules! files {
    ($($name:ident),* $(,)?) => {
        $(
            #[test]
            fn $name() {
                check::file(stringify!($name));
            }
        )*

        /// Files of cases that have a test.
        const FILES: &[&str] = &[$(stringify!($name)),*];
    };
}

files! {
    audit,
    author,
    call,
    client,
    configuration,
    console,
    dev,
    doctor,
    grant,
    init,
    libraries,
    lock,
    parts,
    pending,
    plugin,
    policy,
    ruta,
    secrets,
    serve,
    te,
    token,
    usage,
}

#[test]
fn every_file_of_cases_has_a_test() {
    let mut found: Vec<String> = std::fs::read_dir(case::folder())
        .unwrap()
        .filter_map(|entry| Some(entry.unwrap().file_name().to_str()?.strip_suffix(".md")?.to_owned()))
        .filter(|name| name != "README")
        .collect();
    found.sort_unstable();
    assert_eq!(found, FILES);
}
