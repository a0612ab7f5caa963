// Plays steps with the TypeScript client, 2.x, on Node; see `_play.py`, which does the same and says what it is.

import { openSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath, pathToFileURL } from 'node:url';

const HERE = dirname(fileURLToPath(import.meta.url));
const TOOLS = join(HERE, '../../../../.tools/node_modules/@modelcontextprotocol/client/dist');
const load = (file) => import(pathToFileURL(join(TOOLS, file)));
const { Client, SSEClientTransport, StreamableHTTPClientTransport } = await load('index.mjs');
const { StdioClientTransport } = await load('stdio.mjs');

const AT_ONCE = 3;
const STEP = 40_000;
const NOTICE = 2_000;
const TRIES = 3;
const REVISION = '2026-07-28';
const LEVEL = 'io.modelcontextprotocol/logLevel';
const MODES = { legacy: 'legacy', auto: 'auto', modern: { pin: REVISION } };

// What a client hears beside its results, and what it answers when it is asked.
class Ear {
  constructor(play) {
    Object.assign(this, { answers: play.answers, roots: play.roots, asked: [], heard: [], notices: [] });
  }

  question(method, { _meta, ...params }) {
    this.asked.push([method, params]);
    if (method === 'roots/list') return { roots: this.roots };
    if (method === 'sampling/createMessage') {
      const text = `You said: ${params.messages.at(-1).content.text}`;
      return { role: 'assistant', model: 'parrot', content: { type: 'text', text } };
    }
    if (params.message.includes('decline')) return { action: 'decline' };
    const properties = params.requestedSchema?.properties;
    if (!properties) return { action: 'accept' };
    const content = Object.entries(this.answers).filter(([name]) => name in properties);
    return { action: 'accept', content: Object.fromEntries(content) };
  }

  progress({ progress, total, message }) {
    this.heard.push(['progress', progress, total ?? null, message ?? null]);
    if (this.mark) writeFileSync(this.mark, '');
  }

  async until(holds, within) {
    for (const end = Date.now() + within; !holds() && Date.now() < end; ) await sleep(10);
    return holds();
  }
}

function transport(via) {
  if (via.command) {
    const [command, ...args] = via.command;
    const env = { ...process.env, ...via.env };
    return new StdioClientTransport({ command, args, env, stderr: openSync(via.log, 'a') });
  }
  const Kind = via.kind === 'sse' ? SSEClientTransport : StreamableHTTPClientTransport;
  return new Kind(new URL(via.url));
}

async function connect(play, ear) {
  const capabilities = play.deaf ? {} : { elicitation: { form: {}, url: {} }, sampling: {}, roots: {} };
  const client = new Client(
    { name: 'pairs', version: '1' },
    { capabilities, versionNegotiation: { mode: MODES[play.mode] } },
  );
  if (!play.deaf) {
    for (const method of ['elicitation/create', 'sampling/createMessage', 'roots/list']) {
      client.setRequestHandler(method, ({ params }) => ear.question(method, params ?? {}));
    }
  }
  client.setNotificationHandler('notifications/message', ({ params: { _meta, ...params } }) => {
    ear.heard.push(['log', params]);
  });
  client.setNotificationHandler('notifications/resources/updated', ({ params }) => ear.notices.push(params.uri));
  for (const what of ['tools', 'prompts', 'resources']) {
    client.setNotificationHandler(`notifications/${what}/list_changed`, () => ear.notices.push(what));
  }
  const way = transport(play.via);
  await client.connect(way, { timeout: STEP });
  if (!modern(client) && client.getServerCapabilities()?.logging) await client.setLoggingLevel('info');
  return client;
}

const modern = (client) => client.getNegotiatedProtocolVersion() >= '2026';

async function callTool(client, ear, { name, arguments: given = {} }, signal) {
  const params = { name, arguments: given };
  if (modern(client)) params._meta = { [LEVEL]: 'info' };
  return client.callTool(params, { onprogress: (params) => ear.progress(params), signal, timeout: STEP });
}

const METHODS = { tools: 'tools/list', prompts: 'prompts/list', resources: 'resources/list' };
METHODS.resourceTemplates = 'resources/templates/list';

