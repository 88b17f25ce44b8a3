//! Consent of a person before a tool runs, where the operator asks for it: which calls need it, and whose.
//!
//! The person is the one in front of the client, or an operator (`consent`). A call below another one, such as one from
//! code, waits for consent where the client is asked while calls wait; where the client is asked by ending the call it
//! is refused, because everything that ran before it would run again. For an operator every call waits.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use llmc_core::ask::{ELICIT, Question};
use llmc_core::manifest::ItemKind;
use serde_json::{Value, json};

use super::{CallError, CallPath, Caller, Entry, Kind};
use crate::config::{Config, Confirm, ConfirmBy};
use crate::plugin::CallContext;

/// The question's name among those of a call. A plugin that asks something of this name gains nothing: only the answer
/// to a question that was asked here is looked for.
const KEY: &str = "llmc/confirm";

/// The field that says yes.
const FIELD: &str = "confirm";

/// Longest text of arguments that is shown to the person, in bytes.
const MAX_SHOWN_BYTES: usize = 2 << 10;

/// Which calls need consent, and whose.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    confirm: Nearest<Confirm>,
    by: Nearest<ConfirmBy>,
    patience: Duration,
}

/// What is said of the server, of plugins and of tools; what is nearest to a tool counts.
#[derive(Clone, Debug)]
struct Nearest<T> {
    server: T,
    plugins: BTreeMap<String, T>,
    tools: BTreeMap<String, T>,
}

/// Which consent a tool needs, and which keys of the configuration say so.
pub(crate) struct ConsentRule {
    pub(crate) is_needed: bool,
    pub(crate) confirm: (Confirm, String),
    pub(crate) by: (ConfirmBy, String),
}

impl<T: Copy> Nearest<T> {
    /// What counts for a tool, and the key that says it; `key` is its name in `[policy]` and below plugins.
    fn of(&self, entry: &Entry, key: &str) -> (T, String) {
        if let Some(rule) = self.tools.get(&entry.name) {
            return (*rule, format!("policy.{key}_tools.{}", entry.name));
        }
        let plugin = entry.plugin().map(|plugin| plugin.name());
        match plugin.and_then(|name| Some((name, self.plugins.get(&**name)?))) {
            Some((name, rule)) => (*rule, format!("plugins.{name}.{key}")),
            None => (self.server, format!("policy.{key}")),
        }
    }
}

impl Rules {
    pub(super) fn new(config: &Config) -> Self {
        let policy = &config.policy;
        let plugins = || config.plugins.iter();
        let confirm = plugins().filter_map(|(name, plugin)| Some((name.clone(), plugin.confirm?)));
        let by = plugins().filter_map(|(name, plugin)| Some((name.clone(), plugin.confirm_by?)));
        Self {
            confirm: Nearest {
                server: policy.confirm,
                plugins: confirm.collect(),
                tools: policy.confirm_tools.clone(),
            },
            by: Nearest {
                server: policy.confirm_by,
                plugins: by.collect(),
                tools: policy.confirm_by_tools.clone(),
            },
            patience: Duration::from_millis(policy.confirm_timeout_ms),
        }
    }

    /// How long a person may take, and a state that was given to a client is good.
    pub(super) fn patience(&self) -> Duration {
        self.patience
    }

    /// What is said of the tool counts, then what of its plugin, then what of the server.
    pub(super) fn rule(&self, entry: &Entry) -> ConsentRule {
        let (confirm, by) = (self.confirm.of(entry, "confirm"), self.by.of(entry, "confirm_by"));
        let is_needed = entry.kind == ItemKind::Tool
            && match confirm.0 {
                Confirm::Never => false,
                Confirm::Destructive => entry.annotations.destructive && !entry.annotations.read_only,
                Confirm::Always => true,
            };
        ConsentRule { is_needed, confirm, by }
    }

    /// Whose consent a call needs.
    fn needed(&self, entry: &Entry) -> Option<ConfirmBy> {
        let of_server = self.confirm.plugins.is_empty() && self.confirm.tools.is_empty();
        // So it is nearly everywhere.
        if of_server && self.confirm.server == Confirm::Never {
            return None;
        }
        let rule = self.rule(entry);
        rule.is_needed.then_some(rule.by.0)
    }
}

