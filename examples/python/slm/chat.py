"""Conversations: templates, answers taken apart, and a helper that does both."""
from __future__ import annotations

import ctypes
import json
from dataclasses import dataclass
from typing import Any, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple, Union

from ._call import Progress, Watch
from ._convert import Text, fill_tokens, text_flags, to_bytes
from ._ffi import C, address, function, options, read_bytes, read_string, struct
from ._handle import Gate, Handle, Owner, use
from .context import Context
from .errors import SlmArgumentError
from .generate import Generation
from .model import Model
from .sampler import Sampler

Messages = Sequence[Mapping[str, Any]]
Tools = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Reasoning:
    """A piece of what the model thinks before it answers."""

    text: str


@dataclass(frozen=True)
class Answer:
    """A piece of the answer."""

    text: str


@dataclass(frozen=True)
class ToolCall:
    """A call of a tool, whole. id is "" if the model's format has none; json is the text of the
    arguments."""

    index: int
    id: str
    name: str
    arguments: Dict[str, Any]
    json: str


Event = Union[Reasoning, Answer, ToolCall]


def builtin_template(name: str) -> str:
    """The text of a chat template that many models share: chatml, gemma, llama2, llama3, mistral,
    phi3, vicuna, zephyr."""
    found = struct.slm_chat_builtin()
    function.slm_chat_builtin_find(0, to_bytes(name) + b"\0", ctypes.byref(found))
    return read_bytes(found.text, found.size).decode("utf-8")


def _json(value: Any) -> bytes:
    """ASCII; a ValueError for NaN, which JSON has not."""
    return json.dumps(value, allow_nan=False).encode("ascii")


def _string(text: Optional[str]) -> Optional[bytes]:
    """0-terminated, or NULL."""
    if text is not None and "\0" in text:
        raise SlmArgumentError(C.E_ARGUMENT, "a 0 character in a name")
    return None if text is None else to_bytes(text) + b"\0"


class ChatPrompt(Handle):
    """A conversation as a template wrote it down. Any thread."""

    _what = "chat prompt"

    def __init__(self, owner: Owner) -> None:
        self._owner = owner

    def _info(self, pointer: int) -> Any:
        info = struct.slm_chat_prompt_info()
        function.slm_chat_prompt_get_info(pointer, ctypes.byref(info))
        return info

    @property
    def text(self) -> str:
        with self._use() as pointer:
            info = self._info(pointer)
            return read_bytes(info.text, info.size).decode("utf-8", "replace")

    @property
    def segments(self) -> List[Tuple[bool, bytes]]:
        """(is the template's, text) pairs: special tokens are found in the template's text alone."""
        found = []
        with self._use() as pointer:
            info = self._info(pointer)
            for i in range(info.n_segments):
                row = struct.slm_chat_segment.from_address(info.segments + i * info.segment_size)
                found.append((row.kind == C.SEGMENT_TEMPLATE, read_bytes(row.text, row.size)))
        return found

    def tokens(self, model: Model, *, bos: bool = True) -> List[int]:
        """Tokens for Context.generate; no text of the conversation becomes a special token."""
        with self._use() as pointer, model._use() as its_model:
            info = self._info(pointer)
            return fill_tokens(
                function.slm_tokenize_segments,
                info.size + 8,
                its_model,
                info.segments,
                info.n_segments,
                info.segment_size,
                text_flags(bos, False),
            )


