//! The flags that stand in for, or add to, a configuration file.

use std::path::PathBuf;

use clap::Args;

use super::{Access, Config, Grants, Mode, NamedMode, Plugin, Root, RunGrant, RunLimits, RunProfile};

/// Flags of every command that starts plugins.
#[derive(Args, Clone, Debug, Default)]
pub struct Flags {
    /// Configuration file; without it, `llmc/config.toml` in the XDG configuration folder is used if it exists.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Grant a directory: PATH (as `work`, read-only), PATH:rw, or NAME=PATH[:ro|:rw]; repeatable.
    #[arg(long = "root", value_name = "[NAME=]PATH[:ro|:rw]", value_parser = parse_root)]
    pub roots: Vec<(String, Root)>,
    /// Let `run_command` and `start_process` run this program: NAME or NAME=/absolute/path; repeatable.
    #[arg(long = "program", value_name = "NAME")]
    pub programs: Vec<String>,
    /// Add an installed plugin without any grant, by library name; repeatable.
    #[arg(long = "plugin", value_name = "NAME")]
    pub plugins: Vec<String>,
    /// Tools that the client sees: `all`, or `code` for `execute_code` and what finds the others.
    #[arg(long, value_enum, value_name = "MODE")]
    pub mode: Option<NamedMode>,
    /// Folder with `bin`, `libexec` and `lib`; found from the program's own place by default.
    #[arg(long, value_name = "DIR")]
    pub stage: Option<PathBuf>,
}

/// `PATH`, `PATH:rw`, `NAME=PATH`, `NAME=PATH:rw`. A path with `=` or a trailing `:ro` goes into the file.
pub(crate) fn parse_root(text: &str) -> Result<(String, Root), String> {
    let (name, rest) = text.split_once('=').unwrap_or(("work", text));
    let (path, access) = match rest.rsplit_once(':') {
        Some((path, "rw")) => (path, Access::Rw),
        Some((path, "ro")) => (path, Access::Ro),
        _ => (rest, Access::Ro),
    };
    if path.is_empty() {
        return Err("the path is empty; write PATH, PATH:rw or NAME=PATH:rw".into());
    }
    Ok((name.to_owned(), Root { path: path.into(), access }))
}

/// Tools of the built-in command plugin.
const CMD_TOOLS: [&str; 6] =
    ["run_command", "start_process", "send_input", "read_output", "stop_process", "list_processes"];

/// What code may call back without a configuration file: the file tools, which stay inside the roots and their access.
pub(crate) const FS_TOOLS: [&str; 14] = [
    "append_file",
    "copy_path",
    "create_dir",
    "delete_path",
    "edit_file",
    "find_files",
    "list_dir",
    "move_path",
    "read_file",
    "read_files",
    "search_files",
    "stat",
    "tree",
    "write_file",
];

impl Flags {
    /// Applies the flags over what a file said.
    ///
    /// # Errors
    ///
    /// When a flag would have to guess a grant that the file decides.
    pub(super) fn apply(&self, config: &mut Config) -> Result<(), String> {
        let by_file = !config.plugins.is_empty();
        if let Some(mode) = self.mode {
            self.apply_mode(mode, config)?;
        }
        for (index, (name, root)) in self.roots.iter().enumerate() {
            if self.roots[..index].iter().any(|(earlier, _)| earlier == name) {
                return Err(format!(
                    "two --root are called `{name}`; write NAME=PATH to give each its own name"
                ));
            }
            if by_file && !config.roots.contains_key(name) {
                return Err(format!(
                    "--root {name}=…: the configuration file has [plugins] and no root `{name}`, so no plugin is \
                     granted it; add it to [roots] and to the `grants` of a plugin there"
                ));
            }
            let known = config.roots.get(name).filter(|_| by_file);
            if known.is_some_and(|known| known.access == Access::Ro && root.access == Access::Rw) {
                return Err(format!(
                    "--root {name}=…:rw: the configuration file grants root `{name}` read-only; leave `:rw` out, or \
                     write `access = \"rw\"` there"
                ));
            }
            config.roots.insert(name.clone(), root.clone());
        }
        if by_file && !self.programs.is_empty() {
            return Err("--program: the configuration file has [plugins]; list the program in \
                        `[plugins.cmd] grants = { run = { profile = \"workspace\", programs = [...] } }`"
                .into());
        }
        if !by_file {
            config.plugins = self.default_plugins(config);
        }
        for library in &self.plugins {
            let plugin = Plugin { library: library.clone(), ..Plugin::default() };
            if config.plugins.insert(library.clone(), plugin).is_some() {
                return Err(format!(
                    "--plugin {library}: the configuration already has a plugin of that name"
                ));
            }
        }
        Ok(())
    }

    /// A file that lists tools for clients restricts them; `--mode all` would lift that.
    fn apply_mode(&self, mode: NamedMode, config: &mut Config) -> Result<(), String> {
        let by_file = &config.server.mode;
        if mode == NamedMode::All && *by_file != Mode::default() {
            return Err(
                "--mode all: the configuration file shows fewer tools to clients (`server.mode`)".into()
            );
        }
        if let (NamedMode::Code, Mode::Listed(_)) = (mode, by_file) {
            return Err(
                "--mode code: the configuration file lists the tools for clients (`server.mode`)".into()
            );
        }
        config.server.mode = Mode::Named(mode);
        Ok(())
    }

