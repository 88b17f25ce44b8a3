//! `llmc serve`

use std::io::{self, IsTerminal as _, Write as _};
use std::process::ExitCode;

use clap::Args;
use rustix::fs::{FileType, fstat};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::note;
use crate::app::{self, App};
use crate::config::{self, Config, ConfigError, Flags, Http, HttpAuth, Listen};
use crate::console::Console;
use crate::console::facts::Facts;
use crate::http::{self, Listener};
use crate::mcp::Front;
use crate::reload::{self, HangUp};
use crate::transport;

/// Nobody speaks MCP by hand.
const AT_A_TERMINAL: &str = "ready, and waiting for a client on stdin; clients start the server by themselves (`llmc client connect` \
                             tells them how), `llmc call TOOL JSON` calls a tool from here, Ctrl-D ends this";

/// Serve MCP to a client over stdin and stdout, to clients over HTTP, or both.
#[derive(Args)]
pub(super) struct Serve {
    #[command(flatten)]
    flags: Flags,
    /// Serve MCP over Streamable HTTP at this address, such as 127.0.0.1:8765, unix:/path or systemd. stdin and stdout are then served only if
    /// stdin is a pipe or a socket, as when a client started the server.
    #[arg(long, value_name = "ADDRESS")]
    http: Option<Listen>,
    /// Who may call over HTTP: holders of a token (`llmc token create`), with `oauth` holders of an access token as the
    /// configuration says, or with `none` everybody, on loopback only.
    #[arg(long, value_enum, value_name = "WHO")]
    http_auth: Option<HttpAuth>,
    /// With HTTP: leave stdin and stdout alone, whatever they are.
    #[arg(long)]
    no_stdio: bool,
}

impl Serve {
    pub(super) fn flags(&self) -> &Flags {
        &self.flags
    }

    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let hang_up = HangUp::new()?;
        let mut config = config::load(&self.flags)?.config;
        self.apply(&mut config).map_err(ConfigError::Flag)?;
        check_consent(&config)?;
        let listener = match &config.server.http {
            Some(http) => Some(Listener::bind(&config, http).await?),
            None => None,
        };
        let app = app::start(config, &self.flags).await?;
        match listener {
            Some(listener) => self.with_http(app, hang_up, listener).await?,
            None => self.stdio_alone(app, hang_up).await?,
        }
        Ok(ExitCode::SUCCESS)
    }

    fn apply(&self, config: &mut Config) -> Result<(), String> {
        let by_file = config.server.http.clone();
        if let Some(listen) = &self.http {
            config.server.http.get_or_insert_with(|| Http::on(listen.clone())).listen = listen.clone();
        }
        let http = config.server.http.as_mut();
        match (http, self.http_auth) {
            (None, Some(_)) => return Err("--http-auth: there is no HTTP; add --http ADDRESS".into()),
            (None, None) if self.no_stdio => {
                return Err("--no-stdio: nothing would be served; add --http ADDRESS".into());
            }
            (Some(_), Some(HttpAuth::None)) if by_file.is_some_and(|http| http.auth != HttpAuth::None) => {
                return Err(
                    "--http-auth none: the configuration file asks for tokens (`server.http.auth`)".into()
                );
            }
            (Some(http), auth) => {
                http.auth = auth.unwrap_or(http.auth);
                http.check()?;
            }
            (None, None) => {}
        }
        Ok(())
    }

    /// Serves HTTP until the process is told to end, or the client on stdio, which then owns the process, has left.
    async fn with_http(&self, app: App, hang_up: HangUp, listener: Listener) -> anyhow::Result<()> {
        let told = http::told_to_end()?;
        let (ready, is_ready) = watch::channel(false);
        let stop = CancellationToken::new();
        // Said whatever is logged: a person who starts a server wants to know where it is.
        let _ = writeln!(io::stderr(), "llmc: serving MCP at {}/mcp", listener.address()?);
        let max_bytes = app.config.limits.max_message_bytes;
        let wants_console = app.config.server.http.as_ref().is_some_and(|http| http.console);
        let console = wants_console
            .then(|| Console::begin(Facts::new(app.live.clone(), app.stage(), is_ready.clone())));
        let server =
            http::Server { live: app.live.clone(), max_body_bytes: max_bytes, ready: is_ready, console };
        let serving = tokio::spawn(listener.serve(server, stop.clone()));
        let front = Front::new(app.live.clone(), app.hold.clone());
        let with_stdio = !self.no_stdio && is_pipe_or_socket();
        let stdio = async {
            match with_stdio {
                true => transport::stdio::serve(front, max_bytes).await,
                false => std::future::pending().await,
            }
        };
        let result = tokio::select! {
            () = told => Ok(()),
            ended = stdio => ended,
            failed = self.keep_up(app, hang_up, &ready) => failed,
        };
        stop.cancel();
        serving.await?;
        result
    }

    /// Serves the one client on stdin and stdout.
    async fn stdio_alone(&self, mut app: App, hang_up: HangUp) -> anyhow::Result<()> {
        let max_bytes = app.config.limits.max_message_bytes;
        let serving = transport::stdio::serve(Front::new(app.live.clone(), app.hold.clone()), max_bytes);
        tokio::pin!(serving);
        // A process that did not get ready ends the server, even if a client has seen its tools, or has left already.
        tokio::select! {
            biased;
            processes = app.started() => {
                processes?;
                if io::stdin().is_terminal() {
                    note(AT_A_TERMINAL);
                }
                tokio::select! {
                    served = &mut serving => served,
                    failed = self.follow(app, hang_up) => failed,
                }
            }
            served = &mut serving => {
                served?;
                app.processes().await?;
                Ok(())
            }
        }
    }

    /// Says when all processes are ready, and then takes up each new configuration; completes only if they will never be.
    async fn keep_up(
        &self,
        mut app: App,
        hang_up: HangUp,
        ready: &watch::Sender<bool>,
    ) -> anyhow::Result<()> {
        app.processes().await?;
        ready.send_replace(true);
        self.follow(app, hang_up).await
    }

    /// Takes up each new configuration, for ever.
    async fn follow(&self, app: App, mut hang_up: HangUp) -> anyhow::Result<()> {
        let load = || {
            let mut config = config::load(&self.flags)?.config;
            self.apply(&mut config).map_err(ConfigError::Flag)?;
            check_consent(&config)?;
            Ok(config)
        };
        reload::follow(app, &mut hang_up, load).await
    }
}

/// Consent of an operator needs a place where he gives it.
fn check_consent(config: &Config) -> Result<(), ConfigError> {
    let is_served = config.server.http.as_ref().is_some_and(|http| http.console);
    match config.needs_operator() && !is_served {
        false => Ok(()),
        true => Err(ConfigError::Invalid(
            "confirm_by = \"console\" needs the console, and nothing serves it: write `server.http = { listen = \
             \"127.0.0.1:8765\" }`, or start with `--http 127.0.0.1:8765`"
                .to_owned(),
        )),
    }
}

/// Whether a client may be at the other end of stdin. A terminal is nobody who speaks MCP, and what a service manager
/// gives (`/dev/null`, or nothing) neither.
fn is_pipe_or_socket() -> bool {
    let stdin = rustix::stdio::stdin();
    fstat(stdin)
        .is_ok_and(|stat| matches!(FileType::from_raw_mode(stat.st_mode), FileType::Fifo | FileType::Socket))
}
