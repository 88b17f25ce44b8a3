//! Where requests arrive: each is answered by the configuration that counts when it comes.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use rmcp::model::{ClientNotification, ClientRequest, ProtocolVersion, ServerConfig, ServerResult, Tool};
use rmcp::service::{NotificationContext, Peer, RequestContext, Service};
use rmcp::{ErrorData, RoleServer};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::levels::Levels;
use super::listen::{Listening, MAX_STREAMS};
use super::tasks::Tasks;
use super::{Handler, convert};
use crate::call::{CallPath, Caller, Live, origin_of_connection};
use crate::hold::Hold;

/// One MCP client on stdio, or all that come over the network.
#[derive(Clone)]
pub(crate) struct Front {
    live: Live,
    /// For whom calls are made, see [`crate::call::Request::origin`]; none when each request says who sends it.
    origin: Option<Arc<str>>,
    listed: Arc<Mutex<Listed>>,
    /// What clients want to be told of the log.
    levels: Levels,
    tasks: Tasks,
    streams: Arc<Semaphore>,
    /// The server ends: so do streams of notifications.
    ending: CancellationToken,
    /// Released as soon as a client will need processes.
    hold: Hold,
}

/// The tools of a call path, as clients see them; made once for each.
#[derive(Default)]
struct Listed {
    path: Weak<CallPath>,
    tools: Arc<Vec<Tool>>,
}

impl Front {
    /// For the client on stdio, for whose requests processes may be held back.
    pub(crate) fn new(live: Live, hold: Hold) -> Self {
        let origin = origin_of_connection();
        Self { origin: Some(origin), hold, ..Self::for_network(live, CancellationToken::new()) }
    }

    /// For clients whose requests come with an [`crate::call::Identity`].
    pub(crate) fn for_network(live: Live, ending: CancellationToken) -> Self {
        let streams = Arc::new(Semaphore::new(MAX_STREAMS));
        Self {
            live,
            origin: None,
            listed: Arc::default(),
            levels: Levels::default(),
            tasks: Tasks::default(),
            streams,
            ending,
            hold: Hold::none(),
        }
    }

    /// Answers requests by the configuration of now. Not to be kept.
    pub(crate) fn handler(&self) -> Handler {
        let now = self.live.now();
        let tools = self.tools(&now.path);
        let (origin, levels, tasks) = (self.origin.clone(), self.levels.clone(), self.tasks.clone());
        Handler { path: now.path, tools, instructions: now.instructions, origin, levels, tasks }
    }

    /// Sends notifications for as long as a client listens.
    pub(crate) fn listening(&self) -> Listening {
        Listening {
            front: self.clone(),
            is_for_network: self.origin.is_none(),
            streams: Arc::clone(&self.streams),
            ending: self.ending.clone(),
        }
    }

    /// All tools that clients may see now.
    pub(super) fn tools_now(&self) -> Arc<Vec<Tool>> {
        self.tools(&self.live.path())
    }

    pub(crate) fn live(&self) -> &Live {
        &self.live
    }

    fn tools(&self, path: &Arc<CallPath>) -> Arc<Vec<Tool>> {
        let mut listed = self.listed.lock().unwrap_or_else(PoisonError::into_inner);
        if !std::ptr::eq(listed.path.as_ptr(), Arc::as_ptr(path)) {
            // Sorted by name: a list in a fixed order keeps a client's prompt cache warm.
            let tools = path.visible(&Caller::Client).map(|entry| convert::tool(entry)).collect();
            *listed = Listed { path: Arc::downgrade(path), tools: Arc::new(tools) };
        }
        Arc::clone(&listed.tools)
    }

    /// Who lists the tools will call one, and a call needs its process.
    fn hold_until(&self, request: &ClientRequest) {
        use ClientRequest as Asked;
        match request {
            Asked::InitializeRequest(_) | Asked::DiscoverRequest(_) | Asked::PingRequest(_) => {}
            Asked::ListToolsRequest(_) => self.hold.release_after_answer(),
            _ => self.hold.release(),
        }
    }
}

/// As on stdio, where one service lives as long as its client.
impl Service<RoleServer> for Front {
    async fn handle_request(
        &self,
        request: ClientRequest,
        context: RequestContext<RoleServer>,
    ) -> Result<ServerResult, ErrorData> {
        self.hold_until(&request);
        match &request {
            ClientRequest::SubscriptionsListenRequest(_) => {
                self.listening().handle_request(request, context).await
            }
            // What the SDK makes a task of stays small: a task is moved as a whole, several times.
            _ => Box::pin(self.handler().handle_request(request, context)).await,
        }
    }

    async fn handle_notification(
        &self,
        notification: ClientNotification,
        context: NotificationContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        if let ClientNotification::InitializedNotification(_) = notification {
            tokio::spawn(tell_of_changes(self.clone(), context.peer.clone()));
        }
        self.handler().handle_notification(notification, context).await
    }

    fn get_info(&self) -> ServerConfig {
        self.handler().get_info()
    }

    fn supported_protocol_versions(&self) -> Cow<'static, [ProtocolVersion]> {
        Service::supported_protocol_versions(&self.handler())
    }
}

/// Tells a client that shook hands whenever its list of tools is another one.
async fn tell_of_changes(front: Front, peer: Peer<RoleServer>) {
    let mut changes = front.live.changes();
    let mut known = front.tools_now();
    while changes.changed().await.is_ok() {
        let tools = front.tools_now();
        if tools != known && peer.notify_tool_list_changed().await.is_err() {
            return;
        }
        known = tools;
    }
}
