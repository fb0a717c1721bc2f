// Anthropic's official SDK, with its own defaults: against the demo, and against an upstream that
// calls a tool.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { after, before, test } from 'node:test';
import Anthropic from '@anthropic-ai/sdk';
import { keys, startGateway } from './gateway.mjs';

let gateway;
let alice;

const client = (apiKey, at = gateway) => new Anthropic({ apiKey, authToken: null, baseURL: at.url });
const ask = (content, more = {}) =>
  ({ model: 'claude-demo', max_tokens: 500, messages: [{ role: 'user', content }], ...more });
const textOf = (message) => message.content.map((block) => block.text ?? '').join('');

before(async () => {
  gateway = await startGateway();
  alice = client(keys.alice);
});
after(() => gateway?.stop());

test('a message is a whole answer', async () => {
  const { data: message, response, request_id: id } =
    await alice.messages.create(ask('What is a weir?')).withResponse();
  assert.equal(message.type, 'message');
  assert.equal(message.stop_reason, 'end_turn');
  assert.ok(textOf(message).includes('What is a weir?'));
  assert.ok(message.usage.input_tokens > 0 && message.usage.output_tokens > 0);
  assert.equal(id, response.headers.get('x-request-id'));
});

test('a stream comes in pieces, and the helper gathers it', async () => {
  const stream = alice.messages.stream(ask('Stream to me.'));
  let pieces = 0;
  stream.on('text', () => { pieces += 1; });
  const message = await stream.finalMessage();
  assert.ok(pieces > 2, `${pieces} pieces`);
  assert.equal(message.stop_reason, 'end_turn');
  assert.ok(textOf(message).includes('Stream to me.'));
  assert.ok(message.usage.output_tokens > 0);
});

test('a bearer token is as good as a key', async () => {
  const bearer = new Anthropic({ apiKey: null, authToken: keys.alice, baseURL: gateway.url });
  assert.equal((await bearer.messages.create(ask('By token.'))).type, 'message');
});

test('tokens are counted', async () => {
  const counted = await alice.messages.countTokens({
    model: 'claude-demo', messages: [{ role: 'user', content: 'one two three' }],
  });
  assert.deepEqual(counted, { input_tokens: 3 });
});

test('a stream and a plain answer serve each other', async () => {
  const first = await alice.messages.stream(ask('First in pieces.')).finalMessage();
  const { data: second, response } = await alice.messages.create(ask('First in pieces.')).withResponse();
  assert.equal(response.headers.get('x-cache'), 'HIT');
  assert.deepEqual(second.content, first.content);
  const whole = await alice.messages.create(ask('First whole.'));
  const gathered = await alice.messages.stream(ask('First whole.')).finalMessage();
  assert.equal(gathered.id, whole.id);
  assert.deepEqual(gathered.content, whole.content);
  assert.deepEqual(gathered.usage, whole.usage);
});

test('a wrong key is an AuthenticationError at once', async () => {
  await assert.rejects(client('sk-test-nobody-0123456789').messages.create(ask('Let me in.')), (error) => {
    assert.ok(error instanceof Anthropic.AuthenticationError, error.constructor.name);
    assert.equal(error.type, 'authentication_error');
    assert.ok(!error.message.includes('sk-test-nobody-0123456789'));
    return true;
  });
});

test('a spent cap is a RateLimitError in under a second, with the SDK\'s default retries', async () => {
  const carol = client(keys.carol);
  assert.equal(carol.maxRetries, 2, 'this test is about the defaults');
  for (let i = 1; i <= 3; i += 1) {
    const { response } = await carol.messages.create(ask(`Message ${i}`)).withResponse();
    assert.equal(response.headers.get('anthropic-ratelimit-requests-remaining'), String(3 - i));
    assert.ok(Date.parse(response.headers.get('anthropic-ratelimit-requests-reset')) > Date.now());
  }
  for (const stream of [false, true]) {
    const began = performance.now();
    await assert.rejects(carol.messages.create(ask(`One too many: ${stream}`, { stream })), (error) => {
      assert.ok(error instanceof Anthropic.RateLimitError, error.constructor.name);
      assert.equal(error.type, 'rate_limit_error');
      assert.match(error.message, /3 of 3 messages/);
      assert.equal(error.requestID, error.headers.get('x-request-id'));
      return true;
    });
    const took = performance.now() - began;
    assert.ok(took < 1000, `${took} ms: the SDK slept on our retry-after`);
  }
});

const toolEvents = [
  { type: 'message_start',
    message: { id: 'msg_1', type: 'message', role: 'assistant', model: 'claude', content: [],
      stop_reason: null, stop_sequence: null, usage: { input_tokens: 9, output_tokens: 1 } } },
  { type: 'content_block_start', index: 0, content_block: { type: 'text', text: '' } },
  { type: 'content_block_delta', index: 0, delta: { type: 'text_delta', text: 'Let me look.' } },
  { type: 'content_block_stop', index: 0 },
  { type: 'content_block_start', index: 1,
    content_block: { type: 'tool_use', id: 'toolu_1', name: 'weather', input: {} } },
  ...['', '{"city": "Zü', 'rich", "days"', ': 2}'].map((json) => ({ type: 'content_block_delta',
    index: 1, delta: { type: 'input_json_delta', partial_json: json } })),
  { type: 'content_block_stop', index: 1 },
  { type: 'message_delta', delta: { stop_reason: 'tool_use', stop_sequence: null },
    usage: { output_tokens: 30 } },
  { type: 'message_stop' },
];

test('a tool is called, streamed, from the cache, and plain; a broken stream throws', async () => {
  const server = createServer((request, response) => {
    let body = '';
    request.on('data', (part) => { body += part; });
    request.on('end', () => {
      response.setHeader('content-type', 'text/event-stream');
      const events = body.includes('break off') ? toolEvents.slice(0, 3) : toolEvents;
      for (const event of events) {
        response.write(`event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`);
      }
      response.end();
    });
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const own = await startGateway(
    { url: `http://127.0.0.1:${server.address().port}/v1`, kind: 'anthropic' });
  try {
    const bob = client(keys.alice, own);
    const tools = [{ name: 'weather', input_schema: { type: 'object', properties: {} } }];
    const first = await bob.messages.stream(ask('Weather?', { tools })).finalMessage();
    assert.equal(first.stop_reason, 'tool_use');
    assert.deepEqual(first.content[1].input, { city: 'Zürich', days: 2 });
    const { data: second, response } = await bob.messages.create(ask('Weather?', { tools })).withResponse();
    assert.equal(response.headers.get('x-cache'), 'HIT');
    assert.deepEqual(second.content, [first.content[0], first.content[1]]);
    assert.equal(second.usage.output_tokens, 30);

    await assert.rejects(bob.messages.stream(ask('Please break off.', { tools })).finalMessage(), (error) => {
      assert.ok(error instanceof Anthropic.APIError, error.constructor.name);
      assert.equal(error.type, 'api_error');
      assert.match(error.message, /not complete/);
      return true;
    });
  } finally {
    await own.stop();
    server.close();
    server.closeAllConnections();
  }
});
