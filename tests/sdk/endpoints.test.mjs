// The endpoints beside text, as the SDK uses them: what a plan opens, forms, binary answers.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import OpenAI, { toFile } from 'openai';
import { Account, digestOf, soundOf } from './account.mjs';
import { keys, startGateway, upstreamKey } from './gateway.mjs';
import { startUpstream } from './upstream.mjs';

const opened = 'sk-test-dora-0123456789';

let account;
let upstream;
let gateway;
let client; // of a plan that opens nothing
let owner; // of one that opens files, uploads, batches

before(async () => {
  account = new Account();
  upstream = await startUpstream((asked) => account.answer(asked));
  gateway = await startGateway(upstream.url, {
    plans: {
      plain: { caps: [{ models: '*', allow: '1000/4h' }], deny: ['denied-*'] },
      owner: { caps: [{ models: '*', allow: '1000/4h' }], endpoints: ['files', 'uploads', 'batches'] },
    },
    keys: [
      { name: 'alice', plan: 'plain', secret: keys.alice },
      { name: 'dora', plan: 'owner', secret: opened },
    ],
  });
  const of = (apiKey) => new OpenAI({ apiKey, baseURL: `${gateway.url}/v1`, maxRetries: 0 });
  client = of(keys.alice);
  owner = of(opened);
});
after(async () => {
  await gateway?.stop();
  await upstream?.stop();
});

const used = async (key) => {
  const me = await fetch(`${gateway.url}/api/me`, { headers: { authorization: `Bearer ${key}` } });
  return (await me.json()).caps[0].used;
};

test('files, uploads and batches are closed, and it says which line opens them', async () => {
  const before = upstream.requests.length;
  for (const [group, call] of [
    ['files', () => client.files.list()],
    ['files', async () => client.files.create({ file: await toFile(Buffer.from('{}\n'), 'a.jsonl'), purpose: 'batch' })],
    ['files', () => client.files.content('file-0001')],
    ['files', () => client.files.delete('file-0001')],
    ['uploads', () => client.uploads.create({ bytes: 1, filename: 'a', mime_type: 'text/plain', purpose: 'batch' })],
    ['batches', () => client.batches.list()],
  ]) {
    await assert.rejects(call, (error) => {
      assert.ok(error instanceof OpenAI.PermissionDeniedError, `${error.constructor.name}: ${error.message}`);
      assert.equal(error.code, 'endpoint_closed');
      assert.ok(error.message.includes(`endpoints: [${group}]`), error.message);
      assert.match(error.message, /plain/, 'the plan by its name');
      return true;
    });
  }
  assert.equal(upstream.requests.length, before, 'nothing of it went upstream');
});

test('a file goes up, is listed, read, and deleted', async () => {
  const spent = await used(opened);
  const text = Buffer.from('{"custom_id": "1"}\n'.repeat(1000));
  const name = 'naïve 漢字 "quoted" 😀.jsonl';
  const file = await owner.files.create({ file: await toFile(text, name), purpose: 'batch' });
  assert.equal(file.bytes, text.length);
  assert.equal(file.purpose, 'batch');
  assert.equal(account.seen.at(-1).files[0].digest, digestOf(text));
  assert.equal(account.files.get(file.id).object.filename, account.seen.at(-1).files[0].name);
  assert.ok(file.filename.includes('naïve 漢字'), file.filename);

  assert.deepEqual(await owner.files.retrieve(file.id), file);
  const content = await owner.files.content(file.id);
  assert.match(content.headers.get('content-disposition'), /^attachment; filename\*=UTF-8''na%C3%AFve/);
  assert.equal(digestOf(Buffer.from(await content.arrayBuffer())), digestOf(text));

  for (let i = 0; i < 4; i += 1) {
    await owner.files.create({ file: await toFile(Buffer.from(`${i}`), `${i}.txt`), purpose: 'user_data' });
  }
  const listed = [];
  for await (const one of owner.files.list({ limit: 2 })) listed.push(one.filename);
  assert.deepEqual(listed.slice(1), ['0.txt', '1.txt', '2.txt', '3.txt'], 'the query of each page arrives');

  assert.equal((await owner.files.delete(file.id)).deleted, true);
  await assert.rejects(owner.files.retrieve(file.id), OpenAI.NotFoundError);
  assert.equal(await used(opened), spent, 'files are no messages');
});

test('a file of some MB arrives as it is', async () => {
  const bytes = soundOf('a big one', 12 * 1024 * 1024 + 17);
  const file = await owner.files.create({ file: await toFile(bytes, 'big.bin'), purpose: 'user_data' });
  assert.equal(file.bytes, bytes.length);
  assert.equal(account.seen.at(-1).files[0].digest, digestOf(bytes));
  const back = Buffer.from(await (await owner.files.content(file.id)).arrayBuffer());
  assert.equal(back.length, bytes.length);
  assert.equal(digestOf(back), digestOf(bytes));
});

