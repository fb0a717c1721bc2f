// The SDK's own WebSocket clients against the gateway, with the upstream played by `ws`: other
// implementations of the protocol than ours, on both sides.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer as createHttpServer } from 'node:http';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { createServer as createTlsServer } from 'node:tls';
import { promisify } from 'node:util';
import OpenAI from 'openai';
import { OpenAIRealtimeWS } from 'openai/realtime/ws';
import { ResponsesWS } from 'openai/resources/responses/ws';
import { WebSocketServer } from 'ws';
import { keys, startGateway } from './gateway.mjs';

let upstream;
let gateway;
let front;
let client;

// Answers a response.create as each of the two APIs does.
async function startUpstream() {
  const server = createHttpServer().listen(0, '127.0.0.1');
  const sockets = new WebSocketServer({ server, perMessageDeflate: { threshold: 0 } });
  const seen = [];
  sockets.on('connection', (socket, request) => {
    seen.push({ url: request.url, headers: request.headers, deflate: socket.extensions });
    const realtime = request.url.startsWith('/v1/realtime');
    const say = (event) => socket.send(JSON.stringify(event));
    if (realtime) say({ type: 'session.created', event_id: 'event_1', session: { type: 'realtime' } });
    socket.on('message', (data, binary) => {
      if (binary) return socket.send(data, { binary });
      const event = JSON.parse(data);
      if (event.type !== 'response.create') return undefined;
      const usage = { input_tokens: 3, output_tokens: 4, total_tokens: 7 };
      const text = event.instructions ?? event.response?.instructions ?? 'hello';
      say({ type: 'response.created', response: { id: 'resp_1', status: 'in_progress' } });
      say({ type: 'response.output_text.delta', response_id: 'resp_1', delta: text });
      return say({
        type: realtime ? 'response.done' : 'response.completed',
        response: { id: 'resp_1', status: 'completed', output: [], usage },
      });
    });
  });
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${server.address().port}/v1`,
    seen,
    async stop() {
      for (const socket of sockets.clients) socket.terminate();
      server.close();
      server.closeAllConnections();
    },
  };
}

// The SDK opens realtime sessions over TLS alone.
async function startFront(port) {
  const folder = await mkdtemp(join(tmpdir(), 'weir-tls-'));
  const [key, cert] = ['key.pem', 'cert.pem'].map((name) => join(folder, name));
  await promisify(execFile)('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt',
    'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2', '-subj', '/CN=localhost',
    '-addext', 'subjectAltName=DNS:localhost', '-keyout', key, '-out', cert]);
  const pem = { key: await readFile(key), cert: await readFile(cert) };
  await rm(folder, { recursive: true });
  const open = new Set();
  const server = createTlsServer(pem, (socket) => {
    const inner = connect(port, '127.0.0.1');
    for (const one of [socket, inner]) {
      open.add(one);
      one.on('error', () => {}).on('close', () => open.delete(one));
    }
    socket.pipe(inner).pipe(socket);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `https://localhost:${server.address().port}/v1`,
    ca: pem.cert,
    stop() {
      server.close();
      for (const socket of open) socket.destroy();
    },
  };
}

before(async () => {
  upstream = await startUpstream();
  gateway = await startGateway(upstream.url);
  front = await startFront(Number(new URL(gateway.url).port));
  client = new OpenAI({ apiKey: keys.alice, baseURL: front.url });
});
after(async () => {
  front?.stop();
  await gateway?.stop();
  await upstream?.stop();
});

const event = (emitter, name) => new Promise((done, failed) => {
  emitter.once(name, done);
  emitter.once('error', failed);
});

