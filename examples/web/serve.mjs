// serve.mjs [FOLDER] [--port N] [--not-isolated] - shows the built page on this machine. Any server of
// static files will do; with the two headers below a page may share memory between threads.

import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { createServer } from 'node:http';
import { extname, join, normalize, sep } from 'node:path';
import { fileURLToPath } from 'node:url';

const TYPES = { '.html': 'text/html; charset=utf-8', '.css': 'text/css; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8', '.wasm': 'application/wasm', '.gguf': 'application/octet-stream' };
const ISOLATED = { 'Cross-Origin-Opener-Policy': 'same-origin', 'Cross-Origin-Embedder-Policy': 'require-corp',
  'Cross-Origin-Resource-Policy': 'same-origin' };

export function serve(folder, { port = 0, isolated = true } = {}) {
  const server = createServer(async (request, response) => {
    const headers = { 'Cache-Control': 'no-cache', ...(isolated ? ISOLATED : {}) };
    const refuse = (status) => response.writeHead(status, headers).end();
    try {
      const path = decodeURIComponent(new URL(request.url, 'http://localhost').pathname);
      const file = normalize(join(folder, path.endsWith('/') ? `${path}index.html` : path));
      if (request.method !== 'GET' && request.method !== 'HEAD') {
        return refuse(405);
      }
      const info = file.startsWith(normalize(folder + sep)) ? await stat(file).catch(() => null) : null;
      if (!info?.isFile()) {
        return refuse(404);
      }
      response.writeHead(200, { ...headers, 'Content-Length': info.size,
        'Content-Type': TYPES[extname(file)] ?? 'application/octet-stream' });
      return request.method === 'HEAD' ? response.end() : createReadStream(file).pipe(response);
    } catch {
      return refuse(400);
    }
  });
  return new Promise((resolve, reject) => {
    server.on('error', reject);
    server.listen(port, '127.0.0.1', () => resolve({ server, url: `http://localhost:${server.address().port}/` }));
  });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const words = process.argv.slice(2);
  const at = words.indexOf('--port');
  const port = at >= 0 ? Number(words.splice(at, 2)[1]) : 8080;
  const folder = words.find((word) => !word.startsWith('--')) ??
    fileURLToPath(new URL('../../build/web/page', import.meta.url));
  const { url } = await serve(folder, { port, isolated: !words.includes('--not-isolated') });
  console.log(`${folder} is shown at ${url}  (Ctrl-C ends it)`);
}
