//! Which programs all this happened with: ours, the machine, and those that tests and measurements stand beside.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::child::first_line;
use crate::run::Options;
use crate::sources;

/// What has servers see another time, a balancer, a store that servers share, and what code and searches are measured
/// beside: the names that one may have, and what makes it tell its version.
const PROGRAMS: [(&[&str], &str); 10] = [
    (&["python3"], "--version"),
    (&["git"], "--version"),
    (&["node"], "--version"),
    (&["nginx"], "-v"),
    (&["redis-server"], "--version"),
    (&["faketime"], "--version"),
    (&["rg"], "--version"),
    // Debian calls it so.
    (&["fd", "fdfind"], "--version"),
    (&["bwrap"], "--version"),
    (&[RUST_SERVER], "--version"),
];

/// The peer that cargo installs into [`PEERS`].
const RUST_SERVER: &str = "rust-mcp-filesystem";

/// Where `cargo xtask bench -- peers --install` installs, in the target folder.
const PEERS: &str = "peers";

/// The packages that npm installs there, in their folder.
const PACKAGES: &str = "node/node_modules/@modelcontextprotocol";
const NODE_SERVERS: [&str; 2] = ["server-filesystem", "server-everything"];

/// Where programs are that only root has in `PATH`.
const FOLDERS: [&str; 2] = ["/usr/sbin", "/sbin"];

/// What npm knows of a package.
#[derive(Deserialize)]
struct Package {
    version: String,
}

/// A row each; what is not there is said.
pub(super) fn table(options: &Options) -> Vec<Vec<String>> {
    let root = &options.root;
    let peers = options.target.join(PEERS);
    let build = if options.release { "optimised" } else { "not optimised" };
    let sources = sources::at(root);
    let mut rows = vec![
        ("llmc", first_line(options.stage.join("bin/llmc"), &["--version"], Path::new("/"))),
        ("commit", sources.commit.is_some().then(|| sources.to_string())),
        ("build", Some(build.to_owned())),
        ("kernel", Some(read("/proc/sys/kernel/osrelease"))),
        ("machine", Some(machine())),
        ("rustc", first_line("rustc", &["--version"], root)),
    ];
    rows.extend(PROGRAMS.map(|(names, flag)| (names[0], program(names, flag, &peers))));
    let mut rows: Vec<Vec<String>> = rows.into_iter().map(|(name, version)| row(name, version)).collect();
    rows.extend(NODE_SERVERS.map(|name| row(&format!("{name} for Node"), package(&peers, name))));
    rows
}

fn row(name: &str, version: Option<String>) -> Vec<String> {
    vec![name.to_owned(), version.unwrap_or_else(|| "not there".into())]
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

fn machine() -> String {
    let cpus = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let cpu = read("/proc/cpuinfo");
    let name = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("");
    let name = name.trim_start_matches(['\t', ':', ' ']);
    format!("{}, {cpus} processors {name}", std::env::consts::ARCH).trim_end().to_owned()
}

/// The version of the first that is there: of those that were installed for measuring, then of those in `PATH`.
fn program(names: &[&str], flag: &str, peers: &Path) -> Option<String> {
    let installed = names.iter().map(|name| peers.join("bin").join(name));
    let in_path = names.iter().map(PathBuf::from);
    let of_root = names.iter().flat_map(|name| FOLDERS.map(|folder| Path::new(folder).join(name)));
    installed.chain(in_path).chain(of_root).find_map(|file| first_line(file, &[flag], Path::new("/")))
}

/// The version of a package that npm has installed.
fn package(peers: &Path, name: &str) -> Option<String> {
    let file = peers.join(PACKAGES).join(name).join("package.json");
    serde_json::from_slice(&std::fs::read(file).ok()?).ok().map(|package: Package| package.version)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn peers_that_were_installed_are_asked_first() {
        let folder = tempfile::tempdir().unwrap();
        let peers = folder.path();
        let names = ["no-program-has-this-name", "sh"];
        assert_eq!(program(&names[..1], "-c", peers), None);
        let file = peers.join("bin/no-program-has-this-name");
        fs::create_dir(peers.join("bin")).unwrap();
        fs::write(&file, "#!/bin/sh\necho 1.2.3\n").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(program(&names, "--version", peers).as_deref(), Some("1.2.3"));
    }

    #[test]
    fn servers_for_node_tell_their_version_in_their_package() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(package(folder.path(), NODE_SERVERS[0]), None);
        let at = folder.path().join(PACKAGES).join(NODE_SERVERS[0]);
        fs::create_dir_all(&at).unwrap();
        fs::write(at.join("package.json"), r#"{"name": "x", "version": "2026.8.31"}"#).unwrap();
        assert_eq!(package(folder.path(), NODE_SERVERS[0]).as_deref(), Some("2026.8.31"));
    }
}
