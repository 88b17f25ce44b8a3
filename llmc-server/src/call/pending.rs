//! Calls that wait for an operator.
//!
//! Each is there as long as its call waits, with a number that nobody can guess or confuse with that of another call or
//! of another start of the server. Whoever takes an entry out of the table has ended the wait: an operator who decides,
//! or the call itself, whose client answered, left or lost patience. So of two who come at the same moment one is told
//! that it is over. A decision is about the very call that waits; there is nothing that could be presented for another.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::rand::{GetRandomFlags, getrandom};
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::{CallError, Caller, Entry, Kind};
use crate::audit::{Audit, Event, now_ms};
use crate::console::feed;
use crate::plugin::CallContext;
use crate::secret::Secrets;
use crate::telemetry::METRICS;
use crate::telemetry::metrics::Held;

/// Calls that wait at the same time, of one client and of all.
const MAX_OF_CLIENT: usize = 16;
const MAX_OF_ALL: usize = 64;

/// Ends that are remembered, for who comes late.
const MAX_ENDED: usize = 64;

/// Longest text of arguments that is shown, in bytes.
const MAX_SHOWN_BYTES: usize = 16 << 10;

/// A longer string in arguments is shown by its beginning and its end, so that what follows it is seen, too.
const MAX_STRING_BYTES: usize = 1200;
const BEGINNING_BYTES: usize = 800;
const END_BYTES: usize = 300;

/// Elements of a list that are shown.
const MAX_ELEMENTS: usize = 100;

/// All calls that wait, whatever the configuration becomes.
pub(crate) struct Pending {
    audit: Arc<Audit>,
    table: Mutex<Table>,
    /// There is a console.
    is_served: AtomicBool,
    /// Pages that are open.
    watching: AtomicUsize,
}

#[derive(Default)]
struct Table {
    /// The oldest first.
    waiting: Vec<Entered>,
    /// The newest last.
    ended: VecDeque<Ended>,
}

/// A call that waits.
struct Entered {
    id: String,
    call: u64,
    tool: String,
    plugin: String,
    caller: String,
    origin: Arc<str>,
    is_nested: bool,
    arguments: String,
    argument_bytes: usize,
    is_shortened: bool,
    asks_client: bool,
    since: Instant,
    since_ms: u64,
    until: Instant,
    answer: oneshot::Sender<Decision>,
    _counted: Held,
}

/// What became of one.
struct Ended {
    id: String,
    tool: String,
    caller: String,
    outcome: &'static str,
    by: Option<String>,
    time_ms: u64,
}

/// What an operator says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Decision {
    pub(crate) is_allowed: bool,
    /// Who decides, for the audit.
    pub(crate) by: String,
    /// For the caller; secrets masked.
    pub(crate) reason: Option<String>,
}

/// What became of a decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Decided {
    Done,
    /// The call had ended, or somebody else was earlier; in words.
    Over(String),
    /// There is no such call.
    Unknown,
    /// It could not be recorded, so the call was denied.
    Unrecorded,
}

/// What is asked.
pub(super) struct Asked<'a> {
    pub(super) entry: &'a Entry,
    pub(super) caller: &'a Caller,
    pub(super) context: &'a CallContext,
    pub(super) arguments: &'a [u8],
    pub(super) until: Instant,
    /// The person in front of the client is asked as well.
    pub(super) asks_client: bool,
}

/// The side of the call: waits, and ends the wait when dropped.
pub(super) struct Waiting {
    id: String,
    pending: Arc<Pending>,
    answer: oneshot::Receiver<Decision>,
}

/// A page is open, until dropped.
pub(crate) struct Watching(Arc<Pending>);

impl Pending {
    pub(super) fn new(audit: &Arc<Audit>) -> Arc<Self> {
        Arc::new(Self {
            audit: Arc::clone(audit),
            table: Mutex::default(),
            is_served: AtomicBool::new(false),
            watching: AtomicUsize::new(0),
        })
    }

