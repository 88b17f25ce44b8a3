//! Signed plugins: what a trusted key signed is served; what was changed, swapped or never signed keeps the server from
//! starting.

use std::path::PathBuf;

use minisign::KeyPair;
use serde_json::{Value, json};

use crate::support::{Setup, stage};

/// The hello plugin in a folder of its own, and the key of its maker.
struct Signed {
    setup: Setup,
    maker: KeyPair,
    library: PathBuf,
}

impl Signed {
    fn new(required: bool) -> Self {
        let (setup, maker) = (Setup::new(""), KeyPair::generate_unencrypted_keypair().unwrap());
        let library = setup.folder.path().join("libhello.so");
        std::fs::copy(stage().join("lib/llmc/plugins/libhello.so"), &library).unwrap();
        let text = format!(
            "server.require_signature = {required}\ntrusted_keys.ada = '{}'\nplugins.hello.library = '{}'\n",
            maker.pk.to_base64(),
            library.display()
        );
        Self { setup: setup.with_text(&text), maker, library }
    }

    /// As `minisign -S` does, for a file that is called `file`.
    fn sign(&self, file: &str) {
        let content = std::fs::File::open(&self.library).unwrap();
        let comment = format!("timestamp:1700000000\tfile:{file}\thashed");
        let signed =
            minisign::sign(Some(&self.maker.pk), &self.maker.sk, content, Some(&comment), None).unwrap();
        std::fs::write(self.library.with_extension("so.minisig"), signed.to_string()).unwrap();
    }

    /// The plugin is served.
    #[track_caller]
    fn works(self) {
        let mut server = self.setup.serve();
        assert_eq!(server.call("hello", json!({"name": "Ada"})).text(), "Hello, Ada!");
    }

    /// The server does not start, and says why.
    #[track_caller]
    fn is_refused(&self, why: &str) {
        let output = self.setup.run("tools", &[]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(why), "{why}: {output:?}");
    }
}

#[test]
fn what_a_trusted_key_signed_is_served_and_named() {
    let signed = Signed::new(true);
    signed.sign("libhello.so");
    // Writes the configuration.
    drop(signed.setup.command("tools"));
    let mut llmc = std::process::Command::new(stage().join("bin/llmc"));
    llmc.args(["plugin", "list", "--json", "--config"]).arg(signed.setup.folder.path().join("llmc.toml"));
    let list: Value = serde_json::from_slice(&llmc.output().unwrap().stdout).unwrap();
    assert_eq!(list[0]["signed_by"], "ada", "{list}");
    signed.works();
}

#[test]
fn without_a_signature_it_is_refused_only_where_one_is_required() {
    Signed::new(true).is_refused("is not signed");
    Signed::new(false).works();
}

#[test]
fn a_library_that_was_changed_after_it_was_signed_is_always_refused() {
    for required in [true, false] {
        let signed = Signed::new(required);
        signed.sign("libhello.so");
        let mut bytes = std::fs::read(&signed.library).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        std::fs::write(&signed.library, bytes).unwrap();
        signed.is_refused("was changed after `ada` signed it");
    }
}

#[test]
fn the_signature_of_another_plugin_or_person_does_not_do() {
    let signed = Signed::new(true);
    signed.sign("libother.so");
    signed.is_refused("was made for file `libother.so`");

    let mut stranger = Signed::new(true);
    stranger.maker = KeyPair::generate_unencrypted_keypair().unwrap();
    stranger.sign("libhello.so");
    stranger.is_refused("not among the trusted ones (`ada`)");
}

#[test]
fn a_requirement_that_nobody_can_meet_is_an_error_of_the_configuration() {
    let setup = Setup::new("server.require_signature = true\n");
    let output = setup.run("tools", &[]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("[trusted_keys] names no key"), "{output:?}");
}
