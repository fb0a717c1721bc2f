// Starts a Weir of its own for a test file: a free port, a fresh data directory, the demo upstream
// or those that are given.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export const keys = {
  alice: 'sk-test-alice-0123456789', // large caps
  carol: 'sk-test-carol-0123456789', // 3 messages in 4 hours
};

// The config is JSON, which YAML contains.
const config = (port, data, upstreams, more) => JSON.stringify({
  listen: `127.0.0.1:${port}`,
  data,
  workers: 2,
  drain: '2s',
  ...(upstreams ? { upstreams } : {
    upstreams: [{ name: 'keyless', url: 'http://127.0.0.1:9/v1', key: '' }],
    demo: 'when no upstream has a key',
  }),
  plans: {
    large: { caps: [{ models: '*', allow: '1000/4h' }] },
    small: { caps: [{ models: '*', allow: '3/4h' }] },
  },
  keys: [
    { name: 'alice', plan: 'large', secret: keys.alice },
    { name: 'carol', plan: 'small', secret: keys.carol },
  ],
  ...more,
}, null, 2);

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
}

async function ready(url, child, output) {
  const until = Date.now() + 20_000;
  while (Date.now() < until) {
    if (child.exitCode !== null) break;
    const answer = await fetch(`${url}/readyz`).catch(() => null);
    if (answer) await answer.text();
    if (answer?.ok) return;
    await new Promise((done) => setTimeout(done, 50));
  }
  throw new Error(`weir did not become ready (exit ${child.exitCode}):\n${output()}`);
}

export const upstreamKey = 'sk-upstream-0123456789';
const entryOf = (upstream, number) => ({
  name: number === 0 ? 'given' : `given-${number + 1}`,
  key: upstreamKey,
  ...(typeof upstream === 'string' ? { url: upstream } : upstream),
});

// `upstreams`: none (the demo), a URL, an entry of the config ({url, kind, ...}), or a list of those.
// `more`: members of the config, in place of the ones above.
export async function startGateway(upstreams, more = {}) {
  const folder = await mkdtemp(join(tmpdir(), 'weir-sdk-'));
  const port = await freePort();
  const file = join(folder, 'weir.yaml');
  await writeFile(file, config(
    port, join(folder, 'data'), upstreams && [upstreams].flat().map(entryOf), more));

  // Without the caller's environment: an OPENAI_API_KEY there must not reach anybody.
  const child = spawn(process.env.WEIR_BINARY, ['serve', '--config', file], {
    env: { PATH: process.env.PATH },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let text = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8');
    stream.on('data', (piece) => { text += piece; });
  }
  const url = `http://127.0.0.1:${port}`;
  const exited = once(child, 'exit');
  try {
    await ready(url, child, () => text);
  } catch (error) {
    child.kill('SIGKILL');
    throw error;
  }
  return {
    url,
    output: () => text,
    async stop() {
      child.kill('SIGTERM');
      const [code, signal] = await exited;
      await rm(folder, { recursive: true, force: true });
      assert.equal(signal, null, `weir died of ${signal}:\n${text}`);
      assert.equal(code, 0, `weir exited ${code}:\n${text}`);
    },
  };
}
