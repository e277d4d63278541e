"""Ctrl-C at any moment: nothing is freed too early, no call outlives its caller, no text is lost.

SLM_LONG=1 tries a hundred times as many moments: make check-python-long."""
import os
import random
import signal
import subprocess
import sys
import threading
import time
import unittest

import slm
from slm._ffi import function

from . import PACKAGE, ROOT, STORYTELLER, freed

PROMPT = "Once upon a time"
N = 2500 if os.environ.get("SLM_LONG") else 25


@unittest.skipUnless(hasattr(signal, "setitimer"), "no timers here")
class TestInterrupts(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.model = slm.Model(STORYTELLER)
        cls.tokens = cls.model.tokenize("Once upon a time there was a dog. " * 40)

    def setUp(self):
        self.fired = 0
        self.random = random.Random(1)
        self.addCleanup(signal.signal, signal.SIGALRM, signal.signal(signal.SIGALRM, self.alarm))

    def alarm(self, *_):
        self.fired += 1
        raise KeyboardInterrupt

    def arm(self, longest):
        signal.setitimer(signal.ITIMER_REAL, self.random.uniform(1e-5, longest))

    def interrupt(self, call):
        """Whether the alarm came before call() returned, at some time of its first millisecond."""
        fired = self.fired
        try:
            self.arm(1e-3)
            call()
            while self.fired == fired:
                time.sleep(0.01)
        except KeyboardInterrupt:
            pass

    def test_no_call_outlives_its_caller(self):
        inside = []
        real = function.slm_eval

        def counting(*arguments):
            inside.append(1)
            try:
                return real(*arguments)
            finally:
                inside.pop()

        function.slm_eval = counting
        self.addCleanup(setattr, function, "slm_eval", real)
        for options in {}, {"progress": lambda done, total: None}:
            for _ in range(N):
                context = slm.Context(self.model, n_threads=1, n_ctx=1024)
                self.interrupt(lambda: context.eval(self.tokens[:400], **options))
                self.assertEqual(inside, [])
                context.rewind()  # it is not busy
                with freed() as names:
                    other = slm.Context(self.model, n_threads=1, n_ctx=1024)
                    self.interrupt(lambda: other.eval(self.tokens[:400], **options))
                    other.close()
                self.assertEqual(names, ["slm_context_free"])

    def test_models_and_contexts_are_not_lost(self):
        for make in lambda: slm.Model(STORYTELLER), lambda: slm.Context(self.model, n_ctx=64, n_threads=2):
            for _ in range(N):
                made = []
                with freed() as names:
                    self.interrupt(lambda: made.append(make()))
                    alive = len(made)
                    made.clear()
                self.assertLessEqual(alive, len(names))

    def read_all(self, items):
        """What an iterator gives if Ctrl-C comes all the time and one just goes on."""
        found = []
        while True:
            try:
                self.arm(8e-3)
                found.extend(items)
                signal.setitimer(signal.ITIMER_REAL, 0)
                return found
            except KeyboardInterrupt:
                pass

    @unittest.skipIf(sys.version_info < (3, 10), "3.9 takes signals before the last instruction, too")
    def test_no_text_is_lost(self):
        context = slm.Context(self.model, n_ctx=1024, n_threads=1)
        whole = list(context.generate(PROMPT, max_tokens=40))
        for _ in range(max(1, N // 10)):
            context.rewind()
            generation = context.generate(PROMPT, max_tokens=40)
            self.assertEqual(self.read_all(generation), whole)
            self.assertEqual(generation.stats.n_generated, len(generation.tokens))
        self.assertGreater(self.fired, N // 10)

    @unittest.skipIf(sys.version_info < (3, 10), "3.9 takes signals before the last instruction, too")
    def test_no_event_is_lost(self):
        chat = slm.Chat(slm.Context(self.model, n_ctx=1024, n_threads=1))
        messages = [{"role": "user", "content": "Tell me a story."}]
        whole = list(chat(messages, max_tokens=40))
        for _ in range(max(1, N // 10)):
            self.assertEqual(self.read_all(chat(messages, max_tokens=40)), whole)
        self.assertGreater(self.fired, N // 10)

    def test_a_piece_that_comes_with_an_interrupt_is_kept(self):
        """The worst moment: slm has given it, and nobody has it yet."""
        context = slm.Context(self.model, n_ctx=1024, n_threads=1)
        whole = list(context.generate(PROMPT, max_tokens=5))
        context.rewind()
        real = function.slm_generate_next

        def late(*arguments):
            real(*arguments)
            os.kill(os.getpid(), signal.SIGALRM)
            time.sleep(0.01)

        function.slm_generate_next = late
        self.addCleanup(setattr, function, "slm_generate_next", real)
        generation = context.generate(PROMPT, max_tokens=5)
        found = []
        while generation.reason is None or generation._pieces[0][1]:
            try:
                found.append(next(generation))
            except KeyboardInterrupt:
                pass
        self.assertEqual((found, self.fired), (whole, len(whole) + 1))

    def test_short_calls_are_not_deaf(self):
        """The main thread waits for another one, whatever a call may take."""
        threads = []
        for name in "slm_eval", "slm_generate_next", "slm_embed":
            real = getattr(function, name)
            self.addCleanup(setattr, function, name, real)

            def noting(*arguments, real=real):
                threads.append(threading.get_ident())
                real(*arguments)

            setattr(function, name, noting)
        context = slm.Context(self.model, n_ctx=128, n_threads=1, n_sequences=2)
        context.eval([1])
        list(context.generate(PROMPT, sequence=1, max_tokens=3))
        slm.Context(self.model, n_ctx=128).embed(["a"])
        self.assertGreater(len(threads), 4)
        self.assertNotIn(threading.get_ident(), threads)

    def run_script(self, script):
        environment = {**os.environ, "PYTHONPATH": str(PACKAGE), "STORYTELLER": str(STORYTELLER)}
        command = [sys.executable, "-X", "faulthandler", "-c", script]
        result = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60
        )
        self.assertEqual((result.returncode, result.stdout), (0, "through\n"), result.stderr[-2000:])

    def test_a_signal_handler_uses_what_the_main_thread_is_using(self):
        self.run_script(HANDLER)

    def test_a_storm(self):
        """Interrupts while interrupts are taken care of: afterwards all is well."""
        self.run_script(STORM)


HANDLER = """
import os, signal, time
import slm
model = slm.Model(os.environ["STORYTELLER"])
context = slm.Context(model, n_ctx=64, n_threads=1)
calls = 0
def handler(*_):
    global calls, sampler
    calls += 1
    model.token(1)
    context.length()
    sampler.close()
sampler = slm.Sampler(model)
signal.signal(signal.SIGALRM, handler)
signal.setitimer(signal.ITIMER_REAL, 1e-4, 1e-4)
end = time.monotonic() + 1
while time.monotonic() < end:
    model.token(2)
    context.length()
    sampler = slm.Sampler(model)
    try:
        sampler.accept(1)
    except slm.SlmClosedError:
        pass
signal.setitimer(signal.ITIMER_REAL, 0)
assert calls > 10
print("through")
"""

STORM = """
import os, signal, time
import slm
model = slm.Model(os.environ["STORYTELLER"])
context = slm.Context(model, n_ctx=512, n_threads=1)
tokens = model.tokenize("once upon a time " * 40)[:400]
folder = os.path.dirname(slm.__file__)
def handler(_, frame):
    if frame.f_code.co_filename.startswith(folder):
        raise KeyboardInterrupt
signal.signal(signal.SIGALRM, handler)
n = 0
end = time.monotonic() + 1
signal.setitimer(signal.ITIMER_REAL, 1e-4, 1e-4)
while time.monotonic() < end:
    try:
        context.rewind()
        context.eval(tokens)
    except (KeyboardInterrupt, slm.SlmBusyError):
        n += 1
signal.setitimer(signal.ITIMER_REAL, 0)
end = time.monotonic() + 20
while True:  # a call that was left behind by three interrupts at once comes to its end
    try:
        context.rewind()
        break
    except slm.SlmBusyError:
        assert time.monotonic() < end
assert context.eval(tokens) == 1
assert context.length() == len(tokens)
assert n > 10
context.rewind()
assert "".join(context.generate("Once", max_tokens=5))
print("through")
"""
