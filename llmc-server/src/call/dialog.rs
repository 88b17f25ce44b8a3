//! Whom a call can ask, and what was answered.
//!
//! Some clients are asked while the call waits. Newer ones are asked by ending the call: its result names the
//! questions, and the client makes the same call again with the answers and a sealed state, which holds what was
//! answered before (SEP-2322).

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use llmc_core::ask::{Client, Question};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::seal::{MAX_SEALED_BYTES, Seal};
use super::{CallError, Kind};
use crate::config::ConfirmBy;
use crate::plugin::Progress;

/// Most questions of one call that wait for an answer.
const MAX_QUESTIONS: usize = 16;

/// Longest key of a question in bytes.
const MAX_KEY_BYTES: usize = 1 << 10;

/// A question that is answered while the call waits.
pub(crate) type Asking = Pin<Box<dyn Future<Output = Result<Value, Unanswered>> + Send>>;

/// Asks a client while a call waits.
pub(crate) trait Asker: Send + Sync {
    /// Asks; `key` is the question's name in the call.
    fn ask(&self, key: &str, question: Question) -> Asking;
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unanswered {
    /// The client does not know such questions.
    Unknown,
    /// Something else; in words.
    Failed(String),
}

/// How somebody can be asked.
enum Way {
    Nobody,
    /// A person made the call by hand, and so has consented to it.
    Person,
    Live(Arc<dyn Asker>),
    Rounds,
}

/// What a call can ask.
pub(crate) struct Dialog {
    client: Client,
    way: Way,
    /// Takes the place of `way` once the call goes on without the request that made it.
    late: OnceLock<Arc<dyn Asker>>,
    /// Where the client is told how the call fares.
    told: Mutex<Option<Arc<dyn Progress>>>,
    rounds: Mutex<Rounds>,
}

#[derive(Default)]
struct Rounds {
    /// As the client sent them, until [`Dialog::open`].
    sent_state: Option<String>,
    sent: BTreeMap<String, Value>,
    /// What is to be kept for the next round.
    past: Past,
    /// Questions of this round.
    asked: BTreeMap<String, Question>,
    /// The state for the next round.
    sealed: Option<String>,
    /// What the client was lacking.
    lacking: Option<String>,
}

/// What is sealed.
#[derive(Default, Serialize, Deserialize)]
struct Past {
    /// Answers that were used, by key.
    answers: BTreeMap<String, Value>,
    /// The person in front of the client was asked for consent.
    asked_consent: bool,
    /// And gave it.
    consented: bool,
    /// An operator did.
    #[serde(default)]
    by_operator: bool,
}

/// What is asked for in the result of a call.
pub(crate) struct Round {
    pub(crate) questions: BTreeMap<String, Question>,
    pub(crate) state: String,
}

impl Dialog {
    fn new(client: Client, way: Way) -> Arc<Self> {
        Self::with(client, way, Rounds::default())
    }

    fn with(client: Client, way: Way, rounds: Rounds) -> Arc<Self> {
        let (late, told) = (OnceLock::new(), Mutex::default());
        Arc::new(Self { client, way, late, told, rounds: Mutex::new(rounds) })
    }

    /// Nobody can be asked.
    pub(crate) fn nobody() -> Arc<Self> {
        Self::new(Client::default(), Way::Nobody)
    }

    /// A person at the command line.
    pub(crate) fn person() -> Arc<Self> {
        Self::new(Client::default(), Way::Person)
    }

    /// A client that is asked while the call waits.
    pub(crate) fn live(client: Client, asker: Arc<dyn Asker>) -> Arc<Self> {
        Self::new(client, Way::Live(asker))
    }

    /// A client that is asked by ending the call, with what it sent this time.
    pub(crate) fn rounds(
        client: Client,
        state: Option<String>,
        answers: BTreeMap<String, Value>,
    ) -> Arc<Self> {
        // An answer of whatever kind is an object; anything else is none.
        let sent = answers.into_iter().filter(|(_, answer)| answer.is_object()).collect();
        let rounds = Rounds { sent_state: state, sent, ..Rounds::default() };
        Self::with(client, Way::Rounds, rounds)
    }

