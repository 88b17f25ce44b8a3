//! The console: what happens in the server, as pages for the operator's browser.
//!
//! - [`feed`]: calls, refusals and log lines as they come, for whoever watches.
//! - [`series`]: the last half hour, in points.
//! - [`facts`]: plugins, jails and the runner, as they are.
//! - [`records`]: what the audit holds.
//! - [`session`]: who may look; [`ticket`]: links of `llmc console`, each good for one session.
//! - [`assets`]: the pages, part of this program.
//!
//! `http::console` answers the requests. What the pages show was written by models, plugins and callers: it travels as
//! JSON and becomes text in the browser, never markup.

pub(crate) mod assets;
pub(crate) mod facts;
pub(crate) mod feed;
pub(crate) mod records;
mod secret_text;
pub(crate) mod series;
pub(crate) mod session;
pub(crate) mod ticket;

use std::sync::Arc;

use facts::Facts;
use series::Series;
use session::Sessions;

/// Everything that pages are made of.
pub(crate) struct Console {
    pub(crate) facts: Facts,
    pub(crate) series: Arc<Series>,
    pub(crate) sessions: Sessions,
}

impl Console {
    /// Begins to watch.
    pub(crate) fn begin(facts: Facts) -> Self {
        facts.pending().serve();
        Self { facts, series: Series::begin(), sessions: Sessions::default() }
    }
}
