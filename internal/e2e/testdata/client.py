"""Calls one tool with the official Python client: URL KEY MODE TOOL ARGUMENTS. Prints what it saw as one JSON object."""

import json
import sys

import anyio
from mcp import Client
from mcp.client.streamable_http import create_mcp_http_client, streamable_http_client


async def main(url, key, mode, tool, arguments):
    async with create_mcp_http_client(headers={"Authorization": f"Bearer {key}"}) as http:
        async with Client(streamable_http_client(url, http_client=http), mode=mode) as client:
            tools = await client.list_tools()
            result = await client.call_tool(tool, json.loads(arguments))
            print(json.dumps({
                "tools": [t.name for t in tools.tools],
                "text": "".join(c.text for c in result.content if c.type == "text"),
                "isError": bool(result.is_error),
            }))


anyio.run(main, *sys.argv[1:])