impl CallPath {
    /// Sees that a person has consented to the call, if one has to. Tells how long it was waited for.
    ///
    /// # Errors
    ///
    /// When nobody has; the text says who said no, or what to configure.
    pub(super) async fn consented(
        &self,
        entry: &Entry,
        caller: &Caller,
        context: &CallContext,
        arguments: &[u8],
    ) -> Result<Duration, CallError> {
        let dialog = &context.dialog;
        if dialog.is_person() {
            return Ok(Duration::ZERO);
        }
        let Some(by) = self.authority.confirm().needed(entry) else { return Ok(Duration::ZERO) };
        if context.depth == 0 && dialog.has_consent(by) {
            return Ok(Duration::ZERO);
        }
        let asks_client = by != ConfirmBy::Console && dialog.client(context.depth).elicitation;
        let mut client = None;
        if asks_client {
            let question = self.question(entry, caller, arguments);
            client = dialog.ask_now(KEY, question.clone());
            if client.is_none() {
                // This client is asked by ending the call, so no operator can be waited for.
                return match dialog.consent_sent(KEY) {
                    Some(answer) => {
                        judged(entry, &answer)?;
                        dialog.consent();
                        Ok(Duration::ZERO)
                    }
                    None => Err(dialog.ask_consent(KEY, question)),
                };
            }
        }
        let is_there = match by {
            ConfirmBy::Client => false,
            ConfirmBy::Console => self.pending().is_served(),
            // Who could be asked elsewhere is not kept waiting for nobody.
            ConfirmBy::Either => self.pending().is_served() && (asks_client || self.pending().is_watched()),
        };
        if client.is_none() && !is_there {
            return Err(nobody_to_ask(entry, context, by));
        }
        self.waited_for(entry, caller, context, arguments, client, is_there).await
    }

    fn question(&self, entry: &Entry, caller: &Caller, arguments: &[u8]) -> Question {
        let arguments =
            self.secrets.mask_and_cut(String::from_utf8_lossy(arguments).into_owned(), MAX_SHOWN_BYTES);
        let from = match caller {
            Caller::Plugin(plugin) => format!(", called by plugin `{plugin}` or code that it runs"),
            Caller::Client | Caller::Remote(_) | Caller::CommandLine => String::new(),
        };
        let message = format!(
            "Allow `{}` of plugin `{}`{from}, with these arguments?\n{}",
            entry.name,
            entry.owner(),
            shown(&arguments)
        );
        let field = json!({"type": "boolean", "title": "Allow it", "default": false});
        let schema = json!({"type": "object", "properties": {FIELD: field}, "required": [FIELD]});
        Question { method: ELICIT.to_owned(), params: json!({"message": message, "requestedSchema": schema}) }
    }
}

