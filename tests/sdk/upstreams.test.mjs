// Upstreams that are not OpenAI's own address: Azure's two surfaces, entries of one address with their own
// keys, headers, parameters and names of models. Azure's older one is also judged by a mock that is not ours.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { LLMock } from '@copilotkit/aimock';
import OpenAI, { toFile } from 'openai';
import { Account } from './account.mjs';
import { keys, startGateway, upstreamKey } from './gateway.mjs';
import { startUpstream } from './upstream.mjs';

const azureKeys = ['azure-key-of-the-mock-01', 'azure-key-of-the-mock-02'];

let mock;
let upstream;
let gateway;
let client;

const account = new Account();
function handle(asked) {
  if (!asked.url.pathname.endsWith('/chat/completions')) {
    const path = asked.url.pathname.replace(/^.*\/(audio|images|files|moderations)/, '/v1/$1');
    return account.answer({ ...asked, url: new URL(path, asked.url) });
  }
  const { model, messages } = JSON.parse(asked.body);
  return {
    id: 'chatcmpl-1', object: 'chat.completion', created: 1700000000, model,
    choices: [{ index: 0, message: { role: 'assistant', content: `To ${messages[0].content}` }, finish_reason: 'stop' }],
    usage: { prompt_tokens: 1, completion_tokens: 1, total_tokens: 2 },
  };
}

before(async () => {
  mock = new LLMock({ port: 0, auth: { apiKeys: [upstreamKey] } });
  await mock.start();
  upstream = await startUpstream(handle);
  const bare = upstream.url.replace(/\/v1$/, '');
  gateway = await startGateway([
    {
      name: 'judged', kind: 'azure', url: mock.url, api_version: '2024-10-21',
      deployments: { 'gpt-judged': 'our-deployment' }, models: ['gpt-judged', 'embed-judged'],
    },
    {
      name: 'older', kind: 'azure', url: bare, api_version: '2024-10-21', key: azureKeys,
      deployments: { 'gpt-older': 'prod-4' }, models: ['gpt-older', 'whisper-older', 'tts-older', 'image-older'],
    },
    { name: 'newer', kind: 'azure', url: bare, deployments: { 'gpt-newer': 'prod-5' }, models: ['gpt-newer'] },
    {
      name: 'far', url: `${bare}/far/v2`, models: ['served'],
      headers: { 'x-project': 'weir' }, query: { region: 'eu west', debug: '1' },
    },
  ], { models: { asked: { serve_as: 'served' } } });
  client = new OpenAI({ apiKey: keys.alice, baseURL: `${gateway.url}/v1`, maxRetries: 0 });
});
after(async () => {
  await gateway?.stop();
  await upstream?.stop();
  await mock?.stop();
});

let asked = 0;
const ask = (model, more = {}) => {
  asked += 1;
  return { model, messages: [{ role: 'user', content: `question ${asked}` }], ...more };
};
const last = () => upstream.requests.at(-1);

test('Azure by deployments, as a mock that is not ours knows it', async () => {
  mock.onMessage('Judge me', { content: 'It came by its deployment.' });
  const body = { model: 'gpt-judged', messages: [{ role: 'user', content: 'Judge me' }] };
  const gathered = await client.chat.completions.stream(body).finalChatCompletion();
  assert.equal(gathered.choices[0].message.content, 'It came by its deployment.');
  const { data, response } = await client.chat.completions.create(body).withResponse();
  assert.equal(response.headers.get('x-cache'), 'HIT');
  assert.equal(data.choices[0].message.content, 'It came by its deployment.');
  await client.embeddings.create({ model: 'embed-judged', input: 'Judge me too' });
  assert.deepEqual(mock.getRequests().map((entry) => entry.path), [
    '/openai/deployments/our-deployment/chat/completions?api-version=2024-10-21',
    '/openai/deployments/embed-judged/embeddings?api-version=2024-10-21',
  ]);
});

test('Azure by deployments: each endpoint that has them, its keys in turn', async () => {
  const tone = () => toFile(Buffer.from('RIFF'), 'a.wav');
  const went = [];
  const seen = [];
  for (const call of [
    () => client.chat.completions.create(ask('gpt-older')),
    async () => client.audio.transcriptions.create({ file: await tone(), model: 'whisper-older' }),
    async () => client.audio.translations.create({ file: await tone(), model: 'whisper-older' }),
    async () => (await client.audio.speech.create({ model: 'tts-older', voice: 'alloy', input: 'hello' })).arrayBuffer(),
    () => client.images.generate({ model: 'image-older', prompt: 'a weir' }),
    async () => client.images.edit({ model: 'image-older', prompt: 'a weir', image: await tone() }),
  ]) {
    await call();
    const { path, headers } = last();
    assert.equal(headers.authorization, undefined);
    went.push(path);
    seen.push(headers['api-key']);
  }
  const at = (deployment, what) => `/openai/deployments/${deployment}/${what}?api-version=2024-10-21`;
  assert.deepEqual(went, [
    at('prod-4', 'chat/completions'), at('whisper-older', 'audio/transcriptions'), at('whisper-older', 'audio/translations'),
    at('tts-older', 'audio/speech'), at('image-older', 'images/generations'), at('image-older', 'images/edits'),
  ]);
  assert.deepEqual([...new Set(seen)].sort(), azureKeys, 'both keys had their turns');
});

test('Azure\'s v1 surface', async () => {
  const answer = await client.chat.completions.create(ask('gpt-newer'));
  assert.equal(last().path, '/openai/v1/chat/completions');
  assert.equal(last().headers['api-key'], upstreamKey);
  assert.equal(last().headers.authorization, undefined);
  assert.equal(answer.model, 'prod-5', 'the body names the deployment');
});

test('a path, headers and parameters of its own, and the name that is served', async () => {
  const answer = await client.chat.completions.create(
    ask('asked'), { query: { debug: '0', 'trace id': 'a&b' } });
  assert.equal(answer.model, 'served');
  const url = new URL(last().path, upstream.url);
  assert.equal(url.pathname, '/far/v2/chat/completions');
  assert.deepEqual(Object.fromEntries(url.searchParams), { 'trace id': 'a&b', region: 'eu west', debug: '1' });
  assert.equal(last().headers['x-project'], 'weir');
  assert.equal(last().headers.authorization, `Bearer ${upstreamKey}`);
});

test('what nobody serves is no model', async () => {
  await assert.rejects(client.chat.completions.create(ask('gpt-nowhere')), (error) => {
    assert.ok(error instanceof OpenAI.NotFoundError, `${error.status}`);
    assert.equal(error.code, 'model_not_found');
    return true;
  });
});
