// ports.js - workers and messages, which are not the same in browsers and in Node.

const node = typeof process === 'object' && process.versions?.node !== undefined;
const threads = node ? await import('node:worker_threads') : null;

/** May memory be shared between threads? */
export function isolated() {
  return node || globalThis.crossOriginIsolated === true;
}

/** How many threads this machine runs at once. */
export async function cores() {
  return node ? (await import('node:os')).availableParallelism() : navigator.hardwareConcurrency ?? 1;
}

/** A worker that runs the module at url; onMessage gets what it sends. */
export function spawn(url, onMessage, onError) {
  const worker = node ? new threads.Worker(new URL(url)) : new Worker(url, { type: 'module' });
  if (node) {
    worker.on('message', onMessage);
    worker.on('error', onError);
  } else {
    worker.onmessage = (event) => onMessage(event.data);
    worker.onerror = (event) => onError(new Error(event.message || `cannot run ${url}`));
  }
  return worker;
}

/** Inside a worker: the page's end of it. */
export function listen(onMessage) {
  if (node) {
    threads.parentPort.on('message', onMessage);
    return (message) => threads.parentPort.postMessage(message);
  }
  globalThis.onmessage = (event) => onMessage(event.data);
  return (message) => globalThis.postMessage(message);
}

export async function fetchBytes(url) {
  if (node && new URL(url).protocol === 'file:') {
    return (await import('node:fs/promises')).readFile(new URL(url));
  }
  const response = await fetch(url);
  if (!response.ok) {
    throw new Error(`${url}: ${response.status} ${response.statusText}`);
  }
  return response.arrayBuffer();
}
