//! Command lines that people type, and what a shell would make of them.

use proptest::prelude::*;

use super::*;

#[track_caller]
fn words(line: &str, expected: &[&str]) {
    assert_eq!(
        split(line).as_deref(),
        Ok(&*expected.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>()),
        "{line}"
    );
}

#[track_caller]
fn operator(line: &str, text: &str, name: &str, character: usize) {
    match split(line) {
        Err(Refusal::Operator { text: found, name: called, character: at }) => {
            assert_eq!((found.as_str(), at), (text, character), "{line}");
            assert!(called.contains(name), "{line}: {called}");
        }
        other => panic!("{line}: {other:?}"),
    }
}

#[test]
fn words_are_split_as_a_shell_splits_them() {
    words("git log -3", &["git", "log", "-3"]);
    words("  git\t status  ", &["git", "status"]);
    words("git commit -m 'fix: a  b'", &["git", "commit", "-m", "fix: a  b"]);
    words(r#"grep "a \"b\" \\ \n" file"#, &["grep", r#"a "b" \ \n"#, "file"]);
    words(r"echo a\ b \; \$HOME", &["echo", "a b", ";", "$HOME"]);
    words("printf '' \"\" x''y", &["printf", "", "", "xy"]);
    words(
        "git show HEAD~1 HEAD^ HEAD@{1} stash@{0}",
        &["git", "show", "HEAD~1", "HEAD^", "HEAD@{1}", "stash@{0}"],
    );
    words("find . -name '*.rs' -exec {} +", &["find", ".", "-name", "*.rs", "-exec", "{}", "+"]);
    words(
        "cargo test --features=a,b -- --nocapture",
        &["cargo", "test", "--features=a,b", "--", "--nocapture"],
    );
    words("make CC=gcc -j2", &["make", "CC=gcc", "-j2"]);
    words("find . ! -name x", &["find", ".", "!", "-name", "x"]);
    words(
        "echo 5$ a#b c! 'd[1]' 100% x=y @a +b ,",
        &["echo", "5$", "a#b", "c!", "d[1]", "100%", "x=y", "@a", "+b", ","],
    );
    words("git log \\\n  -3\n", &["git", "log", "-3"]);
    words("echo grüße '日本'", &["echo", "grüße", "日本"]);
    words("", &[]);
    words(" \t\n", &[]);
}

#[test]
fn operators_are_named_with_their_place() {
    operator("echo safe; touch X", ";", "end of a command", 10);
    operator("echo A && B", "&&", "\"and\"", 8);
    operator("a || b", "||", "\"or\"", 3);
    operator("sleep 9 &", "&", "background", 9);
    operator("cat x | sort", "|", "pipe", 7);
    operator("echo x > f", ">", "output", 8);
    operator("echo x >> f", ">>", "output", 8);
    operator("echo x 2>&1", ">", "output", 9);
    operator("cat < f", "<", "input", 5);
    operator("cat << EOF", "<<", "input", 5);
    operator("cat <(rm x)", "<", "input", 5);
    operator("echo $(whoami)", "$(", "command substitution", 6);
    operator("echo \"Hi $(iptables)\"", "$(", "command substitution", 10);
    operator("echo `id`", "`", "command substitution", 6);
    operator("echo \"`id`\"", "`", "command substitution", 7);
    operator("echo $HOME", "$H", "variable", 6);
    operator("echo ${HOME}", "${", "expansion", 6);
    operator("echo $'a'", "$'", "expansion", 6);
    operator("ls *.rs", "*", "pattern", 4);
    operator("ls ?.rs", "?", "pattern", 4);
    operator("ls [ab].rs", "[", "pattern", 4);
    operator("mkdir {a,b}", "{", "brace", 7);
    operator("seq {1..3}", "{", "brace", 5);
    operator("cd ~", "~", "home", 4);
    operator("ls # all", "#", "comment", 4);
    operator("! true", "!", "negation", 1);
    operator("A=b env", "=", "assignment", 2);
    operator("(ls)", "(", "subshell", 1);
    operator("echo ok\nrm -rf x", "\\n", "line break", 8);
    operator("ä ö; ü", ";", "end of a command", 4);
}

#[test]
fn unbalanced_quotes_are_told() {
    assert_eq!(split("echo 'a"), Err(Refusal::Unclosed { quote: '\'', character: 6 }));
    assert_eq!(split("echo \"a\\\""), Err(Refusal::Unclosed { quote: '"', character: 6 }));
    assert_eq!(split("echo a\\"), Err(Refusal::Backslash));
    assert!(split("echo 'a").unwrap_err().to_string().contains("not closed"));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever is accepted is what a POSIX splitter makes of it; nothing panics.
    #[test]
    fn accepted_lines_mean_the_same_elsewhere(line in "[a-z\\\\'\" \t;|&$*=#~!{},.()\\n]{0,24}") {
        if let Ok(words) = split(&line) {
            let line = line.trim_end_matches(['\n', ' ', '\t']);
            // Not a line whose last character the trim above would unquote.
            prop_assume!(!line.ends_with('\\'));
            prop_assert_eq!(shell_words::split(line).unwrap(), words);
        }
    }

    #[test]
    fn quoted_words_come_back(words in prop::collection::vec(".{1,12}", 1..6)) {
        let words: Vec<String> = words.into_iter().map(|word| word.replace(['\0', '\r', '!', '{'], "")).collect();
        prop_assert_eq!(split(&shell_words::join(&words)).unwrap(), words);
    }
}
