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
   *  @param {(done: number, total: number) => void} [options.onProgress] in bytes
   *  @param {AbortSignal} [options.signal]
   *  @param {boolean} [options.reference] the scalar kernels, for comparisons */
  async open(source, { onProgress, signal, reference = false } = {}) {
    signal?.throwIfAborted();
    const { parts, size } = await partsOf(source, signal);
    if (size > MOST_BYTES) {
      throw new SlmError('SLM_E_MEMORY', `the model has ${megabytes(size)}; ` +
        `a page can hold ${megabytes(MOST_BYTES)}: take a smaller one, or a coarser quantisation`);
    }
    const data = await this._call('take', size);
    try {
      let done = 0;
      onProgress?.(0, size);
      for await (const part of parts) {
        signal?.throwIfAborted();
        if (done + part.length > size) {
          throw new SlmError('SLM_E_IO', `the source gives more than the ${size} bytes it promised`);
        }
        const bytes = part.slice();
        await this._send('write', [data + done, bytes], [bytes.buffer]);
        done += part.length;
        onProgress?.(done, size);
      }
      if (done < size) {
        throw new SlmError('SLM_E_IO', `the source ended after ${done} of ${size} bytes`);
      }
      const model = await this._call('open', data, size, reference);
      return new Model(this, model, data, await this._call('info', model));
    } catch (error) {
      await this._call('give', data).catch(() => {});
      throw error;
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

// { parts, size }: parts is an async iterable of Uint8Array.
async function partsOf(source, signal) {
  if (ArrayBuffer.isView(source)) {
    const bytes = new Uint8Array(source.buffer, source.byteOffset, source.byteLength);
    return { parts: slicesOf(bytes.length, async (a, b) => bytes.subarray(a, b)), size: bytes.length };
  }
  if (source instanceof ArrayBuffer) {
    return partsOf(new Uint8Array(source), signal);
  }
  if (source instanceof Blob) {
    const read = async (a, b) => new Uint8Array(await source.slice(a, b).arrayBuffer());
    return { parts: slicesOf(source.size, read), size: source.size };
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

// Of a compressed or chunked answer the length is not known before its end.
async function partsOfResponse(response) {
  if (!response.ok) {
    throw new SlmError('SLM_E_IO', `${response.url}: the server answers ${response.status} ${response.statusText}`);
  }
  const size = Number(response.headers.get('content-length'));
  if (size > 0 && !response.headers.get('content-encoding')) {
    return { parts: chunksOf(response.body), size };
  }
  return partsOf(await response.blob());
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
