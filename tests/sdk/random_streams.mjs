// Random answers of chat, completions and responses, and streams that say the same in pieces.
// The answer is made first, then cut; the same seed makes the same.

export class Random {
  #state;

  constructor(seed) { this.#state = seed >>> 0; }

  // mulberry32: 0 <= result < bound
  below(bound) {
    this.#state = (this.#state + 0x6D2B79F5) >>> 0;
    let t = this.#state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) % bound;
  }

  oneIn(n) { return this.below(n) === 0; }
  pick(list) { return list[this.below(list.length)]; }
  text(longest = 4) {
    const pieces = ['a', 'B', ' ', '"', '\\', '\n', '\r\n', '\t', '{', '}', 'é', '漢', '😀', '\u0001', 'data: '];
    let out = '';
    for (let i = this.below(longest + 1); i > 0; i -= 1) out += this.pick(pieces);
    return out;
  }
}

// A text in pieces: `wrap` says where in a choice each of them stands.
function cutText(random, queue, wrap) {
  let all = '';
  for (let i = 1 + random.below(5); i > 0; i -= 1) {
    const piece = random.text();
    all += piece;
    queue.push(wrap(piece));
  }
  return all;
}

function cutCall(random, queue, index) {
  const type = random.oneIn(4) ? 'custom' : 'function';
  const text = type === 'custom' ? 'input' : 'arguments';
  const call = { id: `call_${index}`, type, [type]: { name: `f${index}`, [text]: '' } };
  const put = (piece) => queue.push({ delta: { tool_calls: [{ index, ...piece }] } });
  put(structuredClone(call));
  const pieces = [];
  call[type][text] = cutText(random, pieces, (piece) => ({ [type]: { [text]: piece } }));
  pieces.forEach(put);
  return call;
}

// base64 of each piece of a sound on its own.
function cutAudio(random, queue) {
  const bytes = [];
  queue.push({ delta: { audio: { id: 'audio_1' } } });
  for (let i = 1 + random.below(3); i > 0; i -= 1) {
    const piece = Array.from({ length: 1 + random.below(5) }, () => random.below(256));
    bytes.push(...piece);
    queue.push({ delta: { audio: { data: Buffer.from(piece).toString('base64') } } });
  }
  const transcript = cutText(random, queue, (piece) => ({ delta: { audio: { transcript: piece } } }));
  queue.push({ delta: { audio: { expires_at: 1234 } } });
  return { id: 'audio_1', data: Buffer.from(bytes).toString('base64'), transcript, expires_at: 1234 };
}

function chatChoice(random, queues) {
  const fresh = () => queues[queues.push([]) - 1];
  const message = { role: 'assistant', content: null, refusal: null };
  const choice = { message, logprobs: null };
  fresh().push({ delta: { role: 'assistant' } });
  for (const key of ['content', 'refusal', 'reasoning_content', 'x_vendor']) {
    if (random.oneIn(2)) continue;
    message[key] = cutText(random, fresh(), (piece) => ({ delta: { [key]: piece } }));
    // To the SDK a refusal that says nothing is none.
    if (key === 'refusal' && message.refusal === '') {
      message.refusal = null;
      queues.pop();
    }
  }
  const calls = random.below(4);
  for (let i = 0; i < calls; i += 1) {
    (message.tool_calls ??= []).push(cutCall(random, fresh(), i));
  }
  if (random.oneIn(4)) {
    const queue = fresh();
    queue.push({ delta: { function_call: { name: 'old', arguments: '' } } });
    message.function_call = {
      name: 'old',
      arguments: cutText(random, queue, (piece) => ({ delta: { function_call: { arguments: piece } } })),
    };
  }
  if (random.oneIn(3)) message.audio = cutAudio(random, fresh());
  const cites = random.below(3);
  const citations = fresh();
  for (let i = 0; i < cites; i += 1) {
    const cite = { type: 'url_citation', url_citation: { start_index: i } };
    (message.annotations ??= []).push(cite);
    citations.push({ delta: { annotations: [cite] } });
  }
  if (random.oneIn(2)) {
    const queue = fresh();
    choice.logprobs = { content: [], refusal: null };
    for (let i = 1 + random.below(4); i > 0; i -= 1) {
      const token = { token: random.text(1), logprob: -random.below(1e6) / 997, bytes: [1], top_logprobs: [] };
      choice.logprobs.content.push(token);
      queue.push({ logprobs: { content: [token], refusal: null } });
    }
  }
  return choice;
}

function completionChoice(random, queues) {
  const fresh = () => queues[queues.push([]) - 1];
  const choice = { logprobs: null };
  choice.text = cutText(random, fresh(), (text) => ({ text }));
  if (random.oneIn(2)) {
    const queue = fresh();
    choice.logprobs = { tokens: [], token_logprobs: [], top_logprobs: [], text_offset: [] };
    for (let i = 1 + random.below(4); i > 0; i -= 1) {
      const one = {
        tokens: [random.text(1)],
        token_logprobs: [random.oneIn(3) ? null : -random.below(1e6) / 997],
        top_logprobs: [random.oneIn(3) ? null : { index: -0.5 }],
        text_offset: [random.below(100)],
      };
      for (const key of Object.keys(one)) choice.logprobs[key].push(one[key][0]);
      queue.push({ logprobs: one });
    }
  }
  return choice;
}

// One or more next pieces that stand at different places.
function takePieces(random, queues) {
  const out = {};
  do {
    const queue = random.pick(queues);
    const [[key, value]] = Object.entries(queue[0]);
    const clash = key in out && (key !== 'delta' || Object.keys(value)[0] in out.delta);
    if (clash) break;
    out[key] = key === 'delta' ? { ...out.delta, ...value } : value;
    queue.shift();
    if (queue.length === 0) queues.splice(queues.indexOf(queue), 1);
  } while (queues.length > 0 && random.oneIn(3));
  return out;
}

function randomChunks(random, chat) {
  const common = { id: 'id-1', created: random.below(2 ** 31), model: 'gpt-4' };
  if (random.oneIn(2)) common.system_fingerprint = 'fp';
  if (random.oneIn(2)) common.service_tier = 'default';
  if (random.oneIn(2)) common.x_vendor = { n: random.below(100), list: [1, null] };
  const answer = { ...common, object: chat ? 'chat.completion' : 'text_completion', choices: [] };
  common.object = chat ? 'chat.completion.chunk' : 'text_completion';
  const chunks = [];
  const count = 1 + random.below(3);
  const open = [];
  for (let index = 0; index < count; index += 1) {
    const queues = [];
    const choice = chat ? chatChoice(random, queues) : completionChoice(random, queues);
    if (random.oneIn(3)) {
      choice.stop_reason = '###';
      queues.push([{ stop_reason: '###' }]);
    }
    answer.choices.push({ index, finish_reason: 'stop', ...choice });
    open.push({ index, queues: queues.filter((queue) => queue.length > 0) });
  }
  while (open.length > 0) {
    const one = random.pick(open);
    const last = one.queues.length === 0;
    const choice = { index: one.index, finish_reason: null, ...(last ? {} : takePieces(random, one.queues)) };
    if (last) {
      choice.finish_reason = 'stop';
      open.splice(open.indexOf(one), 1);
    }
    if (chat) choice.delta ??= {};
    else choice.text ??= '';
    chunks.push({ ...common, choices: [choice] });
  }
  answer.usage = { prompt_tokens: 1, completion_tokens: 2, total_tokens: 3, x_details: { n: 4 } };
  const usage = { ...common, choices: [], usage: answer.usage };
  return { answer, chunks, usage };
}

function randomItem(random, place) {
  const id = `item_${place}`;
  const textPart = () => ({
    type: 'output_text',
    text: random.text(20),
    annotations: Array.from({ length: random.below(3) }, (_, at) => ({
      type: 'url_citation', start_index: at, end_index: at, title: 't', url: 'https://example.org',
    })),
    ...(random.oneIn(2) && { logprobs: [{ token: 'x', logprob: -1.5, bytes: [1], top_logprobs: [] }] }),
  });
  switch (random.below(5)) {
    case 0:
      return {
        id, type: 'message', status: 'completed', role: 'assistant',
        content: [textPart(), ...(random.oneIn(2) ? [{ type: 'refusal', refusal: random.text(9) }] : [])],
      };
    case 1:
      return {
        id, type: 'reasoning', summary: [{ type: 'summary_text', text: random.text(9) }],
        ...(random.oneIn(2) && { content: [{ type: 'reasoning_text', text: random.text(9) }] }),
      };
    case 2:
      return {
        id, type: 'function_call', status: 'completed', call_id: `call_${place}`, name: 'f', arguments: random.text(9),
      };
    case 3:
      return {
        id, type: 'custom_tool_call', status: 'completed', call_id: `call_${place}`, name: 'c', input: random.text(9),
      };
    default:
      return { id, type: 'web_search_call', status: 'completed', action: { type: 'search', query: 'q' } };
  }
}

function randomResponse(random) {
  const answer = {
    id: 'resp_1', object: 'response', created_at: random.below(2 ** 31), status: 'completed',
    error: null, incomplete_details: null, model: 'gpt-4', tools: [], parallel_tool_calls: true,
    output: Array.from({ length: random.below(6) }, (_, place) => randomItem(random, place)),
    usage: { input_tokens: 1, output_tokens: 2, total_tokens: 3 },
    x_vendor: { n: random.below(100) },
  };
  const chunks = [];
  const put = (type, members) => chunks.push({ type, sequence_number: chunks.length, ...members });
  put('response.created', { response: { ...answer, status: 'in_progress', output: [], usage: null } });
  answer.output.forEach((item, at) => {
    put('response.output_item.added', { output_index: at, item });
    put('response.output_item.done', { output_index: at, item });
  });
  put('response.completed', { response: answer });
  return { answer, chunks };
}

// {answer, chunks, usage}: the plain answer, the stream's events, and the chunk with its usage.
export function randomStream(kind, seed) {
  const random = new Random(seed);
  if (kind === 'responses') return randomResponse(random);
  return randomChunks(random, kind === 'chat');
}