    /// The built-in plugins with the least grants that make them useful.
    fn default_plugins(&self, config: &Config) -> std::collections::BTreeMap<String, Plugin> {
        let roots: Vec<String> = config.roots.keys().cloned().collect();
        let run = |profile, programs: &[String]| RunGrant {
            profile,
            programs: programs.to_vec(),
            packages: Vec::new(),
            env: Vec::new(),
            limits: RunLimits::default(),
        };
        let plugin = |library: &str, grants| Plugin { library: library.into(), grants, ..Plugin::default() };
        let mut tools = FS_TOOLS.map(String::from).to_vec();
        // What clients do not see would be out of reach of everybody.
        if config.server.mode == Mode::Named(NamedMode::Code) && !self.programs.is_empty() {
            tools.extend(CMD_TOOLS.map(String::from));
        }
        [
            ("fs", plugin("llmc_tools_fs", Grants { roots: roots.clone(), ..Grants::default() })),
            (
                "cmd",
                plugin(
                    "llmc_tools_cmd",
                    Grants {
                        roots,
                        run: Some(run(RunProfile::Workspace, &self.programs)),
                        ..Grants::default()
                    },
                ),
            ),
            (
                "exec",
                plugin(
                    "llmc_tools_exec",
                    Grants { run: Some(run(RunProfile::Code, &[])), tools, ..Grants::default() },
                ),
            ),
        ]
        .into_iter()
        .map(|(name, plugin)| (name.to_owned(), plugin))
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roots_are_read_only_unless_said() {
        let root = |path: &str, access| Root { path: path.into(), access };
        assert_eq!(parse_root("."), Ok(("work".into(), root(".", Access::Ro))));
        assert_eq!(parse_root("/a:rw"), Ok(("work".into(), root("/a", Access::Rw))));
        assert_eq!(parse_root("docs=/a:b"), Ok(("docs".into(), root("/a:b", Access::Ro))));
        assert!(parse_root("docs=").is_err());
    }

    #[test]
    fn flags_alone_give_the_built_in_plugins_and_no_program() {
        let flags = Flags { roots: vec![parse_root(".:rw").unwrap()], ..Flags::default() };
        let mut config = Config::default();
        flags.apply(&mut config).unwrap();
        assert_eq!(config.plugins.keys().collect::<Vec<_>>(), ["cmd", "exec", "fs"]);
        assert_eq!(config.plugins["cmd"].grants.run.as_ref().unwrap().programs, Vec::<String>::new());
        assert_eq!(config.plugins["exec"].grants.roots, Vec::<String>::new());
    }

    #[test]
    fn code_mode_gives_code_what_clients_do_not_see() {
        let tools = |flags: Flags| {
            let mut config = Config::default();
            flags.apply(&mut config).unwrap();
            config.plugins.remove("exec").unwrap().grants.tools
        };
        let code = Some(NamedMode::Code);
        let programs = vec!["git".to_owned()];
        let run_command = "run_command".to_owned();
        assert!(
            tools(Flags { mode: code, programs: programs.clone(), ..Flags::default() })
                .contains(&run_command)
        );
        assert!(!tools(Flags { mode: code, ..Flags::default() }).contains(&run_command));
        assert!(!tools(Flags { programs, ..Flags::default() }).contains(&run_command));
    }

    #[test]
    fn a_flag_does_not_show_what_a_file_hides() {
        let apply = |file: &str, mode| {
            let mut config: Config = toml::from_str(file).unwrap();
            Flags { mode: Some(mode), ..Flags::default() }.apply(&mut config).map(|()| config.server.mode)
        };
        assert!(apply("server = { mode = 'code' }", NamedMode::All).unwrap_err().contains("server.mode"));
        assert!(apply("server = { mode = ['stat'] }", NamedMode::Code).unwrap_err().contains("server.mode"));
        assert_eq!(apply("", NamedMode::Code), Ok(Mode::Named(NamedMode::Code)));
        assert_eq!(apply("server = { mode = 'all' }", NamedMode::Code), Ok(Mode::Named(NamedMode::Code)));
    }

    #[test]
    fn two_roots_of_one_name_are_refused() {
        let flags =
            Flags { roots: vec![parse_root("a").unwrap(), parse_root("b").unwrap()], ..Flags::default() };
        assert!(flags.apply(&mut Config::default()).unwrap_err().contains("NAME=PATH"));
    }

    #[test]
    fn a_flag_does_not_widen_what_a_file_decides() {
        let mut config: Config = toml::from_str("[plugins.fs]\nlibrary = 'llmc_tools_fs'").unwrap();
        let flags = Flags { roots: vec![parse_root("/etc").unwrap()], ..Flags::default() };
        assert!(flags.apply(&mut config).unwrap_err().contains("no root `work`"));
        config.roots.insert("docs".into(), Root { path: "/a".into(), access: Access::Ro });
        let flags = Flags { roots: vec![parse_root("docs=/b:rw").unwrap()], ..Flags::default() };
        assert!(flags.apply(&mut config).unwrap_err().contains("read-only"));
        let flags = Flags { roots: vec![parse_root("docs=/b").unwrap()], ..Flags::default() };
        flags.apply(&mut config).unwrap();
        assert_eq!(config.roots["docs"].path, std::path::Path::new("/b"));
        let flags = Flags { programs: vec!["git".into()], ..Flags::default() };
        assert!(flags.apply(&mut config).unwrap_err().contains("[plugins.cmd]"));
    }
}
