// The SDK that most users of the gateway have, with its own defaults (two retries, a 10 minute
// timeout): what it makes of our answers is what counts.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import OpenAI from 'openai';
import { keys, startGateway } from './gateway.mjs';

let gateway;
let alice;

const client = (apiKey) => new OpenAI({ apiKey, baseURL: `${gateway.url}/v1` });
const ask = (content, more = {}) => ({ model: 'gpt-4', messages: [{ role: 'user', content }], ...more });

async function readStream(stream) {
  const seen = { content: '', finish: [], usage: null, chunks: 0, ids: new Set() };
  for await (const chunk of stream) {
    seen.chunks += 1;
    seen.ids.add(chunk.id);
    assert.equal(chunk.object, 'chat.completion.chunk');
    for (const choice of chunk.choices) {
      seen.content += choice.delta.content ?? '';
      if (choice.finish_reason) seen.finish.push(choice.finish_reason);
    }
    if (chunk.usage) seen.usage = chunk.usage;
  }
  return seen;
}

// The value of a metric without labels.
async function metric(name) {
  const text = await (await fetch(`${gateway.url}/metrics`)).text();
  const line = text.split('\n').find((one) => one.startsWith(`${name} `));
  assert.ok(line, `no metric ${name}`);
  return Number(line.slice(name.length + 1));
}

before(async () => {
  gateway = await startGateway();
  alice = client(keys.alice);
});
after(() => gateway?.stop());

test('a chat completion is a whole answer', async () => {
  const answer = await alice.chat.completions.create(ask('What is a weir?'));
  assert.equal(answer.object, 'chat.completion');
  assert.equal(answer.choices.length, 1);
  assert.equal(answer.choices[0].message.role, 'assistant');
  assert.ok(answer.choices[0].message.content.length > 0);
  assert.equal(answer.choices[0].finish_reason, 'stop');
  const { prompt_tokens: input, completion_tokens: output, total_tokens: total } = answer.usage;
  assert.ok(input > 0 && output > 0);
  assert.equal(total, input + output);
});

test('a stream comes in pieces, finishes once and ends', async () => {
  const seen = await readStream(
    await alice.chat.completions.create(ask('Stream to me.', { stream: true })));
  assert.ok(seen.chunks > 2, `${seen.chunks} chunks`);
  assert.ok(seen.content.length > 0);
  assert.deepEqual(seen.finish, ['stop']);
  assert.equal(seen.ids.size, 1);
  assert.equal(seen.usage, null, 'nobody asked for usage, so the client sees none');
});

test('a stream carries usage if the client asks for it', async () => {
  const seen = await readStream(await alice.chat.completions.create(
    ask('Stream with usage.', { stream: true, stream_options: { include_usage: true } })));
  assert.deepEqual(seen.finish, ['stop']);
  assert.ok(seen.usage.completion_tokens > 0);
  assert.equal(seen.usage.total_tokens, seen.usage.prompt_tokens + seen.usage.completion_tokens);
});

test('the helper that gathers a stream agrees with it', async () => {
  const stream = alice.chat.completions.stream(ask('Gather me.'));
  const final = await stream.finalChatCompletion();
  assert.ok(final.choices[0].message.content.length > 0);
  assert.equal(final.choices[0].finish_reason, 'stop');
});

test('embeddings are decoded from base64 as the SDK asks for it', async () => {
  const answer = await alice.embeddings.create({
    model: 'text-embedding-3-small', input: ['first', 'second'],
  });
  assert.deepEqual(answer.data.map((one) => one.index), [0, 1]);
  for (const { embedding } of answer.data) {
    assert.ok(embedding.length > 0);
    assert.ok(embedding.every((value) => typeof value === 'number' && Number.isFinite(value)));
  }
  const plain = await alice.embeddings.create({
    model: 'text-embedding-3-small', input: ['first', 'second'], encoding_format: 'float',
  });
  assert.equal(plain.data[0].embedding.length, answer.data[0].embedding.length);
  plain.data[0].embedding.forEach((value, at) => {
    assert.ok(Math.abs(value - answer.data[0].embedding[at]) < 1e-5);
  });
});

test('the list of models has what the key may use', async () => {
  const models = [];
  for await (const model of alice.models.list()) models.push(model);
  assert.ok(models.length > 0);
  assert.ok(models.every((model) => model.object === 'model' && model.id.length > 0));
});

test('a response is a whole answer', async () => {
  const answer = await alice.responses.create({ model: 'gpt-4', input: 'Respond to me.' });
  assert.equal(answer.object, 'response');
  assert.equal(answer.status, 'completed');
  assert.ok(answer.output_text.length > 0);
});

test('a streamed response ends with its own last event', async () => {
  const stream = await alice.responses.create(
    { model: 'gpt-4', input: 'Respond in pieces.', stream: true });
  let text = '';
  let last = null;
  for await (const event of stream) {
    if (event.type === 'response.output_text.delta') text += event.delta;
    last = event;
  }
  assert.ok(text.length > 0);
  assert.equal(last.type, 'response.completed');
  assert.equal(last.response.output[0].content[0].text, text);
});