    /// The call goes on without the request that made it: from now on questions are asked while it waits.
    pub(crate) fn go_on_live(&self, asker: Arc<dyn Asker>) {
        // A call goes on like this once.
        let _ = self.late.set(asker);
    }

    /// From now on the client is told here how the call fares, and those below it.
    pub(crate) fn tell_through(&self, progress: Arc<dyn Progress>) {
        *self.told.lock().unwrap_or_else(PoisonError::into_inner) = Some(progress);
    }

    /// Tells the client something about the call, if it listens.
    pub(super) fn say(&self, message: String) {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(progress) = told {
            progress.say(message);
        }
    }

    /// Whether questions were asked that end the call.
    pub(crate) fn ends_the_call(&self) -> bool {
        !self.lock().asked.is_empty()
    }

    /// Who is asked while the call waits.
    fn asker(&self) -> Option<&Arc<dyn Asker>> {
        match (self.late.get(), &self.way) {
            (Some(late), _) => Some(late),
            (None, Way::Live(asker)) => Some(asker),
            (None, Way::Nobody | Way::Person | Way::Rounds) => None,
        }
    }

    /// What the client can be asked by calls this deep.
    pub(crate) fn client(&self, depth: u8) -> Client {
        match self.way {
            _ if self.asker().is_some() => self.client,
            // To be asked, code would have to run again from its start.
            Way::Rounds if depth == 0 => self.client,
            Way::Rounds | Way::Live(_) | Way::Nobody | Way::Person => Client::default(),
        }
    }

    pub(super) fn is_person(&self) -> bool {
        matches!(self.way, Way::Person)
    }

    /// Judges the state that the client sent. `binding` is what it must have been sealed for.
    pub(super) fn open(&self, seal: &Seal, binding: &[u8]) -> Result<(), CallError> {
        let mut rounds = self.lock();
        let Some(state) = rounds.sent_state.take() else { return Ok(()) };
        let past = seal.unseal(&state, binding);
        rounds.past = past.map_err(|broken| CallError::new(Kind::InvalidState, broken.message()))?;
        Ok(())
    }

    /// Asks, and waits where that is how the client is asked.
    ///
    /// # Errors
    ///
    /// [`Kind::ClientLacks`] if the client cannot be asked, [`Kind::InputRequired`] if the call has to end first.
    pub(super) async fn ask(
        &self,
        questions: BTreeMap<String, Question>,
        depth: u8,
    ) -> Result<BTreeMap<String, Value>, CallError> {
        if questions.len() > MAX_QUESTIONS || questions.keys().any(|key| key.len() > MAX_KEY_BYTES) {
            let message =
                format!("a call may ask {MAX_QUESTIONS} questions with keys of up to {MAX_KEY_BYTES} bytes");
            return Err(CallError::new(Kind::Limit, message));
        }
        let client = self.client(depth);
        if let Some(question) = questions.values().find(|question| !client.can(&question.method)) {
            return Err(self.lacks(&question.method));
        }
        match self.asker() {
            Some(asker) => self.ask_live(&**asker, questions).await,
            None => self.ask_in_rounds(questions),
        }
    }

    async fn ask_live(
        &self,
        asker: &dyn Asker,
        questions: BTreeMap<String, Question>,
    ) -> Result<BTreeMap<String, Value>, CallError> {
        // All are asked before the first answer is waited for.
        let asked: Vec<_> = questions
            .into_iter()
            .map(|(key, question)| {
                let method = question.method.clone();
                let answer = tokio::spawn(asker.ask(&key, question));
                (key, method, Aborting(answer))
            })
            .collect();
        let mut answers = BTreeMap::new();
        for (key, method, mut answer) in asked {
            let answer = (&mut answer.0).await.map_err(|error| failed(&error.to_string()))?;
            let answer = answer.map_err(|unanswered| match unanswered {
                Unanswered::Unknown => self.lacks(&method),
                Unanswered::Failed(why) => failed(&why),
            })?;
            answers.insert(key, answer);
        }
        Ok(answers)
    }

