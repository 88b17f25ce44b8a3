// Drives a server with an SDK of the Model Context Protocol for TypeScript, and prints what came of it as JSON.
//
//   client.mjs v1|v2 stdio PROGRAM ARGUMENT...
//   client.mjs v1|v2 http URL TOKEN

const [version, transport, ...rest] = process.argv.slice(2);

async function parts() {
  if (version === 'v1') {
    const { Client } = await import('@modelcontextprotocol/sdk/client/index.js');
    const { StdioClientTransport } = await import('@modelcontextprotocol/sdk/client/stdio.js');
    const { StreamableHTTPClientTransport } = await import('@modelcontextprotocol/sdk/client/streamableHttp.js');
    return { Client, StdioClientTransport, StreamableHTTPClientTransport, options: {} };
  }
  const { Client, StreamableHTTPClientTransport } = await import('@modelcontextprotocol/client');
  const { StdioClientTransport } = await import('@modelcontextprotocol/client/stdio');
  // Ask for the newest revision first.
  return { Client, StdioClientTransport, StreamableHTTPClientTransport, options: { versionNegotiation: { mode: 'auto' } } };
}

function connection({ StdioClientTransport, StreamableHTTPClientTransport }) {
  if (transport === 'stdio') {
    return new StdioClientTransport({ command: rest[0], args: rest.slice(1), stderr: 'inherit' });
  }
  const headers = { Authorization: `Bearer ${rest[1]}` };
  return new StreamableHTTPClientTransport(new URL(rest[0]), { requestInit: { headers } });
}

const all = await parts();
const client = new all.Client({ name: 'llmc-tests', version: '1.0.0' }, all.options);
await client.connect(connection(all));
const { tools } = await client.listTools();
const read = await client.callTool({ name: 'read_file', arguments: { path: 'work:a.txt' } });
const missing = await client.callTool({ name: 'read_file', arguments: { path: 'work:no-such-file' } });
console.log(
  JSON.stringify({
    tools: tools.map((tool) => tool.name),
    text: read.structuredContent?.text,
    is_error: missing.isError === true,
  }),
);
await client.close();
