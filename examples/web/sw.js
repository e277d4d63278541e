// sw.js - keeps a copy of everything the page is made of, for when there is no network. What the
// network has goes first, so that a new version is never hidden by an old copy.

const CACHE = 'slm';
const FILES = ['./', 'index.html', 'style.css', 'app.js', 'slm.js', 'engine.js', 'worker.js', 'ports.js',
  'slm.wasm', 'slm-threads.wasm', 'storyteller-q8_0.gguf'];

self.addEventListener('install', (event) => {
  event.waitUntil(caches.open(CACHE).then((cache) => cache.addAll(FILES)).then(() => self.skipWaiting()));
});

self.addEventListener('activate', (event) => event.waitUntil(self.clients.claim()));

async function answer(request) {
  const cache = await caches.open(CACHE);
  try {
    const response = await fetch(request);
    if (response.status === 200) {
      await cache.put(request, response.clone());
    }
    return response;
  } catch (error) {
    const copy = await cache.match(request, { ignoreSearch: true });
    if (copy) {
      return copy;
    }
    throw error;
  }
}

// Only files of the page: models from elsewhere are large, and not ours to keep.
const known = new Set(FILES.map((file) => new URL(file, self.registration.scope).href));

self.addEventListener('fetch', (event) => {
  const { request } = event;
  if (request.method === 'GET' && known.has(request.url.split(/[?#]/)[0])) {
    event.respondWith(answer(request));
  }
});
