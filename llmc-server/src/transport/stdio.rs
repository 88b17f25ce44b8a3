//! stdio: one client, lines of JSON, bounded.

use std::time::Duration;

use rmcp::ServiceExt;
use rmcp::transport::async_rw::AsyncRwTransport;
use rmcp::transport::io::stdio_pipes;

use super::together::Together;
use crate::mcp::Front;

/// How long a client that closed stdin may take to read the last answers.
const LAST_WORDS_TIMEOUT: Duration = Duration::from_secs(2);

/// Serves the client on stdin and stdout until it closes stdin.
///
/// A line over `max_message_bytes` is answered with an error and skipped; the connection goes on.
///
/// # Errors
///
/// When the handshake fails for another reason than a client that left.
pub(crate) async fn serve(front: Front, max_message_bytes: usize) -> anyhow::Result<()> {
    let (reader, writer) = stdio_pipes();
    let live = front.live().clone();
    let writer = Together::new(writer, move || live.path().is_busy());
    let transport =
        AsyncRwTransport::new_server(reader, writer.clone()).with_max_line_length(max_message_bytes);
    match front.serve(transport).await {
        Ok(service) => {
            service.waiting().await?;
            // A client that does not read either has left.
            let _ = tokio::time::timeout(LAST_WORDS_TIMEOUT, writer.written()).await;
            Ok(())
        }
        Err(rmcp::service::ServerInitializeError::ConnectionClosed(_)) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
