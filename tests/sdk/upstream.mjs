// An upstream that answers question "<kind> <seed>" with the random answer of that seed, whole or in
// pieces, and counts.
import { once } from 'node:events';
import { createServer } from 'node:http';
import { randomStream } from './random_streams.mjs';

function answer(body, response) {
  const question = body.messages?.[0].content ?? body.prompt ?? body.input;
  const [kind, seed] = question.split(' ');
  const random = randomStream(kind, Number(seed));
  if (!body.stream) {
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify(random.answer));
    return question;
  }
  response.setHeader('content-type', 'text/event-stream');
  const events = [...random.chunks];
  if (body.stream_options?.include_usage) events.push(random.usage);
  const text = events.map((event) => {
    const name = event.type ? `event: ${event.type}\n` : '';
    return `${name}data: ${JSON.stringify(event)}\n\n`;
  }).join('') + (kind === 'responses' ? '' : 'data: [DONE]\n\n');
  // In a few parts, which end wherever they do.
  const bytes = Buffer.from(text);
  for (let at = 0; at < bytes.length; at += 1000) response.write(bytes.subarray(at, at + 1000));
  response.end();
  return question;
}

export async function startUpstream() {
  const calls = new Map(); // question -> how often it came
  const server = createServer((request, response) => {
    const parts = [];
    request.on('data', (part) => parts.push(part));
    request.on('end', () => {
      const question = answer(JSON.parse(Buffer.concat(parts)), response);
      calls.set(question, (calls.get(question) ?? 0) + 1);
    });
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${server.address().port}/v1`,
    calls,
    async stop() {
      server.close();
      server.closeAllConnections();
      await once(server, 'close');
    },
  };
}