test('a wrong key is an AuthenticationError at once', async () => {
  const began = performance.now();
  await assert.rejects(
    client('sk-test-nobody-0123456789').chat.completions.create(ask('Let me in.')),
    (error) => {
      assert.ok(error instanceof OpenAI.AuthenticationError, error.constructor.name);
      assert.equal(error.status, 401);
      assert.equal(error.code, 'invalid_api_key');
      assert.ok(!error.message.includes('sk-test-nobody-0123456789'));
      return true;
    });
  assert.ok(performance.now() - began < 1000);
});

test('a spent cap is a RateLimitError in under a second, with the SDK\'s default retries', async () => {
  const carol = client(keys.carol);
  assert.equal(carol.maxRetries, 2, 'this test is about the defaults');
  for (let i = 1; i <= 3; i += 1) {
    const { response } = await carol.chat.completions.create(ask(`Message ${i}`)).withResponse();
    assert.equal(response.headers.get('x-ratelimit-limit-requests'), '3');
    assert.equal(response.headers.get('x-ratelimit-remaining-requests'), String(3 - i));
  }
  for (const stream of [false, true]) {
    const began = performance.now();
    await assert.rejects(
      carol.chat.completions.create(ask(`One too many, stream: ${stream}`, { stream })),
      (error) => {
        assert.ok(error instanceof OpenAI.RateLimitError, error.constructor.name);
        assert.equal(error.status, 429);
        assert.equal(error.code, 'insufficient_quota');
        assert.equal(error.type, 'insufficient_quota');
        assert.match(error.message, /3 of 3 messages/);
        assert.equal(error.headers.get('x-should-retry'), 'false');
        assert.equal(error.headers.get('x-ratelimit-remaining-requests'), '0');
        const wait = error.headers.get('retry-after');
        assert.match(wait, /^[0-9]+$/);
        assert.ok(Number(wait) > 0 && Number(wait) <= 4 * 3600, wait);
        return true;
      });
    const took = performance.now() - began;
    assert.ok(took < 1000, `${took} ms: the SDK slept on our retry-after`);
  }
  // What was asked before is free, even now.
  const { response } = await carol.chat.completions.create(ask('Message 1')).withResponse();
  assert.equal(response.headers.get('x-cache'), 'HIT');
});

test('a client that leaves in the middle ends the upstream call', async () => {
  const gone = () => metric('weir_clients_gone_total');
  assert.equal(await gone(), 0);
  const flights = await metric('weir_flights');
  const leave = new AbortController();
  const stream = await alice.chat.completions.create(
    ask('Tell me a long story, then I go.', { stream: true }), { signal: leave.signal });
  let finished = false;
  for await (const chunk of stream) {
    finished ||= chunk.choices[0]?.finish_reason != null;
    leave.abort();
  }
  assert.ok(!finished);
  for (const until = Date.now() + 5000; await gone() !== 1;) {
    assert.ok(Date.now() < until, 'the gateway did not notice that its client left');
    await new Promise((done) => setTimeout(done, 20));
  }
  assert.equal(await metric('weir_flights'), flights);
  // What broke off is not an answer: it is asked anew.
  const { data: answer, response } = await alice.chat.completions
    .create(ask('Tell me a long story, then I go.')).withResponse();
  assert.equal(response.headers.get('x-cache'), 'MISS');
  assert.equal(answer.choices[0].finish_reason, 'stop');
});

test('an equal question comes from the cache, and says so', async () => {
  const question = ask('Only pay once for this.');
  const first = await alice.chat.completions.create(question).withResponse();
  assert.equal(first.response.headers.get('x-cache'), 'MISS');
  const second = await alice.chat.completions.create(question).withResponse();
  assert.equal(second.response.headers.get('x-cache'), 'HIT');
  assert.deepEqual(second.data, first.data);
  const fresh = await alice.chat.completions
    .create(question, { headers: { 'cache-control': 'no-cache' } }).withResponse();
  assert.notEqual(fresh.response.headers.get('x-cache'), 'HIT');
});

test('an answer serves a later stream', async () => {
  const question = 'First whole, then in pieces.';
  const whole = await alice.chat.completions.create(ask(question));
  const { data: stream, response } =
    await alice.chat.completions.create(ask(question, { stream: true })).withResponse();
  assert.equal(response.headers.get('x-cache'), 'HIT');
  const seen = await readStream(stream);
  assert.equal(seen.content, whole.choices[0].message.content);
  assert.deepEqual(seen.finish, ['stop']);
});

test('a stream serves a later answer', async () => {
  const question = 'First in pieces, then whole.';
  const seen = await readStream(
    await alice.chat.completions.create(ask(question, { stream: true })));
  const { data: whole, response } =
    await alice.chat.completions.create(ask(question)).withResponse();
  assert.equal(response.headers.get('x-cache'), 'HIT');
  assert.equal(whole.object, 'chat.completion');
  assert.equal(whole.choices[0].message.content, seen.content);
  assert.equal(whole.choices[0].finish_reason, 'stop');
  assert.ok(whole.usage.total_tokens > 0);
});

test('no key and nothing that was said is in the output', () => {
  // The first declared key is printed at the start, as the one to try with; no other is, ever.
  for (const secret of [keys.carol, 'Only pay once for this.', 'Message 1']) {
    assert.ok(!gateway.output().includes(secret), `the output has ${JSON.stringify(secret)}`);
  }
});
