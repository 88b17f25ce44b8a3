//! Builds what is shipped and lays it out as an installation: `bin`, `libexec/llmc`, `lib/llmc/plugins`, `share/llmc`.

use std::ffi::OsString;
use std::fs::{self, File, Permissions};
use std::io::{self, BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Instant, SystemTime};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::new_plugin;
use crate::sdk;
use crate::workspace::{Metadata, Workspace, shown};

/// The stage inside the target folder, and the one that benchmarks use.
pub(crate) const FOLDER: &str = "stage";
pub(crate) const RELEASE_FOLDER: &str = "stage-release";
/// With a server for Redis databases, for its tests.
pub(crate) const REDIS_FOLDER: &str = "stage-redis";

/// Plugins that only tests may load stand in a stage of their own, with this ending.
const TESTS_ENDING: &str = "-tests";
const TEST_PLUGINS_FOLDER: &str = "plugins";
const TEST_PLUGINS: &[&str] = &["fixtures", "notes", "stress"];

/// Package, program and folder of each program.
const PROGRAMS: &[(&str, &str, &str)] = &[
    ("llmc-server", "llmc", "bin"),
    ("llmc-host", "llmc-host", "libexec/llmc"),
    ("llmc-runner", "llmc-runner", "libexec/llmc"),
    ("judge", "ruta", "bin"),
    ("te", "te", "bin"),
];
/// Package, library and folder of each library that is no plugin.
const LIBRARIES: &[(&str, &str, &str)] = &[("llmc-zygote", "libllmc_zygote.so", "libexec/llmc")];
const PLUGINS_FOLDER: &str = "lib/llmc/plugins";

const SHARE_FOLDER: &str = "share/llmc";
const SHARED_FILES: &[&str] = &["LICENSE-MIT", "LICENSE-APACHE", "README.md", "CHANGELOG.md"];

/// Folders of files that are staged with them.
const SHARED_FOLDERS: &[&str] = &["scenarios"];

const MODE_PROGRAM: u32 = 0o755;
const MODE_FILE: u32 = 0o644;

/// How cargo compiles.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Profile {
    Dev,
    Release,
}

/// How and where cargo compiles what is staged.
pub(crate) struct Recipe {
    pub(crate) profile: Profile,
    /// Variables for cargo on top of those of the environment.
    pub(crate) variables: Vec<(&'static str, OsString)>,
    /// Which variables cargo must not take over from the environment.
    pub(crate) without: &'static [&'static str],
    /// What is built in on request, by package: `llmc-server/redis`.
    pub(crate) features: Vec<String>,
}

/// Features of the server, as cargo names them in a workspace.
pub(crate) fn features_of_server(names: &[String]) -> Vec<String> {
    names.iter().map(|name| format!("llmc-server/{name}")).collect()
}

impl From<Profile> for Recipe {
    fn from(profile: Profile) -> Self {
        Self { profile, variables: Vec::new(), without: &[], features: Vec::new() }
    }
}

/// A finished stage; both paths are absolute.
pub(crate) struct Stage {
    /// Has the layout of an installation.
    pub(crate) dir: PathBuf,
    /// Holds `plugins/*.so` for tests only.
    pub(crate) tests: PathBuf,
}

impl Stage {
    /// The server.
    pub(crate) fn program(&self) -> PathBuf {
        self.dir.join("bin/llmc")
    }
}

/// One file to put in place.
struct Item {
    from: PathBuf,
    to: PathBuf,
    mode: u32,
}

