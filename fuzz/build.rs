//! Plugins export one and the same symbol. Here several of them are linked into one program, which never asks for it.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-link-arg=-Wl,--allow-multiple-definition");
}
