// Runs jobs with the official TypeScript clients. The argument is [{client: v1|v2, mode, transport, url, key, steps}]; what
// each step saw goes out as JSON: [[outcome, …], …]. python.py takes and gives the same.
import { Client as ClientV1 } from '@modelcontextprotocol/sdk/client/index.js';
import { SSEClientTransport as SSEV1 } from '@modelcontextprotocol/sdk/client/sse.js';
import { StreamableHTTPClientTransport as StreamableV1 } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { ElicitRequestSchema, ToolListChangedNotificationSchema } from '@modelcontextprotocol/sdk/types.js';
import { Client as ClientV2, SSEClientTransport as SSEV2, StreamableHTTPClientTransport as StreamableV2 } from '@modelcontextprotocol/client';

console.log = console.debug = console.info = console.error; // stdout is for the outcomes
const info = { name: 'matrix', version: '1' };

async function run(job) {
  const v2 = job.client === 'v2';
  const capabilities = { elicitation: { form: {} } };
  let changed;
  const change = new Promise((resolve) => (changed = resolve));
  const listChanged = { tools: { autoRefresh: false, debounceMs: 0, onChanged: changed } };
  const client = v2
    ? new ClientV2(info, { capabilities, listChanged, versionNegotiation: { mode: job.mode } })
    : new ClientV1(info, { capabilities });
  if (!v2) client.setNotificationHandler(ToolListChangedNotificationSchema, changed);
  let asked = 0;
  client.setRequestHandler(v2 ? 'elicitation/create' : ElicitRequestSchema, async (request) => {
    asked++;
    const required = request.params.requestedSchema.required ?? [];
    return { action: 'accept', content: Object.fromEntries(required.map((p) => [p, p === 'email' ? 'ada@example.com' : 'Ada'])) };
  });
  const requestInit = { headers: { Authorization: `Bearer ${job.key}` } };
  const Transport = job.transport === 'sse' ? (v2 ? SSEV2 : SSEV1) : v2 ? StreamableV2 : StreamableV1;
  const outcomes = [];
  const transport = new Transport(new URL(job.url), { requestInit });
  try {
    await client.connect(transport);
  } catch (error) {
    return [fault(error)];
  }
  const version = v2 ? client.getNegotiatedProtocolVersion() : transport.protocolVersion;
  outcomes.push({ server: client.getServerVersion()?.name, version });
  for (const step of job.steps) {
    try {
      outcomes.push(await take(client, step, () => asked, change));
    } catch (error) {
      outcomes.push(fault(error));
    }
  }
  await client.close();
  return outcomes;
}

async function take(client, step, asked, change) {
  switch (step.op) {
    case 'tools':
      return { names: (await client.listTools()).tools.map((t) => t.name) };
    case 'call': {
      let progress = 0;
      const before = asked();
      const params = { name: step.name, arguments: step.arguments };
      const onprogress = () => progress++;
      const result = client instanceof ClientV1 ? await client.callTool(params, undefined, { onprogress }) : await client.callTool(params, { onprogress });
      return { text: text(result.content), isError: !!result.isError, progress, asked: asked() - before };
    }
    case 'changed': // waits to be told that the list of tools is another one
      await change;
      return { text: 'changed' };
    case 'resources':
      return { names: (await client.listResources()).resources.map((r) => r.uri) };
    case 'templates':
      return { names: (await client.listResourceTemplates()).resourceTemplates.map((r) => r.uriTemplate) };
    case 'read':
      return { text: text((await client.readResource({ uri: step.name })).contents) };
    case 'prompts':
      return { names: (await client.listPrompts()).prompts.map((p) => p.name) };
    case 'prompt':
      return { text: text((await client.getPrompt({ name: step.name, arguments: step.arguments })).messages.map((m) => m.content)) };
    default:
      throw new Error(`unknown step ${step.op}`);
  }
}

function text(blocks) {
  return blocks.map((b) => b.text ?? `(${b.type ?? 'blob'})`).join('');
}

function fault(error) {
  // What came with the 404 of an unknown method is only in the message, as it was.
  const answer = /\{"jsonrpc".*\}$/.exec(error.message);
  if (answer) {
    const { code, message } = JSON.parse(answer[0]).error;
    return { error: code, message };
  }
  return { error: error.code ?? 0, message: String(error.message).replace(/^MCP error -?\d+: /, '') };
}

const answers = [];
for (const job of JSON.parse(process.argv[2])) answers.push(await run(job));
process.stdout.write(JSON.stringify(answers), () => process.exit(0));