test('the realtime client of the SDK holds a session', async () => {
  const session = new OpenAIRealtimeWS({ model: 'gpt-realtime', options: { ca: front.ca } }, client);
  await event(session, 'session.created');
  const done = event(session, 'response.done');
  const delta = event(session, 'response.output_text.delta');
  session.send({ type: 'response.create', response: { instructions: 'say this' } });
  assert.equal((await delta).delta, 'say this');
  assert.equal((await done).response.status, 'completed');
  const closed = once(session.socket, 'close');
  session.close({ code: 1000, reason: 'enough' });
  const [code] = await closed;
  assert.equal(code, 1000);
  const [seen] = upstream.seen.slice(-1);
  assert.equal(seen.url, '/v1/realtime?model=gpt-realtime');
  assert.equal(seen.headers.authorization, 'Bearer sk-upstream-0123456789');
});

test('a refusal is an error event, and the session stays open', async () => {
  const session = new OpenAIRealtimeWS({ model: 'gpt-realtime', options: { ca: front.ca } }, client);
  await event(session, 'session.created');
  const refused = new Promise((done) => { session.once('error', done); });
  session.send({ type: 'session.update', event_id: 'mine', session: { prompt: { id: 'pmpt_1' } } });
  const error = await refused;
  assert.match(error.message, /plan/);
  assert.equal(error.error?.event_id, 'mine');
  session.send({ type: 'response.create' });
  await event(session, 'response.done');
  session.close();
});

test('compression passes, whoever implements it', async () => {
  const options = { ca: front.ca, perMessageDeflate: { threshold: 0 } };
  const session = new OpenAIRealtimeWS({ model: 'gpt-realtime', options }, client);
  await event(session, 'session.created');
  assert.match(session.socket.extensions, /permessage-deflate/);
  const text = 'a long text '.repeat(20_000);
  const delta = event(session, 'response.output_text.delta');
  session.send({ type: 'response.create', response: { instructions: text } });
  assert.equal((await delta).delta, text);
  const binary = new Promise((done) => {
    session.socket.on('message', (data, isBinary) => { if (isBinary) done(data); });
  });
  // The SDK takes it for an event that it cannot read.
  session.on('error', () => {});
  const bytes = Buffer.from(Array.from({ length: 100_000 }, (_, i) => (i * 7919) % 251));
  session.socket.send(bytes);
  assert.deepEqual(await binary, bytes);
  assert.match(upstream.seen.at(-1).deflate, /permessage-deflate/);
  session.close();
});

test('a browser says its key in a subprotocol', async () => {
  const url = gateway.url.replace('http:', 'ws:');
  const open = (key) => new WebSocket(`${url}/v1/realtime?model=gpt-realtime`, [
    'realtime', `openai-insecure-api-key.${key}`, 'openai-beta.realtime-v1']);
  const socket = open(keys.alice);
  const [message] = await once(socket, 'message');
  assert.equal(JSON.parse(message.data).type, 'session.created');
  assert.equal(socket.protocol, 'realtime');
  assert.equal(upstream.seen.at(-1).headers['sec-websocket-protocol'], 'realtime, openai-beta.realtime-v1');
  socket.close(3000, 'bye');
  const [closed] = await once(socket, 'close');
  assert.equal(closed.code, 3000);
  const stranger = open('nobody-has-this-key');
  await once(stranger, 'error');
});

test('a session is a message, and the third is the last of three', async () => {
  const carol = new OpenAI({ apiKey: keys.carol, baseURL: front.url });
  for (let i = 0; i < 3; i += 1) {
    const session = new OpenAIRealtimeWS({ model: 'gpt-realtime', options: { ca: front.ca } }, carol);
    await event(session, 'session.created');
    session.close();
    await once(session.socket, 'close');
  }
  const session = new OpenAIRealtimeWS({ model: 'gpt-realtime', options: { ca: front.ca } }, carol);
  const error = await new Promise((done) => { session.once('error', done); });
  assert.match(String(error.message), /429/);
});

test('responses over a WebSocket', async () => {
  const alice = new OpenAI({ apiKey: keys.alice, baseURL: `${gateway.url}/v1` });
  const socket = new ResponsesWS(alice);
  const done = event(socket, 'response.completed');
  socket.send({ type: 'response.create', model: 'gpt-5.5', input: 'hi', instructions: 'say that' });
  assert.equal((await done).response.usage.total_tokens, 7);
  socket.close();
});
