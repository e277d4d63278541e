// slm.js - small language models in a page or in Node: the same ES module for both.
//
//     import { Slm } from './slm.js';
//     const slm = await Slm.start();
//     const model = await slm.open('storyteller-q8_0.gguf', { onProgress: (done, total) => {} });
//     const chat = await model.chat();
//     for await (const piece of chat.send('Tell me a story about a dog and a ball.')) {
//       process.stdout.write(piece.text);
//     }
//     await slm.close();
//
// The model runs in a worker; nothing here blocks. Errors are SlmError, with the status of slm.h as
// `status`. An AbortSignal rejects with its reason, as fetch does. What a callback throws comes out
// of the call it was given to. After any of these everything goes on working. An object that was
// closed answers SLM_E_CLOSED; closing is always allowed, twice too.

import { SlmError } from './engine.js';
import { cores, isolated, spawn } from './ports.js';

export { SlmError };

const MOST_BYTES = 2 ** 32 - 2 ** 26; // what a module can address, less 64 MiB for everything else
const PART = 4 * 2 ** 20; // bytes sent to the worker at a time
const STEP_MS = 15; // between two messages with pieces

const closed = (what) => new SlmError('SLM_E_CLOSED', `the ${what} is closed`);
const megabytes = (bytes) => `${Math.ceil(bytes / 1e6).toLocaleString('en')} MB`;

export class Slm {
  #worker;
  #calls = new Map(); // id -> { resolve, reject }
  #next = 1;
  #ended = null; // why no call is answered any more

  /** Starts an engine in a worker of its own.
   *  @param {object} [options]
   *  @param {number} [options.threads] default: the machine's cores, at most 8; one where memory
   *         cannot be shared (a page that is not cross-origin isolated)
   *  @param {string|URL} [options.base] where worker.js and the modules lie; default: beside this file */
  static async start({ threads, base = new URL('.', import.meta.url) } = {}) {
    if (threads !== undefined && !(Number.isInteger(threads) && threads >= 1 && threads <= 64)) {
      throw new SlmError('SLM_E_ARGUMENT', `threads is ${threads}: 1 to 64 expected`);
    }
    const slm = new Slm();
    slm.threads = isolated() ? threads ?? Math.min(await cores(), 8) : 1;
    slm.#worker = spawn(new URL('worker.js', base).href, (m) => slm.#answer(m), (e) => slm.#end(e));
    const url = new URL(slm.threads > 1 ? 'slm-threads.wasm' : 'slm.wasm', base).href;
    try {
      await slm._call('start', { url, threads: slm.threads });
    } catch (error) {
      await slm.close();
      throw error;
    }
    return slm;
  }

  #answer({ id, value, error }) {
    const call = this.#calls.get(id);
    if (call === undefined) {
      return; // it was under way when the engine was closed
    }
    this.#calls.delete(id);
    if (error === undefined) {
      call.resolve(value);
    } else {
      call.reject(error.status ? new SlmError(error.status, error.message, error.position)
        : new Error(error.message));
    }
  }

  #end(error) {
    this.#ended ??= error;
    for (const call of this.#calls.values()) {
      call.reject(error);
    }
    this.#calls.clear();
  }

  _call(op, ...args) {
    return this._send(op, args, []);
  }

  _send(op, args, transfer) {
    if (this.#ended) {
      return Promise.reject(this.#ended);
    }
    return new Promise((resolve, reject) => {
      const id = this.#next++;
      this.#calls.set(id, { resolve, reject });
      this.#worker.postMessage({ id, op, args }, transfer);
    });
  }

  /** Reads a GGUF file into the engine's memory and opens it there.
   *  @param source a URL or its text, a File or Blob, a Response, an ArrayBuffer or a typed array
   *  @param {object} [options]
   *  @param {(done: number, total: number) => void} [options.onProgress] in bytes; total is 0 while
   *         nobody knows it: of an answer that is compressed or comes in chunks, up to its end
   *  @param {AbortSignal} [options.signal]
   *  @param {boolean} [options.reference] the scalar kernels, for comparisons */
  async open(source, { onProgress, signal, reference = false } = {}) {
    signal?.throwIfAborted();
    const { parts, size, exact } = await partsOf(source, signal);
    refuseTooLarge(size);
    const place = { data: await this._call('take', size), size, done: 0 };
    const tell = (done, total) => {
      refuseTooLarge(done);
      signal?.throwIfAborted();
      onProgress?.(done, total);
    };
    try {
      tell(0, size);
      await this.#load(parts, place, tell);
      if (place.done < size && exact) {
        throw new SlmError('SLM_E_IO', `the source ended after ${place.done} of ${size} bytes`);
      }
      const model = await this._call('open', place.data, place.done, reference);
      return new Model(this, model, place.data, await this._call('info', model));
    } catch (error) {
      await this._call('give', place.data).catch(() => {});
      throw error;
    }
  }

  // Writes parts to the memory of the engine. If there are more than the place has room for, nobody
  // knows how many before their end; then it becomes as large as they are.
  async #load(parts, place, tell) {
    for await (const part of parts) {
      if (place.done + part.length > place.size) {
        const rest = await blobOf(followed(part, parts), (bytes) => tell(place.done + bytes, 0));
        place.size = place.done + rest.size;
        place.data = await this._call('move', place.data, place.done, place.size);
        return this.#load(slicesOfBlob(rest), place, () => tell(place.size, place.size));
      }
      const bytes = part.slice();
      await this._send('write', [place.data + place.done, bytes], [bytes.buffer]);
      place.done += part.length;
      tell(place.done, place.size);
    }
  }

  /** Ends the worker: all models and chats are closed with it. */
  async close() {
    this.#end(closed('engine'));
    await this.#worker.terminate();
  }
}

