// engine.js - the module, its memory and its compute workers: what runs inside the engine's worker.
// Calls here are synchronous and may take long; pages and programs use slm.js, which sends messages.
//
// Addresses are numbers without sign: WebAssembly hands out signed ones, so each is put through
// `>>> 0`. A view of the memory is made for each use, because memory that grows leaves old ones
// behind.

import { spawn } from './ports.js';

export class SlmError extends Error {
  /** @param {string} status "SLM_E_FORMAT" and so on, as in slm.h; "SLM_E_CLOSED" for a closed object
   *  @param {number} position byte of the file or JSON, or line of the template; -1: none */
  constructor(status, message, position = -1) {
    super(message);
    this.name = 'SlmError';
    this.status = status;
    this.position = position;
  }
}

const PAGE = 65536;
const MOST_PAGES = 65536; // 4 GiB
const REASONS = ['', 'end', 'stop', 'limit', 'full'];
const KINDS = ['', 'reasoning', 'answer', 'tool_call'];

const host = { now: () => performance.now() };

// As much address space as the host reserves: a phone may refuse 4 GiB.
function makeMemory(shared) {
  for (let maximum = MOST_PAGES; ; maximum /= 2) {
    try {
      return new WebAssembly.Memory({ initial: 64, maximum, shared });
    } catch (error) {
      if (maximum <= 4096) {
        throw new SlmError('SLM_E_MEMORY', `this browser gives a page no memory: ${error.message}`);
      }
    }
  }
}

/** What a compute worker does with its first message, until it is ended. */
export function work({ module, memory, stack }, ready) {
  const { exports } = new WebAssembly.Instance(module, { env: { memory }, host });
  exports.__stack_pointer.value = stack;
  ready();
  try {
    exports.web_work();
  } catch {
    exports.web_broken(); // or the engine would wait for it for ever
  }
}

export class Engine {
  /** @param bytes the module for `threads` 1, or that for more
   *  @param {string} workerUrl of worker.js */
  static async create({ bytes, threads, workerUrl }) {
    const engine = new Engine();
    const module = await WebAssembly.compile(bytes);
    engine.memory = makeMemory(threads > 1);
    engine.exports = new WebAssembly.Instance(module, { env: { memory: engine.memory }, host }).exports;
    engine.broken = null;
    const workers = [];
    for (let i = 1; i < threads; i++) {
      workers.push(engine.spawnWorker(module, workerUrl));
    }
    await Promise.all(workers);
    engine.check(engine.call('web_threads', threads));
    return engine;
  }

  // Ready before it is needed: this thread will block while it waits for them.
  spawnWorker(module, url) {
    const stack = this.take(0, 'web_stack');
    return new Promise((resolve, reject) => {
      const worker = spawn(url, () => resolve(), reject);
      worker.postMessage({ work: { module, memory: this.memory, stack } });
    });
  }

  // A trap leaves the module in no state that anybody knows.
  call(name, ...args) {
    if (this.broken !== null) {
      throw this.broken;
    }
    try {
      return this.exports[name](...args);
    } catch (error) {
      this.broken = new SlmError('SLM_E_TRAP', `the module stopped: ${error.message}`);
      throw this.broken;
    }
  }

  // ---- Memory

  take(size, name = 'web_take') {
    const at = (name === 'web_take' ? this.call(name, size) : this.call(name)) >>> 0;
    if (at === 0) {
      const had = Math.round(this.memory.buffer.byteLength / 1e6);
      throw new SlmError('SLM_E_MEMORY',
        `no memory for ${size} bytes beside the ${had} MB in use; WebAssembly has at most 4 GB`);
    }
    return at;
  }

  give(at) {
    this.call('web_give', at);
  }

  /** The same `used` bytes in memory for `size`, elsewhere. */
  move(at, used, size) {
    const to = this.take(size);
    new Uint8Array(this.memory.buffer).copyWithin(to, at, at + used);
    this.give(at);
    return to;
  }

  write(at, bytes) {
    new Uint8Array(this.memory.buffer).set(bytes, at);
  }

  // TextDecoder takes no shared memory: hence the copy.
  text(at, size) {
    return new TextDecoder().decode(new Uint8Array(this.memory.buffer, at >>> 0, size).slice());
  }

  textAt(at) {
    const memory = new Uint8Array(this.memory.buffer);
    return this.text(at, memory.indexOf(0, at >>> 0) - (at >>> 0));
  }

  // ---- Errors

  check(status) {
    if (status < 0) {
      const at = this.call('web_error') >>> 0;
      const view = new DataView(this.memory.buffer, at, 256);
      throw new SlmError(this.textAt(this.call('web_status_name', status)), this.textAt(at + 16),
        Number(view.getBigInt64(8, true)));
    }
    return status;
  }

  // make(slot) writes a handle into the slot and returns a status.
  handle(make) {
    const slot = this.take(4);
    try {
      this.check(make(slot));
      return new DataView(this.memory.buffer).getUint32(slot, true);
    } finally {
      this.give(slot);
    }
  }

  // ---- Models: the file is written to memory in parts, then opened where it lies

  open(data, size, reference) {
    return this.handle((slot) => this.call('web_open', data, size, reference ? 1 : 0, slot));
  }

  modelInfo(model) {
    const number = (which) => this.call('web_model_number', model, which);
    const text = (which) => this.textAt(this.call('web_model_text', model, which));
    return {
      name: text(0),
      family: text(1),
      isa: text(2),
      parameters: number(0),
      weightBytes: number(1),
      trainedContext: number(2),
      vocabulary: number(3),
      layers: number(4),
      generates: number(5) === 1,
      hasChatTemplate: number(6) === 1,
    };
  }

  close(model, data) {
    this.call('web_close', model);
    this.give(data);
  }

  // ---- Talks

  talk(model, { chat, context }) {
    return this.handle((slot) => this.call('web_talk_create', model, chat ? 1 : 0, context, slot));
  }

  begin(talk, text, { temperature, seed, maxTokens, now }) {
    const bytes = new TextEncoder().encode(text);
    const at = this.take(bytes.length + 1);
    try {
      this.write(at, bytes);
      this.check(this.call('web_talk_begin', talk, at, bytes.length, temperature, seed, maxTokens, now));
    } finally {
      this.give(at);
    }
  }

  /** Works for about `ms` milliseconds: pieces { kind, text }, how far everything is, and how long
   *  it took. */
  step(talk, ms) {
    const pieces = [];
    let step = 0;
    let promptMs = 0;
    let generateMs = 0;
    do {
      const start = performance.now();
      step = this.check(this.call('web_talk_step', talk));
      if (step === 1) {
        promptMs += performance.now() - start;
      } else {
        generateMs += performance.now() - start;
      }
      for (let kind; step > 1 && (kind = this.check(this.call('web_talk_event', talk))) > 0;) {
        const piece = { kind: KINDS[kind], text: this.text(this.call('web_talk_text', talk, 0),
          this.call('web_talk_number', talk, 5)) };
        if (kind === 3) {
          piece.name = this.textAt(this.call('web_talk_text', talk, 1));
        }
        pieces.push(piece);
      }
    } while (step !== 3 && promptMs + generateMs < ms);
    const number = (which) => this.call('web_talk_number', talk, which);
    return { pieces, promptMs, generateMs, done: step === 3, reason: REASONS[number(3)], promptTokens: number(0),
      promptDone: number(1), generated: number(2), context: number(4) };
  }

  end(talk) {
    this.call('web_talk_end', talk);
  }

  free(talk) {
    this.call('web_talk_free', talk);
  }
}

