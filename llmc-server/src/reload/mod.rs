//! When to take up the configuration anew: at SIGHUP, and when one of its files has changed.
//!
//! A configuration that cannot be taken up changes nothing; the log and the audit say what is wrong with it.

mod watch;

use std::io::IsTerminal as _;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{error, info};

use crate::app::App;
use crate::config::{Config, ConfigError};
use watch::Watch;

/// Takes up what `load` says, for as long as the server runs.
///
/// # Errors
///
/// When the terminal that the server was started from is gone.
pub(crate) async fn follow(
    mut app: App,
    hang_up: &mut HangUp,
    load: impl Fn() -> Result<Config, ConfigError>,
) -> anyhow::Result<()> {
    let mut watch = Watch::new(&app.config, app.files());
    // It may have changed while the server started.
    let mut is_other = load().is_ok_and(|config| config != app.config);
    loop {
        let asked = tokio::select! {
            biased;
            () = std::future::ready(()), if is_other => false,
            told = hang_up.told() => { told?; true }
            () = watch.changed() => false,
        };
        is_other = false;
        let taken = match load() {
            Ok(config) => app.reload(config).await,
            Err(problem) => Err(problem.into()),
        };
        match taken {
            Ok(true) => {}
            Ok(false) if asked => info!("nothing has changed in the configuration and its plugins"),
            Ok(false) => {}
            Err(problem) => {
                let problem = format!("{problem:#}");
                error!("the configuration is not taken up, everything goes on as it was: {problem}");
                app.record_refusal(&problem);
            }
        }
        watch.follow(&app.config, app.files());
    }
}

/// SIGHUP: asks for a reload; from a terminal that was closed it means the end. What comes before anybody follows is
/// answered then.
pub(crate) struct HangUp {
    signal: Signal,
    has_terminal: bool,
}

impl HangUp {
    /// From now on the signal does not end the process by itself.
    ///
    /// # Errors
    ///
    /// When signals cannot be listened for.
    pub(crate) fn new() -> std::io::Result<Self> {
        let has_terminal = std::io::stdin().is_terminal();
        Ok(Self { signal: signal(SignalKind::hangup())?, has_terminal })
    }

    async fn told(&mut self) -> anyhow::Result<()> {
        self.signal.recv().await;
        // A terminal that is gone answers no question any more.
        if self.has_terminal && !std::io::stdin().is_terminal() {
            anyhow::bail!("the terminal was closed");
        }
        Ok(())
    }
}
