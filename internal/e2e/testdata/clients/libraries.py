"""Runs visits with the MCP client of an agent library: see typescript.mjs for what goes in and out.

A job's client names the library: fastmcp, openai-agents or pydantic-ai. Each is used the way its documentation shows it.
Their clients list and call tools; the other steps are not taken. A message is what the library's own exception says:
what a user of the library reads.
"""

import asyncio
import json
import logging
import sys
from contextlib import asynccontextmanager

logging.disable(logging.CRITICAL)  # what a library logs about a refusal is not what it tells its caller


def text(blocks):
    return "".join(getattr(b, "text", None) or f"({getattr(b, 'type', 'blob')})" for b in blocks)


class FastMCP:
    """fastmcp.Client."""

    def __init__(self, job):
        from fastmcp import Client
        from fastmcp.client.transports import SSETransport, StreamableHttpTransport

        transport = SSETransport if job["transport"] == "sse" else StreamableHttpTransport
        self.client = Client(transport(job["url"], auth=job["key"]))

    @asynccontextmanager
    async def connected(self):
        async with self.client:
            yield self.client

    async def tools(self):
        return [t.name for t in await self.client.list_tools()]

    async def call(self, name, arguments):
        result = await self.client.call_tool(name, arguments, raise_on_error=False)
        return {"text": text(result.content), "isError": result.is_error}


class OpenAIAgents:
    """agents.mcp, as an Agent holds it in mcp_servers."""

    def __init__(self, job):
        from agents.mcp import MCPServerSse, MCPServerStreamableHttp

        server = MCPServerSse if job["transport"] == "sse" else MCPServerStreamableHttp
        # Without a name its messages have the URL.
        self.server = server({"url": job["url"], "headers": {"Authorization": f"Bearer {job['key']}"}}, name="visited")

    @asynccontextmanager
    async def connected(self):
        async with self.server:
            yield self.server.session

    async def tools(self):
        return [t.name for t in await self.server.list_tools()]

    async def call(self, name, arguments):
        result = await self.server.call_tool(name, arguments)
        return {"text": text(result.content), "isError": result.is_error}


class PydanticAI:
    """pydantic_ai.mcp.MCPToolset, which took the place of MCPServerStreamableHTTP and MCPServerSSE."""

    def __init__(self, job):
        from pydantic_ai.mcp import MCPToolset

        # It takes /sse in a URL as HTTP+SSE. By default a failed tool and a protocol error are both a ModelRetry.
        headers = {"Authorization": f"Bearer {job['key']}"}
        self.toolset = MCPToolset(job["url"], headers=headers, tool_error_behavior="error")

    @asynccontextmanager
    async def connected(self):
        async with self.toolset:
            yield self.toolset.client

    async def tools(self):
        return [t.name for t in await self.toolset.list_tools()]

    async def call(self, name, arguments):
        from fastmcp.exceptions import ToolError

        try:
            result = await self.toolset.direct_call_tool(name, arguments)
        except ToolError as error:
            return {"text": str(error), "isError": True}
        parts = result if isinstance(result, list) else [result]
        return {"text": "".join(p if isinstance(p, str) else f"({p.media_type.split('/')[0]})" for p in parts)}


LIBRARIES = {"fastmcp": FastMCP, "openai-agents": OpenAIAgents, "pydantic-ai": PydanticAI}


def fault(error):
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    inner = getattr(error, "error", None)
    return {"error": getattr(inner, "code", type(error).__name__), "message": str(error)}


async def visit(job):
    outcomes = []
    try:
        library = LIBRARIES[job["client"]](job)
        async with library.connected() as session:
            info = session.server_info
            outcomes.append({"server": info and info.name, "version": session.protocol_version})
            for step in job["steps"]:
                try:
                    match step["op"]:
                        case "tools":
                            outcomes.append({"names": await library.tools()})
                        case "call":
                            outcomes.append(await library.call(step["name"], step.get("arguments") or {}))
                        case other:
                            raise ValueError(f"unknown step {other}")
                except Exception as error:
                    outcomes.append(fault(error))
    except Exception as error:
        if len(outcomes) <= len(job["steps"]):  # else it is a fault in leaving
            outcomes.append(fault(error))
    return outcomes


async def main():
    print(json.dumps([await visit(job) for job in json.loads(sys.argv[1])]))


asyncio.run(main())