class ChatTemplate(Handle):
    """How a conversation is written down for a model. Any number of threads may use one.

    model       whose own template it is; and whose texts the start and end tokens have
    text        another template, in Jinja, such as builtin_template("chatml")
    bos_token, eos_token   texts instead of the model's
    max_bytes   cap on the memory of the template and of what it renders
    """

    _what = "chat template"

    def __init__(
        self,
        model: Optional[Model] = None,
        text: Optional[Text] = None,
        *,
        bos_token: Optional[str] = None,
        eos_token: Optional[str] = None,
        max_bytes: Optional[int] = None,
    ) -> None:
        bos, eos = _string(bos_token), _string(eos_token)
        opts = options("chat_template", bos_token=address(bos), eos_token=address(eos), max_bytes=max_bytes)
        data = None if text is None else to_bytes(text)
        owner = Owner(function.slm_chat_template_free)
        with use(model) as pointer:
            function.slm_chat_template_create(
                ctypes.byref(owner.out), pointer, data, len(data or b""), ctypes.byref(opts)
            )
        self._owner = owner

    def render(
        self,
        messages: Messages,
        *,
        tools: Optional[Tools] = None,
        think: Optional[bool] = None,
        reasoning_effort: Optional[str] = None,
        add_generation_prompt: bool = True,
        extra: Optional[Mapping[str, Any]] = None,
        now: Optional[int] = None,
    ) -> ChatPrompt:
        """Writes a conversation down.

        messages   dicts as most servers take them: {"role": "user", "content": "Hello"}
        tools      dicts of functions with JSON schemas
        think      whether the model is to reason; None: the template decides
        reasoning_effort   "low" and so on, for templates that know it
        extra      further variables of the template
        now        seconds since 1970 on the user's wall clock, for templates that write the date
        """
        data, tools_data = _json(list(messages)), None if tools is None else _json(list(tools))
        extra_data, effort = None if extra is None else _json(dict(extra)), _string(reasoning_effort)
        opts = options(
            "chat",
            add_generation_prompt=int(add_generation_prompt),
            enable_thinking=None if think is None else int(think),
            tools=address(tools_data),
            tools_size=len(tools_data or b""),
            extra=address(extra_data),
            extra_size=len(extra_data or b""),
            reasoning_effort=address(effort),
            now=now,
        )
        owner = Owner(function.slm_chat_prompt_free)
        with self._use() as pointer:
            function.slm_chat_render(ctypes.byref(owner.out), pointer, data, len(data), ctypes.byref(opts))
        return ChatPrompt(owner)


class ChatOutput(Handle):
    """Takes apart what a model answers: pieces of text in, events out. One thread at a time.

    template    whose style of reasoning and tool calls it is
    reasoning, tool_calls   styles by name instead, "" for none
    tools       those given to the model: arguments get the types of their schemas
    """

    _what = "chat output"

    def __init__(
        self,
        template: Optional[ChatTemplate] = None,
        *,
        reasoning: Optional[str] = None,
        tool_calls: Optional[str] = None,
        tools: Optional[Tools] = None,
    ) -> None:
        data, styles = None if tools is None else _json(list(tools)), (
            _string(reasoning),
            _string(tool_calls),
        )
        opts = options(
            "chat_output",
            reasoning=address(styles[0]),
            tool_calls=address(styles[1]),
            tools=address(data),
            tools_size=len(data or b""),
        )
        owner = Owner(function.slm_chat_output_free, (), Gate())
        with use(template) as pointer:
            function.slm_chat_output_create(ctypes.byref(owner.out), pointer, ctypes.byref(opts))
        self._owner = owner
        self._found: List[Event] = []

    @property
    def styles(self) -> Tuple[str, str]:
        """The names of the styles of reasoning and of tool calls, "" where there is none."""
        info = struct.slm_chat_output_info()
        with self._use() as pointer:
            function.slm_chat_output_get_info(pointer, ctypes.byref(info))
        return read_string(info.reasoning), read_string(info.tool_calls)

    def begin(self, prompt: Optional[ChatPrompt] = None) -> None:
        """Begins another answer, to this prompt."""
        with self._use() as pointer, use(prompt) as its_prompt:
            function.slm_chat_output_begin(pointer, its_prompt)

    def push(self, text: Text, *, special: bool = False) -> Iterator[Event]:
        """Adds a piece of the answer, special if it is a control token's, and gives what it completes."""
        return self._push(C.PIECE_SPECIAL if special else C.PIECE_TEXT, text)

    def end(self) -> Iterator[Event]:
        """Ends the answer, and gives what was held back."""
        return self._push(C.PIECE_END, "")

    def _push(self, kind: int, text: Text) -> Iterator[Event]:
        data = to_bytes(text)
        Watch().run(lambda: self._take(kind, data, self._found))
        events = list(self._found)
        del self._found[: len(events)]
        return iter(events)

    def _take(self, kind: int, data: bytes, found: List[Event]) -> None:
        """Adds a piece, and what it completes to found. Where Ctrl-C cannot come."""
        event = struct.slm_chat_event()
        with self._use() as pointer:
            function.slm_chat_output_push(pointer, kind, data, len(data))
            while True:
                function.slm_chat_output_next(pointer, ctypes.byref(event))
                if event.kind in (C.CHAT_NONE, C.CHAT_END):
                    return
                text = read_bytes(event.text, event.size).decode("utf-8", "replace")
                if event.kind == C.CHAT_TOOL_CALL:
                    call_id, name = read_string(event.id), read_string(event.name)
                    found.append(ToolCall(event.index, call_id, name, json.loads(text), text))
                else:
                    found.append(Reasoning(text) if event.kind == C.CHAT_REASONING else Answer(text))


