//! Which crate may know which other, and that every crate has the lints of the workspace.

use toml::Table;

use super::{Problem, TextFile, relative};
use crate::workspace::{Dependency, Metadata, Package};

/// What a crate may use of this workspace. A crate is a boundary: what it cannot import it cannot come to need.
const DIRECTIONS: &[(&str, &[&str])] = &[
    ("llmc-abi", &[]),
    ("llmc-core", &["llmc-abi", "llmc-core-macros"]),
    ("llmc-core-macros", &[]),
    ("llmc-wire", &[]),
    ("llmc-sandbox", &[]),
    ("llmc-engines", &[]),
    ("llmc-rules", &[]),
    ("llmc-host", &["llmc-abi", "llmc-sandbox", "llmc-wire"]),
    ("llmc-runner", &["llmc-engines", "llmc-sandbox", "llmc-wire"]),
    ("llmc-zygote", &["llmc-sandbox"]),
    ("llmc-server", &["llmc-core", "llmc-rules", "llmc-sandbox", "llmc-wire"]),
    // What `run_command` and `execute_code` share: plugins do not import each other.
    ("llmc-tools-watch", &["llmc-core"]),
    ("llmc-tools-cmd", &["llmc-core", "llmc-tools-watch"]),
    ("llmc-tools-exec", &["llmc-core", "llmc-tools-watch"]),
    ("llmc-bench", &["llmc-core", "llmc-proof", "llmc-sandbox", "llmc-server", "llmc-wire"]),
    ("llmc-dist", &[]),
    // Fuzzers call what they fuzz.
    ("llmc-fuzz", &["judge", "llmc-rules", "llmc-server", "llmc-tools-fs", "llmc-wire", "search"]),
    ("llmc-proof", &[]),
    ("xtask", &[]),
];

/// Any other plugin sees the author's interface alone, so that it shows what an outsider can write.
const PLUGIN_MAY_USE: &[&str] = &["llmc-core"];

/// Crates of others that have a home: opening libraries, jailing and speaking MCP each happen in one place. Tests
/// may use them anywhere.
const HOMES: &[(&str, &[&str])] = &[
    ("abi_stable", &["llmc-abi", "llmc-core", "llmc-host"]),
    ("landlock", &["llmc-sandbox"]),
    ("monty", &["llmc-engines"]),
    ("libloading", &["llmc-host"]),
    ("rmcp", &["llmc-bench", "llmc-server"]),
    ("rquickjs", &["llmc-engines"]),
    ("seccompiler", &["llmc-sandbox"]),
    ("tokio", &["llmc-bench", "llmc-server"]),
];

/// Checks all manifests.
pub(super) fn check(members: &Metadata, files: &[TextFile]) -> Vec<Problem> {
    let mut problems: Vec<_> = members.own().flat_map(|package| directions(package, members)).collect();
    // `fuzz` is a workspace of its own, whose macro makes symbols for libFuzzer; nothing of it is shipped.
    let manifests =
        files.iter().filter(|file| file.path.ends_with("Cargo.toml") && !file.path.starts_with("fuzz"));
    problems.extend(manifests.flat_map(lints));
    problems
}

/// The dependencies of one crate, of whatever kind, against the tables.
fn directions(package: &Package, members: &Metadata) -> Vec<Problem> {
    let Package { name, .. } = package;
    let manifest = relative(&members.workspace_root, &package.manifest_path);
    let allowed = match DIRECTIONS.iter().find(|(known, _)| known == name) {
        Some((_, allowed)) => allowed,
        None if package.is_plugin() => PLUGIN_MAY_USE,
        None => {
            let message =
                format!("crate `{name}` has no line in `DIRECTIONS` of xtask/src/tidy/manifests.rs; add one");
            return vec![Problem::new(&manifest, message)];
        }
    };
    let mut problems = Vec::new();
    for Dependency { name: dependency, kind } in &package.dependencies {
        let dependency = &**dependency;
        let is_own = members.own().any(|member| member.name == dependency);
        if is_own && !allowed.contains(&dependency) {
            let message =
                format!("`{name}` must not depend on `{dependency}`; it may use {}", listed(allowed));
            problems.push(Problem::new(&manifest, message));
        }
        let for_tests = kind.as_deref() == Some("dev");
        let home = HOMES.iter().find(|(guest, _)| *guest == dependency && !for_tests);
        if let Some((_, homes)) = home.filter(|(_, homes)| !homes.contains(&&**name)) {
            let message =
                format!("`{name}` must not depend on `{dependency}`, which belongs in {}", listed(homes));
            problems.push(Problem::new(&manifest, message));
        }
    }
    problems
}

fn listed(names: &[&str]) -> String {
    match names {
        [] => "no crate of the workspace".to_owned(),
        names => names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "),
    }
}

