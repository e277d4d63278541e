// node.mjs PAGE STORY - slm.js under Node: STORY is what the native reference tells for the same
// prompt, greedily. A line for each test; the exit status tells.

import assert from 'node:assert/strict';
import { openAsBlob, readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join, resolve } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { gzipSync } from 'node:zlib';

const folder = resolve(process.argv[2]);
const expected = readFileSync(process.argv[3], 'utf8');
const { Slm, SlmError } = await import(pathToFileURL(join(folder, 'slm.js')));
const PROMPT = 'Once upon a time';
const WISH = 'Tell me a story about a dog and a ball.';
const blob = await openAsBlob(join(folder, 'storyteller-q8_0.gguf'));
const isStatus = (status) => (error) => error instanceof SlmError && error.status === status && error.message !== '';

async function all(answer) {
  let text = '';
  for await (const piece of answer) {
    text += piece.text;
  }
  return text;
}

const tests = {
  async 'the reference in a module tells the native text'(slm) {
    const model = await slm.open(blob, { reference: true });
    assert.equal(model.info.isa, 'ref');
    const chat = await model.chat({ plain: true });
    assert.equal(await all(chat.send(PROMPT, { temperature: 0, maxTokens: 200 })), expected);
    await model.close();
  },

  async 'and so does SIMD128'(slm) {
    const model = await slm.open(blob);
    assert.equal(model.info.isa, 'simd128');
    const chat = await model.chat({ plain: true });
    assert.equal(await all(chat.send(PROMPT, { temperature: 0, maxTokens: 200 })), expected);
    assert.equal(chat.text, PROMPT + expected);
    assert.equal(chat.stats.reason, 'end');
    assert.ok(chat.stats.generated > 100 && chat.stats.tokensPerSecond > 0);
    await model.close();
  },

  async 'a chat remembers, and clear forgets'(slm) {
    const model = await slm.open(blob);
    const chat = await model.chat();
    const first = await all(chat.send(WISH, { temperature: 0, maxTokens: 60 }));
    assert.equal(chat.messages.length, 2);
    assert.equal(chat.messages[1].content, first);
    const tokens = chat.stats.promptTokens;
    await all(chat.send('And then?', { temperature: 0, maxTokens: 20 }));
    assert.ok(chat.stats.promptTokens > tokens + 60, 'the prompt has the first answer');
    chat.clear();
    assert.equal(await all(chat.send(WISH, { temperature: 0, maxTokens: 60 })), first);
    await model.close();
  },

  async 'a seed gives the same text again, another one another'(slm) {
    const model = await slm.open(blob);
    const tell = async (seed) => {
      const chat = await model.chat();
      return all(chat.send(WISH, { temperature: 1, seed, maxTokens: 60 }));
    };
    const text = await tell(7);
    assert.equal(await tell(7), text);
    assert.notEqual(await tell(8), text);
    await model.close();
  },

  async 'what a person types is no special token'(slm) {
    const model = await slm.open(blob);
    const chat = await model.chat();
    await all(chat.send('a', { temperature: 0, maxTokens: 1 }));
    const tokens = chat.stats.promptTokens;
    chat.clear();
    await all(chat.send('<|im_end|>', { temperature: 0, maxTokens: 1 }));
    assert.ok(chat.stats.promptTokens > tokens + 3);
    await model.close();
  },

  async 'corrupt models are refused, and the next one opens'(slm) {
    const bytes = new Uint8Array(await blob.arrayBuffer());
    await assert.rejects(slm.open(new TextEncoder().encode('not a model at all')), isStatus('SLM_E_FORMAT'));
    await assert.rejects(slm.open(new Uint8Array(0)), SlmError);
    await assert.rejects(slm.open(bytes.subarray(0, bytes.length / 2)), SlmError);
    for (const at of [4, 16, 24, 33, 200, 5000, 20000]) {
      const broken = bytes.slice();
      broken.fill(0xff, at, at + 8);
      await slm.open(broken).then((model) => model.close(), (error) => assert.ok(error instanceof SlmError, error));
    }
    const model = await slm.open(bytes);
    assert.ok((await all((await model.chat()).send(WISH, { maxTokens: 5 }))).length > 0);
    await model.close();
  },

  async 'too large a model is refused with a number'(slm) {
    const source = new Response(new ReadableStream(), { headers: { 'content-length': String(6e9) } });
    await assert.rejects(slm.open(source), (error) => isStatus('SLM_E_MEMORY')(error) && /6,000 MB/.test(error.message));
    const short = new Response(new Uint8Array(10), { headers: { 'content-length': '20' } });
    await assert.rejects(slm.open(short), isStatus('SLM_E_IO'));
    await assert.rejects(slm.open(7), isStatus('SLM_E_ARGUMENT'));
  },

  async 'of what is compressed or in chunks the bytes are counted as they come'(slm) {
    const bytes = new Uint8Array(await blob.arrayBuffer());
    const server = createServer((request, response) => {
      if (request.url === '/gzip') {
        const body = gzipSync(bytes);
        response.writeHead(200, { 'content-encoding': 'gzip', 'content-length': body.length }).end(body);
      } else {
        response.write(bytes.subarray(0, 1e6), () => response.end(bytes.subarray(1e6)));
      }
    });
    await new Promise((listening) => server.listen(0, '127.0.0.1', listening));
    const address = `http://127.0.0.1:${server.address().port}/`;
    const sources = { gzip: `${address}gzip`, chunks: `${address}chunks`,
      hidden: new Response(bytes, { headers: { 'content-length': '5000' } }) };
    try {
      for (const [name, source] of Object.entries(sources)) {
        const calls = [];
        const model = await slm.open(source, { onProgress: (...call) => calls.push(call) });
        const coming = calls.filter(([done, total]) => done > 0 && total === 0);
        assert.ok(coming.length > (name === 'hidden' ? 0 : 2), `${name}: ${coming.length} calls`);
        assert.deepEqual(calls.at(-1), [bytes.length, bytes.length]);
        assert.ok(calls.every(([done], i) => i === 0 || done >= calls[i - 1][0]), `${name} goes back`);
        assert.ok((await all((await model.chat()).send(WISH, { maxTokens: 5 }))).length > 0);
        await model.close();
        if (name !== 'hidden') {
          await assert.rejects(slm.open(source, { onProgress(done) { assert.equal(done, 0, 'mine'); } }), /mine/);
        }
      }
    } finally {
      server.closeAllConnections();
      server.close();
    }
  },

  async 'an abort ends an answer, and the chat goes on'(slm) {
    const model = await slm.open(blob);
    const chat = await model.chat();
    const control = new AbortController();
    let text = '';
    const answer = (async () => {
      for await (const piece of chat.send(WISH, { temperature: 0, signal: control.signal })) {
        text += piece.text;
        if (text.length > 40) {
          control.abort();
        }
      }
    })();
    await assert.rejects(answer, { name: 'AbortError' });
    assert.ok(text.length > 40 && text.length < 400, `${text.length} characters`);
    assert.equal(chat.messages[1].content, text);
    assert.ok((await all(chat.send('And then?', { maxTokens: 10 }))).length > 0);
    await assert.rejects(all(chat.send('x', { signal: AbortSignal.abort(new Error('mine')) })), { message: 'mine' });
    await assert.rejects(slm.open(blob, { signal: AbortSignal.abort() }), { name: 'AbortError' });
    await model.close();
  },

  async 'leaving the loop ends an answer, too'(slm) {
    const model = await slm.open(blob);
    const chat = await model.chat();
    for await (const piece of chat.send(WISH)) {
      assert.ok(piece.kind === 'answer');
      break;
    }
    assert.equal(chat.messages.length, 2);
    assert.ok((await all(chat.send('And then?', { maxTokens: 10 }))).length > 0);
    await model.close();
  },

  async 'closed objects say so'(slm) {
    const model = await slm.open(blob);
    const chat = await model.chat();
    const other = await model.chat();
    await chat.close();
    await chat.close();
    await assert.rejects(all(chat.send(WISH)), isStatus('SLM_E_CLOSED'));
    await model.close();
    await model.close();
    await assert.rejects(all(other.send(WISH)), isStatus('SLM_E_CLOSED'));
    await assert.rejects(model.chat(), isStatus('SLM_E_CLOSED'));
    const engine = await Slm.start({ threads: 1 });
    await engine.close();
    await engine.close();
    await assert.rejects(engine.open(blob), isStatus('SLM_E_CLOSED'));
  },

  async 'closing ends an answer, and does not wait for who reads it'(slm) {
    const model = await slm.open(blob);
    const chat = await model.chat();
    const answer = chat.send(WISH);
    assert.equal((await answer.next()).done, false);
    await model.close();
    await assert.rejects(all(answer), isStatus('SLM_E_CLOSED'));
    await assert.rejects(all(chat.send(WISH)), isStatus('SLM_E_CLOSED'));
  },

  async 'closing the engine while an answer of its worker is on the way breaks nothing'() {
    for (let i = 0; i < 3; i++) { // an exception that nobody catches would end the tests
      const engine = await Slm.start({ threads: 1 });
      const call = engine._call('used');
      for (const start = performance.now(); performance.now() - start < 50;); // the answer lies there
      const closing = engine.close();
      await assert.rejects(call, isStatus('SLM_E_CLOSED'));
      await closing;
      await wait(10);
    }
  },

  async 'what callbacks throw comes out, and nothing breaks'(slm) {
    const boom = () => { throw new RangeError('boom'); };
    await assert.rejects(slm.open(blob, { onProgress: boom }), { name: 'RangeError', message: 'boom' });
    const model = await slm.open(blob);
    const chat = await model.chat();
    await assert.rejects(all(chat.send(WISH, { onPrompt: boom })), { name: 'RangeError', message: 'boom' });
    assert.equal(chat.messages.length, 0);
    assert.ok((await all(chat.send(WISH, { maxTokens: 10 }))).length > 0);
    await model.close();
  },

  async 'two answers of one chat are one too many'(slm) {
    const model = await slm.open(blob);
    const chat = await model.chat();
    const first = all(chat.send(WISH, { maxTokens: 40 }));
    await assert.rejects(all(chat.send(WISH)), isStatus('SLM_E_BUSY'));
    assert.ok((await first).length > 0);
    await assert.rejects(all(chat.send(WISH, { temperature: NaN })), isStatus('SLM_E_ARGUMENT'));
    await model.close();
  },

  async 'a full context is an end, and a longer prompt an error'(slm) {
    const model = await slm.open(blob);
    const chat = await model.chat({ context: 64, plain: true });
    await all(chat.send(PROMPT, { temperature: 0 }));
    assert.equal(chat.stats.reason, 'full');
    await assert.rejects(all(chat.send(' and'.repeat(500))), isStatus('SLM_E_FULL'));
    await model.close();
  },

  async 'memory comes back'(slm) {
    let most = 0;
    for (let i = 0; i < 12; i++) { // 3 MB and a context each: 12 of them would be far more than one
      const model = await slm.open(blob);
      const chat = await model.chat({ context: 1024 });
      await all(chat.send(WISH, { maxTokens: 2 }));
      await model.close();
      const used = await slm._call('used');
      assert.ok(i < 2 || used <= most, `${used} bytes after ${i + 1} models, ${most} before`);
      most = Math.max(most, used);
    }
  },

  async 'one, two and three threads give the same text'() {
    const texts = [];
    for (const threads of [1, 2, 3]) {
      const slm = await Slm.start({ threads });
      assert.equal(slm.threads, threads);
      const model = await slm.open(blob);
      const chat = await model.chat();
      texts.push(await all(chat.send(WISH, { temperature: 1, seed: 3, maxTokens: 100 })));
      await slm.close();
    }
    assert.ok(texts[0].length > 100);
    assert.equal(texts[1], texts[0]);
    assert.equal(texts[2], texts[0]);
  },
};

let failed = 0;
for (const threads of [1, 2]) {
  const slm = await Slm.start({ threads });
  for (const [name, test] of Object.entries(tests)) {
    try {
      await test(slm);
      console.log(`ok ${name}, ${threads} thread${threads > 1 ? 's' : ''}`);
    } catch (error) {
      failed++;
      console.log(`FAILED ${name}, ${threads} threads: ${error.stack}`);
    }
  }
  await slm.close();
}
const passed = 2 * Object.keys(tests).length - failed;
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed === 0 ? 0 : 1);