class ChatAnswer:
    """What Chat gives: an iterator of events, computed as they are asked for. Leaving the loop and
    close() end the answer; after SlmCancelledError and Ctrl-C, next() goes on where it was.

    generation   its Generation: stats, reason
    """

    def __init__(self, generation: Generation, output: ChatOutput, prompt: List[int]) -> None:
        self.generation = generation
        self._output = output
        self._events: List[Event] = []
        self._ended = False
        self._prompt = prompt

    def _tokens(self) -> List[int]:
        """What the sequence was given and has chosen. Where the answer was stopped the sequence may
        hold more, or one less."""
        return self._prompt + self.generation.tokens

    def __iter__(self) -> Iterator[Event]:
        return self

    def __next__(self) -> Event:
        while not self._events:
            if self._ended:
                raise StopIteration
            self.generation._watch.run(self._advance)
        event = self._events[0]
        del self._events[0]  # and no call before the return: it would let Ctrl-C in
        return event

    def _advance(self) -> None:
        """A step of the generation and the events of its piece. To be run by its watch."""
        self.generation._advance()
        kind, text = self.generation._pieces[0]
        self._output._take(kind, text.encode(), self._events)
        if kind == C.PIECE_END:
            self._ended = True
        else:
            del self.generation._pieces[0]

    def cancel(self) -> None:
        """Stops the step that runs now with SlmCancelledError. Any thread."""
        self.generation.cancel()

    def close(self) -> None:
        self.generation.close()

    def __enter__(self) -> ChatAnswer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Chat:
    """Conversations in one sequence of a context, by the model's template.

    >>> chat = slm.Chat(context)
    >>> for event in chat([{"role": "user", "content": "Hello"}]):
    ...     if isinstance(event, slm.Answer):
    ...         print(event.text, end="", flush=True)

    Each call gets the whole conversation, as servers do. What stands in the sequence already, the
    beginning that two conversations share, is not computed again.

    template   None: the model's; a ChatTemplate; or the name of a built-in one, "chatml"
    sequence   belongs to the Chat from now on
    """

    def __init__(
        self, context: Context, template: Union[ChatTemplate, str, None] = None, *, sequence: int = 0
    ) -> None:
        if isinstance(template, ChatTemplate):
            self.template = template
        else:
            text = None if template is None else builtin_template(template)
            self.template = ChatTemplate(context.model, text)
        self.context = context
        self.sequence = sequence
        self._last: Optional[ChatAnswer] = None

    def __call__(
        self,
        messages: Messages,
        *,
        tools: Optional[Tools] = None,
        think: Optional[bool] = None,
        reasoning_effort: Optional[str] = None,
        reasoning_budget: Optional[int] = None,
        extra: Optional[Mapping[str, Any]] = None,
        now: Optional[int] = None,
        sampler: Optional[Sampler] = None,
        max_tokens: Optional[int] = None,
        stops: Sequence[Text] = (),
        progress: Optional[Progress] = None,
    ) -> ChatAnswer:
        """Answers a conversation: an iterator of Reasoning, Answer and ToolCall. It ends the answer
        before. For the options see ChatTemplate.render and Context.generate.

        reasoning_budget   tokens the model may think; then it has to answer
        """
        with self.template.render(
            messages, tools=tools, think=think, reasoning_effort=reasoning_effort, extra=extra, now=now
        ) as prompt:
            tokens = prompt.tokens(self.context.model)
            output = ChatOutput(self.template, tools=tools)
            output.begin(prompt)
        n_shared = self._rewind_to_shared(tokens)
        generation = Generation(
            self.context,
            tokens[n_shared:],
            sequence=self.sequence,
            sampler=sampler,
            max_tokens=max_tokens,
            stops=stops,
            bos=False,
            progress=progress,
            chat_output=output,
            reasoning_budget=reasoning_budget,
        )
        self._last = ChatAnswer(generation, output, tokens)
        return self._last

    def _rewind_to_shared(self, tokens: List[int]) -> int:
        """Takes back what the sequence has and tokens don't begin with; how many it still has."""
        known: List[int] = []
        if self._last is not None:
            self._last.close()
            known = self._last._tokens()[: self.context.length(self.sequence)]
        n = 0
        while n < min(len(known), len(tokens) - 1) and known[n] == tokens[n]:
            n += 1
        try:
            self.context.rewind(self.sequence, n)
        except SlmArgumentError:  # the state of a recurrent model goes back to its beginning alone
            self.context.rewind(self.sequence, 0)
            n = 0
        return n
