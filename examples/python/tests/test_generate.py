"""Contexts and generations: streaming, stopping, callbacks, threads, fork."""
import array
import os
import signal
import sys
import threading
import time
import traceback
import unittest

import slm
from slm._ffi import function

from . import STORYTELLER, freed

PROMPT = "Once upon a time"


class Base(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.model = slm.Model(STORYTELLER)

    def setUp(self):
        self.context = slm.Context(self.model, n_ctx=1024, n_sequences=2, n_threads=1)

    def tearDown(self):
        self.context.close()

    def long_prompt(self):
        return (self.model.tokenize(PROMPT) * 300)[:1000]


class TestGeneration(Base):
    def test_streams_text(self):
        with self.context.generate(PROMPT, max_tokens=20) as generation:
            pieces = list(generation)
        self.assertGreater(len(pieces), 10)
        self.assertEqual(generation.reason, "limit")
        tokens = self.model.tokenize(PROMPT)
        again = "".join(self.context.generate(tokens, sequence=1, max_tokens=20))
        self.assertEqual("".join(pieces), again)

    def test_stats_and_stops(self):
        generation = self.context.generate(PROMPT, stops=["little"])
        text = "".join(generation)
        self.assertNotIn("little", text)
        self.assertEqual(
            (generation.reason, generation.stats.n_prompt), ("stop", len(self.model.tokenize(PROMPT)))
        )
        self.assertGreater(generation.stats.prompt_ns, 0)

    def test_early_break_leaves_the_sequence_usable(self):
        for piece in self.context.generate(PROMPT):
            break
        n = self.context.length()
        self.assertGreaterEqual(n, len(self.model.tokenize(PROMPT)))
        self.context.rewind(0, 0)
        self.assertEqual(self.context.length(), 0)

    def test_cancelled_generation_goes_on(self):
        whole = "".join(self.context.generate(PROMPT, max_tokens=20))
        generation = self.context.generate(PROMPT, sequence=1, max_tokens=20)
        text = next(generation)
        generation.cancel()
        with self.assertRaises(slm.SlmCancelledError) as caught:
            next(generation)
        self.assertEqual(caught.exception.name, "SLM_E_CANCELLED")
        self.assertEqual(text + "".join(generation), whole)

    def test_deadline(self):
        generation = self.context.generate(PROMPT, step_seconds=1e-9)
        with self.assertRaises(slm.SlmDeadlineError):
            next(generation)
        generation.close()
        with self.assertRaises(slm.SlmDeadlineError) as caught:
            self.context.eval([1, 2], deadline=0)
        self.assertEqual(self.context.length(), 0)

    def test_sampler(self):
        def story(**options):
            with slm.Sampler(self.model, **options) as sampler:
                with self.context.generate(PROMPT, sampler=sampler, max_tokens=20) as generation:
                    text = "".join(generation)
            self.context.rewind()
            return text

        greedy = story()
        self.assertEqual(greedy, story(temperature=0))
        drawn = story(temperature=1.5, top_k=50, top_p=0.99, min_p=0.001, seed=4)
        self.assertEqual(
            drawn,
            story(stages=[("top_k", 50), ("top_p", 0.99), ("min_p", 0.001), ("temperature", 1.5)], seed=4),
        )
        self.assertNotEqual(drawn, greedy)
        self.assertNotEqual(drawn, story(temperature=1.5, seed=5))
        first = self.model.tokenize(greedy, bos=False)[0]
        banned = story(logit_bias={first: -float("inf")}, repeat_penalty=1.1)
        self.assertFalse(banned.startswith(greedy[:3]))
        many = [
            ("dry", 64, 0.8, 1.75, 2, ["\n", ":"]),
            ("top_n_sigma", 3),
            ("typical", 0.98),
            ("xtc", 0.2, 0.1),
            ("dynamic_temperature", 0.8, 0.3),
        ]
        for last in ("mirostat", 5), ("mirostat_2", 5, 0.2), ("adaptive_p", 0.5):
            self.assertEqual(story(stages=[*many, last], seed=4), story(stages=[*many, last], seed=4))
        for wrong in (
            {"stages": [("dry", 64, 0.8, 1.75, 2, [""])]},
            {"stages": [("xtc", 2)]},
            {"stages": [("nonsense", 1)]},
            {"stages": [("top_k", 1, 2, 3)]},
            {"seed": -1},
            {"top_k": 2**40},
        ):
            with self.assertRaises(slm.SlmArgumentError):
                slm.Sampler(self.model, **wrong)
        with self.assertRaises(TypeError):
            slm.Sampler(self.model, stages=[], top_k=5)

    def test_candidates(self):
        self.context.eval(self.model.tokenize(PROMPT))
        row = self.context.logits()
        chain = {"stages": [("top_k", 8), ("temperature", 0.8)], "seed": 7}
        sampler = slm.Sampler(self.model, **chain)
        candidates = slm.Candidates(row)
        self.assertEqual((len(candidates), candidates.tokens.tolist()[-1]), (len(row), len(row) - 1))
        self.assertEqual(candidates.logits.tolist(), row.tolist())
        sampler.apply(candidates)
        self.assertEqual(len(candidates), 8)
        self.assertEqual(candidates[0].token, max(range(len(row)), key=row.__getitem__))
        self.assertEqual(sampler.choose(candidates), slm.Sampler(self.model, **chain).sample(row))
        self.assertAlmostEqual(sum(candidates.probabilities), 1.0, places=5)
        self.assertEqual(candidates[-1], candidates[7])
        self.assertEqual([c.token for c in candidates], candidates.tokens.tolist())
        candidates.logits[:] = array.array("f", [-float("inf")] * 7 + [1.0])  # a stage of the program
        self.assertEqual(sampler.choose(candidates), candidates.tokens[7])
        two = slm.Candidates([1.0, 5.0], [30, 20])
        self.assertEqual(slm.Sampler(self.model).choose(two), 20)
        with self.assertRaises(IndexError):
            two[2]
        with self.assertRaises(ValueError):
            slm.Candidates([1.0, 2.0], [1])
        for wrong in slm.Candidates([]), slm.Candidates([1.0], [10**6]):
            with self.assertRaises(slm.SlmError):
                sampler.apply(wrong)
                sampler.choose(wrong)

    def test_the_end_gives_the_sequence_back(self):
        generation = self.context.generate(PROMPT, max_tokens=3)
        with self.assertRaises(slm.SlmBusyError):
            self.context.rewind()
        list(generation)
        self.context.rewind()
        self.assertEqual((generation.closed, generation.stats.n_generated, list(generation)), (True, 3, []))
        self.assertEqual(len(generation.tokens), 3)

    def test_wrong_arguments(self):
        for wrong in (
            {"sequence": 7},
            {"sequence": -1},
            {"max_tokens": 2**35},
            {"stops": [""]},
            {"stops": ["a"] * 17},
        ):
            with self.assertRaises(slm.SlmArgumentError):
                list(self.context.generate(PROMPT, **wrong))
        with self.assertRaises(TypeError):
            self.context.generate(PROMPT, stops="little")
        with self.assertRaises(slm.SlmFullError):
            list(self.context.generate([1] * 2000))


class TestEval(Base):
    def test_logits_are_a_view(self):
        with freed() as names:
            self.check_view(names)

    def check_view(self, names):
        tokens = self.model.tokenize(PROMPT)
        context = slm.Context(self.model, n_ctx=64, n_logits=8, n_sequences=2)
        spans = [slm.Span(tokens, want="all"), slm.Span(tokens[:2], sequence=1, want="none")]
        self.assertEqual(context.eval_spans(spans), len(tokens))
        self.assertEqual([span.n_done for span in spans], [len(tokens), 2])
        row = context.logits()
        self.assertEqual((row.format, len(row), row.readonly), ("f", self.model.info.n_vocab, True))
        self.assertEqual(row.tolist(), context.logits(len(tokens) - 1).tolist())
        best = max(range(len(row)), key=row.__getitem__)
        self.assertEqual(slm.Sampler(self.model).sample(row), best)
        self.assertEqual(slm.Sampler(self.model).sample(array.array("f", row)), best)
        with self.assertRaises(TypeError):
            slm.Sampler(self.model).sample(bytes(4 * len(row)))
        with self.assertRaises(slm.SlmArgumentError):
            slm.Sampler(self.model).sample(row[:3])
        with self.assertRaises(slm.SlmArgumentError):
            context.logits(len(tokens))
        with self.assertRaises(slm.SlmArgumentError):
            context.eval([1], want="some")
        context.close()
        self.assertEqual(max(row), row[best])  # the memory waits for the view
        self.assertNotIn("slm_context_free", names)
        del row
        self.assertIn("slm_context_free", names)

    def test_sequences(self):
        tokens = self.model.tokenize(PROMPT)
        self.context.eval(tokens)
        first = list(self.context.logits())
        self.context.fork(0, 1)
        self.context.rewind(1, 2)
        self.context.checkpoint(1, 0) if self.model.info.is_recurrent else None
        self.context.eval(tokens[2:], sequence=1)
        for a, b in zip(first, self.context.logits()):
            self.assertAlmostEqual(a, b, places=2)
        self.assertEqual([self.context.length(i) for i in (0, 1)], [len(tokens)] * 2)
        with self.assertRaises(slm.SlmArgumentError):
            self.context.rewind(0, 1000)

    def test_failed_eval_tells_what_is_done(self):
        spans = [slm.Span(self.long_prompt()), slm.Span([1] * 2000, sequence=1)]
        with self.assertRaises(slm.SlmFullError):
            self.context.eval_spans(spans)
        self.assertEqual([span.n_done for span in spans], [0, 0])
        with self.assertRaises(slm.SlmArgumentError) as caught:
            self.context.eval([1, 10**6])
        self.assertEqual(caught.exception.status, slm.constants.E_ARGUMENT)

    def test_embeddings(self):
        rows = self.context.embed(["a cat", "a dog", "stars"], pooling="mean")
        self.assertEqual(rows.shape, (3, self.model.info.n_embd_out))
        for row in rows:
            self.assertEqual(row.format, "f")
            self.assertAlmostEqual(sum(x * x for x in row), 1.0, places=4)
        self.assertEqual(rows[-1].tolist(), rows[2].tolist())
        with self.assertRaises(IndexError):
            rows[3]
        tokens = self.model.tokenize("a cat")
        each = self.context.embed([tokens], normalize=False)
        self.assertEqual(each.shape[0], len(tokens))
        with self.assertRaises(TypeError):
            self.context.embed("a cat")
        with self.assertRaises(slm.SlmArgumentError):
            self.context.embed(["a"], pooling="cls")

    def test_numpy_sees_the_same_memory(self):
        try:
            import numpy
        except ImportError:
            self.skipTest("numpy is not installed")
        self.context.eval([1, 2])
        row = numpy.asarray(self.context.logits())
        self.assertEqual(
            (row.dtype, row.shape, row.flags.owndata), (numpy.float32, (self.model.info.n_vocab,), False)
        )
        other = slm.Context(self.model, n_ctx=64)
        table = other.embed(["a", "b"], pooling="mean").numpy()
        self.assertEqual(table.shape, (2, self.model.info.n_embd_out))
        other.eval(numpy.array([1, 2], dtype=numpy.int32))


class Boom(Exception):
    pass


class TestCallbacks(Base):
    def test_exceptions_come_out(self):
        def raises(done, total):
            raise Boom(done)

        def calls():
            yield lambda: slm.Model(STORYTELLER, progress=raises)
            yield lambda: self.context.eval(self.long_prompt(), progress=raises)
            yield lambda: self.context.embed([self.long_prompt()[:500]], pooling="mean", progress=raises)
            yield lambda: next(self.context.generate(self.long_prompt(), progress=raises))

        for call in calls():
            with self.assertRaises(Boom):
                call()
            self.context.rewind()
            in_thread = []
            thread = threading.Thread(target=lambda: in_thread.append(self.catch(call)))
            thread.start()
            thread.join()
            self.assertIsInstance(in_thread[0], Boom)
            traceback.clear_frames(in_thread[0].__traceback__)  # a generation is one of their locals
            self.context.rewind()
        self.assertTrue("".join(self.context.generate(PROMPT, max_tokens=3)))

    @staticmethod
    def catch(call):
        try:
            return call()
        except BaseException as error:
            return error

    def test_log_exceptions_come_out(self):
        lines = []
        model = slm.Model(STORYTELLER, log=lambda level, line: lines.append((level, line)))
        slm.Context(model, n_ctx=4096)
        self.assertIn(2, [level for level, _ in lines])

        def raises(level, line):
            raise Boom(line)

        try:
            model = slm.Model(STORYTELLER, log=raises)
        except Boom:
            return
        with self.assertRaises(Boom):
            slm.Context(model, n_ctx=4096)
        slm.Context(model, n_ctx=64)

    def test_log_exceptions_stay_in_their_thread(self):
        """A call is through, and what its callback raised not yet taken, as another thread's call ends."""
        first, first_is_through, second_is_over = [], threading.Event(), threading.Event()

        def log(level, line):
            if threading.get_ident() in first:
                raise Boom(line)

        real = function.slm_context_create

        def create(*arguments):
            real(*arguments)
            if threading.get_ident() in first:
                first_is_through.set()
                second_is_over.wait(10)

        function.slm_context_create = create
        self.addCleanup(setattr, function, "slm_context_create", real)
        model = slm.Model(STORYTELLER, log=log)
        outcome = []

        def make():
            first.append(threading.get_ident())
            outcome.append(self.catch(lambda: slm.Context(model, n_ctx=4000, n_threads=1)))

        thread = threading.Thread(target=make)
        thread.start()
        self.assertTrue(first_is_through.wait(10))
        slm.Context(model, n_ctx=4000, n_threads=1)
        second_is_over.set()
        thread.join()
        self.assertIsInstance(outcome[0], Boom)

    def test_log_runs_where_the_caller_is(self):
        threads = set()
        model = slm.Model(STORYTELLER, log=lambda level, line: threads.add(threading.get_ident()))
        slm.Context(model, n_ctx=4096)
        self.assertEqual(threads, {threading.get_ident()})

    def test_one_cancel_for_many_calls(self):
        """What an interrupt or a callback stops is its own call alone."""
        cancel = slm.Cancel()
        with self.assertRaises(Boom):
            self.context.eval(self.long_prompt(), cancel=cancel, progress=self.raises)
        self.assertFalse(cancel.is_set)
        self.context.rewind()
        cancel.set()
        for _ in range(2):
            with self.assertRaises(slm.SlmCancelledError):
                self.context.eval([1], cancel=cancel)
        cancel.clear()
        self.context.eval([1], cancel=cancel)
        self.assertEqual(cancel._flags, {})

    @staticmethod
    def raises(done, total):
        raise Boom

    def test_stop_and_progress(self):
        seen = []
        with self.assertRaises(slm.SlmCancelledError):
            self.context.eval(
                self.long_prompt(), progress=lambda done, total: seen.append((done, total)) or True
            )
        self.assertEqual(len(seen), 1)
        self.assertEqual(self.context.length(), seen[0][0])
        self.context.rewind()
        threads = []
        self.context.eval(
            self.long_prompt(), progress=lambda done, total: threads.append(threading.current_thread())
        )
        self.assertEqual(set(threads), {threading.current_thread()})

    def test_the_context_is_busy_inside(self):
        errors = []

        def progress(done, total):
            for use in (
                lambda: self.context.eval([1]),
                lambda: self.context.rewind(),
                lambda: self.context.close(),
            ):
                try:
                    use()
                except slm.SlmError as error:
                    errors.append(error.name)

        with self.context:
            self.context.eval(self.long_prompt()[:600], progress=progress)
        self.assertEqual(set(errors), {"SLM_E_BUSY", "SLM_E_ARGUMENT"})
        self.assertTrue(self.context.closed)

    def test_looking_from_inside(self):
        worker_lengths = []

        def work():
            self.context.eval(
                self.long_prompt(), progress=lambda done, total: worker_lengths.append(self.context.length())
            )

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        self.assertEqual(worker_lengths[-1], 1000)


class TestStopping(Base):
    def slow_eval(self, **options):
        context = slm.Context(self.model, n_ctx=16384, n_threads=1)
        begin = time.monotonic()
        try:
            context.eval(self.long_prompt() * 16, **options)
        finally:
            self.seconds = time.monotonic() - begin
            self.left = context.length()

    def test_cancel_from_another_thread(self):
        cancel = slm.Cancel()
        threading.Timer(0.05, cancel.set).start()
        with self.assertRaises(slm.SlmCancelledError):
            self.slow_eval(cancel=cancel)
        self.assertLess(self.left, 16000)
        self.assertTrue(cancel.is_set)

    @unittest.skipUnless(hasattr(signal, "setitimer"), "no signals here")
    def test_keyboard_interrupt(self):
        """Ctrl-C during one call of C: it ends, and the exception is KeyboardInterrupt."""
        old = signal.signal(signal.SIGALRM, signal.default_int_handler)
        try:
            for options in ({}, {"progress": lambda done, total: None}):
                signal.setitimer(signal.ITIMER_REAL, 0.05)
                with self.assertRaises(KeyboardInterrupt):
                    self.slow_eval(**options)
                self.assertLess(self.left, 16000)
            context = slm.Context(self.model, n_ctx=16384, n_threads=1)
            generation = context.generate(self.long_prompt() * 16, max_tokens=2)
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            with self.assertRaises(KeyboardInterrupt):
                next(generation)
            self.assertLess(generation.stats.n_prompt_done, 16000)
            generation.cancel()
            with self.assertRaises(slm.SlmCancelledError):
                next(generation)
        finally:
            signal.signal(signal.SIGALRM, old)

    def test_cancel_after_another_thread_was_refused(self):
        context = slm.Context(self.model, n_ctx=16384, n_threads=1)
        begun, outcome = threading.Event(), []
        generation = context.generate(self.long_prompt() * 16, progress=lambda done, total: begun.set())
        thread = threading.Thread(target=lambda: outcome.append(TestCallbacks.catch(lambda: next(generation))))
        thread.start()
        self.assertTrue(begun.wait(10))
        with self.assertRaises(slm.SlmBusyError):
            next(generation)
        generation.cancel()
        thread.join()
        self.assertIsInstance(outcome[0], slm.SlmCancelledError)

    def test_two_threads_and_one_context(self):
        names, barrier = [], threading.Barrier(2)

        def work(sequence):
            barrier.wait()
            for _ in range(20):
                try:
                    self.context.rewind(sequence)
                    self.context.eval(self.long_prompt()[:200], sequence=sequence)
                    "".join(self.context.generate(PROMPT, sequence=sequence, max_tokens=5))
                    names.append("OK")
                except slm.SlmBusyError as error:
                    names.append(error.name)

        threads = [threading.Thread(target=work, args=(i,)) for i in (0, 1)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(set(names), {"OK", "SLM_E_BUSY"})

    def test_the_interpreter_goes_on_meanwhile(self):
        done = threading.Event()
        cancel = slm.Cancel()

        def work():
            with self.assertRaises(slm.SlmCancelledError):
                self.slow_eval(cancel=cancel)
            done.set()

        thread = threading.Thread(target=work)
        thread.start()
        for _ in range(1000):
            time.sleep(0)
        self.assertFalse(done.is_set())  # it computes, and this thread counted to 1000
        cancel.set()
        self.assertTrue(done.wait(10))
        thread.join()

    @unittest.skipUnless(hasattr(os, "fork"), "no fork here")
    def test_fork(self):
        generation = self.context.generate(PROMPT)
        next(generation)
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            names = []
            for use in (lambda: next(generation), lambda: self.context.eval([1])):
                try:
                    use()
                except slm.SlmForkedError as error:
                    names.append(error.name)
            context = slm.Context(self.model, n_ctx=64, n_threads=1)  # models go on working
            names.append("text" if "".join(context.generate(PROMPT, max_tokens=3)) else "")
            self.context.close()
            os.write(write, " ".join(names).encode())
            os._exit(0)
        os.close(write)
        with os.fdopen(read, "rb") as pipe:
            self.assertEqual(pipe.read(), b"SLM_E_FORKED SLM_E_FORKED text")
        self.assertEqual(os.waitpid(child, 0)[1], 0)
        next(generation)


if __name__ == "__main__":
    sys.exit(unittest.main())
