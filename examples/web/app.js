// app.js - the page: loads a model, keeps a conversation, shows what comes.

import { Slm } from './slm.js';

const DEFAULT_MODEL = 'storyteller-q8_0.gguf';
const STORIES = ['Tell me a story about a dog and a ball.', 'Tell me a story about a rabbit and a garden.',
  'Tell me a story about a boat and a storm.'];

const $ = (id) => document.getElementById(id);
const number = (n) => Math.round(n).toLocaleString('en');
const megabytes = (bytes) => `${(bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0)} MB`;

let slm = null;
let model = null;
let chat = null;
let answering = null; // an AbortController while an answer comes
let loading = null; // and while a model does

// ---- Messages to the person ---------------------------------------------------------------------

function showError(error) {
  $('error').textContent = error === null ? '' : error.message;
  $('error').hidden = error === null;
}

const aborted = (error) => error.name === 'AbortError';

function showState() {
  const ready = chat !== null && answering === null && loading === null;
  $('send').hidden = answering !== null;
  $('stop').hidden = answering === null;
  $('send').disabled = !ready || $('input').value.trim() === '';
  $('input').placeholder = chat === null ? 'Open a model first'
    : chat.plain ? 'Begin a text; the model goes on' : `Message ${model.info.name || 'the model'}`;
  $('loading').hidden = loading === null;
  $('clear').hidden = document.querySelector('.message') === null;
}

// ---- The model ----------------------------------------------------------------------------------

function showProgress(name) {
  const start = performance.now();
  return (done, total) => {
    const rate = done / Math.max(performance.now() - start, 1) * 1e3;
    const all = total > 0 ? ` of ${megabytes(total)}` : '';
    if (total > 0) {
      $('progress').value = done / total;
    } else {
      $('progress').removeAttribute('value'); // nobody knows how long it takes
    }
    $('progress-text').textContent = total > 0 && done >= total ? `Opening ${name}…`
      : `Loading ${name}: ${megabytes(done)}${all}, ${megabytes(rate)}/s`;
  };
}

function showModel(name) {
  const { info } = model;
  $('model-name').textContent = info.name || name;
  $('details').textContent = `${info.family}, ${number(info.parameters / 1e6)} million parameters, ` +
    `${megabytes(info.weightBytes)} of weights, trained for ${number(info.trainedContext)} tokens. ` +
    `${slm.threads === 1 ? 'One thread' : `${slm.threads} threads`}` +
    `${globalThis.crossOriginIsolated ? '' : ' (the page is not cross-origin isolated)'}, ${info.isa}.`;
  $('status').textContent = chat.plain ? 'This model has no chat template: it goes on with your text.'
    : 'Enter sends, Shift+Enter makes a new line, Esc stops.';
  $('system').closest('label').hidden = chat.plain;
}

// The model before it stays until the new one is open.
async function load(source, name) {
  loading?.abort();
  answering?.abort();
  showError(null);
  const control = loading = new AbortController();
  const onProgress = showProgress(name);
  onProgress(0, 1);
  showState();
  try {
    slm ??= await Slm.start();
    const opened = await slm.open(source, { onProgress, signal: control.signal });
    const before = model;
    model = opened;
    await before?.close();
    await newChat();
    showModel(name);
  } catch (error) {
    if (!aborted(error)) {
      showError(error);
    }
    if (model === null) {
      $('model-name').textContent = 'No model';
      $('panel').hidden = false;
      $('model-button').setAttribute('aria-expanded', 'true');
    }
  } finally {
    if (loading === control) {
      loading = null;
    }
    showState();
  }
}

async function newChat() {
  const before = chat;
  chat = null;
  await before?.close();
  chat = await model.chat({ system: $('system').value.trim() || undefined });
  for (const message of document.querySelectorAll('.message')) {
    message.remove();
  }
  $('welcome').hidden = false;
  $('suggestions').replaceChildren(...(chat.plain ? ['Once upon a time'] : STORIES).map((text) => {
    const button = document.createElement('button');
    button.type = 'button';
    button.textContent = text;
    button.onclick = () => say(text);
    return button;
  }));
  $('suggestions').hidden = !/storyteller/.test(model.info.name) && !chat.plain;
}

// ---- The conversation ---------------------------------------------------------------------------

function addMessage(who, text) {
  const message = document.createElement('div');
  message.className = `message ${who}`;
  message.textContent = text;
  $('welcome').hidden = true;
  $('talk').append(message);
  return message;
}

