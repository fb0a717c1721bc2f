// WebSocket sessions with a mock that is not ours behind the gateway: it takes no compression and
// closes as it likes. Node's own WebSocket is the client; keys come as subprotocols, as browsers send them.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { LLMock } from '@copilotkit/aimock';
import { keys, startGateway, upstreamKey } from './gateway.mjs';

let mock;
let gateway;

before(async () => {
  mock = new LLMock({ port: 0, auth: { apiKeys: [upstreamKey] } });
  await mock.start();
  mock.onMessage('Speak to me', { content: story });
  gateway = await startGateway(`${mock.url}/v1`);
});
after(async () => {
  await gateway?.stop();
  await mock?.stop();
});

const story = 'Once upon a time there was a weir, 漢字 and all 😀, that let every stream pass over it.';

async function open(path, key = keys.alice) {
  const socket = new WebSocket(
    `${gateway.url.replace('http', 'ws')}${path}`, ['realtime', `openai-insecure-api-key.${key}`]);
  await new Promise((done, fail) => {
    socket.onopen = done;
    socket.onerror = (event) => fail(event.error ?? new Error(event.message));
  });
  const events = [];
  let wake = () => {};
  socket.onmessage = ({ data }) => { events.push(JSON.parse(data)); wake(); };
  return {
    socket,
    events,
    send: (event) => socket.send(JSON.stringify(event)),
    async until(type) {
      while (!events.some((event) => event.type === type)) await new Promise((done) => { wake = done; });
    },
    close: () => new Promise((done) => { socket.onclose = done; socket.close(1000, 'enough'); }),
  };
}
const textOf = (events) => events
  .filter((event) => event.type === 'response.output_text.delta').map((event) => event.delta).join('');

test('a realtime session', { timeout: 20_000 }, async () => {
  const session = await open('/v1/realtime?model=gpt-realtime');
  assert.equal(session.socket.protocol, 'realtime');
  await session.until('session.created');
  for (let turn = 1; turn <= 3; turn += 1) {
    session.events.length = 0;
    session.send({ type: 'session.update', session: { type: 'realtime', output_modalities: ['text'] } });
    session.send({
      type: 'conversation.item.create',
      item: { type: 'message', role: 'user', content: [{ type: 'input_text', text: 'Speak to me' }] },
    });
    session.send({ type: 'response.create' });
    await session.until('response.done');
    assert.equal(textOf(session.events), story);
  }
  const end = await session.close();
  assert.ok(end.wasClean);
});

test('responses over a WebSocket', { timeout: 20_000 }, async () => {
  const session = await open('/v1/responses');
  session.send({ type: 'response.create', model: 'gpt-4', input: 'Speak to me' });
  await session.until('response.completed');
  assert.equal(textOf(session.events), story);
  await session.close();
});

test('a key that nobody has opens nothing', { timeout: 20_000 }, async () => {
  const before = mock.getRequests().length;
  await assert.rejects(open('/v1/realtime?model=gpt-realtime', 'sk-test-nobody-0123456789'));
  assert.equal(mock.getRequests().length, before);
});

test('no credential of a client came to the upstream', () => {
  assert.ok(mock.getRequests().length >= 2);
  const told = JSON.stringify(mock.getRequests());
  assert.ok(!told.includes('sk-test-') && !told.includes('insecure-api-key'), told.slice(0, 300));
});
