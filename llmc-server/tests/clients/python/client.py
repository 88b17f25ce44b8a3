"""Drives a server with the SDK of the Model Context Protocol for Python, and prints what came of it as JSON.

client.py MODE stdio PROGRAM ARGUMENT...
client.py MODE http URL TOKEN
"""

import asyncio
import json
import sys

from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import create_mcp_http_client, streamable_http_client


async def drive(server, mode):
    async with Client(server, mode=mode) as client:
        tools = await client.list_tools()
        read = await client.call_tool("read_file", {"path": "work:a.txt"})
        missing = await client.call_tool("read_file", {"path": "work:no-such-file"})
        print(
            json.dumps(
                {
                    "tools": [tool.name for tool in tools.tools],
                    "text": (read.structured_content or {}).get("text"),
                    "is_error": missing.is_error is True,
                }
            )
        )


async def main(mode, transport, *rest):
    if transport == "stdio":
        return await drive(StdioServerParameters(command=rest[0], args=list(rest[1:])), mode)
    headers = {"Authorization": f"Bearer {rest[1]}"}
    async with create_mcp_http_client(headers=headers) as http:
        await drive(streamable_http_client(rest[0], http_client=http), mode)


asyncio.run(main(*sys.argv[1:]))
