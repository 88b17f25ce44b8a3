//! Consent of a person before a tool runs, where the operator asks for it.
//!
//! The person is the one in front of the client. A call below another one, such as one from code, waits for consent
//! where the client is asked while calls wait; where the client is asked by ending the call it is refused, because
//! everything that ran before it would run again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use llmc_core::ask::{ELICIT, Question};
use llmc_core::manifest::ItemKind;
use serde_json::{Value, json};

use super::dialog::Unanswered;
use super::{CallError, CallPath, Caller, Entry, Kind};
use crate::config::{Config, Confirm};
use crate::plugin::CallContext;

/// The question's name among those of a call. A plugin that asks something of this name gains nothing: only the answer
/// to a question that was asked here is looked for.
const KEY: &str = "llmc/confirm";

/// The field that says yes.
const FIELD: &str = "confirm";

/// Longest text of arguments that is shown to the person, in bytes.
const MAX_SHOWN_BYTES: usize = 2 << 10;

/// Which calls need consent.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    server: Confirm,
    plugins: BTreeMap<String, Confirm>,
    tools: BTreeMap<String, Confirm>,
    patience: Duration,
}

impl Rules {
    pub(super) fn new(config: &Config) -> Self {
        let of = |(name, plugin): (&String, &crate::config::Plugin)| Some((name.clone(), plugin.confirm?));
        Self {
            server: config.policy.confirm,
            plugins: config.plugins.iter().filter_map(of).collect(),
            tools: config.policy.confirm_tools.clone(),
            patience: Duration::from_millis(config.policy.confirm_timeout_ms),
        }
    }

    /// How long a person may take, and a state that was given to a client is good.
    pub(super) fn patience(&self) -> Duration {
        self.patience
    }

    /// What is said of the tool counts, then what of its plugin, then what of the server.
    fn needs_consent(&self, entry: &Entry) -> bool {
        if entry.kind != ItemKind::Tool {
            return false;
        }
        let of_plugin = || entry.plugin().and_then(|plugin| self.plugins.get(&**plugin.name()));
        let rule = self.tools.get(&entry.name).or_else(of_plugin).unwrap_or(&self.server);
        match rule {
            Confirm::Never => false,
            Confirm::Destructive => entry.annotations.destructive && !entry.annotations.read_only,
            Confirm::Always => true,
        }
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
        if dialog.is_person() || dialog.has_consent() && context.depth == 0 {
            return Ok(Duration::ZERO);
        }
        let rules = self.authority.confirm();
        if !rules.needs_consent(entry) {
            return Ok(Duration::ZERO);
        }
        if !dialog.client(context.depth).elicitation {
            return Err(nobody_to_ask(entry, context));
        }
        let question = self.question(entry, caller, arguments);
        let Some(asking) = dialog.ask_now(KEY, question.clone()) else {
            return match dialog.consent_sent(KEY) {
                Some(answer) => {
                    judged(entry, &answer)?;
                    dialog.consent();
                    Ok(Duration::ZERO)
                }
                None => Err(dialog.ask_consent(KEY, question)),
            };
        };
        let begun = Instant::now();
        // A call below another one has no more time than that.
        let own = begun + rules.patience();
        let until = if context.depth == 0 { own } else { own.min(context.deadline) };
        let answer = tokio::select! {
            answer = tokio::time::timeout_at(until.into(), asking) => answer,
            () = context.cancel.cancelled() => {
                return Err(CallError::new(Kind::Cancelled, "the call was cancelled"));
            }
        };
        let answer = answer.map_err(|_| {
            let message = format!(
                "nobody consented to `{}` in time (`policy.confirm_timeout_ms`); it was not called",
                entry.name
            );
            CallError::new(Kind::Declined, message)
        })?;
        match answer {
            Ok(answer) => judged(entry, &answer)?,
            Err(Unanswered::Unknown) => return Err(nobody_to_ask(entry, context)),
            Err(Unanswered::Failed(why)) => {
                let message = format!("consent to `{}` could not be asked for: {why}", entry.name);
                return Err(CallError::new(Kind::Unconfirmed, message));
            }
        }
        Ok(begun.elapsed())
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
fn judged(entry: &Entry, answer: &Value) -> Result<(), CallError> {
    let declined = |what: &str| {
        Err(CallError::new(Kind::Declined, format!("the person {what} `{}`; it was not called", entry.name)))
    };
    match answer["action"].as_str() {
        Some("accept") if answer["content"][FIELD] == json!(true) => Ok(()),
        Some("accept" | "decline") => declined("declined"),
        _ => declined("dismissed the question about"),
    }
}

fn nobody_to_ask(entry: &Entry, context: &CallContext) -> CallError {
    let tool = &entry.name;
    let reason = match context.depth {
        0 => "and this client cannot ask one (elicitation)",
        _ => {
            "and this client cannot ask one for a call below another one, such as one from code: call the tool directly"
        }
    };
    let message = format!(
        "`{tool}` needs the consent of a person (`policy.confirm`), {reason}; to do without, the operator writes \
         `[policy] confirm_tools = {{ {tool} = \"never\" }}`"
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
            Rules::new(&config).needs_consent(entry)
        };
        assert!(needs(Confirm::Always, None));
        assert!(!needs(Confirm::Destructive, None), "it reads only");
        assert!(!needs(Confirm::Always, Some(Confirm::Never)));
        assert!(needs(Confirm::Never, Some(Confirm::Always)));
        assert!(!needs(Confirm::default(), None));
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