    fn ask_in_rounds(
        &self,
        questions: BTreeMap<String, Question>,
    ) -> Result<BTreeMap<String, Value>, CallError> {
        let mut rounds = self.lock();
        let rounds = &mut *rounds;
        let mut answers = BTreeMap::new();
        let mut missing = BTreeMap::new();
        for (key, question) in questions {
            let answer = rounds.past.answers.get(&key).or_else(|| rounds.sent.get(&key)).cloned();
            match answer {
                Some(answer) => {
                    rounds.past.answers.insert(key.clone(), answer.clone());
                    answers.insert(key, answer);
                }
                None => {
                    missing.insert(key, question);
                }
            }
        }
        if missing.is_empty() {
            return Ok(answers);
        }
        rounds.asked.extend(missing);
        Err(CallError::new(
            Kind::InputRequired,
            "the client is being asked; the call is made again with its answers",
        ))
    }

    /// The answer of a person who was asked for consent in an earlier round.
    pub(super) fn consent_sent(&self, key: &str) -> Option<Value> {
        let mut rounds = self.lock();
        // Without the state, whoever makes the call could consent to it.
        let asked = std::mem::take(&mut rounds.past.asked_consent);
        rounds.sent.get(key).filter(|_| asked).cloned()
    }

    /// Whether a person consented to the call in an earlier round, and the one who has to.
    pub(super) fn has_consent(&self, by: ConfirmBy) -> bool {
        let past = &self.lock().past;
        match by {
            ConfirmBy::Client => past.consented,
            ConfirmBy::Console => past.by_operator,
            ConfirmBy::Either => past.consented || past.by_operator,
        }
    }

    pub(super) fn consent(&self) {
        self.lock().past.consented = true;
    }

    /// An operator consented: a further round needs no other consent.
    pub(super) fn consent_of_operator(&self) {
        self.lock().past.by_operator = true;
    }

    /// Asks for consent in the result of the call.
    pub(super) fn ask_consent(&self, key: &str, question: Question) -> CallError {
        let mut rounds = self.lock();
        rounds.past.asked_consent = true;
        rounds.asked.insert(key.to_owned(), question);
        CallError::new(
            Kind::InputRequired,
            "a person is asked for consent; the call is made again with the answer",
        )
    }

    /// Asks one question while the call waits.
    pub(super) fn ask_now(&self, key: &str, question: Question) -> Option<Asking> {
        self.asker().map(|asker| asker.ask(key, question))
    }

    /// Seals what the next round needs to know.
    ///
    /// # Errors
    ///
    /// When there is nothing to ask, or too much to keep.
    pub(super) fn end_round(&self, seal: &Seal, binding: &[u8], lifetime: Duration) -> Result<(), CallError> {
        let mut rounds = self.lock();
        if rounds.asked.is_empty() {
            return Err(failed("it asked nothing"));
        }
        let sealed = seal.seal(&rounds.past, binding, lifetime);
        let sealed = sealed.map_err(|error| failed(&error.to_string()))?;
        if sealed.len() > MAX_SEALED_BYTES {
            let message = format!("the answers so far come to more than {MAX_SEALED_BYTES} bytes");
            return Err(CallError::new(Kind::Limit, message));
        }
        rounds.sealed = Some(sealed);
        Ok(())
    }

    /// What the result of the call asks for.
    pub(crate) fn round(&self) -> Option<Round> {
        let mut rounds = self.lock();
        let state = rounds.sealed.take()?;
        Some(Round { questions: std::mem::take(&mut rounds.asked), state })
    }

    /// The method of the question that the client cannot be asked.
    pub(crate) fn lacking(&self) -> Option<String> {
        self.lock().lacking.clone()
    }

    fn lacks(&self, method: &str) -> CallError {
        self.lock().lacking = Some(method.to_owned());
        let message = match self.way {
            Way::Rounds if self.client.can(method) => format!(
                "the client cannot be asked (`{method}`) by a call below another one, such as one from code: call the \
                 tool directly"
            ),
            _ => format!("the client cannot be asked (`{method}`)"),
        };
        CallError::new(Kind::ClientLacks, message)
    }