/** A place for an answer as it comes: text, and what the model thought in a part of its own. */
function answerView() {
  const message = addMessage('model', '');
  message.classList.add('waiting');
  const text = message.appendChild(document.createElement('span'));
  const numbers = document.createElement('span');
  numbers.className = 'numbers';
  let thoughts = null;
  const add = ({ kind, text: more, name }) => {
    if (kind === 'reasoning') {
      if (thoughts === null) {
        const details = document.createElement('details');
        details.append(Object.assign(document.createElement('summary'), { textContent: 'Thoughts' }));
        thoughts = details.appendChild(document.createElement('span'));
        message.prepend(details);
      }
      thoughts.append(more);
    } else {
      text.append(kind === 'tool_call' ? `${name}(${more})` : more);
    }
  };
  const end = (note) => {
    message.classList.remove('waiting');
    numbers.textContent = note;
    message.append(numbers);
  };
  return { add, end };
}

function summary(stats, note) {
  const parts = [];
  if (stats?.generated > 0) {
    parts.push(`${number(stats.generated)} tokens`, `${number(stats.tokensPerSecond)} tokens/s`);
  }
  if (note || stats?.reason === 'limit' || stats?.reason === 'full') {
    parts.push(note || (stats.reason === 'full' ? 'the context is full: begin a new chat'
      : 'longest answer reached'));
  }
  return parts.join(' · ');
}

// Follows what comes, unless the person has scrolled away from the end.
function follow(add) {
  const talk = $('talk');
  const atEnd = talk.scrollHeight - talk.scrollTop - talk.clientHeight < 60;
  add();
  if (atEnd) {
    talk.scrollTop = talk.scrollHeight;
  }
}

async function say(text) {
  if (chat === null || answering !== null || loading !== null) {
    return;
  }
  const control = answering = new AbortController();
  const current = chat;
  let view = null;
  let note = '';
  showError(null);
  follow(() => {
    addMessage('user', text);
    view = answerView();
  });
  $('talk').scrollTop = $('talk').scrollHeight;
  showState();
  try {
    const options = { signal: control.signal, temperature: Number($('temperature').value),
      maxTokens: Math.max(1, Math.floor(Number($('max-tokens').value)) || 400),
      onPrompt: (done, total) => { $('status').textContent = `Reading: ${done} of ${total} tokens`; } };
    for await (const piece of current.send(text, options)) {
      follow(() => view.add(piece));
      $('status').textContent = summary(current.stats);
    }
  } catch (error) {
    note = aborted(error) ? 'stopped' : 'ended by an error';
    if (!aborted(error)) {
      showError(error);
    }
  }
  $('status').textContent = '';
  follow(() => view.end(summary(current.stats, note)));
  answering = null;
  showState();
  $('input').focus();
}

// ---- Events -------------------------------------------------------------------------------------

function fitInput() {
  $('input').style.height = 'auto';
  $('input').style.height = `${$('input').scrollHeight}px`;
}

$('input').oninput = () => {
  fitInput();
  showState();
};
$('input').onkeydown = (event) => {
  if (event.key === 'Enter' && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    $('composer').requestSubmit();
  }
};
document.onkeydown = (event) => {
  if (event.key === 'Escape') {
    answering?.abort();
  }
};
$('composer').onsubmit = (event) => {
  event.preventDefault();
  const text = $('input').value;
  if (!$('send').disabled) {
    $('input').value = '';
    fitInput();
    say(text);
  }
};
$('stop').onclick = () => answering?.abort();
$('cancel-load').onclick = () => loading?.abort();
$('clear').onclick = async () => {
  answering?.abort();
  showError(null);
  await newChat().catch(showError);
  showState();
};
$('model-button').onclick = () => {
  $('panel').hidden = !$('panel').hidden;
  $('model-button').setAttribute('aria-expanded', String(!$('panel').hidden));
};
$('temperature').oninput = () => { $('temperature-value').value = Number($('temperature').value).toFixed(1); };
$('system').onchange = () => $('clear').onclick();
$('file').onchange = () => {
  const file = $('file').files[0];
  if (file) {
    load(file, file.name);
  }
  $('file').value = '';
};
$('url-form').onsubmit = (event) => {
  event.preventDefault();
  const url = $('url').value;
  load(url, new URL(url).pathname.split('/').pop() || url);
};

let drags = 0; // enters and leaves of everything below count, too
document.ondragenter = (event) => {
  event.preventDefault();
  drags++;
  $('drop').hidden = false;
};
document.ondragleave = () => {
  drags--;
  $('drop').hidden = drags <= 0;
};
document.ondragover = (event) => event.preventDefault();
document.ondrop = (event) => {
  event.preventDefault();
  drags = 0;
  $('drop').hidden = true;
  const file = event.dataTransfer.files[0];
  if (file) {
    load(file, file.name);
  }
};

navigator.serviceWorker?.register('sw.js').catch(() => {}); // only for working offline
load(DEFAULT_MODEL, 'the storyteller');