export class Model {
  #slm;
  #model;
  #data;

  constructor(slm, model, data, info) {
    this.#slm = slm;
    this.#model = model;
    this.#data = data;
    this.chats = new Set();
    /** name, family, isa, parameters, weightBytes, trainedContext, vocabulary, layers, generates,
     *  hasChatTemplate */
    this.info = Object.freeze(info);
  }

  /** A conversation, by the template in the model's file; or, of a model without one, a text that
   *  goes on. @param {object} [options]
   *  @param {string} [options.system] the conversation's first message
   *  @param {number} [options.context] tokens that are remembered; default: as trained, at most 4096
   *  @param {boolean} [options.plain] a text that goes on, even if there is a template */
  async chat({ system, context = 0, plain = !this.info.hasChatTemplate } = {}) {
    if (this.#model === 0) {
      throw closed('model');
    }
    if (!(Number.isInteger(context) && context >= 0 && context < 2 ** 31)) {
      throw new SlmError('SLM_E_ARGUMENT', `context is ${context}: a number of tokens expected`);
    }
    const talk = await this.#slm._call('talk', this.#model, { chat: !plain, context });
    const chat = new Chat(this.#slm, this, talk, { system, plain });
    this.chats.add(chat);
    return chat;
  }

  /** Its chats are closed, too. */
  async close() {
    const model = this.#model;
    this.#model = 0;
    if (model !== 0) {
      await Promise.all([...this.chats].map((chat) => chat.close()));
      await this.#slm._call('close', model, this.#data);
    }
  }
}

export class Chat {
  #slm;
  #model;
  #talk;
  #system;
  #busy = false; // an answer is being given

  constructor(slm, model, talk, { system, plain }) {
    this.#slm = slm;
    this.#model = model;
    this.#talk = talk;
    this.#system = system;
    this.plain = plain;
    this.clear();
  }

  /** Forgets everything that was said. */
  clear() {
    /** What was said: { role, content, reasoning_content? } each; may be changed between answers. */
    this.messages = this.#system && !this.plain ? [{ role: 'system', content: this.#system }] : [];
    /** Of a plain text: all of it. */
    this.text = '';
  }

  /** Says something and gives the answer as an async iterable of { kind, text }: kind is "answer",
   *  "reasoning" or "tool_call". What came before an error, an abort or a `break` stays in the
   *  conversation. Afterwards `stats` has the numbers.
   *  @param {object} [options]
   *  @param {AbortSignal} [options.signal]
   *  @param {number} [options.temperature] 0: always the likeliest token; default 0.7
   *  @param {number} [options.maxTokens] default: as many as fit
   *  @param {number} [options.seed] default: another one each time
   *  @param {(done: number, total: number) => void} [options.onPrompt] tokens of the prompt read */
  async *send(text, options = {}) {
    if (this.#talk === 0) {
      throw closed('chat');
    }
    if (this.#busy) {
      throw new SlmError('SLM_E_BUSY', 'the chat is giving an answer: end that first');
    }
    this.#busy = true;
    const answer = { reasoning: '', answer: '', tool_call: '' };
    const before = { messages: this.messages.length, text: this.text };
    try {
      options.signal?.throwIfAborted();
      this.#say(String(text));
      await this.#begin(options);
      for await (const piece of this.#steps(options)) {
        answer[piece.kind] += piece.text;
        yield piece;
      }
    } finally {
      this.#keep(answer, before);
      this.#busy = false;
      if (this.#talk !== 0) {
        await this.#slm._call('end', this.#talk).catch(() => {});
      }
    }
  }

  #say(text) {
    if (this.plain) {
      this.text += text;
    } else {
      this.messages.push({ role: 'user', content: text });
    }
  }

