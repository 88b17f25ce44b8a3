//! `subscriptions/listen` of revision 2026-07-28: a request that stays open and tells when the list of tools is another
//! one. It keeps hold of no configuration, so one that was replaced can end.

use std::sync::Arc;

use rmcp::model::{ServerConfig, SubscriptionFilter, Tool};
use rmcp::service::SubscriptionContext;
use rmcp::{ErrorData, ServerHandler};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::{Front, identity};
use crate::call::Identity;

/// Clients over the network that may listen at the same time; each takes a place among the requests under way.
pub(super) const MAX_STREAMS: usize = 64;

/// Serves those who listen.
pub(crate) struct Listening {
    pub(super) front: Front,
    pub(super) is_for_network: bool,
    pub(super) streams: Arc<Semaphore>,
    pub(super) ending: CancellationToken,
}

impl ServerHandler for Listening {
    fn get_info(&self) -> ServerConfig {
        ServerHandler::get_info(&self.front.handler())
    }

    /// What was asked for; rmcp takes away what the server does not declare.
    fn accepted_subscription_filter(&self, requested: &SubscriptionFilter) -> Option<SubscriptionFilter> {
        Some(requested.clone())
    }

    async fn listen(&self, context: SubscriptionContext) -> Result<(), ErrorData> {
        let too_many = || {
            let message =
                format!("{MAX_STREAMS} clients listen already, which is the limit; ask for the list instead");
            ErrorData::internal_error(message, None)
        };
        let _place = self.streams.try_acquire().map_err(|_| too_many())?;
        let identity = match self.is_for_network {
            true => Some(identity(context.request_context())?),
            false => None,
        };
        let mut changes = self.front.live().changes();
        let mut known = self.tools(identity.as_deref());
        loop {
            tokio::select! {
                () = context.cancelled() => return Ok(()),
                () = self.ending.cancelled() => return Ok(()),
                changed = changes.changed() => {
                    if changed.is_err() {
                        return Ok(());
                    }
                }
            }
            let tools = self.tools(identity.as_deref());
            let wanted = context.accepted().tools_list_changed == Some(true);
            if wanted && tools != known && context.sink().notify_tool_list_changed().await.is_err() {
                return Ok(());
            }
            known = tools;
        }
    }
}

impl Listening {
    /// The tools that this client sees.
    fn tools(&self, identity: Option<&Identity>) -> Vec<Tool> {
        let tools = self.front.tools_now();
        let sees = |tool: &&Tool| identity.is_none_or(|identity| identity.opens(&tool.name));
        tools.iter().filter(sees).cloned().collect()
    }
}