test('an upload in parts becomes a file', async () => {
  const parts = [soundOf('one', 700_000), soundOf('two', 300_001)];
  const whole = Buffer.concat(parts);
  const upload = await owner.uploads.create({
    bytes: whole.length, filename: 'teil.bin', mime_type: 'application/octet-stream', purpose: 'user_data',
  });
  const ids = [];
  for (const part of parts) {
    ids.push((await owner.uploads.parts.create(upload.id, { data: await toFile(part, 'part') })).id);
  }
  const done = await owner.uploads.complete(upload.id, { part_ids: ids });
  assert.equal(done.status, 'completed');
  assert.equal(digestOf(account.files.get(done.file.id).bytes), digestOf(whole));
  const other = await owner.uploads.create({
    bytes: 5, filename: 'b', mime_type: 'text/plain', purpose: 'user_data',
  });
  assert.equal((await owner.uploads.cancel(other.id)).status, 'cancelled');
});

test('a batch of an uploaded file, which is a message', async () => {
  const input = await owner.files.create({ file: await toFile(Buffer.from('{}\n'), 'in.jsonl'), purpose: 'batch' });
  const spent = await used(opened);
  const batch = await owner.batches.create({
    input_file_id: input.id, endpoint: '/v1/chat/completions', completion_window: '24h', metadata: { who: '漢字' },
  });
  assert.equal(batch.status, 'validating');
  assert.equal(await used(opened), spent + 1);
  assert.deepEqual((await owner.batches.retrieve(batch.id)).metadata, { who: '漢字' });
  assert.equal((await owner.batches.cancel(batch.id)).status, 'cancelling');
  const ids = [];
  for await (const one of owner.batches.list()) ids.push(one.id);
  assert.deepEqual(ids, [batch.id]);
  await assert.rejects(
    owner.batches.create({ input_file_id: 'file-none', endpoint: '/v1/chat/completions', completion_window: '24h' }),
    OpenAI.BadRequestError);
  assert.equal(await used(opened), spent + 1, 'what was refused, read or cancelled is none');
});

test('speech comes as it is made', async () => {
  const sound = soundOf('in two parts');
  let release;
  account.speech = () => {
    const gate = new Promise((done) => { release = done; });
    return new Response(new ReadableStream({
      async start(to) {
        to.enqueue(sound.subarray(0, 1000));
        await gate;
        to.enqueue(sound.subarray(1000));
        to.close();
      },
    }), { headers: { 'content-type': 'audio/mpeg' } });
  };
  const spent = await used(keys.alice);
  const speech = await client.audio.speech.create({ model: 'tts-1', voice: 'alloy', input: 'in two parts' });
  assert.equal(speech.headers.get('content-type'), 'audio/mpeg');
  const reader = speech.body.getReader();
  const pieces = [(await reader.read()).value];
  assert.ok(pieces[0].length <= 1000, 'it came before the rest was made');
  release();
  for (let one = await reader.read(); !one.done; one = await reader.read()) pieces.push(one.value);
  assert.ok(Buffer.concat(pieces).equals(sound));
  delete account.speech;
  assert.equal(await used(keys.alice), spent + 1);
});

test('speech with its length known has it, and speech that breaks off raises', async () => {
  const sound = soundOf('of known length');
  account.speech = () => new Response(sound, {
    headers: { 'content-type': 'audio/wav', 'content-length': String(sound.length) } });
  const whole = await client.audio.speech.create({ model: 'tts-1', voice: 'alloy', input: 'of known length' });
  assert.ok(Buffer.from(await whole.arrayBuffer()).equals(sound));
  for (const fields of [{}, { 'content-length': String(sound.length) }]) {
    account.speech = () => new Response(new ReadableStream({
      async start(to) {
        to.enqueue(sound.subarray(0, 10_000));
        await new Promise((done) => setTimeout(done, 50));
        to.error(new Error('the mock breaks off'));
      },
    }), { headers: { 'content-type': 'audio/wav', ...fields } });
    const cut = await client.audio.speech.create({ model: 'tts-1', voice: 'alloy', input: 'breaks off' });
    await assert.rejects(cut.arrayBuffer(), undefined, 'half a sound looks whole');
  }
  delete account.speech;
});

