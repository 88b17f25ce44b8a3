//! A door for fuzzers: lines of a client on stdio, as far as the protocol's own types.

use rmcp::transport::Transport as _;
use rmcp::transport::async_rw::AsyncRwTransport;
use tokio::io::AsyncReadExt as _;

/// Longest line here; small, so that too long ones are tried, too.
const MAX_LINE_BYTES: usize = 4096;

/// Room for answers.
const PIPE_BYTES: usize = 64 << 10;

thread_local! {
    static RUNTIME: tokio::runtime::Runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime of one thread needs nothing that could be missing");
}

/// Any bytes are read to their end: lines that are messages come out, at most one for each line, and what is wrong with
/// the others is answered in lines of JSON.
pub fn messages(input: &[u8]) {
    let (count, said) = RUNTIME.with(|runtime| runtime.block_on(read(input.to_vec())));
    let lines = input.split(|byte| *byte == b'\n').count();
    assert!(count <= lines, "{count} messages of {lines} lines");
    for line in said.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let answer: serde_json::Value = serde_json::from_slice(line).expect("an answer is JSON");
        assert_eq!(answer["jsonrpc"], "2.0");
    }
}

/// How many messages came out, and what was answered.
async fn read(input: Vec<u8>) -> (usize, Vec<u8>) {
    let (server, mut client) = tokio::io::duplex(PIPE_BYTES);
    let reading = async {
        let mut transport = AsyncRwTransport::new_server(std::io::Cursor::new(input), server)
            .with_max_line_length(MAX_LINE_BYTES);
        let mut count = 0;
        while transport.receive().await.is_some() {
            count += 1;
        }
        // Dropped, it closes the other end.
        let _ = transport.close().await;
        count
    };
    let mut said = Vec::new();
    let (count, _) = tokio::join!(reading, client.read_to_end(&mut said));
    (count, said)
}