    /// There is a console from now on.
    pub(crate) fn serve(&self) {
        self.is_served.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_served(&self) -> bool {
        self.is_served.load(Ordering::Relaxed)
    }

    /// Whether an operator has a page open.
    pub(super) fn is_watched(&self) -> bool {
        self.watching.load(Ordering::Relaxed) > 0
    }

    pub(crate) fn watch(self: &Arc<Self>) -> Watching {
        self.watching.fetch_add(1, Ordering::Relaxed);
        Watching(Arc::clone(self))
    }

    /// Lets a call wait.
    ///
    /// # Errors
    ///
    /// When too many do.
    pub(super) fn ask(self: &Arc<Self>, asked: &Asked<'_>, secrets: &Secrets) -> Result<Waiting, CallError> {
        let Asked { entry, caller, context, .. } = asked;
        let id = new_id().map_err(|error| CallError::new(Kind::Unconfirmed, error.to_string()))?;
        let (arguments, is_shortened) = shown(asked.arguments, secrets);
        let (sender, answer) = oneshot::channel();
        let entered = Entered {
            id: id.clone(),
            call: context.id,
            tool: entry.name.clone(),
            plugin: entry.owner().to_owned(),
            caller: caller.to_string(),
            origin: Arc::clone(&context.origin),
            is_nested: context.depth > 0,
            arguments,
            argument_bytes: asked.arguments.len(),
            is_shortened,
            asks_client: asked.asks_client,
            since: Instant::now(),
            since_ms: now_ms(),
            until: asked.until,
            answer: sender,
            _counted: Held::of(&METRICS.consents_waiting),
        };
        let mut table = self.table();
        let of_client = table.waiting.iter().filter(|other| other.origin == entered.origin).count();
        if of_client >= MAX_OF_CLIENT || table.waiting.len() >= MAX_OF_ALL {
            let message = format!(
                "`{}` needs the consent of an operator, and too many calls wait for one ({MAX_OF_CLIENT} of one client, \
                 {MAX_OF_ALL} of all); try again when these are decided",
                entry.name
            );
            return Err(CallError::new(Kind::Busy, message).by("policy.confirm_by"));
        }
        tell(&entered.id, "waiting", &entered.tool, &entered.caller, None);
        table.waiting.push(entered);
        drop(table);
        Ok(Waiting { id, pending: Arc::clone(self), answer })
    }

    /// Decides about a call that waits. The decision is recorded before the call goes on.
    pub(crate) fn decide(&self, id: &str, decision: Decision) -> Decided {
        let outcome = if decision.is_allowed { "allowed" } else { "denied" };
        let Some(entered) = self.take(id, outcome, Some(&decision.by)) else { return self.over(id) };
        let recorded = self.record(&entered, outcome, Some(&decision.by), decision.reason.as_ref());
        let is_unrecorded = decision.is_allowed && !recorded;
        let decision = match is_unrecorded {
            false => decision,
            true => Decision {
                is_allowed: false,
                reason: Some("the consent cannot be recorded (`audit.on_failure`)".to_owned()),
                ..decision
            },
        };
        match entered.answer.send(decision) {
            Ok(()) if is_unrecorded => Decided::Unrecorded,
            Ok(()) => Decided::Done,
            Err(_) => Decided::Over("its caller has left".to_owned()),
        }
    }

    /// What there is to see.
    pub(crate) fn shown(&self) -> Value {
        let table = self.table();
        let now = Instant::now();
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let waiting: Vec<Value> = table
            .waiting
            .iter()
            .map(|entered| {
                json!({
                    "id": entered.id,
                    "call": entered.call,
                    "tool": entered.tool,
                    "plugin": entered.plugin,
                    "caller": entered.caller,
                    "for": entered.is_nested.then_some(&*entered.origin),
                    "arguments": entered.arguments,
                    "argument_bytes": entered.argument_bytes,
                    "is_shortened": entered.is_shortened,
                    "asks_client": entered.asks_client,
                    "since_ms": entered.since_ms,
                    "waited_ms": ms(now.saturating_duration_since(entered.since)),
                    "left_ms": ms(entered.until.saturating_duration_since(now)),
                })
            })
            .collect();
        let ended: Vec<Value> = table
            .ended
            .iter()
            .rev()
            .map(|ended| {
                let Ended { id, tool, caller, outcome, by, time_ms } = ended;
                json!({"id": id, "tool": tool, "caller": caller, "outcome": outcome, "by": by, "time_ms": time_ms})
            })
            .collect();
        json!({"waiting": waiting, "ended": ended})
    }

    /// How many wait.
    pub(crate) fn count(&self) -> usize {
        self.table().waiting.len()
    }

    /// Takes one out, and so ends its wait.
    fn take(&self, id: &str, outcome: &'static str, by: Option<&str>) -> Option<Entered> {
        let mut table = self.table();
        let at = table.waiting.iter().position(|entered| entered.id == id)?;
        let entered = table.waiting.remove(at);
        if table.ended.len() >= MAX_ENDED {
            table.ended.pop_front();
        }
        table.ended.push_back(Ended {
            id: entered.id.clone(),
            tool: entered.tool.clone(),
            caller: entered.caller.clone(),
            outcome,
            by: by.map(str::to_owned),
            time_ms: now_ms(),
        });
        drop(table);
        METRICS.consent(outcome, entered.since.elapsed());
        tell(&entered.id, outcome, &entered.tool, &entered.caller, by);
        Some(entered)
    }

    fn record(
        &self,
        entered: &Entered,
        outcome: &'static str,
        by: Option<&str>,
        reason: Option<&String>,
    ) -> bool {
        self.audit.event(Event::Consent {
            outcome,
            call: entered.call,
            tool: entered.tool.clone(),
            plugin: entered.plugin.clone(),
            caller: entered.caller.clone(),
            by: by.map(str::to_owned),
            reason: reason.cloned(),
            waited_ms: u64::try_from(entered.since.elapsed().as_millis()).unwrap_or(u64::MAX),
        })
    }

    fn over(&self, id: &str) -> Decided {
        let table = self.table();
        let Some(ended) = table.ended.iter().find(|ended| ended.id == id) else { return Decided::Unknown };
        let by = ended.by.as_ref().map_or(String::new(), |by| format!(" by {by}"));
        Decided::Over(format!("{}{by}", ended.outcome.replace('_', " ")))
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    /// What an operator says, if ever one does.
    pub(super) async fn decision(&mut self) -> Decision {
        match (&mut self.answer).await {
            Ok(decision) => decision,
            // Who takes an entry answers it; without an answer there is no consent.
            Err(_) => Decision { is_allowed: false, by: String::new(), reason: None },
        }
    }

    /// Waits no longer. `false` if an operator has decided.
    pub(super) fn withdraw(&mut self, outcome: &'static str, by: Option<&str>) -> bool {
        let Some(entered) = self.pending.take(&self.id, outcome, by) else { return false };
        // The call that ends with it has a record of its own.
        let _ = self.pending.record(&entered, outcome, by, None);
        true
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.withdraw("abandoned", None);
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.0.watching.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Tells those who watch.
fn tell(id: &str, state: &str, tool: &str, caller: &str, by: Option<&str>) {
    feed::publish(|| feed::Event::Consent { id, state, tool, caller, by });
}

/// 48 random bits: to be typed, and never that of a call of another start.
fn new_id() -> std::io::Result<String> {
    let mut bytes = [0; 6];
    getrandom(&mut bytes, GetRandomFlags::empty())?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Arguments as an operator reads them, secrets masked, and whether anything of them was left out.
fn shown(arguments: &[u8], secrets: &Secrets) -> (String, bool) {
    let Ok(mut value) = serde_json::from_slice::<Value>(arguments) else { return (String::new(), true) };
    // Before anything is cut: a part of a secret would be known by nobody.
    secrets.mask_value(&mut value);
    let is_shortened = shorten(&mut value);
    let mut text = secrets.mask_text(format!("{value:#}"));
    let is_cut = text.len() > MAX_SHOWN_BYTES;
    text.truncate(text.floor_char_boundary(MAX_SHOWN_BYTES));
    (text, is_shortened || is_cut)
}

/// Shortens long strings and lists, each with a word about how much is missing.
fn shorten(value: &mut Value) -> bool {
    match value {
        Value::String(text) if text.len() > MAX_STRING_BYTES => {
            let (begin, end) =
                (text.floor_char_boundary(BEGINNING_BYTES), text.ceil_char_boundary(text.len() - END_BYTES));
            *text = format!("{}… [{} bytes left out] …{}", &text[..begin], end - begin, &text[end..]);
            true
        }
        Value::Array(list) => {
            let missing = list.len().saturating_sub(MAX_ELEMENTS);
            list.truncate(MAX_ELEMENTS);
            let is_shortened = list.iter_mut().fold(missing > 0, |is, element| shorten(element) | is);
            if missing > 0 {
                list.push(format!("… [{missing} more left out]").into());
            }
            is_shortened
        }
        Value::Object(map) => map.values_mut().fold(false, |is, value| shorten(value) | is),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::Registry;

    fn pending() -> Arc<Pending> {
        let audit = Audit::open(&crate::config::Audit::default(), &Arc::default()).unwrap();
        Pending::new(&Arc::new(audit))
    }

    fn ask(pending: &Arc<Pending>, origin: &str) -> Result<Waiting, CallError> {
        let registry = Registry::new().unwrap();
        let entry = registry.get("read_more").unwrap();
        let mut request =
            crate::call::Request::from_command_line("read_more".into(), serde_json::Map::default());
        request.origin = origin.into();
        let trace = crate::telemetry::Trace::begin(crate::telemetry::new_trace_id(), None);
        let (until, bounds) = (Instant::now() + Duration::from_mins(1), crate::call::Bounds::default());
        let context = CallContext::new(std::sync::Weak::new(), &request, 0, Instant::now(), bounds, trace);
        let asked = Asked {
            entry,
            caller: &Caller::Client,
            context: &context,
            arguments: br#"{"handle":"x"}"#,
            until,
            asks_client: false,
        };
        pending.ask(&asked, &Secrets::default())
    }

    fn says(is_allowed: bool, by: &str) -> Decision {
        Decision { is_allowed, by: by.into(), reason: None }
    }

    #[tokio::test]
    async fn the_first_decision_counts_and_the_second_is_told_so() {
        let pending = pending();
        let mut waiting = ask(&pending, "a").unwrap();
        let id = pending.shown()["waiting"][0]["id"].as_str().unwrap().to_owned();
        assert_eq!(pending.decide("0123456789ab", says(true, "ada")), Decided::Unknown);
        assert_eq!(pending.decide(&id, says(false, "ada")), Decided::Done);
        assert_eq!(pending.decide(&id, says(true, "bob")), Decided::Over("denied by ada".into()));
        assert_eq!(waiting.decision().await, says(false, "ada"));
        assert!(!waiting.withdraw("timed_out", None), "it was decided");
        assert_eq!(pending.count(), 0);
    }

    #[tokio::test]
    async fn of_many_at_the_same_time_one_decides() {
        let pending = pending();
        let mut waiting = ask(&pending, "a").unwrap();
        let id = waiting.id.clone();
        let done = std::thread::scope(|scope| {
            let deciding = |number: usize| {
                let (pending, id) = (&pending, &id);
                scope.spawn(move || pending.decide(id, says(true, &number.to_string())))
            };
            let all: Vec<_> = (0..8).map(deciding).collect();
            all.into_iter().map(|one| one.join().unwrap()).filter(|told| *told == Decided::Done).count()
        });
        assert_eq!(done, 1);
        assert!(waiting.decision().await.is_allowed);
    }

    #[test]
    fn a_call_that_ended_cannot_be_allowed() {
        let pending = pending();
        let mut late = ask(&pending, "a").unwrap();
        assert!(late.withdraw("timed_out", None));
        assert_eq!(pending.decide(&late.id.clone(), says(true, "ada")), Decided::Over("timed out".into()));
        let left = ask(&pending, "a").unwrap();
        let id = left.id.clone();
        drop(left);
        assert_eq!(pending.decide(&id, says(true, "ada")), Decided::Over("abandoned".into()));
        assert_eq!(pending.shown()["ended"][0]["outcome"], "abandoned", "the newest first");
    }

    #[test]
    fn a_client_waits_with_so_many_calls_and_keeps_nobody_else_from_it() {
        let pending = pending();
        let of = |origin: &str, many: usize| -> Vec<Waiting> {
            (0..many).map(|_| ask(&pending, origin).unwrap()).collect()
        };
        let first = of("a", MAX_OF_CLIENT);
        let refused = ask(&pending, "a").err().unwrap();
        assert_eq!((refused.kind, refused.rule.as_deref()), (Kind::Busy, Some("policy.confirm_by")));
        let others = [of("b", MAX_OF_CLIENT), of("c", MAX_OF_CLIENT), of("d", MAX_OF_CLIENT)];
        assert_eq!(pending.count(), MAX_OF_ALL);
        assert!(ask(&pending, "e").is_err());
        drop(first);
        assert!(ask(&pending, "e").is_ok());
        drop(others);
        assert_eq!(pending.shown()["ended"].as_array().unwrap().len(), MAX_ENDED);
    }

    #[test]
    fn what_follows_a_long_text_is_seen() {
        let long = "ä".repeat(10_000);
        let arguments = json!({"a_text": long, "list": vec![1; 200], "path": "work:a.txt"}).to_string();
        let (text, is_shortened) = shown(arguments.as_bytes(), &Secrets::default());
        assert!(is_shortened && text.contains("work:a.txt") && text.contains("bytes left out"), "{text}");
        assert!(text.contains("100 more left out") && text.len() < MAX_SHOWN_BYTES, "{text}");
        let many: serde_json::Map<String, Value> =
            (0..5000).map(|number| (format!("key{number}"), json!(number))).collect();
        let (text, is_shortened) = shown(Value::Object(many).to_string().as_bytes(), &Secrets::default());
        assert!(is_shortened && text.len() <= MAX_SHOWN_BYTES);
        let (text, is_shortened) = shown(br#"{"path": "x"}"#, &Secrets::default());
        assert_eq!((text.as_str(), is_shortened), ("{\n  \"path\": \"x\"\n}", false));
    }
}