async function everyPage(client, what) {
  const entries = [];
  let [pages, cursor] = [0, undefined];
  // By its own walk it learns the schemas by which it then judges results.
  if (what === 'tools') await client.listTools();
  while (pages === 0 || cursor !== undefined) {
    // Its own methods walk all pages, where no cursor is given.
    const page = await client.request({ method: METHODS[what], params: cursor === undefined ? {} : { cursor } });
    entries.push(...page[what]);
    [pages, cursor] = [pages + 1, page.nextCursor];
  }
  return { entries, pages };
}

async function call(client, ear, step) {
  ear.mark = step.mark;
  for (let time = 0; ; time += 1) {
    const result = await callTool(client, ear, step);
    if (step.until === undefined || result.content[0].text === step.until || time === 500) return result;
    await sleep(10);
  }
}

async function giveUp(client, ear, step) {
  const controller = new AbortController();
  const result = callTool(client, ear, step, controller.signal).catch((error) => {
    if (!controller.signal.aborted) throw error;
    return { given: 'up' };
  });
  await Promise.race([result, ear.until(() => ear.heard.length > 0, STEP)]);
  controller.abort();
  return result;
}

async function watch(client, ear, step) {
  const uri = step.notice.includes('://') ? step.notice : undefined;
  let stream;
  if (modern(client)) {
    stream = await client.listen(uri ? { resourceSubscriptions: [uri] } : { [`${step.notice}ListChanged`]: true });
  } else if (uri) {
    await client.subscribeResource({ uri });
  }
  let seen = false;
  for (let time = 0; time < TRIES && !seen; time += 1) {
    await callTool(client, ear, step);
    seen = await ear.until(() => ear.notices.includes(step.notice), NOTICE);
  }
  if (stream) await stream.close();
  else if (uri) await client.unsubscribeResource({ uri });
  return { notice: seen ? step.notice : null };
}

const STEPS = {
  list: (client, ear, step) => everyPage(client, step.what),
  call,
  read: (client, ear, { uri }) => client.readResource({ uri }),
  prompt: (client, ear, { name, arguments: given }) => client.getPrompt({ name, arguments: given }),
  complete: (client, ear, { ref, argument, context }) =>
    client.complete({ ref, argument, ...(context && { context: { arguments: context } }) }),
  ping: (client) => client.ping(),
  'give up': giveUp,
  watch,
};

function asOutcome(error) {
  if (typeof error?.code !== 'number') return { failed: `${error?.name}: ${error?.message}` };
  const { code, message, data } = error;
  return { error: { code, message, ...(data !== undefined && { data }) } };
}

async function oneStep(client, ear, step) {
  Object.assign(ear, { asked: [], heard: [], notices: [] });
  let outcome;
  try {
    const late = sleep(STEP, undefined, { ref: false }).then(() => Promise.reject(new Error(`no end in ${STEP} ms`)));
    outcome = { result: await Promise.race([STEPS[step.do](client, ear, step), late]) };
  } catch (error) {
    outcome = asOutcome(error);
  }
  await ear.until(() => ear.heard.length >= (step.heard ?? 0), NOTICE);
  return { ...outcome, asked: ear.asked, heard: ear.heard };
}

async function onePlay(play) {
  const ear = new Ear(play);
  const told = { play: play.play, outcomes: [] };
  try {
    const client = await connect(play, ear);
    told.revision = client.getNegotiatedProtocolVersion();
    told.capabilities = client.getServerCapabilities();
    told.instructions = client.getInstructions();
    for (const step of play.steps) told.outcomes.push(await oneStep(client, ear, step));
    await client.transport.terminateSession?.();
    await client.close();
  } catch (error) {
    told.broken = asOutcome(error);
  }
  return told;
}

const chunks = [];
for await (const chunk of process.stdin) chunks.push(chunk);
const plays = JSON.parse(Buffer.concat(chunks).toString());

async function inTurn() {
  for (let play = plays.shift(); play; play = plays.shift()) {
    const late = sleep(play.within * 1000, { failed: `it did not end within ${play.within} s` }, { ref: false });
    const broken = late.then((why) => ({ play: play.play, broken: why, outcomes: [] }));
    const told = await Promise.race([onePlay(play), broken]);
    // The process ends without waiting for what is not written yet.
    await new Promise((written) => process.stdout.write(`${JSON.stringify(told)}\n`, written));
  }
}

await Promise.all(Array.from({ length: AT_ONCE }, inTurn));
// A connection that does not close is told by its play; the process does not wait for it.
process.exit(0);
