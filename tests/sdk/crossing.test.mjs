// A stream and a plain answer serve each other, and the official SDK must not see which came first:
// what it makes of a stream is what the plain answer says. WEIR_TEST_SEED runs a failure again.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import OpenAI from 'openai';
import { keys, startGateway } from './gateway.mjs';
import { randomStream } from './random_streams.mjs';
import { startUpstream } from './upstream.mjs';

const firstSeed = Number(process.env.WEIR_TEST_SEED ?? Date.now() % 1e9);
const rounds = 200;

let upstream;
let gateway;
let client;

before(async () => {
  upstream = await startUpstream();
  gateway = await startGateway(upstream.url);
  client = new OpenAI({ apiKey: keys.alice, baseURL: `${gateway.url}/v1`, maxRetries: 0 });
});
after(async () => {
  await gateway?.stop();
  await upstream?.stop();
});

const plainly = (value) => JSON.parse(JSON.stringify(value));

// Each round asks twice for the same: streamed first, or plain first. Once only it goes upstream.
async function eachRound(kind, round) {
  console.log(`${kind}: WEIR_TEST_SEED=${firstSeed}`);
  for (let i = 0; i < rounds; i += 1) {
    const seed = firstSeed + i;
    const question = `${kind} ${seed}`;
    const { answer } = randomStream(kind, seed);
    try {
      await round({ question, answer, streamFirst: seed % 2 === 0, usage: seed % 4 < 2 });
    } catch (error) {
      error.message = `WEIR_TEST_SEED=${seed}: ${error.message}`;
      throw error;
    }
    assert.equal(upstream.calls.get(question), 1, `seed ${seed}: calls to the upstream`);
  }
}

// Both answers to a question, the second of which must come from the cache.
async function bothWays({ streamFirst }, plain, streamed) {
  let fromPlain;
  let fromStream;
  const askPlain = async (want) => {
    const { data, response } = await plain().withResponse();
    assert.equal(response.headers.get('x-cache'), want);
    fromPlain = plainly(data);
  };
  if (!streamFirst) await askPlain('MISS');
  fromStream = plainly(await streamed(streamFirst ? 'MISS' : 'HIT'));
  if (streamFirst) await askPlain('HIT');
  return { fromPlain, fromStream };
}

// What the SDK gathers of a stream of chat: of lists and texts of vendors it keeps the last chunk's
// only, of sounds it joins base64 as text; those are compared with the answer that was cut.
function comparableChat(answer) {
  const out = structuredClone(answer);
  for (const choice of out.choices) {
    for (const key of ['reasoning_content', 'x_vendor', 'annotations', 'audio', 'parsed']) delete choice.message[key];
    // Beside an old function_call it keeps no calls.
    if (choice.message.function_call) delete choice.message.tool_calls;
    for (const call of choice.message.tool_calls ?? []) delete call.function?.parsed_arguments;
  }
  return out;
}

test('chat crosses both ways', { timeout: 40_000 }, () => eachRound('chat', async (one) => {
  const body = {
    model: 'gpt-4', messages: [{ role: 'user', content: one.question }], n: one.answer.choices.length,
  };
  const { fromPlain, fromStream } = await bothWays(one, () => client.chat.completions.create(body), async (want) => {
    const stream = client.chat.completions.stream(
      one.usage ? { ...body, stream_options: { include_usage: true } } : body);
    const chunks = [];
    stream.on('chunk', (chunk) => chunks.push(chunk));
    const final = await stream.finalChatCompletion();
    const told = chunks.filter((chunk) => chunk.usage);
    assert.equal(told.length, one.usage ? 1 : 0, `${want}: usage exactly if it was asked for`);
    return final;
  });
  assert.deepEqual(fromPlain, one.answer);
  const expected = comparableChat(one.answer);
  if (!one.usage) delete expected.usage;
  const gathered = comparableChat(fromStream);
  gathered.object = expected.object; // it keeps that of the chunks
  assert.deepEqual(gathered, expected);
}));

// The SDK gathers no completions.
function joinedCompletion(chunks) {
  const out = { choices: [] };
  for (const { choices, usage, ...rest } of chunks) {
    Object.assign(out, rest);
    if (usage) out.usage = usage;
    for (const { index, text, logprobs, finish_reason: reason, ...others } of choices) {
      const choice = (out.choices[index] ??= { index, text: '', logprobs: null, finish_reason: null });
      Object.assign(choice, others);
      choice.text += text;
      if (reason) choice.finish_reason = reason;
      if (!logprobs) continue;
      choice.logprobs ??= {};
      for (const [key, list] of Object.entries(logprobs)) (choice.logprobs[key] ??= []).push(...list);
    }
  }
  return out;
}

test('completions cross both ways', { timeout: 40_000 }, () => eachRound('completions', async (one) => {
  const body = { model: 'gpt-4', prompt: one.question, n: one.answer.choices.length };
  const { fromPlain, fromStream } = await bothWays(one, () => client.completions.create(body), async (want) => {
    const { data: stream, response } = await client.completions.create({
      ...body, stream: true, ...(one.usage && { stream_options: { include_usage: true } }),
    }).withResponse();
    assert.equal(response.headers.get('x-cache'), want);
    const chunks = [];
    for await (const chunk of stream) chunks.push(chunk);
    return joinedCompletion(chunks);
  });
  assert.deepEqual(fromPlain, one.answer);
  const expected = structuredClone(one.answer);
  if (!one.usage) delete expected.usage;
  assert.deepEqual(fromStream, expected);
}));

test('responses cross both ways', { timeout: 40_000 }, () => eachRound('responses', async (one) => {
  const body = { model: 'gpt-4', input: one.question };
  const { fromPlain, fromStream } = await bothWays(one, () => client.responses.create(body), async () => {
    const stream = client.responses.stream(body);
    let number = 0;
    stream.on('event', (event) => {
      assert.equal(event.sequence_number, number);
      number += 1;
    });
    return stream.finalResponse();
  });
  // What the SDK itself makes of `output`, and of a text that may be parsed.
  const bare = ({ output_text: _text, output_parsed: _parsed, ...response }) => {
    const output = response.output.map((item) => {
      const { parsed_arguments: _arguments, ...rest } = item;
      if (rest.type !== 'message') return rest;
      return { ...rest, content: rest.content.map(({ parsed: _part, ...part }) => part) };
    });
    return { ...response, output };
  };
  assert.deepEqual(bare(fromPlain), one.answer);
  assert.deepEqual(bare(fromStream), one.answer);
}));