/// Builds programs and plugins and stages them in the folder `name` of the target folder.
pub(crate) fn build(workspace: &Workspace, recipe: impl Into<Recipe>, name: &str) -> Result<Stage> {
    let start = Instant::now();
    let members = workspace.members()?;
    let target = &members.target_directory;
    let stage = Stage { dir: target.join(name), tests: target.join(format!("{name}{TESTS_ENDING}")) };

    let mut items = compile(workspace, &recipe.into(), &members, &stage)?;
    let named = SHARED_FILES.iter().map(|file| workspace.root.join(file)).filter(|file| file.is_file());
    let mut shared: Vec<PathBuf> = named.collect();
    for folder in SHARED_FOLDERS {
        shared.extend(entries(&workspace.root.join(folder))?);
    }
    for from in shared {
        let to = stage.dir.join(SHARE_FOLDER).join(from.strip_prefix(&workspace.root)?);
        items.push(Item { from, to, mode: MODE_FILE });
    }
    // Of this stage alone: another one may be made at the same time.
    let made = target.join(format!("{name}-sdk"));
    for from in sdk::make(&workspace.root, &made)? {
        let to = stage.dir.join(SHARE_FOLDER).join(from.strip_prefix(&made)?);
        items.push(Item { from, to, mode: MODE_FILE });
    }

    let mut changed = put_in_place(&items, &stage)?;
    changed.extend(describe_plugins(&items, &stage)?);
    for file in &changed {
        println!("staged {}", file.strip_prefix(target).unwrap_or(file).display());
    }
    let seconds = start.elapsed().as_secs_f32();
    println!("{}: {} files, {} changed, {seconds:.1} s", stage.dir.display(), items.len(), changed.len());
    Ok(stage)
}

/// Compiles what is shipped and tells which files go where.
fn compile(workspace: &Workspace, recipe: &Recipe, members: &Metadata, stage: &Stage) -> Result<Vec<Item>> {
    let plugins = members.own().filter(|package| package.is_plugin()).map(|package| &*package.name);
    let programs = PROGRAMS.iter().chain(LIBRARIES).map(|(package, ..)| *package);

    // Packages by name, not the whole workspace: what is shipped must not get features that only xtask or the
    // benchmark switch on.
    let mut cargo = workspace.cargo(["build", "--message-format", "json-render-diagnostics"]);
    cargo.args(programs.chain(plugins).flat_map(|package| ["-p", package]));
    cargo.args(recipe.features.iter().flat_map(|feature| ["--features", feature]));
    if recipe.profile == Profile::Release {
        cargo.arg("--release");
    }
    for name in recipe.without {
        cargo.env_remove(name);
    }
    cargo.envs(recipe.variables.iter().map(|(name, value)| (name, value)));
    let mut child = cargo.stdout(Stdio::piped()).spawn().context("failed to start cargo")?;
    let stdout = child.stdout.take().context("cargo has no stdout")?;
    let mut items = Vec::new();
    for line in BufReader::new(stdout).lines() {
        items.extend(artifact(&line?, members, stage));
    }
    let status = child.wait()?;
    if !status.success() {
        bail!("`{}` failed ({status})", shown(&cargo));
    }

    for (package, file, _) in PROGRAMS.iter().chain(LIBRARIES) {
        if !items.iter().any(|item| item.to.ends_with(file)) {
            bail!("package `{package}` builds no `{file}`");
        }
    }
    Ok(items)
}

/// One line of cargo's JSON messages.
#[derive(Deserialize)]
struct Message {
    #[serde(default)]
    manifest_path: PathBuf,
    #[serde(default)]
    filenames: Vec<PathBuf>,
    executable: Option<PathBuf>,
}

/// The file to stage that a message of cargo speaks of, if any.
fn artifact(line: &str, members: &Metadata, stage: &Stage) -> Option<Item> {
    let message: Message = serde_json::from_str(line).ok()?;
    let package = members.own().find(|package| package.manifest_path == message.manifest_path)?;
    if let Some(from) = message.executable {
        let name = from.file_name()?;
        let (.., folder) =
            PROGRAMS.iter().find(|(owner, program, _)| package.name == *owner && name == *program)?;
        let to = stage.dir.join(folder).join(name);
        return Some(Item { from, to, mode: MODE_PROGRAM });
    }
    if !package.is_library() {
        return None;
    }
    let from =
        message.filenames.into_iter().find(|file| file.extension().is_some_and(|ending| ending == "so"))?;
    if let Some((.., folder)) = LIBRARIES.iter().find(|(owner, ..)| package.name == *owner) {
        let to = stage.dir.join(folder).join(from.file_name()?);
        return Some(Item { from, to, mode: MODE_FILE });
    }
    if !package.is_plugin() {
        return None;
    }
    let for_tests = TEST_PLUGINS.contains(&&*package.name);
    let folder =
        if for_tests { stage.tests.join(TEST_PLUGINS_FOLDER) } else { stage.dir.join(PLUGINS_FOLDER) };
    let to = folder.join(from.file_name()?);
    Some(Item { from, to, mode: MODE_FILE })
}

