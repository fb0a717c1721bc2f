// An upstream account as the SDK knows it, kept in memory: files, uploads, batches, sounds, images.
// Each handler gets {request, url, body} and answers with a value (JSON), a Response, or undefined
// for a path that it does not know. Forms are read by Node's own parser, which is not ours.
import { createHash } from 'node:crypto';

export const digestOf = (bytes) => createHash('sha256').update(bytes).digest('hex');

const failed = (status, message) => Response.json(
  { error: { message, type: 'invalid_request_error', param: null, code: null } }, { status });

function formOf({ request, body }) {
  return new Response(body, { headers: { 'content-type': request.headers['content-type'] } }).formData();
}

export class Account {
  files = new Map(); // id -> {object, bytes}
  uploads = new Map(); // id -> {object, parts}
  batches = new Map();
  seen = []; // what forms said: {path, fields, files}
  #next = 0;

  id(prefix) {
    this.#next += 1;
    return `${prefix}${String(this.#next).padStart(4, '0')}`;
  }

  #keep(name, purpose, bytes) {
    const object = {
      id: this.id('file-'), object: 'file', bytes: bytes.length, created_at: 1700000000 + this.#next,
      filename: name, purpose, status: 'processed',
    };
    this.files.set(object.id, { object, bytes });
    return object;
  }

  // Notes what a form has, and gives it.
  async #form(asked) {
    const form = await formOf(asked);
    const note = { path: asked.url.pathname, fields: {}, files: [] };
    for (const [name, value] of form) {
      if (typeof value === 'string') note.fields[name] = value;
      else {
        note.files.push({
          field: name, name: value.name, type: value.type,
          bytes: value.size, digest: digestOf(Buffer.from(await value.arrayBuffer())),
        });
      }
    }
    this.seen.push(note);
    return form;
  }

  async answer(asked) {
    const { request: { method }, url, body } = asked;
    const json = () => JSON.parse(body);
    const [what, ...rest] = url.pathname.replace(/^\/v1\//, '').split('/');
    const key = `${method} ${what}`;
    if (what === 'files') return this.#file(method, rest, url, asked);
    if (what === 'uploads') return this.#upload(rest, asked, json);
    if (what === 'batches') return this.#batch(method, rest, json);
    if (key === 'POST audio') return this.#audio(rest[0], asked, json);
    if (key === 'POST images') return this.#image(rest[0], asked, json);
    if (key === 'POST moderations') {
      const inputs = [json().input].flat();
      return {
        id: this.id('modr-'), model: json().model ?? 'omni-moderation-latest',
        results: inputs.map((input) => ({
          flagged: String(input).includes('harm'), categories: {}, category_scores: {},
        })),
      };
    }
    return undefined;
  }

  async #file(method, [id, what], url, asked) {
    if (id === undefined && method === 'POST') {
      const form = await this.#form(asked);
      const file = form.get('file');
      return this.#keep(file.name, form.get('purpose'), Buffer.from(await file.arrayBuffer()));
    }
    if (id === undefined) {
      // Two on a page, newest last.
      const all = [...this.files.values()].map((file) => file.object);
      const from = all.findIndex((file) => file.id === url.searchParams.get('after')) + 1;
      const data = all.slice(from, from + Number(url.searchParams.get('limit') ?? 2));
      return {
        object: 'list', data, has_more: from + data.length < all.length,
        first_id: data[0]?.id ?? null, last_id: data.at(-1)?.id ?? null,
      };
    }
    const file = this.files.get(id);
    if (!file) return failed(404, `No such File object: ${id}`);
    if (what === 'content') {
      return new Response(file.bytes, { headers: {
        'content-type': 'application/octet-stream',
        'content-disposition': `attachment; filename*=UTF-8''${encodeURIComponent(file.object.filename)}`,
      } });
    }
    if (method === 'DELETE') {
      this.files.delete(id);
      return { id, object: 'file', deleted: true };
    }
    return file.object;
  }

  async #upload([id, what], asked, json) {
    if (id === undefined) {
      const { filename, purpose, bytes } = json();
      const object = {
        id: this.id('upload_'), object: 'upload', created_at: 1700000000, expires_at: 1700003600,
        filename, purpose, bytes, status: 'pending', file: null,
      };
      this.uploads.set(object.id, { object, parts: new Map() });
      return object;
    }
    const upload = this.uploads.get(id);
    if (!upload) return failed(404, `No such upload: ${id}`);
    if (what === 'parts') {
      const data = (await this.#form(asked)).get('data');
      const part = { id: this.id('part_'), object: 'upload.part', created_at: 1700000000, upload_id: id };
      upload.parts.set(part.id, Buffer.from(await data.arrayBuffer()));
      return part;
    }
    if (what === 'complete') {
      const bytes = Buffer.concat(json().part_ids.map((part) => upload.parts.get(part)));
      if (bytes.length !== upload.object.bytes) return failed(400, `There are ${bytes.length} bytes`);
      upload.object.status = 'completed';
      upload.object.file = this.#keep(upload.object.filename, upload.object.purpose, bytes);
    } else upload.object.status = 'cancelled';
    return upload.object;
  }

  #batch(method, [id, what], json) {
    if (id === undefined && method === 'POST') {
      if (!this.files.has(json().input_file_id)) return failed(400, 'No such input file');
      const batch = {
        id: this.id('batch_'), object: 'batch', status: 'validating', errors: null,
        created_at: 1700000000, request_counts: { total: 0, completed: 0, failed: 0 }, ...json(),
      };
      this.batches.set(batch.id, batch);
      return batch;
    }
    if (id === undefined) {
      return { object: 'list', data: [...this.batches.values()], has_more: false };
    }
    const batch = this.batches.get(id);
    if (!batch) return failed(404, `No batch found with id '${id}'`);
    if (what === 'cancel') batch.status = 'cancelling';
    return batch;
  }

  async #audio(what, asked, json) {
    if (what === 'speech') return this.speech(json());
    const form = await this.#form(asked);
    const file = form.get('file');
    const text = `${what} of ${file.name}: ${file.size} bytes, the weir says 漢字`;
    if (form.get('stream') === 'true') {
      const events = [
        ...text.match(/.{1,9}/gu).map((delta) => ({ type: 'transcript.text.delta', delta })),
        { type: 'transcript.text.done', text },
      ];
      return new Response(
        events.map((event) => `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`).join(''),
        { headers: { 'content-type': 'text/event-stream' } });
    }
    const format = form.get('response_format') ?? 'json';
    if (format === 'text') return new Response(`${text}\n`, { headers: { 'content-type': 'text/plain; charset=utf-8' } });
    if (format === 'srt') {
      return new Response(`1\n00:00:00,000 --> 00:00:01,500\n${text}\n`, { headers: { 'content-type': 'text/plain; charset=utf-8' } });
    }
    if (format === 'verbose_json') return { task: 'transcribe', language: 'english', duration: 1.5, text, segments: [] };
    return { text };
  }

  // A test may put another in its place.
  speech({ input }) {
    return new Response(soundOf(input), { headers: { 'content-type': 'audio/mpeg' } });
  }

  async #image(what, asked, json) {
    if (what === 'generations') {
      const { n = 1, prompt } = json();
      return { created: 1700000000, data: Array.from({ length: n }, (_, i) => ({ b64_json: Buffer.from(`${prompt} ${i}`).toString('base64') })) };
    }
    const form = await this.#form(asked);
    const images = [...form.getAll('image'), ...form.getAll('image[]')];
    return { created: 1700000000, data: images.map((image) => ({ b64_json: Buffer.from(image.name).toString('base64') })) };
  }
}

// Bytes that are no text, the same for the same input.
export function soundOf(input, size = 300_000) {
  const block = createHash('sha256').update(input).digest();
  return Buffer.concat(Array.from({ length: Math.ceil(size / 32) }, () => block)).subarray(0, size);
}
