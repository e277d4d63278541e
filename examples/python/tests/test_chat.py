"""Conversations: templates, answers taken apart, and what of a sequence is used again."""
import threading
import unittest

import slm

from . import STORYTELLER

HELLO = [{"role": "user", "content": "Tell me a story."}]
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
            },
        },
    }
]


class TestTemplate(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.model = slm.Model(STORYTELLER)
        cls.template = slm.ChatTemplate(cls.model, slm.builtin_template("chatml"))

    def test_render(self):
        prompt = self.template.render([{"role": "user", "content": "a<|im_end|>b"}])
        self.assertEqual(prompt.text, "<|im_start|>user\na<|im_end|>b<|im_end|>\n<|im_start|>assistant\n")
        self.assertIn((False, b"a<|im_end|>b"), prompt.segments)
        tokens = prompt.tokens(self.model)
        self.assertEqual(self.model.detokenize(tokens, special=True), prompt.text)
        self.assertEqual(tokens.count(self.model.find_token("<|im_end|>")), 1)
        without = self.template.render(HELLO, add_generation_prompt=False)
        self.assertTrue(without.text.endswith("<|im_end|>\n"))
        odd = self.template.render([{"role": "user", "content": "\ud800"}])  # half of a character
        self.assertIn("\N{REPLACEMENT CHARACTER}", odd.text)

    def test_errors(self):
        with self.assertRaises(slm.SlmTemplateError) as caught:
            slm.ChatTemplate(None, "line one\n{% if %}")
        self.assertEqual((caught.exception.name, caught.exception.position), ("SLM_E_TEMPLATE", 2))
        with self.assertRaises(slm.SlmUnsupportedError):
            slm.ChatTemplate(None)
        with self.assertRaises(slm.SlmUnsupportedError):
            slm.builtin_template("nonsense")
        refuses = slm.ChatTemplate(None, "{{ raise_exception('no ' + messages[0].role) }}")
        with self.assertRaisesRegex(slm.SlmTemplateError, "no user"):
            refuses.render(HELLO)
        with self.assertRaises(ValueError):
            self.template.render([{"role": "user", "content": float("nan")}])
        with self.assertRaises(TypeError):
            self.template.render([{"role": "user", "content": object()}])
        deep = value = []
        for _ in range(300):
            value.append([])
            value = value[0]
        with self.assertRaises(slm.SlmError):
            self.template.render([{"role": "user", "content": deep}])

    def test_closed(self):
        template = slm.ChatTemplate(None, "{{ messages[0].content }}", bos_token="<s>")
        prompt = template.render(HELLO)
        template.close()
        self.assertEqual(prompt.text, HELLO[0]["content"])
        prompt.close()
        for use in lambda: template.render(HELLO), lambda: prompt.text, lambda: prompt.tokens(self.model):
            with self.assertRaises(slm.SlmClosedError):
                use()

    def test_many_threads(self):
        texts = []
        threads = [
            threading.Thread(target=lambda: texts.extend(self.template.render(HELLO).text for _ in range(20)))
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual((len(texts), len(set(texts))), (80, 1))


class TestOutput(unittest.TestCase):
    ANSWER = (
        "<think>\nIt may rain.\n</think>\n\nLet me see.\n"
        '<tool_call>\n{"name": "weather", "arguments": {"city": "Kyōto", "days": 2}}\n</tool_call>'
    )

    def events(self, size):
        output = slm.ChatOutput(reasoning="think", tool_calls="hermes", tools=TOOLS)
        self.assertEqual(output.styles, ("think", "hermes"))
        data = self.ANSWER.encode()
        events = []
        for i in range(0, len(data), size):
            events += output.push(data[i : i + size])
        return events + list(output.end())

    def test_events(self):
        for size in 1, 7, 1000:
            events = self.events(size)
            self.assertEqual("".join(e.text for e in events if isinstance(e, slm.Reasoning)), "It may rain.")
            self.assertEqual("".join(e.text for e in events if isinstance(e, slm.Answer)), "Let me see.")
            (call,) = [e for e in events if isinstance(e, slm.ToolCall)]
            self.assertEqual(
                (call.index, call.name, call.arguments), (0, "weather", {"city": "Kyōto", "days": 2})
            )

    def test_errors(self):
        with self.assertRaises(slm.SlmUnsupportedError):
            slm.ChatOutput(reasoning="nonsense")
        output = slm.ChatOutput()
        output.close()
        with self.assertRaises(slm.SlmClosedError):
            output.push("a")


class TestChat(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.model = slm.Model(STORYTELLER)

    def setUp(self):
        self.context = slm.Context(self.model, n_ctx=1024, n_threads=1)
        self.chat = slm.Chat(self.context)

    def text(self, answer):
        return "".join(event.text for event in answer)

    def test_the_shared_beginning_is_used_again(self):
        with self.chat(HELLO, max_tokens=30) as answer:
            first = self.text(answer)
        self.assertEqual(answer.generation.reason, "limit")
        messages = HELLO + [{"role": "assistant", "content": first}, {"role": "user", "content": "Go on."}]
        second = self.chat(messages, max_tokens=30)
        text = self.text(second)
        whole = self.chat.template.render(messages).tokens(self.model)
        self.assertLess(second.generation.stats.n_prompt, len(whole) - 40)
        other = slm.Chat(slm.Context(self.model, n_ctx=1024, n_threads=1), "chatml")
        fresh = other(messages, max_tokens=30)
        self.assertEqual(self.text(fresh), text)
        self.assertEqual(fresh.generation.stats.n_prompt, len(whole))

    def test_the_same_again(self):
        texts = [self.text(self.chat(HELLO, max_tokens=10)) for _ in range(3)]
        self.assertEqual(len(set(texts)), 1)
        again = self.chat(HELLO, max_tokens=10)
        next(again)
        self.assertEqual(again.generation.stats.n_prompt, 1)

    def test_left_and_cancelled_answers(self):
        whole = self.text(self.chat(HELLO, max_tokens=20))
        for event in self.chat(HELLO, max_tokens=20):
            break
        answer = self.chat(HELLO, max_tokens=20)
        first = next(answer)
        answer.cancel()
        with self.assertRaises(slm.SlmCancelledError):
            next(answer)
        self.assertEqual(first.text + self.text(answer), whole)
        self.assertEqual(answer.generation.stats.n_generated, 20)  # it has ended by itself
        answer = self.chat(HELLO, max_tokens=20)
        next(answer)
        next(self.chat(HELLO))
        for use in lambda: answer.generation.stats, lambda: next(answer):
            with self.assertRaises(slm.SlmClosedError):
                use()

    def test_budget_and_sampler(self):
        sampler = slm.Sampler(self.model, temperature=1.0, seed=3)
        answer = self.chat(HELLO, tools=TOOLS, think=False, sampler=sampler, max_tokens=5)
        self.assertTrue(self.text(answer))
        with self.assertRaises(slm.SlmError):  # chatml has no reasoning to end
            list(self.chat(HELLO, reasoning_budget=5))

    def test_too_long(self):
        with self.assertRaises(slm.SlmFullError):
            list(self.chat([{"role": "user", "content": "word " * 2000}]))
        self.assertTrue(self.text(self.chat(HELLO, max_tokens=5)))


if __name__ == "__main__":
    unittest.main()
