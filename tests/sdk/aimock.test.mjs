// Somebody else's idea of the API as the upstream: what our own mock assumes, this one need not.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { LLMock } from '@copilotkit/aimock';
import OpenAI from 'openai';
import { keys, startGateway, upstreamKey } from './gateway.mjs';

let mock;
let gateway;
let client;

before(async () => {
  // It answers 401 unless every credential that arrives is the upstream's own.
  mock = new LLMock({ port: 0, auth: { apiKeys: [upstreamKey] } });
  await mock.start();
  // Each failure is seen as it comes: nothing is tried again, nobody is left alone.
  gateway = await startGateway(`${mock.url}/v1`, {
    retry: { attempts: 1, longest_wait: '0s', break_after: 1000 },
  });
  client = new OpenAI({ apiKey: keys.alice, baseURL: `${gateway.url}/v1`, maxRetries: 0 });
});
after(async () => {
  await gateway?.stop();
  await mock?.stop();
});

const ask = (content, more = {}) => ({ model: 'gpt-4', messages: [{ role: 'user', content }], ...more });
const calls = (text) => mock.getRequests()
  .filter((entry) => JSON.stringify(entry.body ?? '').includes(text)).length;

const story = 'Once upon a time there was a weir, 漢字 and all 😀, that let every stream pass over it.';

test('chat: a plain answer, then a stream of it without a second call', async () => {
  mock.onMessage('Plain, then streamed', { content: story });
  const { data: whole, response } = await client.chat.completions
    .create(ask('Plain, then streamed')).withResponse();
  assert.equal(response.headers.get('x-cache'), 'MISS');
  assert.equal(whole.choices[0].message.content, story);
  assert.equal(whole.choices[0].finish_reason, 'stop');
  assert.ok(response.headers.get('x-upstream-request-id'));
  assert.equal(response.headers.get('access-control-allow-origin'), null, 'the mock\'s own is not ours');

  const stream = client.chat.completions.stream(ask('Plain, then streamed'));
  const gathered = await stream.finalChatCompletion();
  assert.equal(gathered.choices[0].message.content, story);
  assert.equal(gathered.choices[0].finish_reason, 'stop');
  assert.equal(gathered.id, whole.id);
  assert.equal(calls('Plain, then streamed'), 1);
});

test('chat: a stream, then a plain answer without a second call', async () => {
  mock.onMessage('Streamed, then plain', { content: story }, { chunkSize: 7, latency: 1 });
  const { data: stream, response } = await client.chat.completions
    .create(ask('Streamed, then plain', { stream: true })).withResponse();
  assert.equal(response.headers.get('x-cache'), 'MISS');
  let text = '';
  let chunks = 0;
  let id;
  for await (const chunk of stream) {
    assert.equal(chunk.usage ?? null, null, 'nobody asked for usage');
    text += chunk.choices[0].delta.content ?? '';
    id = chunk.id;
    chunks += 1;
  }
  assert.equal(text, story);
  assert.ok(chunks > 10, `${chunks} chunks`);
  const plain = await client.chat.completions.create(ask('Streamed, then plain')).withResponse();
  assert.equal(plain.response.headers.get('x-cache'), 'HIT');
  assert.equal(plain.data.id, id);
  assert.equal(plain.data.choices[0].message.content, story);
  assert.ok(plain.data.usage.total_tokens > 0, 'the usage that only we had asked for');
  assert.equal(calls('Streamed, then plain'), 1);
});

test('chat: reasoning crosses', async () => {
  mock.onMessage('Think first', { content: 'Forty-two.', reasoning: 'Deep thought, in several pieces of it.' });
  const stream = await client.chat.completions.create(ask('Think first', { stream: true }));
  let thought = '';
  for await (const chunk of stream) thought += chunk.choices[0].delta.reasoning_content ?? '';
  assert.equal(thought, 'Deep thought, in several pieces of it.');
  const { data, response } = await client.chat.completions.create(ask('Think first')).withResponse();
  assert.equal(response.headers.get('x-cache'), 'HIT');
  assert.equal(data.choices[0].message.reasoning_content, thought);
  assert.equal(data.choices[0].message.content, 'Forty-two.');
});

