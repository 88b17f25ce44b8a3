//! Every command with its flags.

use clap::{Arg, Command};

use super::super::{EXIT_CODES, command};
use super::text::{code, head, shown, table};

const FROM: &str = "\
What `llmc COMMAND --help` tells. Results go to stdout, everything else to stderr. `llmc man FOLDER` writes the same as \
man pages, `llmc completions SHELL` prints completions.";

pub(super) fn page() -> String {
    let mut llmc = command();
    llmc.build();
    let mut text = head("Commands", FROM);
    text.push_str("\n## Exit codes\n");
    let codes = EXIT_CODES.iter().map(|(number, meaning)| [code(&number.to_string()), (*meaning).to_owned()]);
    text.push_str(&table(["Code", "Meaning"], codes));
    text.push_str("\n## Flags of every command\n");
    text.push_str(&table(HEAD, llmc.get_arguments().filter(|arg| arg.is_global_set()).map(row)));
    below(&llmc, &mut text);
    text
}

const HEAD: [&str; 3] = ["Argument", "Default", "Meaning"];

/// Commands that do something, each under its whole name.
fn below(parent: &Command, text: &mut String) {
    for child in parent.get_subcommands().filter(|child| !child.is_hide_set() && child.get_name() != "help") {
        if child.has_subcommands() {
            below(child, text);
            continue;
        }
        let name = child.get_bin_name().unwrap_or(child.get_name());
        let about = child.get_long_about().or(child.get_about()).map(ToString::to_string).unwrap_or_default();
        let usage = child.clone().render_usage().to_string();
        let usage = usage.trim_start_matches("Usage:").trim();
        text.push_str(&format!("\n## `{name}`\n\n{}\n\n```text\n{usage}\n```\n", shown(about.trim())));
        let own = child.get_arguments().filter(|arg| !arg.is_global_set() && !arg.is_hide_set());
        text.push_str(&table(HEAD, own.filter(|arg| arg.get_id() != "help").map(row)));
    }
}

fn row(arg: &Arg) -> [String; 3] {
    let defaults: Vec<String> =
        arg.get_default_values().iter().map(|value| value.to_string_lossy().into_owned()).collect();
    let is_flag = !arg.get_action().takes_values();
    let default = if is_flag || defaults.is_empty() { String::new() } else { code(&defaults.join(" ")) };
    let help = arg.get_long_help().or(arg.get_help()).map(ToString::to_string).unwrap_or_default();
    let values: Vec<String> = match is_flag {
        true => Vec::new(),
        false => arg.get_possible_values().iter().map(|value| code(value.get_name())).collect(),
    };
    let help = shown(help.trim().trim_end_matches('.'));
    let help = match values.is_empty() {
        true => help,
        false => format!("{help}; one of {}", values.join(", ")),
    };
    [code(&spelled(arg)), default, help]
}

/// `-n`, `--lines COUNT` or `TOOL`.
fn spelled(arg: &Arg) -> String {
    let names = arg.get_value_names().unwrap_or_default();
    let value = names.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(" ");
    let takes = arg.get_action().takes_values();
    let flags: Vec<String> = arg
        .get_short()
        .map(|short| format!("-{short}"))
        .into_iter()
        .chain(arg.get_long().map(|long| format!("--{long}")))
        .collect();
    match (flags.is_empty(), takes) {
        (true, _) => value,
        (false, true) => format!("{} {value}", flags.join(", ")),
        (false, false) => flags.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_stand_under_their_whole_names_with_their_flags() {
        let page = page();
        for part in [
            "\n## `llmc serve`\n",
            "\n## `llmc plugin accept`\n",
            "| `--root [NAME=]PATH[:ro\\|:rw]` | |",
            "| `-n, --lines COUNT` | `20` |",
            "| `--log FILTER` | `warn` |",
            "; one of `text`, `json` |",
            "| `5` | the tool reported an error",
        ] {
            assert!(page.contains(part), "{part}\n{page}");
        }
        assert!(!page.contains("`llmc reference`") && !page.contains("| `-h, --help`"), "{page}");
    }
}