/// Text that cannot pretend to be anything but a text: no control or formatting characters.
fn shown(text: &str) -> String {
    let odd = |letter: char| {
        letter.is_control()
            || matches!(letter, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    text.chars().map(|letter| if odd(letter) { '\u{fffd}' } else { letter }).collect()
}

/// Whether the answer is a yes.
pub(super) fn judged(entry: &Entry, answer: &Value) -> Result<(), CallError> {
    let declined = |what: &str| {
        Err(CallError::new(Kind::Declined, format!("the person {what} `{}`; it was not called", entry.name)))
    };
    match answer["action"].as_str() {
        Some("accept") if answer["content"][FIELD] == json!(true) => Ok(()),
        Some("accept" | "decline") => declined("declined"),
        _ => declined("dismissed the question about"),
    }
}

/// What is told where nobody can consent.
pub(super) fn nobody_to_ask(entry: &Entry, context: &CallContext, by: ConfirmBy) -> CallError {
    let tool = &entry.name;
    let client = match context.depth {
        0 => "this client cannot ask one (elicitation)",
        _ => {
            "this client cannot ask one for a call below another one, such as one from code: call the tool directly"
        }
    };
    let operator = "open the console with `llmc console` and call again";
    let reason = match by {
        ConfirmBy::Client => format!("(`policy.confirm`), and {client}"),
        ConfirmBy::Either => {
            format!("(`policy.confirm`), {client}, and no operator has the console open: {operator}")
        }
        ConfirmBy::Console => {
            "(`policy.confirm_by`) who decides in the console, and this server has none: the operator writes \
             `server.http` and starts it anew"
                .to_owned()
        }
    };
    let who = if by == ConfirmBy::Console { "an operator" } else { "a person" };
    let message = format!(
        "`{tool}` needs the consent of {who} {reason}; to do without, the operator writes `[policy] confirm_tools = \
         {{ {tool} = \"never\" }}`"
    );
    CallError::new(Kind::Unconfirmed, message)
}

/// What a sealed state is bound to.
pub(super) fn binding(
    context: &Arc<CallContext>,
    caller: &Caller,
    entry: &Entry,
    arguments: &[u8],
) -> Vec<u8> {
    let caller = caller.to_string();
    let kind = Entry::shown(entry.kind, &entry.name);
    let mut binding = Vec::new();
    for part in [context.origin.as_bytes(), caller.as_bytes(), kind.as_bytes(), arguments] {
        binding.extend_from_slice(&(part.len() as u64).to_le_bytes());
        binding.extend_from_slice(part);
    }
    binding
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::Registry;

    #[test]
    fn the_nearest_rule_counts() {
        let registry = Registry::new().unwrap();
        let entry = registry.get("read_more").unwrap();
        let needs = |server: Confirm, tool: Option<Confirm>| {
            let mut config = Config::default();
            config.policy.confirm = server;
            config.policy.confirm_tools =
                tool.map(|rule| ("read_more".to_owned(), rule)).into_iter().collect();
            Rules::new(&config).needed(entry).is_some()
        };
        assert!(needs(Confirm::Always, None));
        assert!(!needs(Confirm::Destructive, None), "it reads only");
        assert!(!needs(Confirm::Always, Some(Confirm::Never)));
        assert!(needs(Confirm::Never, Some(Confirm::Always)));
        assert!(!needs(Confirm::default(), None));
    }

    #[test]
    fn who_consents_is_told_with_the_key_that_says_so() {
        let registry = Registry::new().unwrap();
        let entry = registry.get("read_more").unwrap();
        let mut config = Config::default();
        config.policy.confirm = Confirm::Always;
        assert_eq!(Rules::new(&config).needed(entry), Some(ConfirmBy::Client));
        config.policy.confirm_by = ConfirmBy::Console;
        let rule = Rules::new(&config).rule(entry);
        assert_eq!(rule.by, (ConfirmBy::Console, "policy.confirm_by".into()));
        assert_eq!(rule.confirm, (Confirm::Always, "policy.confirm".into()));
        config.policy.confirm_by_tools.insert("read_more".into(), ConfirmBy::Either);
        let rule = Rules::new(&config).rule(entry);
        assert_eq!(rule.by, (ConfirmBy::Either, "policy.confirm_by_tools.read_more".into()));
        config.policy.confirm = Confirm::Never;
        assert_eq!(Rules::new(&config).needed(entry), None, "nobody has to, so it does not matter who");
    }

    #[test]
    fn only_a_plain_yes_is_one() {
        let registry = Registry::new().unwrap();
        let entry = registry.get("read_more").unwrap();
        assert!(judged(entry, &json!({"action": "accept", "content": {"confirm": true}})).is_ok());
        for no in [
            json!({"action": "accept", "content": {"confirm": false}}),
            json!({"action": "accept", "content": {"confirm": "true"}}),
            json!({"action": "accept"}),
            json!({"action": "decline", "content": {"confirm": true}}),
            json!({"action": "cancel"}),
            json!({}),
            json!(true),
        ] {
            assert_eq!(judged(entry, &no).unwrap_err().kind, Kind::Declined, "{no}");
        }
    }

    #[test]
    fn arguments_are_shown_as_plain_text() {
        assert_eq!(shown("a\u{202e}b\nc\u{1b}[0m"), "a\u{fffd}b\u{fffd}c\u{fffd}[0m");
    }
}