const weather = {
  type: 'function',
  function: {
    name: 'get_weather',
    parameters: { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] },
  },
};
const twoCalls = {
  toolCalls: [
    { name: 'get_weather', arguments: '{"city":"北京"}' },
    { name: 'get_weather', arguments: '{"city":"São Paulo, with a name that takes more than one piece"}' },
  ],
};
const argumentsOf = (answer) => answer.choices[0].message.tool_calls.map((call) => call.function.arguments);

test('chat: calls of tools cross both ways', async () => {
  mock.onMessage('Weather, plain first', twoCalls);
  mock.onMessage('Weather, streamed first', twoCalls);
  const wanted = twoCalls.toolCalls.map((call) => call.arguments);
  const streamed = (question) => client.chat.completions
    .stream(ask(question, { tools: [weather] })).finalChatCompletion();
  const plain = (question) => client.chat.completions.create(ask(question, { tools: [weather] }));

  const first = await plain('Weather, plain first');
  assert.deepEqual(argumentsOf(first), wanted);
  const second = await streamed('Weather, plain first');
  assert.deepEqual(argumentsOf(second), wanted);
  assert.deepEqual(
    second.choices[0].message.tool_calls.map((call) => call.id),
    first.choices[0].message.tool_calls.map((call) => call.id));
  assert.equal(second.choices[0].finish_reason, 'tool_calls');

  assert.deepEqual(argumentsOf(await streamed('Weather, streamed first')), wanted);
  assert.deepEqual(argumentsOf(await plain('Weather, streamed first')), wanted);
  assert.equal(calls('Weather, plain first'), 1);
  assert.equal(calls('Weather, streamed first'), 1);
});

test('chat: the SDK\'s own loop over tools ends, and its second run makes no call', async () => {
  mock.on({ userMessage: 'Loop over tools', hasToolResult: false }, { toolCalls: [
    { id: 'call_fixed', name: 'get_weather', arguments: '{"city":"Delft"}' }] });
  mock.on({ userMessage: 'Loop over tools', hasToolResult: true }, { content: 'It rains.' });
  const run = async (stream) => {
    const asked = [];
    const tool = { ...weather, function: {
      ...weather.function, parse: JSON.parse,
      function: ({ city }) => { asked.push(city); return 'rain'; },
    } };
    const runner = client.chat.completions.runTools(ask('Loop over tools', { tools: [tool], stream }));
    assert.equal(await runner.finalContent(), 'It rains.');
    assert.deepEqual(asked, ['Delft']);
  };
  await run(true);
  await run(true);
  assert.equal(calls('Loop over tools'), 2, 'one call for each turn of the first run');
});

test('responses: plain, then streamed', async () => {
  mock.onMessage('Respond, plain first', { content: story });
  const body = { model: 'gpt-4', input: 'Respond, plain first' };
  const whole = await client.responses.create(body);
  assert.equal(whole.output_text, story);
  const stream = client.responses.stream(body);
  let text = '';
  stream.on('response.output_text.delta', (event) => { text += event.delta; });
  const final = await stream.finalResponse();
  assert.equal(text, story);
  assert.equal(final.id, whole.id);
  assert.equal(final.output_text, story);
  assert.equal(calls('Respond, plain first'), 1);
});

test('responses: streamed, then plain', async () => {
  mock.onMessage('Respond, streamed first', { content: story });
  const body = { model: 'gpt-4', input: 'Respond, streamed first' };
  const events = [];
  for await (const event of await client.responses.create({ ...body, stream: true })) events.push(event);
  const last = events.at(-1);
  assert.equal(last.type, 'response.completed');
  const { data: whole, response } = await client.responses.create(body).withResponse();
  assert.equal(response.headers.get('x-cache'), 'HIT');
  assert.equal(whole.id, last.response.id);
  assert.equal(whole.output_text, story);
  assert.equal(calls('Respond, streamed first'), 1);
});

test('responses: calls of tools and reasoning cross', async () => {
  mock.onMessage('Respond with a call', { ...twoCalls, reasoning: 'Two cities.' });
  const body = {
    model: 'gpt-4', input: 'Respond with a call',
    tools: [{ type: 'function', name: 'get_weather', parameters: weather.function.parameters, strict: false }],
  };
  const wanted = twoCalls.toolCalls.map((call) => call.arguments);
  const of = (answer) => answer.output.filter((item) => item.type === 'function_call').map((item) => item.arguments);
  const gathered = await client.responses.stream(body).finalResponse();
  assert.deepEqual(of(gathered), wanted);
  const { data: whole, response } = await client.responses.create(body).withResponse();
  assert.equal(response.headers.get('x-cache'), 'HIT');
  assert.deepEqual(of(whole), wanted);
  assert.deepEqual(whole.output.map((item) => item.type), gathered.output.map((item) => item.type));
});

