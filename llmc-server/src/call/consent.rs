//! Waiting for consent: of the person in front of the client, of an operator, or of whoever of them is first.

use std::time::{Duration, Instant};

use super::confirm::{judged, nobody_to_ask};
use super::dialog::{Asking, Unanswered};
use super::pending::{Asked, Decision, Waiting};
use super::{CallError, CallPath, Caller, Entry, Kind};
use crate::config::ConfirmBy;
use crate::plugin::CallContext;

/// How often a client is told that an operator is waited for.
const REMINDER: Duration = Duration::from_secs(10);

/// What ends the wait.
enum News {
    Client(Result<serde_json::Value, Unanswered>),
    Operator(Decision),
    Late,
    Cancelled,
    Reminder,
}

impl CallPath {
    /// Waits until somebody consents. Tells for how long it did.
    ///
    /// # Errors
    ///
    /// When nobody consents; the text says who said no, or what to do.
    pub(super) async fn waited_for(
        &self,
        entry: &Entry,
        caller: &Caller,
        context: &CallContext,
        arguments: &[u8],
        mut client: Option<Asking>,
        with_operator: bool,
    ) -> Result<Duration, CallError> {
        let begun = Instant::now();
        // A call below another one has no more time than that.
        let own = begun + self.authority.confirm().patience();
        let until = if context.depth == 0 { own } else { own.min(context.deadline) };
        let asks_client = client.is_some();
        let asked = Asked { entry, caller, context, arguments, until, asks_client };
        let mut operator = match with_operator {
            true => Some(self.pending().ask(&asked, &self.secrets)?),
            false => None,
        };
        let mut reminder = tokio::time::interval(REMINDER);
        loop {
            let news = tokio::select! {
                biased;
                decision = decided(&mut operator) => News::Operator(decision),
                answer = answered(&mut client) => News::Client(answer),
                () = context.cancel.cancelled() => News::Cancelled,
                () = tokio::time::sleep_until(until.into()) => News::Late,
                _ = reminder.tick(), if operator.is_some() => News::Reminder,
            };
            let over = match news {
                News::Reminder => {
                    context.dialog.say(reminding(entry, until));
                    continue;
                }
                News::Client(Err(unanswered)) => {
                    client = None;
                    // An operator who looks may still decide.
                    if operator.is_some() && self.pending().is_watched() {
                        continue;
                    }
                    ("unanswered", Err(self.unanswered(entry, context, unanswered, operator.is_some())))
                }
                News::Client(Ok(answer)) => {
                    let judged = judged(entry, &answer);
                    (if judged.is_ok() { "allowed" } else { "denied" }, judged)
                }
                News::Operator(decision) => {
                    return self.said(entry, context, decision).map(|()| begun.elapsed());
                }
                News::Late => ("timed_out", Err(late(entry, operator.is_some()))),
                News::Cancelled => {
                    ("cancelled", Err(CallError::new(Kind::Cancelled, "the call was cancelled")))
                }
            };
            let (outcome, mut verdict) = over;
            if let Some(waiting) = &mut operator {
                let by = matches!(outcome, "allowed" | "denied").then_some("client");
                if !waiting.withdraw(outcome, by) {
                    // An operator was a moment earlier, and that counts.
                    verdict = self.said(entry, context, waiting.decision().await);
                }
            }
            return verdict.map(|()| begun.elapsed());
        }
    }

    /// What an operator decided.
    fn said(&self, entry: &Entry, context: &CallContext, decision: Decision) -> Result<(), CallError> {
        if decision.is_allowed {
            if context.depth == 0 {
                context.dialog.consent_of_operator();
            }
            return Ok(());
        }
        let reason = decision.reason.map_or(String::new(), |reason| format!(": {reason}"));
        let message = format!("an operator denied `{}`{reason}; it was not called", entry.name);
        Err(CallError::new(Kind::Declined, message))
    }

    /// What is told where the client does not answer, and nobody else is there.
    fn unanswered(
        &self,
        entry: &Entry,
        context: &CallContext,
        unanswered: Unanswered,
        with_operator: bool,
    ) -> CallError {
        match unanswered {
            Unanswered::Unknown => {
                let by = if with_operator { ConfirmBy::Either } else { ConfirmBy::Client };
                nobody_to_ask(entry, context, by)
            }
            Unanswered::Failed(why) => {
                let message = format!("consent to `{}` could not be asked for: {why}", entry.name);
                CallError::new(Kind::Unconfirmed, message)
            }
        }
    }
}

async fn decided(operator: &mut Option<Waiting>) -> Decision {
    match operator {
        Some(waiting) => waiting.decision().await,
        None => std::future::pending().await,
    }
}

async fn answered(client: &mut Option<Asking>) -> Result<serde_json::Value, Unanswered> {
    match client {
        Some(asking) => asking.await,
        None => std::future::pending().await,
    }
}

fn reminding(entry: &Entry, until: Instant) -> String {
    let left = until.saturating_duration_since(Instant::now()).as_secs();
    format!("an operator is asked to allow `{}`, for {left} s more", entry.name)
}

fn late(entry: &Entry, with_operator: bool) -> CallError {
    let hint = match with_operator {
        true => "; an operator decides in the console (`llmc console`) or by `llmc pending`",
        false => "",
    };
    let message = format!(
        "nobody consented to `{}` in time (`policy.confirm_timeout_ms`); it was not called{hint}",
        entry.name
    );
    CallError::new(Kind::Declined, message)
}