/// The root manifest denies `unsafe`, and every other one takes over its lints.
fn lints(file: &TextFile) -> Option<Problem> {
    let manifest: Table = match file.text.parse() {
        Ok(manifest) => manifest,
        Err(error) => return Some(Problem::new(&file.path, format!("failed to read it: {error}"))),
    };
    if let Some(workspace) = manifest.get("workspace") {
        let denied = workspace.get("lints").and_then(|lints| lints.get("rust")?.get("unsafe_code")?.as_str());
        let missing = !matches!(denied, Some("deny" | "forbid"));
        return missing
            .then(|| Problem::new(&file.path, "set `unsafe_code = \"deny\"` in [workspace.lints.rust]"));
    }
    let inherits = manifest.get("lints").and_then(|lints| lints.get("workspace")?.as_bool()) == Some(true);
    (!inherits).then(|| Problem::new(&file.path, "add `[lints]` with `workspace = true`"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::{Target, Workspace};

    /// `serde`, or `dev serde`.
    fn dependency(text: &str) -> Dependency {
        let (kind, name) =
            text.split_once(' ').map_or((None, text), |(kind, name)| (Some(kind.to_owned()), name));
        Dependency { name: name.to_owned(), kind }
    }

    /// A workspace in which the named crate has these dependencies.
    fn workspace(name: &str, kind: &str, dependencies: &[&str]) -> Metadata {
        let package = |name: &str, dependencies: &[&str]| Package {
            id: name.to_owned(),
            name: name.to_owned(),
            version: semver::Version::new(1, 0, 0),
            manifest_path: format!("/w/{name}/Cargo.toml").into(),
            license: None,
            source: None,
            dependencies: dependencies.iter().map(|text| dependency(text)).collect(),
            targets: vec![Target { kind: vec![kind.to_owned()] }],
        };
        let own = DIRECTIONS.iter().map(|(own, _)| *own).chain(["hello", name]);
        let workspace_members: Vec<_> = own.map(str::to_owned).collect();
        let others = workspace_members.iter().filter(|own| *own != name).map(|own| package(own, &[]));
        let packages = others.chain([package(name, dependencies)]).collect();
        Metadata { packages, workspace_members, target_directory: "/t".into(), workspace_root: "/w".into() }
    }

    fn problems(name: &str, kind: &str, dependencies: &[&str]) -> Vec<String> {
        let members = workspace(name, kind, dependencies);
        let package = members.packages.iter().find(|package| package.name == name).unwrap();
        directions(package, &members).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_table_allows_and_refuses() {
        assert!(problems("llmc-host", "bin", &["llmc-abi", "llmc-wire", "serde"]).is_empty());
        let refused = problems("llmc-wire", "lib", &["llmc-sandbox"]);
        assert_eq!(
            refused,
            [
                "llmc-wire/Cargo.toml: `llmc-wire` must not depend on `llmc-sandbox`; it may use no crate of the workspace"
            ]
        );
    }

    #[test]
    fn a_plugin_uses_the_core_alone() {
        assert!(problems("mine", "cdylib", &["llmc-core", "regex"]).is_empty());
        assert_eq!(problems("mine", "cdylib", &["hello"]).len(), 1);
        assert_eq!(problems("mine", "cdylib", &["llmc-wire"]).len(), 1);
    }

    #[test]
    fn the_server_opens_no_library() {
        assert!(problems("llmc-host", "bin", &["libloading", "abi_stable"]).is_empty());
        assert_eq!(problems("llmc-server", "lib", &["libloading", "build abi_stable"]).len(), 2);
    }

    #[test]
    fn tests_may_use_what_has_a_home_but_no_other_crate_of_ours() {
        assert!(problems("llmc-server", "lib", &["dev seccompiler"]).is_empty());
        assert_eq!(problems("llmc-server", "lib", &["dev llmc-host"]).len(), 1);
    }

    #[test]
    fn a_new_crate_needs_a_line_in_the_table() {
        assert!(problems("llmc-new", "lib", &[])[0].contains("`DIRECTIONS`"));
    }

    #[test]
    fn lints_are_taken_from_the_workspace() {
        let lints = |text: &str| lints(&TextFile { path: "Cargo.toml".into(), text: text.into() });
        assert!(lints("[package]\n[lints]\nworkspace = true").is_none());
        assert!(lints("[package]").is_some());
        assert!(lints("[lints]\nworkspace = false").is_some());
        assert!(lints("[workspace.lints.rust]\nunsafe_code = \"deny\"").is_none());
        assert!(lints("[workspace.lints.rust]\nunsafe_code = \"warn\"").is_some());
        assert!(lints("[workspace").is_some());
    }

    /// The same check as `cargo xtask tidy` makes, here for those who only run the tests.
    #[test]
    fn this_workspace_keeps_to_the_table() {
        let members = Workspace::locate().unwrap().members().unwrap();
        let problems: Vec<_> = members.own().flat_map(|package| directions(package, &members)).collect();
        assert!(problems.is_empty(), "{problems:#?}");
    }
}
