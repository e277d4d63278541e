"""Models: opening them, and what they tell."""
import array
import gc
import io
import mmap
import pickle
import tempfile
import threading
import time
import unittest
import zipfile
from pathlib import Path

import slm

from . import STORYTELLER, freed


class TestModel(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.model = slm.Model(STORYTELLER)

    def test_info(self):
        info = self.model.info
        self.assertEqual((info.family, info.n_vocab > 100, info.is_causal), ("llama", True, 1))

    def test_metadata_is_a_mapping(self):
        metadata = self.model.metadata
        self.assertEqual(metadata["general.architecture"], "llama")
        self.assertEqual(len(list(metadata)), len(metadata))
        tokens = metadata["tokenizer.ggml.tokens"]
        self.assertEqual(len(tokens), self.model.info.n_vocab)
        self.assertIsInstance(metadata["llama.attention.layer_norm_rms_epsilon"], float)
        self.assertIsNone(metadata.get("no.such.key"))
        with self.assertRaises(KeyError):
            metadata["general.architecture\0"]
        self.assertEqual(dict(metadata).keys(), set(metadata))

    def test_tensors(self):
        tensors = {tensor.name: tensor for tensor in self.model.tensors()}
        self.assertEqual(len(tensors), self.model.info.n_tensors)
        self.assertEqual(tensors["token_embd.weight"].shape[1], self.model.info.n_vocab)

    def test_text_comes_back(self):
        for text in "Once upon a time", "", "grüße \N{DOG FACE}", "a\0b":
            tokens = self.model.tokenize(text)
            self.assertEqual(self.model.detokenize(tokens), text)
        self.assertEqual(self.model.tokenize("", bos=False), [])
        long = "once upon a time " * 3000
        self.assertEqual(
            self.model.detokenize_bytes(array.array("i", self.model.tokenize(long))), long.encode()
        )

    def test_tokens(self):
        info = self.model.token(self.model.info.eos_token)
        self.assertTrue(info.is_end)
        self.assertEqual(self.model.find_token(info.text), info.id)
        self.assertIsNone(self.model.find_token("no such token"))

    def test_plan_is_what_a_context_takes(self):
        plan = self.model.plan(n_ctx=256, n_threads=1)
        with slm.Context(self.model, n_ctx=256, n_threads=1) as context:
            self.assertGreaterEqual(plan.context_heap_bytes, context.info.heap_bytes)

    def test_wrong_arguments(self):
        for wrong in (-1, 10**6, 2**31 - 1):
            with self.assertRaises(slm.SlmArgumentError) as caught:
                self.model.token(wrong)
            self.assertEqual((caught.exception.name, caught.exception.status), ("SLM_E_ARGUMENT", -1))
        with self.assertRaises(OverflowError):
            self.model.token(2**40)
        with self.assertRaises(OverflowError):
            self.model.detokenize([2**40])
        with self.assertRaises(TypeError):
            self.model.detokenize(["a"])
        with self.assertRaises(TypeError):
            self.model.tokenize(5)
        with self.assertRaises(TypeError):
            slm.Model()
        with self.assertRaises(ValueError):
            slm.Model("a\0b")
        with self.assertRaisesRegex(ValueError, "n_ctx"):
            slm.Context(self.model, n_ctx=2**40)

    def test_memory_in_place(self):
        data = STORYTELLER.read_bytes()
        with slm.Model(data=data) as from_bytes:
            self.assertEqual(from_bytes.tokenize("a cat"), self.model.tokenize("a cat"))
        with open(STORYTELLER, "rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        model = slm.Model(data=memoryview(mapped))
        context = slm.Context(model, n_ctx=64)
        model.close()
        with self.assertRaises(BufferError):
            mapped.close()  # the context reads it
        self.assertTrue("".join(context.generate("Once", max_tokens=5)))
        context.close()
        del model, context
        gc.collect()
        mapped.close()

    def test_data_is_let_go(self):
        data = bytearray(STORYTELLER.read_bytes())
        slm.Model(data=data, read=True).close()
        gc.collect()
        data.append(0)  # a BufferError while somebody holds it


class TestReaders(unittest.TestCase):
    def check(self, model):
        with model, slm.Context(model, n_ctx=64) as context:
            self.assertTrue("".join(context.generate("Once", max_tokens=5)))

    def test_files_of_python(self):
        data = STORYTELLER.read_bytes()
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "models.zip"
            with zipfile.ZipFile(path, "w") as archive:
                archive.writestr("model.gguf", data)
            with zipfile.ZipFile(path) as archive, archive.open("model.gguf") as member:
                self.check(slm.Model(reader=member))
        self.check(slm.Model(reader=[io.BytesIO(data)]))

    def test_a_function(self):
        data = STORYTELLER.read_bytes()
        threads = set()

        def read(file, offset, size):
            threads.add(threading.get_ident())
            return memoryview(data)[offset : offset + min(size, 100000)]  # a part will do

        self.check(slm.Model(reader=read, sizes=[len(data)]))
        self.assertEqual(threads, {threading.get_ident()})

    def test_what_goes_wrong(self):
        data = STORYTELLER.read_bytes()

        def raises(file, offset, size):
            raise ZeroDivisionError

        for reader, kind in (
            (raises, ZeroDivisionError),
            (lambda file, offset, size: None, TypeError),
            (lambda file, offset, size: bytes(size + 1), ValueError),
            (lambda file, offset, size: b"", slm.SlmError),
            (lambda file, offset, size: bytes(size), slm.SlmFormatError),
        ):
            with self.assertRaises(kind):
                slm.Model(reader=reader, sizes=[len(data)])
        both = {"data": data, "path": "a"}
        for wrong in {"reader": raises}, {"reader": io.BytesIO(data), "sizes": [1]}, both:
            with self.assertRaises(TypeError):
                slm.Model(**wrong)
        with self.assertRaises(ValueError):
            slm.Model(reader=raises, sizes=[-1])
        with self.assertRaises(slm.SlmError):
            slm.Model(reader=[])

    def test_cancelled_while_python_reads(self):
        """slm goes on, and its buffer goes, while the function still has the data."""
        data, cancel = STORYTELLER.read_bytes(), slm.Cancel()

        def read(file, offset, size):
            cancel.set()
            time.sleep(0.1)
            return data[offset : offset + size]

        with self.assertRaises(slm.SlmError):
            slm.Model(reader=read, sizes=[len(data)], cancel=cancel)


class TestDecoder(unittest.TestCase):
    def test_whole_characters(self):
        model = slm.Model(STORYTELLER)
        text = "gr\u00fc\u00dfe \N{DOG FACE} and a cat"
        tokens = model.tokenize(text)
        decoder = model.decoder()
        for _ in range(2):
            pieces = [decoder.push(token) for token in tokens]
            self.assertEqual("".join(pieces) + decoder.end(), text)
            self.assertIn("", pieces)  # bytes of a character that wait
            self.assertNotIn("\N{REPLACEMENT CHARACTER}", "".join(pieces))
        dog = model.tokenize("\N{DOG FACE}")
        self.assertEqual("".join(map(decoder.push, dog[:-1])).strip(), "")
        self.assertEqual(decoder.end()[-1], "\N{REPLACEMENT CHARACTER}")
        end = model.info.eos_token
        self.assertEqual(model.decoder(special=True).push(end), model.detokenize([end], special=True))
        for wrong in -1, 10**6:
            with self.assertRaises(slm.SlmArgumentError):
                decoder.push(wrong)


class TestBadModels(unittest.TestCase):
    def check(self, data, kind, **options):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "bad.gguf"
            path.write_bytes(data)
            with self.assertRaises(kind) as caught:
                slm.Model(path, **options)
        self.assertTrue(caught.exception.message)
        with self.assertRaises(kind):
            slm.Model(data=data, **options)
        return caught.exception

    def test_corrupt_files(self):
        data = STORYTELLER.read_bytes()
        for size in 0, 3, 24, 5000, len(data) - 1:
            error = self.check(data[:size], slm.SlmFormatError)
            self.assertEqual(error.name, "SLM_E_FORMAT")
        self.check(b"GGUF" + b"\xff" * 100, slm.SlmError)
        for i in range(0, 4000, 97):  # damaged anywhere: a model or an exception, and no crash
            broken = bytearray(data[:])
            broken[i] ^= 0xFF
            try:
                slm.Model(data=broken).close()
            except slm.SlmError:
                pass

    def test_missing_file(self):
        with self.assertRaises(OSError) as caught:
            slm.Model("/no/such/file.gguf")
        self.assertEqual(caught.exception.name, "SLM_E_IO")
        copy = pickle.loads(pickle.dumps(caught.exception))
        self.assertEqual((copy.name, str(copy)), ("SLM_E_IO", str(caught.exception)))

    def test_memory_cap(self):
        with self.assertRaises(MemoryError):
            slm.Model(STORYTELLER, max_bytes=1000)


class TestLifetime(unittest.TestCase):
    def test_closed(self):
        model = slm.Model(STORYTELLER)
        context = slm.Context(model, n_ctx=64)
        sampler = slm.Sampler(model, temperature=1.0)
        generation = context.generate("Once", sampler=sampler)
        next(generation)
        for handle in model, sampler, context:
            handle.close()
            handle.close()
        next(generation)  # objects keep each other
        generation.close()
        for use in (
            lambda: model.tokenize("a"),
            lambda: model.metadata["a"],
            lambda: slm.Context(model),
            lambda: context.eval([1]),
            lambda: context.info,
            lambda: context.generate("a"),
            lambda: sampler.accept(1),
            lambda: sampler.clone(),
            lambda: next(generation),
            lambda: generation.stats,
            lambda: generation.__enter__(),
        ):
            with self.assertRaises(slm.SlmClosedError):
                use()
        self.assertIn("closed", repr(model))

    def test_garbage_is_collected(self):
        with freed() as names:
            model = slm.Model(STORYTELLER)
            context = slm.Context(model, n_ctx=64)
            generation = context.generate("Once", progress=lambda done, total: None)
            next(generation)
            del model, context
            self.assertNotIn("slm_generate_end", names)
            del generation
            gc.collect()
        self.assertEqual(sorted(names), ["slm_context_free", "slm_generate_end", "slm_model_free"])

    def test_a_circle_is_collected(self):
        with freed() as names:
            context = slm.Context(slm.Model(STORYTELLER), n_ctx=64)
            generation = context.generate("Once", progress=lambda done, total: generation.stats)
            next(generation)
            del context, generation
            gc.collect()
        self.assertIn("slm_generate_end", names)

    def test_closed_while_another_thread_computes(self):
        model = slm.Model(STORYTELLER)
        tokens = model.tokenize("once upon a time " * 400)
        for _ in range(5):
            with freed() as names:
                context = slm.Context(model, n_ctx=2048, n_threads=1)
                begun, closed, outcome = threading.Event(), threading.Event(), []

                def work():
                    context.eval(tokens, progress=lambda done, total: begun.set() or closed.wait(10) is None)
                    outcome.extend(names)

                thread = threading.Thread(target=work)
                thread.start()
                begun.wait(10)
                context.close()
                self.assertEqual(names, [])
                closed.set()
                thread.join()
                self.assertEqual(outcome, ["slm_context_free"])
