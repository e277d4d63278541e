// browser.mjs PAGE PLAYWRIGHT CHROMIUM SHOTS - the page in headless Chromium: PLAYWRIGHT is a folder
// with node_modules/playwright-core, CHROMIUM the browser. Pictures of the page go to SHOTS.

import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { join, resolve } from 'node:path';
import { gzipSync } from 'node:zlib';

import { serve } from '../serve.mjs';

const [folder, playwright, , shots] = process.argv.slice(2).map((path) => resolve(path));
const { chromium } = createRequire(join(playwright, 'x.js'))('playwright-core');
mkdirSync(shots, { recursive: true });

const browser = await chromium.launch({ executablePath: process.argv[4], headless: true,
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync'] });
const { server, url } = await serve(folder);
const plain = await serve(folder, { isolated: false });
const model = join(folder, 'storyteller-q8_0.gguf');
const corrupt = join(shots, 'corrupt.gguf');
writeFileSync(corrupt, 'GGUF, but not really');

const DESKTOP = { viewport: { width: 1100, height: 760 } };
const PHONE = { viewport: { width: 390, height: 780 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true };
const WAIT = { timeout: 30000 };

async function open(options = DESKTOP, address = url) {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  page.problems = [];
  page.on('pageerror', (error) => page.problems.push(error.message));
  page.on('console', (line) => line.type() === 'error' && page.problems.push(line.text()));
  await page.goto(address);
  await page.waitForFunction(() => /storyteller/.test(document.getElementById('model-name').textContent), null, WAIT);
  return page;
}

async function answered(page, n = 1) {
  await page.waitForFunction((wanted) => document.querySelectorAll('.message .numbers').length >= wanted &&
    document.querySelector('.waiting') === null, n, WAIT);
  return page.locator('.message.model').nth(n - 1).innerText();
}

const shot = (page, name) => page.screenshot({ path: join(shots, `${name}.png`) });

const tests = {
  async 'the page loads its model and tells a story'() {
    const page = await open();
    assert.equal(await page.evaluate(() => crossOriginIsolated), true);
    await shot(page, 'welcome');
    await page.fill('#input', 'Tell me a story about a dog and a ball.');
    await page.press('#input', 'Enter');
    const text = await answered(page);
    assert.match(text, /\w+ \w+ \w+[^]*\d+ tokens · [\d,]+ tokens\/s/);
    await page.fill('#input', 'Tell me a story about a rabbit and a garden.');
    await page.click('#send');
    await answered(page, 2);
    await shot(page, 'desktop');
    assert.deepEqual(page.problems, []);
    await page.context().close();
  },

  async 'in the dark, on a phone'() {
    const page = await open({ ...PHONE, colorScheme: 'dark' });
    await page.locator('#suggestions button').first().click();
    await answered(page);
    await shot(page, 'phone-dark');
    await page.click('#clear');
    await page.waitForSelector('#welcome:not([hidden])');
    await page.click('#model-button');
    await shot(page, 'phone-settings');
    const wide = await page.evaluate(() => document.documentElement.scrollWidth > innerWidth);
    assert.equal(wide, false, 'the page is wider than the phone');
    assert.deepEqual(page.problems, []);
    await page.context().close();
  },

  async 'Esc and Stop end an answer, and the next one comes'() {
    const page = await open();
    await page.evaluate(() => { document.getElementById('max-tokens').value = 100000; });
    for (const n of [1, 2]) {
      // The model is fast, so the page itself does what a person would, as soon as there is text.
      await page.evaluate((answer) => new MutationObserver((_, observer) => {
        const message = document.querySelectorAll('.message.model')[answer - 1];
        if (message?.textContent.length > 20) {
          observer.disconnect();
          if (answer === 1) {
            document.body.dispatchEvent(new KeyboardEvent('keydown', { key: 'Escape', bubbles: true }));
          } else {
            document.getElementById('stop').click();
          }
        }
      }).observe(document.getElementById('talk'), { childList: true, subtree: true, characterData: true }), n);
      await page.fill('#input', 'Tell me a story about a dog and a ball.');
      await page.press('#input', 'Enter');
      assert.match(await answered(page, n), /stopped/);
    }
    await page.fill('#input', 'Tell me a story about a cat.');
    await page.press('#input', 'Enter');
    assert.doesNotMatch(await answered(page, 3), /stopped/);
    assert.deepEqual(page.problems, []);
    await page.context().close();
  },

  async 'the file picker opens a model, and a corrupt one leaves the old one'() {
    const page = await open();
    await page.click('#model-button');
    await page.setInputFiles('#file', corrupt);
    await page.waitForSelector('#error:not([hidden])', WAIT);
    assert.ok((await page.innerText('#error')).length > 10);
    await shot(page, 'error');
    assert.match(await page.innerText('#model-name'), /storyteller/);
    await page.setInputFiles('#file', model);
    await page.waitForFunction(() => document.getElementById('loading').hidden &&
      document.getElementById('error').hidden, null, WAIT);
    await page.fill('#input', 'Tell me a story about a dog and a ball.');
    await page.press('#input', 'Enter');
    assert.match(await answered(page), /tokens\/s/);
    assert.deepEqual(page.problems, []);
    await page.context().close();
  },

  async 'an address opens a model, or says why not'() {
    const page = await open();
    await page.click('#model-button');
    await page.fill('#url', `${url}no-such.gguf`);
    await page.click('#url-form button');
    await page.waitForSelector('#error:not([hidden])', WAIT);
    assert.match(await page.innerText('#error'), /404/);
    await page.fill('#url', `${url}storyteller-q8_0.gguf`);
    await page.click('#url-form button');
    await page.waitForFunction(() => document.getElementById('loading').hidden &&
      document.getElementById('error').hidden, null, WAIT);
    await page.locator('#suggestions button').first().click();
    assert.match(await answered(page), /tokens\/s/);
    await page.context().close();
  },

  // To a page, the length of such an answer is that of what was sent, without a word why.
  async 'a compressed model from elsewhere opens, be it shorter or longer for it'() {
    const bytes = readFileSync(model);
    const server = createServer((request, response) => {
      const body = gzipSync(bytes, { level: Number(request.url.slice(1)) });
      response.writeHead(200, { 'Access-Control-Allow-Origin': '*', 'Cross-Origin-Resource-Policy': 'cross-origin',
        'Content-Encoding': 'gzip', 'Content-Length': body.length }).end(body);
    });
    await new Promise((listening) => server.listen(0, '127.0.0.1', listening));
    const page = await open();
    for (const level of [9, 0]) {
      const [opened, calls] = await page.evaluate(async (address) => {
        const { Slm } = await import('./slm.js');
        const slm = await Slm.start({ threads: 1 });
        const calls = [];
        const opened = await slm.open(address, { onProgress: (...call) => calls.push(call) });
        await slm.close();
        return [opened.info.name, calls];
      }, `http://127.0.0.1:${server.address().port}/${level}`);
      assert.match(opened, /storyteller/i);
      if (level === 9) {
        assert.ok(calls.some(([done, total]) => done > 0 && total === 0));
        assert.deepEqual(calls.at(-1), [bytes.length, bytes.length]);
      }
    }
    await page.click('#model-button');
    await page.fill('#url', `http://127.0.0.1:${server.address().port}/9`);
    await page.evaluate(() => {
      globalThis.bars = [];
      new MutationObserver(() => globalThis.bars.push(document.getElementById('progress').hasAttribute('value')))
        .observe(document.getElementById('progress'), { attributes: true });
    });
    await page.click('#url-form button');
    await page.waitForFunction(() => document.getElementById('loading').hidden &&
      document.getElementById('error').hidden && globalThis.bars.includes(false), null, WAIT);
    assert.deepEqual(page.problems, []);
    await page.context().close();
    server.close();
  },

  async 'without the headers it runs on one thread'() {
    const page = await open(DESKTOP, plain.url);
    assert.equal(await page.evaluate(() => crossOriginIsolated), false);
    assert.match(await page.locator('#details').textContent(), /One thread/);
    await page.locator('#suggestions button').first().click();
    assert.match(await answered(page), /tokens\/s/);
    assert.deepEqual(page.problems, []);
    await page.context().close();
  },

  async 'it works without a network'() {
    const page = await open();
    await page.evaluate(() => navigator.serviceWorker.ready);
    await page.reload();
    await page.waitForFunction(() => navigator.serviceWorker.controller !== null, null, WAIT);
    await page.context().setOffline(true);
    await page.reload();
    await page.waitForFunction(() => /storyteller/.test(document.getElementById('model-name').textContent), null, WAIT);
    await page.locator('#suggestions button').first().click();
    assert.match(await answered(page), /tokens\/s/);
    await page.context().close();
  },
};

let failed = 0;
for (const [name, test] of Object.entries(tests)) {
  try {
    await test();
    console.log(`ok ${name}`);
  } catch (error) {
    failed++;
    console.log(`FAILED ${name}: ${error.stack}`);
  }
}
await browser.close();
server.close();
plain.server.close();
console.log(`${Object.keys(tests).length - failed} passed, ${failed} failed`);
process.exit(failed === 0 ? 0 : 1);