/// Copies what differs, removes plugins that are no longer built, and returns the files that changed.
fn put_in_place(items: &[Item], stage: &Stage) -> Result<Vec<PathBuf>> {
    // Two builds at once would meet in the temporary files; the lock ends with the function.
    let lock = stage.dir.with_extension("lock");
    let lock = File::create(&lock).with_context(|| format!("failed to make `{}`", lock.display()))?;
    lock.lock()?;

    let mut changed = Vec::new();
    for item in items {
        if same(item)? {
            continue;
        }
        // What the old library said of itself must not outlive it; most items never had such a file.
        let _ = fs::remove_file(manifest_of(&item.to));
        replace(item).with_context(|| format!("failed to stage `{}`", item.to.display()))?;
        changed.push(item.to.clone());
    }
    for folder in [stage.dir.join(PLUGINS_FOLDER), stage.tests.join(TEST_PLUGINS_FOLDER)] {
        for file in entries(&folder)? {
            let is_staged = |item: &Item| item.to == file || manifest_of(&item.to) == file;
            if !items.iter().any(is_staged) {
                fs::remove_file(&file)?;
                println!("removed {}", file.display());
            }
        }
    }
    let sdk = stage.dir.join(SHARE_FOLDER).join("sdk");
    for file in if sdk.exists() { new_plugin::files(&sdk)? } else { Vec::new() } {
        if !items.iter().any(|item| item.to == file) {
            fs::remove_file(&file)?;
        }
    }
    Ok(changed)
}

/// Where the server finds what a library says of itself without loading it.
fn manifest_of(library: &Path) -> PathBuf {
    library.with_extension("manifest.json")
}

