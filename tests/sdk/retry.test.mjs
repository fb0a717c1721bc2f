// What the SDK sees of an upstream that fails now and then: nothing, or how it went.
import assert from 'node:assert/strict';
import { after, before, beforeEach, test } from 'node:test';
import OpenAI from 'openai';
import { keys, startGateway } from './gateway.mjs';
import { startUpstream } from './upstream.mjs';

let upstreams; // two
let answers; // of each what it answers next, behind that a good one
let gateway;
let client;

const chunk = (delta, finish = null) => `data: ${JSON.stringify({
  id: 'chatcmpl-1', object: 'chat.completion.chunk', created: 1700000000, model: 'gpt-4',
  choices: [{ index: 0, delta, finish_reason: finish }],
})}\n\n`;
const good = (body) => (body.stream
  ? new Response(`${chunk({ role: 'assistant', content: 'Well.' })}${chunk({}, 'stop')}data: [DONE]\n\n`,
    { headers: { 'content-type': 'text/event-stream' } })
  : {
    id: 'chatcmpl-1', object: 'chat.completion', created: 1700000000, model: 'gpt-4',
    choices: [{ index: 0, message: { role: 'assistant', content: 'Well.' }, finish_reason: 'stop' }],
    usage: { prompt_tokens: 1, completion_tokens: 1, total_tokens: 2 },
  });
const bad = (status, headers = {}) => () => Response.json(
  { error: { message: `a ${status} of the mock's`, type: 'server_error', param: null, code: null } }, { status, headers });

before(async () => {
  answers = [[], []];
  upstreams = await Promise.all(answers.map((_, i) => startUpstream(({ body, response }) => {
    const next = answers[i].shift() ?? good;
    return next(JSON.parse(body), response);
  })));
  gateway = await startGateway(
    upstreams.map(({ url }, i) => ({ url, priority: i + 1, models: i === 0 ? ['gpt-*', 'only-*'] : ['gpt-*'] })),
    { retry: { attempts: 3, backoff: '20ms', longest_wait: '2s', budget: '100%', break_after: 1000 } });
  client = new OpenAI({ apiKey: keys.alice, baseURL: `${gateway.url}/v1`, maxRetries: 0 });
});
after(async () => {
  await gateway?.stop();
  for (const upstream of upstreams) await upstream.stop();
});
beforeEach(() => {
  answers[0] = [];
  answers[1] = [];
});

// A model of its own for each test: what rests, rests for a model.
let asked = 0;
const ask = (model, more = {}) => {
  asked += 1;
  return { model, messages: [{ role: 'user', content: `Question ${asked}` }], ...more };
};
const told = (response) => response.headers.get('x-weir-attempts');

async function wellDone(model, stream) {
  const { data, response } = await client.chat.completions.create(ask(model, { stream })).withResponse();
  if (!stream) assert.equal(data.choices[0].message.content, 'Well.');
  else {
    let text = '';
    for await (const one of data) text += one.choices[0].delta.content ?? '';
    assert.equal(text, 'Well.');
  }
  return response;
}

for (const stream of [false, true]) {
  const kind = stream ? 'stream' : 'plain';
  test(`a 429 and then an answer: one answer, and both are told (${kind})`, async () => {
    answers[0] = [bad(429, { 'retry-after-ms': '300' })];
    const began = performance.now();
    const response = await wellDone(`only-a-${kind}`, stream);
    const took = performance.now() - began;
    assert.ok(took >= 295 && took < 2000, `${took} ms: the wait that was told`);
    assert.equal(told(response), 'given 429, given 200');
    assert.equal(response.headers.get('x-ratelimit-limit-requests'), '1000');
  });

  test(`a 503 of the first and an answer of the second upstream (${kind})`, async () => {
    answers[0] = [bad(503)];
    const response = await wellDone(`gpt-${kind}`, stream);
    assert.equal(told(response), 'given 503, given-2 200');
  });

  test(`a connection that closes without an answer, then the other upstream (${kind})`, async () => {
    const close = (_body, response) => { response.destroy(); return null; };
    // Twice: a kept connection that closes is replaced by a new one, and that is no attempt.
    answers[0] = [close, close];
    const response = await wellDone(`gpt-closed-${kind}`, stream);
    assert.equal(told(response), 'given closed, given-2 200');
  });
}

test('one message is one, however often it was tried', async () => {
  const used = async () => {
    const me = await fetch(`${gateway.url}/api/me`, { headers: { authorization: `Bearer ${keys.alice}` } });
    return (await me.json()).caps[0].used;
  };
  const before = await used();
  answers[0] = [bad(500)];
  await wellDone('only-once', false);
  assert.equal(await used(), before + 1);
  answers[0] = [bad(500), bad(500), bad(500)];
  await assert.rejects(client.chat.completions.create(ask('only-once')), (error) => {
    assert.ok(error instanceof OpenAI.InternalServerError, error.constructor.name);
    assert.equal(error.headers.get('x-weir-attempts'), 'given 500, given 500, given 500');
    return true;
  });
  assert.equal(await used(), before + 1);
});

test('what the client is to blame for is asked once', async () => {
  answers[0] = [bad(400)];
  const before = upstreams.map((one) => one.requests.length);
  await assert.rejects(client.chat.completions.create(ask('gpt-4')), OpenAI.BadRequestError);
  assert.deepEqual(upstreams.map((one, i) => one.requests.length - before[i]), [1, 0]);
});

test('a stream that broke off behind its first piece is not tried again', async () => {
  answers[0] = [(_body, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.write(chunk({ role: 'assistant', content: 'Half' }));
    setTimeout(() => response.destroy(), 50);
    return null;
  }];
  const before = upstreams.map((one) => one.requests.length);
  const stream = await client.chat.completions.create(ask('gpt-4', { stream: true }));
  await assert.rejects(async () => { for await (const _ of stream); }, OpenAI.APIError);
  assert.deepEqual(upstreams.map((one, i) => one.requests.length - before[i]), [1, 0]);
});

test('the SDK\'s own timeout ends the call upstream', async () => {
  let gone;
  const closed = new Promise((done) => { gone = done; });
  answers[0] = [(_body, response) => { response.on('close', gone); return null; }]; // never answers
  const began = performance.now();
  // A client that does not give up by itself: only the gateway is told of the second.
  const answer = await fetch(`${gateway.url}/v1/chat/completions`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${keys.alice}`, 'content-type': 'application/json', 'x-stainless-timeout': '1',
    },
    body: JSON.stringify(ask('only-slow')),
  });
  assert.equal(answer.status, 504);
  await answer.text();
  await closed;
  const took = performance.now() - began;
  assert.ok(took > 500 && took < 3000, `${took} ms`);
});

test('the SDK tells its timeout, and hears of it as an error', async () => {
  let head;
  let gone;
  const closed = new Promise((done) => { gone = done; });
  answers[0] = [(_body, response) => { head = response.req.headers; response.on('close', gone); return null; }];
  await assert.rejects(
    client.chat.completions.create(ask('only-slow-sdk'), { timeout: 1000 }),
    (error) => error instanceof OpenAI.APIConnectionTimeoutError || error.status === 504);
  await closed;
  assert.equal(head['x-stainless-timeout'], '1');
});

test('a timeout of less than a second is not none at all', async () => {
  // The SDK tells whole seconds: here 0.
  const answer = await client.chat.completions.create(ask('gpt-4'), { timeout: 900 });
  assert.equal(answer.choices[0].message.content, 'Well.');
});
