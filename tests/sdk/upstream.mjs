// An upstream that answers question "<kind> <seed>" with the random answer of that seed, whole or in
// pieces, and counts; or one that answers as a test wants.
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

// What a fetch would be answered with, as an answer of this server.
async function send(result, response) {
  const answer = result instanceof Response ? result : Response.json(result);
  response.writeHead(answer.status, Object.fromEntries(answer.headers));
  for await (const piece of answer.body ?? []) response.write(piece);
  response.end();
}

// `handle({request, url, body, response})`: answers by what it returns (JSON, or a Response, whose
// body may be a stream), or writes to `response` itself and returns null.
export async function startUpstream(handle) {
  const calls = new Map(); // question -> how often it came
  const requests = []; // of `handle`: {method, path, headers, bytes}
  const server = createServer((request, response) => {
    const parts = [];
    request.on('data', (part) => parts.push(part));
    request.on('end', async () => {
      const body = Buffer.concat(parts);
      if (!handle) {
        const question = answer(JSON.parse(body), response);
        calls.set(question, (calls.get(question) ?? 0) + 1);
        return;
      }
      requests.push({ method: request.method, path: request.url, headers: request.headers, bytes: body.length });
      try {
        const url = new URL(request.url, 'http://upstream');
        const result = await handle({ request, url, body, response });
        if (result === undefined) response.writeHead(404).end();
        else if (result !== null) await send(result, response);
      } catch (error) {
        // A stream that fails breaks its answer off.
        if (response.headersSent) response.destroy();
        else response.writeHead(500, { 'content-type': 'text/plain' }).end(String(error.stack));
      }
    });
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${server.address().port}/v1`,
    calls,
    requests,
    async stop() {
      server.close();
      server.closeAllConnections();
      await once(server, 'close');
    },
  };
}
