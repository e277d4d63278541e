// worker.js - the engine's worker: takes { id, op, args }, answers { id, value } or { id, error }.
// The same file is what compute workers run, whose first and only message is { work }.

import { Engine, SlmError, work } from './engine.js';
import { fetchBytes, listen } from './ports.js';

let engine = null;

const operations = {
  async start({ url, threads }) {
    engine = await Engine.create({ bytes: await fetchBytes(url), threads, workerUrl: import.meta.url });
  },
  take: (size) => engine.take(size),
  used: () => engine.memory.buffer.byteLength,
  write: (at, bytes) => engine.write(at, bytes),
  give: (at) => engine.give(at),
  move: (at, used, size) => engine.move(at, used, size),
  open: (data, size, reference) => engine.open(data, size, reference),
  info: (model) => engine.modelInfo(model),
  close: (model, data) => engine.close(model, data),
  talk: (model, options) => engine.talk(model, options),
  begin: (talk, text, options) => engine.begin(talk, text, options),
  step: (talk, ms) => engine.step(talk, ms),
  end: (talk) => engine.end(talk),
  free: (talk) => engine.free(talk),
};

// Of an error only what survives the way to the other side.
function described(error) {
  return error instanceof SlmError
    ? { status: error.status, message: error.message, position: error.position }
    : { message: error.message };
}

const send = listen(async (message) => {
  if (message.work) {
    work(message.work, () => send({ ready: true }));
    return;
  }
  const { id, op, args } = message;
  try {
    send({ id, value: await operations[op](...args) });
  } catch (error) {
    send({ id, error: described(error) });
  }
});