test('a sound is transcribed in every form, its model behind the file', async () => {
  const sound = soundOf('spoken', 2_000_000);
  const ask = async (more = {}, of = client.audio.transcriptions) => of.create({
    file: await toFile(sound, 'gesprochen ü.wav', { type: 'audio/wav' }), model: 'whisper-1', ...more,
  });
  const wanted = /^transcriptions of gesprochen ü\.wav: 2000000 bytes, the weir says 漢字$/;
  const spent = await used(keys.alice);
  assert.match((await ask()).text, wanted);
  const { fields, files } = account.seen.at(-1);
  assert.equal(fields.model, 'whisper-1');
  assert.deepEqual(files, [{
    field: 'file', name: 'gesprochen ü.wav', type: 'audio/wav', bytes: sound.length, digest: digestOf(sound),
  }]);
  assert.equal(await used(keys.alice), spent + 1);

  const text = await ask({ response_format: 'text', language: 'de', prompt: 'Wehr' });
  assert.match(text.trim(), wanted);
  assert.deepEqual(account.seen.at(-1).fields, { model: 'whisper-1', response_format: 'text', language: 'de', prompt: 'Wehr' });
  assert.match(await ask({ response_format: 'srt' }), /^1\n00:00:00,000 --> /);
  const verbose = await ask({ response_format: 'verbose_json', timestamp_granularities: ['word'] });
  assert.equal(verbose.duration, 1.5);
  assert.match((await ask({}, client.audio.translations)).text, /^translations of/);

  let streamed = '';
  let last;
  for await (const event of await ask({ model: 'gpt-4o-transcribe', stream: true })) {
    if (event.type === 'transcript.text.delta') streamed += event.delta;
    last = event;
  }
  assert.equal(last.type, 'transcript.text.done');
  assert.equal(streamed, last.text);
  assert.match(streamed, wanted);
});

test('the model of a form counts wherever it stands', async () => {
  const send = async (...fields) => {
    const form = new FormData();
    for (const [name, value] of fields) form.append(name, value, ...(typeof value === 'string' ? [] : ['x.wav']));
    const answer = await fetch(`${gateway.url}/v1/audio/transcriptions`, {
      method: 'POST', body: form, headers: { authorization: `Bearer ${keys.alice}` } });
    return { status: answer.status, error: (await answer.json()).error };
  };
  const file = ['file', new Blob([soundOf('x', 100_000)])];
  const before = upstream.requests.length;
  for (const fields of [[['model', 'denied-1'], file], [file, ['model', 'denied-1']]]) {
    const { status, error } = await send(...fields);
    assert.equal(status, 403);
    assert.equal(error.code, 'model_not_allowed');
  }
  const { status, error } = await send(file);
  assert.equal(status, 400);
  assert.equal(error.param, 'model');
  assert.equal(upstream.requests.length, before);
  assert.equal((await send(['model', 'whisper-1'], file)).status, 200);
});

test('images are made, and edited of two', async () => {
  const made = await client.images.generate({ model: 'gpt-image-1', prompt: 'a weir', n: 2 });
  assert.deepEqual(made.data.map((one) => Buffer.from(one.b64_json, 'base64').toString()), ['a weir 0', 'a weir 1']);
  const png = Buffer.concat([Buffer.from('89504e470d0a1a0a', 'hex'), soundOf('pixels', 50_000)]);
  const edited = await client.images.edit({
    image: [
      await toFile(png, 'eins.png', { type: 'image/png' }), await toFile(png, '二.png', { type: 'image/png' }),
    ],
    prompt: 'both of them\r\n--boundary-like\r\n', model: 'gpt-image-1',
  });
  assert.deepEqual(edited.data.map((one) => Buffer.from(one.b64_json, 'base64').toString()), ['eins.png', '二.png']);
  const { fields, files } = account.seen.at(-1);
  assert.equal(fields.prompt, 'both of them\r\n--boundary-like\r\n');
  assert.ok(files.every((file) => file.digest === digestOf(png)));
  const variation = await client.images.createVariation({ image: await toFile(png, 'v.png', { type: 'image/png' }) });
  assert.equal(variation.data.length, 1);
});

test('moderations are free', async () => {
  const spent = await used(keys.alice);
  const verdict = await client.moderations.create({ input: ['all is well', 'harm'] });
  assert.deepEqual(verdict.results.map((one) => one.flagged), [false, true]);
  assert.equal(await used(keys.alice), spent);
});

test('the organization is nobody\'s, and what is nowhere says so', async () => {
  await assert.rejects(owner.get('/organization/usage/completions'), OpenAI.PermissionDeniedError);
  await assert.rejects(owner.post('/no/such/thing', { body: {} }), (error) => {
    assert.ok(error instanceof OpenAI.NotFoundError, error.constructor.name);
    assert.ok(error.message.includes('/v1/no/such/thing'), error.message);
    return true;
  });
});

test('only the upstream\'s own key went there', () => {
  assert.ok(upstream.requests.length > 20);
  for (const { headers, path } of upstream.requests) {
    assert.equal(headers.authorization, `Bearer ${upstreamKey}`, path);
    assert.ok(!JSON.stringify(headers).includes('sk-test-'), path);
  }
});