    fn lock(&self) -> MutexGuard<'_, Rounds> {
        self.rounds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends a question that nobody waits for any longer.
struct Aborting<T>(tokio::task::JoinHandle<T>);

impl<T> Drop for Aborting<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn failed(why: &str) -> CallError {
    CallError::new(Kind::ToolFailed, format!("asking the client failed: {why}"))
}

#[cfg(test)]
mod tests {
    use llmc_core::ask::Questions;
    use serde_json::json;

    use super::*;

    const EVERYTHING: Client = Client { elicitation: true, sampling: true, roots: true };

    fn questions() -> BTreeMap<String, Question> {
        Questions::new().sample("a", "?", 1).roots("b").ask
    }

    fn seal() -> Seal {
        Seal::open(None).unwrap()
    }

    #[tokio::test]
    async fn rounds_gather_answers_until_all_are_there() {
        let first = Dialog::rounds(EVERYTHING, None, BTreeMap::new());
        assert_eq!(first.ask(questions(), 0).await.unwrap_err().kind, Kind::InputRequired);
        first.end_round(&seal(), b"x", Duration::from_secs(60)).unwrap();
        let round = first.round().unwrap();
        assert_eq!(round.questions.len(), 2);

        // An answer that is no object is none.
        let sent = BTreeMap::from([("a".to_owned(), json!({"content": 1})), ("b".to_owned(), json!(5))]);
        let second = Dialog::rounds(EVERYTHING, Some(round.state), sent);
        second.open(&seal(), b"x").unwrap();
        assert_eq!(second.ask(questions(), 0).await.unwrap_err().kind, Kind::InputRequired);
        second.end_round(&seal(), b"x", Duration::from_secs(60)).unwrap();
        let round = second.round().unwrap();
        assert_eq!(round.questions.keys().collect::<Vec<_>>(), ["b"]);

        let sent = BTreeMap::from([("b".to_owned(), json!({"roots": []}))]);
        let third = Dialog::rounds(EVERYTHING, Some(round.state), sent);
        third.open(&seal(), b"x").unwrap();
        assert_eq!(third.ask(questions(), 0).await.unwrap().len(), 2, "the first answer came from the state");
    }

    #[tokio::test]
    async fn nobody_is_asked_what_he_cannot_answer() {
        for dialog in
            [Dialog::nobody(), Dialog::person(), Dialog::rounds(Client::default(), None, BTreeMap::new())]
        {
            assert_eq!(dialog.ask(questions(), 0).await.unwrap_err().kind, Kind::ClientLacks);
            assert_eq!(dialog.lacking().as_deref(), Some(llmc_core::ask::SAMPLE));
        }
        let below = Dialog::rounds(EVERYTHING, None, BTreeMap::new());
        let refused = below.ask(questions(), 1).await.unwrap_err();
        assert!(refused.message.contains("call the tool directly"), "{refused}");
    }

    #[test]
    fn consent_counts_with_its_state_alone() {
        let sent = || BTreeMap::from([("c".to_owned(), json!({"action": "accept"}))]);
        let without = Dialog::rounds(EVERYTHING, None, sent());
        without.open(&seal(), b"x").unwrap();
        assert_eq!(without.consent_sent("c"), None);
        let question = || Question { method: llmc_core::ask::ELICIT.into(), params: json!({}) };
        assert_eq!(without.ask_consent("c", question()).kind, Kind::InputRequired);
        without.end_round(&seal(), b"x", Duration::from_secs(60)).unwrap();
        let with = Dialog::rounds(EVERYTHING, Some(without.round().unwrap().state), sent());
        with.open(&seal(), b"x").unwrap();
        assert!(with.consent_sent("c").is_some());
        assert_eq!(with.consent_sent("c"), None, "it is asked anew");
    }

    #[test]
    fn a_round_that_asks_nothing_is_none() {
        let dialog = Dialog::rounds(EVERYTHING, None, BTreeMap::new());
        assert!(dialog.end_round(&seal(), b"x", Duration::from_secs(60)).is_err());
        assert!(dialog.round().is_none());
    }
}