/// Asks the staged server what each library says of itself, and puts the answers beside the libraries.
fn describe_plugins(items: &[Item], stage: &Stage) -> Result<Vec<PathBuf>> {
    let (folder, program) = (stage.dir.join(PLUGINS_FOLDER), stage.program());
    let mut written = Vec::new();
    for library in items.iter().map(|item| &item.to).filter(|file| file.starts_with(&folder)) {
        let file = manifest_of(library);
        // What an older server wrote the one of today may not understand.
        if changed_at(&file).is_some_and(|written| Some(written) >= changed_at(&program)) {
            continue;
        }
        let mut llmc = Command::new(&program);
        let output = llmc.args(["plugin", "manifest"]).arg(library).output()?;
        if output.status.success() {
            let temporary = file.with_extension("new");
            fs::write(&temporary, &output.stdout)?;
            fs::rename(&temporary, &file)?;
            written.push(file);
        } else {
            // Without the file the server asks the library at every start, which only takes longer.
            println!(
                "no manifest beside `{}`: {}",
                library.display(),
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
    }
    Ok(written)
}

fn changed_at(file: &Path) -> Option<SystemTime> {
    fs::metadata(file).and_then(|metadata| metadata.modified()).ok()
}

fn same(item: &Item) -> Result<bool> {
    let Ok(staged) = fs::metadata(&item.to) else { return Ok(false) };
    let source =
        fs::metadata(&item.from).with_context(|| format!("cargo did not leave `{}`", item.from.display()))?;
    let alike = staged.len() == source.len() && staged.permissions().mode() & 0o777 == item.mode;
    Ok(alike && fs::read(&item.to)? == fs::read(&item.from)?)
}

/// Puts a new file over the old name, so that a running process keeps the file it opened.
fn replace(item: &Item) -> io::Result<()> {
    let folder = item.to.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let mut temporary = item.to.clone().into_os_string();
    temporary.push(".new");
    fs::copy(&item.from, &temporary)?;
    fs::set_permissions(&temporary, Permissions::from_mode(item.mode))?;
    fs::rename(&temporary, &item.to)
}

fn entries(folder: &Path) -> io::Result<Vec<PathBuf>> {
    if !folder.exists() {
        return Ok(Vec::new());
    }
    fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A stage in `folder` and the one plugin that belongs there.
    fn staged(folder: &Path) -> (Stage, [Item; 1]) {
        let stage = Stage { dir: folder.join("stage"), tests: folder.join("stage-tests") };
        let from = folder.join("libhello.so");
        fs::write(&from, "one").unwrap();
        let to = stage.dir.join(PLUGINS_FOLDER).join("libhello.so");
        (stage, [Item { from, to, mode: MODE_FILE }])
    }

    #[test]
    fn unchanged_files_are_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let (stage, items) = staged(folder.path());
        assert_eq!(put_in_place(&items, &stage).unwrap(), [items[0].to.clone()]);
        assert!(put_in_place(&items, &stage).unwrap().is_empty());
        assert_eq!(fs::metadata(&items[0].to).unwrap().permissions().mode() & 0o777, MODE_FILE);
    }

    #[test]
    fn an_open_file_survives_its_replacement() {
        let folder = tempfile::tempdir().unwrap();
        let (stage, items) = staged(folder.path());
        put_in_place(&items, &stage).unwrap();
        let open = File::open(&items[0].to).unwrap();
        fs::write(&items[0].from, "two").unwrap();
        put_in_place(&items, &stage).unwrap();
        assert_eq!(io::read_to_string(open).unwrap(), "one");
        assert_eq!(fs::read_to_string(&items[0].to).unwrap(), "two");
        assert_eq!(entries(items[0].to.parent().unwrap()).unwrap(), [items[0].to.clone()]);
    }

    #[test]
    fn a_plugin_that_is_gone_leaves_the_stage() {
        let folder = tempfile::tempdir().unwrap();
        let (stage, items) = staged(folder.path());
        put_in_place(&items, &stage).unwrap();
        let stale = items[0].to.with_file_name("libgone.so");
        fs::write(&stale, "").unwrap();
        put_in_place(&items, &stage).unwrap();
        assert!(!stale.exists() && items[0].to.exists());

        let (kept, stale) = (manifest_of(&items[0].to), manifest_of(&stale));
        fs::write(&kept, "").unwrap();
        fs::write(&stale, "").unwrap();
        put_in_place(&items, &stage).unwrap();
        assert!(!stale.exists() && kept.exists(), "a manifest stays with its plugin");
    }

    #[test]
    fn each_artifact_finds_its_place() {
        let workspace = Workspace::locate().unwrap();
        let members = workspace.members().unwrap();
        let stage = Stage { dir: "/t/stage".into(), tests: "/t/stage-tests".into() };
        let place = |package: &str, message: &str| {
            let manifest = workspace.root.join(package).join("Cargo.toml");
            let line = format!(r#"{{"manifest_path":{manifest:?},{message}}}"#);
            artifact(&line, &members, &stage).map(|item| item.to)
        };
        let library = r#""filenames":["/t/liba.rlib","/t/liba.so"]"#;
        assert_eq!(place("plugins/hello", library), Some("/t/stage/lib/llmc/plugins/liba.so".into()));
        assert_eq!(place("plugins/stress", library), Some("/t/stage-tests/plugins/liba.so".into()));
        assert_eq!(place("llmc-core/macros", library), None);
        let program = r#""executable":"/t/llmc-host""#;
        assert_eq!(place("llmc-host", program), Some("/t/stage/libexec/llmc/llmc-host".into()));
        assert_eq!(place("llmc-runner", program), None);
        let ruta = r#""executable":"/t/ruta""#;
        assert_eq!(place("plugins/judge", ruta), Some("/t/stage/bin/ruta".into()));
        let te = r#""executable":"/t/te""#;
        assert_eq!(place("plugins/te", te), Some("/t/stage/bin/te".into()));
        assert_eq!(place("plugins/judge", library), Some("/t/stage/lib/llmc/plugins/liba.so".into()));
        assert_eq!(place("elsewhere", library), None);
    }
}
