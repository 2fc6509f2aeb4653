"""Runs visits with the official Python client: see typescript.mjs for what goes in and out."""

import json
import sys
from contextlib import AsyncExitStack

import anyio
from mcp import Client, MCPError
from mcp.client.sse import sse_client
from mcp.client.streamable_http import create_mcp_http_client, streamable_http_client
from mcp.types import ElicitResult, ToolListChangedNotification


def text(blocks):
    return "".join(getattr(b, "text", None) or f"({getattr(b, 'type', 'blob')})" for b in blocks)


def fault(error):
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, MCPError):
        return {"error": error.error.code, "message": error.error.message}
    return {"error": 0, "message": f"{type(error).__name__}: {error}"}


class Job:
    def __init__(self, job):
        self.job = job
        self.asked = 0
        self.progress = 0
        self.changed = anyio.Event()

    async def on_message(self, message):
        if isinstance(getattr(message, "root", message), ToolListChangedNotification):
            self.changed.set()

    async def elicit(self, context, params):
        self.asked += 1
        required = params.requested_schema.get("required", [])
        return ElicitResult(action="accept", content={p: "ada@example.com" if p == "email" else "Ada" for p in required})

    async def on_progress(self, progress, total, message):
        self.progress += 1

    async def run(self):
        outcomes = []
        headers = {"Authorization": f"Bearer {self.job['key']}"}
        try:
            async with AsyncExitStack() as stack:
                if self.job["transport"] == "sse":
                    transport = sse_client(self.job["url"], headers=headers)
                else:
                    http = await stack.enter_async_context(create_mcp_http_client(headers=headers))
                    transport = streamable_http_client(self.job["url"], http_client=http)
                client = await stack.enter_async_context(Client(transport, mode=self.job["mode"], elicitation_callback=self.elicit, message_handler=self.on_message))
                name = client.server_info.name if client.server_info else None
                outcomes.append({"server": name, "version": client.protocol_version})
                for step in self.job["steps"]:
                    try:
                        outcomes.append(await self.take(client, step))
                    except Exception as error:
                        outcomes.append(fault(error))
        except BaseException as error:
            if len(outcomes) <= len(self.job["steps"]):  # else it is a fault in leaving
                outcomes.append(fault(error))
        return outcomes

    async def take(self, client, step):
        match step["op"]:
            case "tools":
                return {"names": [t.name for t in (await client.list_tools()).tools]}
            case "call":
                self.progress, before = 0, self.asked
                result = await client.call_tool(step["name"], step.get("arguments") or {}, progress_callback=self.on_progress)
                return {
                    "text": text(result.content), "isError": bool(result.is_error),
                    "progress": self.progress, "asked": self.asked - before,
                }
            case "changed":  # waits to be told that the list of tools is another one
                if client.protocol_version < "2026-07-28":
                    await self.changed.wait()
                else:
                    async with client.listen(tools_list_changed=True) as changes:
                        await anext(changes)
                return {"text": "changed"}
            case "resources":
                return {"names": [str(r.uri) for r in (await client.list_resources()).resources]}
            case "templates":
                return {"names": [r.uri_template for r in (await client.list_resource_templates()).resource_templates]}
            case "read":
                return {"text": text((await client.read_resource(step["name"])).contents)}
            case "prompts":
                return {"names": [p.name for p in (await client.list_prompts()).prompts]}
            case "prompt":
                return {"text": text(m.content for m in (await client.get_prompt(step["name"], step.get("arguments"))).messages)}
        raise ValueError(f"unknown step {step['op']}")


async def main():
    print(json.dumps([await Job(job).run() for job in json.loads(sys.argv[1])]))


anyio.run(main)