test('embeddings: numbers though the SDK asked for base64, and once only', async () => {
  mock.onEmbedding('Embed this', { embedding: [0.25, -0.5, 1] });
  const body = { model: 'text-embedding-3-small', input: ['Embed this', 'and that'] };
  const first = await client.embeddings.create(body).withResponse();
  assert.deepEqual(first.data.data.map((one) => one.index), [0, 1]);
  assert.ok(first.data.data.every((one) => one.embedding.length === 3));
  const second = await client.embeddings.create(body).withResponse();
  assert.equal(second.response.headers.get('x-cache'), 'HIT');
  assert.deepEqual(second.data.data, first.data.data);
  assert.equal(calls('Embed this'), 1);
});

test('models are the upstream\'s', async () => {
  const names = [];
  for await (const model of client.models.list()) names.push(model.id);
  assert.ok(names.includes('gpt-4o'), names.join());
});

test('moderations, images, speech', async () => {
  mock.onModerate(/harm/, { flagged: true, categories: { violence: true } });
  const verdict = await client.moderations.create({ input: 'harm' });
  assert.equal(verdict.results[0].flagged, true);

  mock.onImage(/weir/, { images: [{ b64Json: 'iVBORw0KGgo=' }, { url: 'https://example.org/2.png' }] });
  const images = await client.images.generate({ model: 'gpt-image-1', prompt: 'a weir', n: 2 });
  assert.deepEqual(images.data.map((one) => one.b64_json ?? one.url), ['iVBORw0KGgo=', 'https://example.org/2.png']);

  const sound = Buffer.from(Array.from({ length: 100_000 }, (_, i) => (i * 7) % 256));
  mock.onSpeech(/weir/, { audio: sound.toString('base64') });
  const speech = await client.audio.speech.create({ model: 'tts-1', voice: 'alloy', input: 'a weir' });
  assert.equal(speech.headers.get('content-type'), 'audio/mpeg');
  assert.ok(Buffer.from(await speech.arrayBuffer()).equals(sound));
});

// What the SDK says of an answer that failed; `maxRetries: 0` shows the first one.
async function failure(question, more = {}) {
  try {
    const answer = await client.chat.completions.create(ask(question, more));
    if (more.stream) for await (const _ of answer);
  } catch (error) {
    assert.ok(error instanceof OpenAI.APIError, `${error.constructor.name}: ${error.message}`);
    assert.ok(!error.message.includes('127.0.0.1'), error.message);
    return error;
  }
  return assert.fail(`${question}: no error`);
}

test('an upstream without room: 429 with its wait', async () => {
  mock.onMessage('No room', {
    error: { message: 'Slow down, please', type: 'rate_limit_error', code: 'rate_limit_exceeded' },
    status: 429, retryAfter: 7,
  });
  for (const stream of [false, true]) {
    // A model of its own: the key rests for that one.
    const error = await failure('No room', { stream, model: 'gpt-full' });
    assert.ok(error instanceof OpenAI.RateLimitError);
    assert.equal(error.code, 'rate_limit_exceeded');
    assert.notEqual(error.headers.get('x-should-retry'), 'false', 'a wait, not the end of a quota');
    const wait = Number(error.headers.get('retry-after'));
    assert.ok(wait > 0 && wait <= 60, `retry-after: ${wait}`);
    // The caps of the key are told, not the upstream's own.
    assert.equal(error.headers.get('x-ratelimit-limit-requests'), '1000');
  }
});

test('an upstream that fails: 5xx in its shape, nothing kept, nothing charged', async () => {
  mock.onMessage('Broken inside', { error: { message: 'Something broke', type: 'server_error' }, status: 500 });
  mock.onMessage('Dropped by chaos', { content: 'never seen' }, { chaos: { dropRate: 1 } });
  const before = await fetch(`${gateway.url}/api/me`, { headers: { authorization: `Bearer ${keys.alice}` } });
  const used = (await before.json()).caps[0].used;
  for (const question of ['Broken inside', 'Dropped by chaos']) {
    const error = await failure(question);
    assert.ok(error instanceof OpenAI.InternalServerError, `${error.status}`);
    const again = calls(question);
    await failure(question);
    assert.ok(calls(question) > again, 'an error is not kept');
  }
  const me = await fetch(`${gateway.url}/api/me`, { headers: { authorization: `Bearer ${keys.alice}` } });
  assert.equal((await me.json()).caps[0].used, used);
});