  // An answer becomes part of the conversation; a message without one does not.
  #keep(answer, before) {
    const said = answer.answer !== '' || answer.reasoning !== '' || answer.tool_call !== '';
    if (!said) {
      this.messages.length = Math.min(this.messages.length, before.messages);
      this.text = before.text;
    } else if (this.plain) {
      this.text += answer.answer;
    } else {
      const message = { role: 'assistant', content: answer.answer };
      if (answer.reasoning !== '') {
        message.reasoning_content = answer.reasoning;
      }
      this.messages.push(message);
    }
  }

  #begin({ temperature = 0.7, maxTokens = -1, seed = Math.floor(Math.random() * 2 ** 53) }) {
    for (const [name, value] of Object.entries({ temperature, maxTokens, seed })) {
      if (!Number.isFinite(value)) {
        throw new SlmError('SLM_E_ARGUMENT', `${name} is ${value}: a number expected`);
      }
    }
    const now = Math.floor(Date.now() / 1000) - new Date().getTimezoneOffset() * 60;
    return this.#slm._call('begin', this.#talk, this.plain ? this.text : JSON.stringify(this.messages),
      { temperature, maxTokens: Math.min(maxTokens, 2 ** 31 - 1), seed, now });
  }

  async *#steps({ signal, onPrompt }) {
    const stats = { promptTokens: 0, generated: 0, promptMs: 0, generateMs: 0, reason: '' };
    this.stats = stats;
    for (let done = false; !done;) {
      if (this.#talk === 0) {
        throw closed('chat');
      }
      const step = await this.#slm._call('step', this.#talk, STEP_MS);
      stats.promptMs += step.promptMs;
      stats.generateMs += step.generateMs;
      stats.promptTokens = step.promptTokens;
      stats.generated = step.generated;
      stats.reason = step.reason;
      stats.context = step.context;
      stats.tokensPerSecond = step.generated > 0 ? step.generated / stats.generateMs * 1e3 : 0;
      if (step.promptMs > 0) {
        onPrompt?.(step.promptDone, step.promptTokens);
      }
      done = step.done;
      for (const piece of step.pieces) {
        signal?.throwIfAborted();
        yield piece;
      }
      signal?.throwIfAborted();
    }
  }

  /** An answer that is being given ends with SLM_E_CLOSED. */
  async close() {
    const talk = this.#talk;
    this.#talk = 0;
    this.#model.chats.delete(this);
    if (talk !== 0) { // the worker does one thing after the other: first what it is at
      await this.#slm._call('free', talk);
    }
  }
}

// ---- Where a model's bytes come from ------------------------------------------------------------

function refuseTooLarge(size) {
  if (size > MOST_BYTES) {
    throw new SlmError('SLM_E_MEMORY', `the model has ${megabytes(size)}; ` +
      `a page can hold ${megabytes(MOST_BYTES)}: take a smaller one, or a coarser quantisation`);
  }
}

// { parts, size, exact }: parts is an async generator of Uint8Array, size how many bytes all of them
// have. More may come; fewer do only if it is not exact.
async function partsOf(source, signal) {
  if (ArrayBuffer.isView(source)) {
    const bytes = new Uint8Array(source.buffer, source.byteOffset, source.byteLength);
    const parts = slicesOf(bytes.length, async (a, b) => bytes.subarray(a, b));
    return { parts, size: bytes.length, exact: true };
  }
  if (source instanceof ArrayBuffer) {
    return partsOf(new Uint8Array(source), signal);
  }
  if (source instanceof Blob) {
    return { parts: slicesOfBlob(source), size: source.size, exact: true };
  }
  if (source instanceof Response) {
    return partsOfResponse(source);
  }
  if (typeof source === 'string' || source instanceof URL) {
    return partsOfResponse(await fetch(source, { signal }));
  }
  throw new SlmError('SLM_E_ARGUMENT', 'a model is a URL, File, Blob, Response, ArrayBuffer or typed array');
}

async function* slicesOf(size, read) {
  for (let at = 0; at < size; at += PART) {
    yield await read(at, Math.min(at + PART, size));
  }
}

function slicesOfBlob(blob) {
  return slicesOf(blob.size, async (a, b) => new Uint8Array(await blob.slice(a, b).arrayBuffer()));
}

// The length of a compressed answer is that of what is sent, and of a chunked one there is none. An
// answer from elsewhere does not show whether it is compressed.
function partsOfResponse(response) {
  if (!response.ok) {
    throw new SlmError('SLM_E_IO', `${response.url}: the server answers ${response.status} ${response.statusText}`);
  }
  const { body, headers, type } = response;
  const size = headers.get('content-encoding') ? 0 : Number(headers.get('content-length')) || 0;
  return { parts: body === null ? slicesOf(0) : chunksOf(body), size, exact: type !== 'cors' };
}

async function* chunksOf(stream) {
  const reader = stream.getReader();
  try {
    for (let chunk; !(chunk = await reader.read()).done;) {
      yield chunk.value;
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

async function* followed(first, parts) {
  yield first;
  yield* parts;
}

// All parts, which the browser may keep on its disk; `see` is told how many bytes there are.
async function blobOf(parts, see) {
  const blobs = [];
  let chunks = [];
  let bytes = 0;
  let held = 0;
  for await (const part of parts) {
    chunks.push(part);
    bytes += part.length;
    held += part.length;
    see(bytes);
    if (held >= PART) {
      blobs.push(new Blob(chunks));
      chunks = [];
      held = 0;
    }
  }
  return new Blob([...blobs, ...chunks]);
}
