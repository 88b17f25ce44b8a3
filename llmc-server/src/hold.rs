//! When hosts and the runner start, if nobody waits for them yet.
//!
//! A client lists the tools first, and where manifests are known no process is needed for that. What starts meanwhile
//! would make it wait where there are few processors.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

/// The longest that processes are held back, whatever the client does or does not do.
const LONGEST: Duration = Duration::from_millis(50);

/// How long it takes to write an answer that is ready.
const ANSWERING: Duration = Duration::from_millis(1);

/// Holds processes back until it is released; clones are the same.
#[derive(Clone, Default)]
pub(crate) struct Hold(CancellationToken);

impl Hold {
    /// Holds nothing back.
    pub(crate) fn none() -> Self {
        let hold = Self::default();
        hold.release();
        hold
    }

    /// Somebody needs the processes.
    pub(crate) fn release(&self) {
        self.0.cancel();
    }

    /// Somebody is about to have an answer for which they were not needed, and will need them next.
    pub(crate) fn release_after_answer(&self) {
        if !self.0.is_cancelled() {
            let hold = self.clone();
            tokio::spawn(async move {
                tokio::time::sleep(ANSWERING).await;
                hold.release();
            });
        }
    }

    /// Waits until it is released, or for long enough.
    pub(crate) async fn over(&self) {
        // Too long is over, too.
        let _ = tokio::time::timeout(LONGEST, self.0.cancelled()).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn is_over(hold: &Hold) -> bool {
        tokio::select! {
            biased;
            () = hold.over() => true,
            () = std::future::ready(()) => false,
        }
    }

    #[tokio::test]
    async fn processes_wait_for_an_answer_or_a_call_and_not_for_ever() {
        assert!(is_over(&Hold::none()).await);
        let called = Hold::default();
        assert!(!is_over(&called).await);
        called.release();
        assert!(is_over(&called).await);
        let listed = Hold::default();
        listed.release_after_answer();
        assert!(!is_over(&listed).await, "the answer is on its way");
        listed.0.cancelled().await;
        let forgotten = Hold::default();
        forgotten.over().await;
        assert!(!forgotten.0.is_cancelled());
    }
}
