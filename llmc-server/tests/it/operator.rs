//! The operator's commands: what they write, and what they leave alone.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{Setup, stage};

/// A home folder of its own, so that nobody's files are touched.
struct Home(TempDir);

impl Home {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir(home.path().join("project")).unwrap();
        Self(home)
    }

    fn with_config(text: &str) -> Self {
        let home = Self::new();
        home.write("llmc.toml", text);
        home
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    /// Runs `llmc` in this home; words are separated by spaces.
    fn llmc(&self, words: &str) -> Output {
        Command::new(stage().join("bin/llmc"))
            .args(words.split(' '))
            .env_clear()
            .env("HOME", self.0.path())
            .current_dir(self.0.path())
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    /// The output of a command that must work.
    #[track_caller]
    fn ok(&self, words: &str) -> String {
        let output = self.llmc(words);
        assert!(output.status.success(), "{words}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    #[track_caller]
    fn json(&self, words: &str) -> Value {
        serde_json::from_str(&self.ok(&format!("{words} --format json"))).unwrap()
    }
}

const CONFIG: &str = "\
# mine
[roots]
work = { path = \"project\" } # keep

[plugins.fs]
library = \"llmc_tools_fs\"
grants = { roots = [\"work\"] }

[plugins.exec]
library = \"llmc_tools_exec\"
grants = { run = { profile = \"code\" } }
";

/// The whole path of a new user: a configuration, a lock, a client, a call.
#[test]
fn from_nothing_to_a_client_that_talks_to_a_locked_server() {
    let home = Home::new();
    home.write("project/a.txt", "content of a");
    let said = home.ok("init --root project --program git --code");
    assert!(said.contains("llmc plugin lock") && said.contains("llmc client connect"), "{said}");
    let file = home.path(".config/llmc/config.toml");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    home.ok("config check");
    home.ok("plugin lock");
    assert!(home.path(".config/llmc/config.lock").exists());
    assert_eq!(
        home.ok("plugin verify"),
        format!("every plugin is what `{}` pins\n", home.path(".config/llmc/config.lock").display())
    );
    home.ok("client connect cursor");
    let client: Value = serde_json::from_str(&home.read(".cursor/mcp.json")).unwrap();
    let entry = &client["mcpServers"]["llmc"];
    // What the client would start is a server that answers.
    let args: Vec<&str> = entry["args"].as_array().unwrap().iter().map(|arg| arg.as_str().unwrap()).collect();
    assert_eq!(args, ["serve", "--config", file.to_str().unwrap()]);
    assert_eq!(
        Path::new(entry["command"].as_str().unwrap()),
        stage().join("bin/llmc").canonicalize().unwrap()
    );
    let mut server = Setup::new("").with_text(&std::fs::read_to_string(&file).unwrap()).serve();
    assert_eq!(server.call("read_file", json!({"path": "work:a.txt"})).ok()["text"], "content of a");
    assert!(server.call("write_file", json!({"path": "work:b", "content": "x"})).is_error(), "read-only");

    // A second `init` changes nothing.
    let before = std::fs::read(&file).unwrap();
    assert_eq!(home.llmc("init --root project:rw").status.code(), Some(1));
    assert_eq!(std::fs::read(&file).unwrap(), before);
}

#[test]
fn grants_change_what_the_server_allows_and_nothing_else_in_the_file() {
    let home = Home::with_config(CONFIG);
    home.write("project/a.txt", "content of a");
    let call = "call execute_code @code.json --config llmc.toml";
    home.write(
        "code.json",
        r#"{"code": "from llmc import tools\ntools.read_file(path='work:a.txt')['text']"}"#,
    );
    let refused = home.llmc(call);
    let error =
        String::from_utf8_lossy(&refused.stdout).into_owned() + &String::from_utf8_lossy(&refused.stderr);
    assert!(error.contains("llmc grant add exec tool read_file"), "the refusal names the command: {error}");
    home.ok("grant add exec tool read_file --config llmc.toml");
    assert!(home.ok(call).contains("content of a"));
    assert_eq!(
        home.read("llmc.toml"),
        CONFIG.replace("\"code\" } }", "\"code\" }, tools = [\"read_file\"] }")
    );
    home.ok("grant remove exec tool read_file --config llmc.toml");
    assert!(!home.ok("grant show exec --config llmc.toml").contains("read_file"));
    assert_eq!(home.json("grant show --config llmc.toml")["exec"]["run"]["profile"], "code");
}

#[test]
fn plugins_are_added_switched_and_removed() {
    let home = Home::with_config(CONFIG);
    std::fs::set_permissions(home.path("llmc.toml"), std::fs::Permissions::from_mode(0o640)).unwrap();
    home.ok("plugin add hello --config llmc.toml");
    assert_eq!(home.read("llmc.toml"), format!("{CONFIG}\n[plugins.hello]\nlibrary = \"hello\"\n"));
    let tools = |home: &Home| home.ok("tools --config llmc.toml");
    assert!(tools(&home).contains("hello"));
    home.ok("plugin disable hello --config llmc.toml");
    assert!(!tools(&home).contains("hello"));
    let rows = home.json("plugin list --config llmc.toml");
    assert_eq!((&rows[2]["name"], &rows[2]["state"]), (&json!("hello"), &json!("disabled")));
    home.ok("plugin enable hello --config llmc.toml");
    assert!(tools(&home).contains("hello"));
    home.ok("plugin remove hello --config llmc.toml");
    assert_eq!(home.read("llmc.toml"), CONFIG);
    assert_eq!(std::fs::metadata(home.path("llmc.toml")).unwrap().permissions().mode() & 0o777, 0o640);
    let manifest = home.json("plugin inspect hello --config llmc.toml");
    assert_eq!(manifest["manifest"]["items"][0]["name"], "hello");
    assert!(home.ok("plugin inspect fs --config llmc.toml").contains("read_file(path"));
}

/// A file without plugins stands for the built-in ones, which a first plugin replaces.
#[test]
fn whoever_adds_the_first_plugin_or_removes_the_last_is_told_what_that_means() {
    let home = Home::with_config("[roots]\n");
    let said = |output: Output| {
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(said(home.llmc("plugin add hello --config llmc.toml")).contains("stands for the built-in ones"));
    assert!(!said(home.llmc("plugin add fs --config llmc.toml")).contains("built-in"));
    assert!(!said(home.llmc("plugin remove fs --config llmc.toml")).contains("built-in"));
    assert!(
        said(home.llmc("plugin remove hello --config llmc.toml")).contains("stands for the built-in ones")
    );
}

#[test]
fn a_lock_follows_grants_only_when_they_are_accepted() {
    let home = Home::with_config(CONFIG);
    home.ok("plugin lock --config llmc.toml");
    let changed = home.llmc("grant add exec tool stat --config llmc.toml");
    let said = String::from_utf8_lossy(&changed.stderr);
    assert!(said.contains("`llmc plugin accept exec --config llmc.toml`"), "{said}");
    assert!(!home.ok("tools --config llmc.toml").contains("execute_code"));
    let rows = home.json("plugin list --config llmc.toml");
    assert_eq!((&rows[0]["lock"], &rows[1]["lock"]), (&json!("drifted"), &json!("pinned")));
    let doctor = home.llmc("doctor --config llmc.toml --format json");
    let doctor: Value = serde_json::from_slice(&doctor.stdout).unwrap();
    assert_eq!(
        (&doctor["healthy"], &doctor["server"]["stopped"][0]["plugin"]),
        (&json!(false), &json!("exec"))
    );
    assert!(home.ok("plugin accept exec --config llmc.toml").contains("  + tools stat\naccepted by "));
    assert!(home.ok("tools --config llmc.toml").contains("execute_code"));
}

#[test]
fn a_client_s_file_keeps_everything_but_the_entry() {
    let home = Home::with_config(CONFIG);
    let before =
        "{\n  // mine\n  \"mcpServers\": {\n    \"x\": { \"command\": \"y\" }\n  },\n  \"z\": 1e3\n}\n";
    home.write(".cursor/mcp.json", before);
    std::fs::set_permissions(home.path(".cursor/mcp.json"), std::fs::Permissions::from_mode(0o600)).unwrap();
    let dry = home.ok("client connect cursor --config llmc.toml --dry-run");
    assert!(dry.contains("+    \"llmc\": {"), "{dry}");
    assert_eq!(home.read(".cursor/mcp.json"), before, "a dry run writes nothing");
    let report = home.json("client connect cursor --config llmc.toml");
    let after = home.read(".cursor/mcp.json");
    assert!(after.starts_with("{\n  // mine\n") && after.ends_with("  },\n  \"z\": 1e3\n}\n"), "{after}");
    assert_eq!(std::fs::read_to_string(report["backup"].as_str().unwrap()).unwrap(), before);
    for file in [".cursor/mcp.json", report["backup"].as_str().unwrap()] {
        assert_eq!(std::fs::metadata(home.path(file)).unwrap().permissions().mode() & 0o777, 0o600, "{file}");
    }
    assert_eq!(home.json("client connect cursor --config llmc.toml")["changed"], false);

    for (client, file) in [
        ("claude-code", ".claude.json"),
        ("claude-desktop", ".config/Claude/claude_desktop_config.json"),
        ("vscode", ".config/Code/User/mcp.json"),
        ("codex", ".codex/config.toml"),
        ("gemini", ".gemini/settings.json"),
    ] {
        let printed = home.ok(&format!("client print {client} --config llmc.toml"));
        home.ok(&format!("client connect {client} --config llmc.toml"));
        assert_eq!(home.read(file), printed, "{client}");
        assert!(printed.contains("serve") && printed.contains("llmc.toml"), "{printed}");
    }
}

#[test]
fn keys_completions_and_man_pages_are_told() {
    let home = Home::with_config(&format!("{CONFIG}[limits]\ngrace_ms = 5\n"));
    let key = home.json("config explain limits.grace_ms --config llmc.toml");
    assert_eq!((&key["default"], &key["value"], &key["type"]), (&json!(1000), &json!(5), &json!("integer")));
    for shell in ["bash", "zsh", "fish"] {
        assert!(home.ok(&format!("completions {shell}")).contains("plugin"), "{shell}");
    }
    home.ok("man project");
    let page = home.read("project/llmc-plugin-accept.1");
    assert!(page.contains("Exit codes") && page.contains("accept"), "{page}");
    assert!(home.ok("grant add --help").contains("Exit codes: 0 success"));
}

/// What they say is compared in `tests/messages`.
#[test]
fn a_refused_change_leaves_the_file_as_it_is() {
    let home = Home::with_config(CONFIG);
    for words in [
        "init --yes --config llmc.toml",
        "plugin accept fs --config llmc.toml",
        "plugin enable sf --config llmc.toml",
        "plugin add fs --config llmc.toml",
        "plugin add F-S --config llmc.toml",
        "plugin add x --library ./x.so --config llmc.toml",
        "grant add fs root docs --config llmc.toml",
        "grant add fs root docs=nowhere --config llmc.toml",
        "grant add fs root usr=project --config llmc.toml",
        "grant add fs secret TOKEN --config llmc.toml",
        "grant add exec program git --config llmc.toml",
        "grant add fs env LANG --config llmc.toml",
        "grant remove fs tool stat --config llmc.toml",
    ] {
        let output = home.llmc(words);
        assert!(!output.status.success() && output.stdout.is_empty(), "llmc {words}: {output:?}");
        assert!(output.stderr.starts_with(b"llmc: "), "llmc {words}: {output:?}");
        assert_eq!(home.read("llmc.toml"), CONFIG, "llmc {words}");
    }
    let client = "{\n  \"mcpServers\": []\n}\n";
    home.write(".gemini/settings.json", client);
    assert!(!home.llmc("client connect gemini --config llmc.toml").status.success());
    assert_eq!(home.read(".gemini/settings.json"), client);
}
