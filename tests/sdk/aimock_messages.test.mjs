// Anthropic's messages as a mock that is not ours sends them, by Anthropic's own SDK.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import Anthropic from '@anthropic-ai/sdk';
import { LLMock } from '@copilotkit/aimock';
import { keys, startGateway, upstreamKey } from './gateway.mjs';

let mock;
let gateway;
let client;

before(async () => {
  mock = new LLMock({ port: 0, auth: { apiKeys: [upstreamKey] } });
  await mock.start();
  gateway = await startGateway({ url: `${mock.url}/v1`, kind: 'anthropic' }, {
    retry: { attempts: 1, longest_wait: '0s', break_after: 1000 },
  });
  client = new Anthropic({ apiKey: keys.alice, authToken: null, baseURL: gateway.url, maxRetries: 0 });
});
after(async () => {
  await gateway?.stop();
  await mock?.stop();
});

const ask = (content, more = {}) => ({
  model: 'claude-3-5-sonnet-20241022', max_tokens: 200, messages: [{ role: 'user', content }], ...more,
});
const calls = (text) => mock.getRequests()
  .filter((entry) => JSON.stringify(entry.body ?? '').includes(text)).length;
const story = 'Once upon a time there was a weir, 漢字 and all 😀, that let every stream pass over it.';
const plainly = ({ content, stop_reason: reason, id }) => JSON.parse(JSON.stringify({ content, reason, id }));

for (const streamFirst of [true, false]) {
  test(`a message crosses, ${streamFirst ? 'streamed' : 'plain'} first, with thoughts and calls of tools`, async () => {
    const question = `Cross, streamed first: ${streamFirst}`;
    mock.onMessage(question, {
      content: story, reasoning: 'Thought over in more than one piece.',
      toolCalls: [{ name: 'get_weather', arguments: '{"city":"北京","days":[1,2,3]}' }],
    });
    const body = ask(question, {
      tools: [{ name: 'get_weather', input_schema: { type: 'object', properties: { city: { type: 'string' } } } }],
      thinking: { type: 'enabled', budget_tokens: 1024 }, max_tokens: 2000,
    });
    const plain = async (want) => {
      const { data, response } = await client.messages.create(body).withResponse();
      assert.equal(response.headers.get('x-cache'), want);
      return plainly(data);
    };
    const streamed = async () => plainly(await client.messages.stream(body).finalMessage());
    const first = streamFirst ? await streamed() : await plain('MISS');
    const second = streamFirst ? await plain('HIT') : await streamed();
    assert.deepEqual(second, first);
    assert.equal(second.reason, 'tool_use');
    assert.deepEqual(second.content.filter((block) => block.type === 'text').map((block) => block.text), [story]);
    assert.deepEqual(second.content.find((block) => block.type === 'tool_use').input, { city: '北京', days: [1, 2, 3] });
    assert.ok(second.content.some((block) => block.type === 'thinking'), 'the mock thinks aloud');
    assert.equal(calls(question), 1);
  });
}

test('errors have Anthropic\'s shape', async () => {
  mock.onMessage('No room', { error: { message: 'Slow down', type: 'rate_limit_error' }, status: 429, retryAfter: 7 });
  mock.onMessage('Overloaded', { error: { message: 'Too many of you', type: 'overloaded_error' }, status: 529 });
  mock.onMessage('Hang up', { content: 'never seen' }, { chaos: { disconnectRate: 1 } });
  for (const [question, status] of [['No room', 429], ['Overloaded', 529], ['Hang up', 502]]) {
    for (const stream of [false, true]) {
      await assert.rejects(
        client.messages.create(ask(question, { stream, model: `claude-${status}` })), (error) => {
          assert.ok(error instanceof Anthropic.APIError, error.constructor.name);
          assert.equal(error.status, status, error.message);
          assert.equal(error.error.type, 'error');
          assert.equal(typeof error.error.error.message, 'string');
          assert.ok(!error.message.includes('127.0.0.1'));
          return true;
        });
    }
  }
});

test('a streamed message that breaks off raises, and is asked anew', async () => {
  mock.onMessage('Break off', { content: story }, { chunkSize: 5, latency: 25, truncateAfterChunks: 5 });
  let text = '';
  const seen = [];
  await assert.rejects(async () => {
    for await (const event of await client.messages.create(ask('Break off', { stream: true }))) {
      seen.push(event.type);
      text += event.delta?.text ?? '';
    }
  }, Anthropic.APIError);
  assert.ok(text.length > 0 && story.startsWith(text));
  assert.ok(!seen.includes('message_stop') && !seen.includes('message_delta'), seen.join());
  const { data, response } = await client.messages.create(ask('Break off')).withResponse();
  assert.equal(response.headers.get('x-cache'), 'MISS');
  assert.equal(data.content[0].text, story);
});

test('only the upstream\'s own key went there, in Anthropic\'s field', () => {
  assert.ok(mock.getRequests().length > 5);
  for (const { headers } of mock.getRequests()) {
    assert.ok(headers['x-api-key'] && !headers.authorization, JSON.stringify(headers));
    assert.match(headers['anthropic-version'], /^20\d\d-\d\d-\d\d$/, 'the SDK says which');
  }
});
