//! stdio: one client, lines of JSON, bounded.

use rmcp::ServiceExt;
use rmcp::transport::async_rw::AsyncRwTransport;
use rmcp::transport::io::stdio_pipes;

use crate::mcp::Front;

/// Serves the client on stdin and stdout until it closes stdin.
///
/// A line over `max_message_bytes` is answered with an error and skipped; the connection goes on.
///
/// # Errors
///
/// When the handshake fails for another reason than a client that left.
pub(crate) async fn serve(front: Front, max_message_bytes: usize) -> anyhow::Result<()> {
    let (reader, writer) = stdio_pipes();
    let transport = AsyncRwTransport::new_server(reader, writer).with_max_line_length(max_message_bytes);
    match front.serve(transport).await {
        Ok(service) => {
            service.waiting().await?;
            Ok(())
        }
        Err(rmcp::service::ServerInitializeError::ConnectionClosed(_)) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