test('an upstream\'s own 404 passes as it is', async () => {
  const error = await failure('Nobody knows an answer to that');
  assert.ok(error instanceof OpenAI.NotFoundError, `${error.status}`);
  assert.equal(error.code, 'no_fixture_match');
});

test('a connection that ends without an answer is an error in either form', async () => {
  mock.onMessage('Hang up at once', { content: 'never seen' }, { chaos: { disconnectRate: 1 } });
  for (const stream of [false, true]) {
    const error = await failure('Hang up at once', { stream });
    assert.equal(error.status, 502);
    assert.match(error.message, /given/, 'the upstream by its name');
  }
});

test('an answer that is no JSON is not taken for one', async () => {
  mock.onMessage('Garble it', { content: 'never seen' }, { chaos: { malformedRate: 1 } });
  for (let i = 0; i < 2; i += 1) {
    const error = await failure('Garble it');
    assert.equal(error.status, 502);
  }
  assert.ok(calls('Garble it') >= 2, 'it is not kept');
});

for (const [how, cut] of [
  ['after some pieces', { truncateAfterChunks: 4 }], ['after some time', { disconnectAfterMs: 120 }],
]) {
  test(`a stream that breaks off ${how} raises, and is asked anew`, async () => {
    const question = `Break off ${how}`;
    mock.onMessage(question, { content: story }, { chunkSize: 5, latency: 25, ...cut });
    const stream = await client.chat.completions.create(ask(question, { stream: true }));
    let text = '';
    let finished = false;
    await assert.rejects(async () => {
      for await (const chunk of stream) {
        text += chunk.choices[0]?.delta.content ?? '';
        finished ||= chunk.choices[0]?.finish_reason != null;
      }
    }, OpenAI.APIError);
    assert.ok(text.length > 0, 'pieces came before the end');
    assert.ok(story.startsWith(text) && !finished);
    const { data, response } = await client.chat.completions.create(ask(question)).withResponse();
    assert.equal(response.headers.get('x-cache'), 'MISS');
    assert.equal(data.choices[0].message.content, story);
  });

  test(`a streamed response that breaks off ${how} raises, and is asked anew`, async () => {
    const question = `Respond and break off ${how}`;
    mock.onMessage(question, { content: story }, { chunkSize: 5, latency: 25, ...cut });
    const body = { model: 'gpt-4', input: question };
    const seen = [];
    await assert.rejects(async () => {
      for await (const event of await client.responses.create({ ...body, stream: true })) seen.push(event.type);
    }, OpenAI.APIError);
    assert.ok(seen.length > 0 && !seen.includes('response.completed'), seen.join());
    const { data, response } = await client.responses.create(body).withResponse();
    assert.equal(response.headers.get('x-cache'), 'MISS');
    assert.equal(data.output_text, story);
  });
}

test('by default a failure that passes is not seen', async () => {
  mock.onMessage('Fail once', { content: 'Here I am.' });
  const usual = await startGateway(`${mock.url}/v1`);
  try {
    const patient = new OpenAI({ apiKey: keys.alice, baseURL: `${usual.url}/v1`, maxRetries: 0 });
    for (const stream of [false, true]) {
      mock.nextRequestError(503, { message: 'not now', type: 'server_error' });
      const { data, response } = await patient.chat.completions
        .create(ask('Fail once', { stream, user: `${stream}` })).withResponse();
      assert.equal(response.headers.get('x-weir-attempts'), 'given 503, given 200');
      let text = data.choices?.[0].message.content ?? '';
      if (stream) for await (const chunk of data) text += chunk.choices[0].delta.content ?? '';
      assert.equal(text, 'Here I am.');
    }
  } finally {
    await usual.stop();
  }
});

test('no credential of a client came to the upstream', () => {
  const told = JSON.stringify(mock.getRequests());
  assert.ok(mock.getRequests().length > 20);
  assert.ok(!told.includes(keys.alice));
});
