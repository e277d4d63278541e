//! Conversations: templates that write them down for a model, and what the model answers.

use crate::call::{bytes, c_text, call, text, Handle};
use crate::context::Context;
use crate::error::Result;
use crate::ffi;
use crate::generate::{GenerateOptions, Generator, Prompt};
use crate::model::{c_string, Model};
use crate::options::defaults;
use crate::text::TextFlags;
use std::os::raw::c_char;
use std::sync::Arc;

struct Inner(Handle<ffi::slm_chat_template>);

// SAFETY: a template is immutable: any number of threads may render with it and free it.
unsafe impl Send for Inner {}
unsafe impl Sync for Inner {}

/// How a conversation is written down for a model: a program in Jinja. A clone is the same template.
///
/// ```
/// let model = slm::Model::open("../models/storyteller-q8_0.gguf")?;
/// let template = slm::ChatTemplate::builtin("chatml", &model)?;
/// let messages = r#"[{"role": "user", "content": "What is <|im_end|>?"}]"#;
/// let prompt = template.render(messages, &slm::ChatOptions::new())?;
/// assert!(prompt.text().starts_with("<|im_start|>user\n"));
/// // What somebody types is no special token.
/// assert!(prompt.segments().any(|s| !s.is_template && s.text.ends_with(b"<|im_end|>?")));
/// # Ok::<(), slm::Error>(())
/// ```
#[derive(Clone)]
pub struct ChatTemplate(Arc<Inner>);

impl ChatTemplate {
    /// The template of the model's file; [`Status::Unsupported`](crate::Status::Unsupported) if it
    /// has none.
    pub fn of_model(model: &Model) -> Result<ChatTemplate> {
        ChatTemplate::create(model, None)
    }

    /// Compiles a template's text.
    pub fn compile(text: &str, model: &Model) -> Result<ChatTemplate> {
        ChatTemplate::create(model, Some(text.as_bytes()))
    }

    /// One that many models share: chatml, gemma, llama2, llama3, mistral, phi3, vicuna, zephyr.
    pub fn builtin(name: &str, model: &Model) -> Result<ChatTemplate> {
        let name = c_string(name, "the name")?;
        let mut raw = ffi::slm_chat_builtin::default();
        // SAFETY: the struct is ours and tells its size; its text is static.
        let text = unsafe {
            call(|err| ffi::slm_chat_builtin_find(0, name.as_ptr(), &mut raw, err))?;
            bytes(raw.text, raw.size)
        };
        ChatTemplate::create(model, Some(text))
    }

    fn create(model: &Model, text: Option<&[u8]>) -> Result<ChatTemplate> {
        let start = text.map_or(std::ptr::null(), |text| text.as_ptr() as *const c_char);
        let size = text.map_or(0, |text| text.len());
        // SAFETY: the text is read during the call; the model is not kept.
        let handle = Handle::create(ffi::slm_chat_template_free, |out, err| unsafe {
            ffi::slm_chat_template_create(out, model.get(), start, size, std::ptr::null(), err)
        })?;
        Ok(ChatTemplate(Arc::new(Inner(handle))))
    }

    /// Renders messages, a JSON array as most servers take it.
    pub fn render(&self, messages: &str, options: &ChatOptions<'_>) -> Result<ChatPrompt> {
        let mut raw = defaults(ffi::slm_chat_options_init);
        let effort = options.reasoning_effort.map(|e| c_string(e, "the effort")).transpose()?;
        // SAFETY: the struct is ours, of the size told; all texts are read during the call only.
        let handle = unsafe {
            raw.add_generation_prompt = !options.no_generation_prompt as i32;
            raw.enable_thinking = options.enable_thinking.map_or(ffi::SLM_AUTO, |on| on as i32);
            if let Some(tools) = options.tools {
                raw.tools = tools.as_ptr() as *const c_char;
                raw.tools_size = tools.len();
            }
            if let Some(extra) = options.extra {
                raw.extra = extra.as_ptr() as *const c_char;
                raw.extra_size = extra.len();
            }
            raw.reasoning_effort = effort.as_ref().map_or(std::ptr::null(), |e| e.as_ptr());
            raw.now = options.now.unwrap_or(ffi::SLM_NO_DATE);
            let start = messages.as_ptr() as *const c_char;
            Handle::create(ffi::slm_chat_prompt_free, |out, err| {
                let template = self.0 .0.get();
                ffi::slm_chat_render(out, template, start, messages.len(), &raw, err)
            })?
        };
        Ok(ChatPrompt { handle })
    }
}

/// What a template may want to know beside the messages. JSON is text here.
#[derive(Clone, Debug, Default)]
pub struct ChatOptions<'a> {
    no_generation_prompt: bool,
    enable_thinking: Option<bool>,
    tools: Option<&'a str>,
    extra: Option<&'a str>,
    reasoning_effort: Option<&'a str>,
    now: Option<i64>,
}

impl<'a> ChatOptions<'a> {
    /// The defaults.
    pub fn new() -> Self {
        ChatOptions::default()
    }

    /// Whether to end with the beginning of an answer, as by default.
    pub fn add_generation_prompt(mut self, on: bool) -> Self {
        self.no_generation_prompt = !on;
        self
    }

    /// By default the template decides.
    pub fn enable_thinking(mut self, on: bool) -> Self {
        self.enable_thinking = Some(on);
        self
    }

    /// A JSON array of tools.
    pub fn tools(mut self, json: &'a str) -> Self {
        self.tools = Some(json);
        self
    }

    /// A JSON object whose members are further variables of the template.
    pub fn extra(mut self, json: &'a str) -> Self {
        self.extra = Some(json);
        self
    }

    /// By default the template decides.
    pub fn reasoning_effort(mut self, effort: &'a str) -> Self {
        self.reasoning_effort = Some(effort);
        self
    }

    /// Seconds since 1970 on the user's clock, for templates that write the date.
    pub fn now(mut self, seconds: i64) -> Self {
        self.now = Some(seconds);
        self
    }
}

/// A rendered conversation.
pub struct ChatPrompt {
    handle: Handle<ffi::slm_chat_prompt>,
}

// SAFETY: a prompt is immutable; any thread may read and free it. It keeps its template.
unsafe impl Send for ChatPrompt {}
unsafe impl Sync for ChatPrompt {}

/// A run of bytes that come from one side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment<'p> {
    /// Bytes, which may end within a character.
    pub text: &'p [u8],
    /// Whether they are the template's, so that special tokens in them count.
    pub is_template: bool,
}

impl ChatPrompt {
    pub(crate) fn raw(&self) -> ffi::slm_chat_prompt_info {
        let mut raw = ffi::slm_chat_prompt_info::default();
        // SAFETY: the struct is ours and tells its size. It cannot fail: nothing is NULL.
        unsafe {
            ffi::slm_chat_prompt_get_info(self.handle.get(), &mut raw, std::ptr::null_mut());
        }
        raw
    }

    /// All of it, as one text.
    pub fn text(&self) -> &str {
        let raw = self.raw();
        // SAFETY: the text is the prompt's.
        unsafe { text(raw.text, raw.size) }
    }

    /// Runs of the template's text and of the conversation's.
    pub fn segments(&self) -> impl Iterator<Item = Segment<'_>> {
        let raw = self.raw();
        (0..raw.n_segments.max(0) as usize).map(move |i| {
            // SAFETY: [n_segments] of segment_size bytes each, the prompt's.
            unsafe {
                let start = raw.segments as *const u8;
                let segment = &*(start.add(i * raw.segment_size) as *const ffi::slm_chat_segment);
                Segment {
                    text: bytes(segment.text, segment.size),
                    is_template: segment.kind == ffi::SLM_SEGMENT_TEMPLATE,
                }
            }
        })
    }
}

/// A part of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChatEvent {
    /// Text of the model's reasoning.
    Reasoning(String),
    /// Text of the answer.
    Answer(String),
    /// A whole tool call.
    ToolCall(ToolCall),
    /// Nothing more in this answer.
    End,
}

/// What the model wants to be called.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ToolCall {
    /// From 0 in each answer.
    pub index: i32,
    /// "" if the model gives none.
    pub id: String,
    /// The tool.
    pub name: String,
    /// A JSON object.
    pub arguments: String,
}

/// Takes an answer apart as it arrives: reasoning, text, tool calls.
///
/// ```
/// use slm::{ChatEvent, ChatOutput};
/// let mut output = ChatOutput::with_styles("think", "hermes", None)?;
/// output.push("<think>Two and two</think>It is ")?;
/// output.push("four.")?;
/// output.end()?;
/// let mut answer = String::new();
/// while let Some(event) = output.next_event()? {
///     match event {
///         ChatEvent::Answer(text) => answer += &text,
///         ChatEvent::End => break,
///         _ => {}
///     }
/// }
/// assert_eq!(answer, "It is four.");
/// # Ok::<(), slm::Error>(())
/// ```
pub struct ChatOutput {
    handle: Handle<ffi::slm_chat_output>,
}

// SAFETY: one thread at a time may use and free it: it is not Sync.
unsafe impl Send for ChatOutput {}

impl ChatOutput {
    /// In the styles that the template shows. `tools`, a JSON array, gives arguments their types.
    pub fn new(template: &ChatTemplate, tools: Option<&str>) -> Result<ChatOutput> {
        ChatOutput::create(Some(template), None, tools)
    }

    /// In styles of these names; "" is none.
    pub fn with_styles(
        reasoning: &str,
        tool_calls: &str,
        tools: Option<&str>,
    ) -> Result<ChatOutput> {
        ChatOutput::create(None, Some((reasoning, tool_calls)), tools)
    }

    fn create(
        template: Option<&ChatTemplate>,
        styles: Option<(&str, &str)>,
        tools: Option<&str>,
    ) -> Result<ChatOutput> {
        let styles = match styles {
            Some((a, b)) => Some((c_string(a, "the style")?, c_string(b, "the style")?)),
            None => None,
        };
        let mut raw = defaults(ffi::slm_chat_output_options_init);
        // SAFETY: the struct is ours, of the size told; all texts are read during the call only.
        let handle = unsafe {
            if let Some((reasoning, tool_calls)) = &styles {
                raw.reasoning = reasoning.as_ptr();
                raw.tool_calls = tool_calls.as_ptr();
            }
            if let Some(tools) = tools {
                raw.tools = tools.as_ptr() as *const c_char;
                raw.tools_size = tools.len();
            }
            let template = template.map_or(std::ptr::null_mut(), |template| template.0 .0.get());
            Handle::create(ffi::slm_chat_output_free, |out, err| {
                ffi::slm_chat_output_create(out, template, &raw, err)
            })?
        };
        Ok(ChatOutput { handle })
    }

    pub(crate) fn get(&self) -> *mut ffi::slm_chat_output {
        self.handle.get()
    }

    /// Begins another answer to this prompt; what has not been read of the last one is gone.
    pub fn begin(&mut self, prompt: Option<&ChatPrompt>) -> Result<()> {
        let prompt = prompt.map_or(std::ptr::null_mut(), |prompt| prompt.handle.get());
        // SAFETY: the prompt is read during the call.
        call(|err| unsafe { ffi::slm_chat_output_begin(self.get(), prompt, err) })
    }

    fn push_piece(&mut self, kind: i32, text: &str) -> Result<()> {
        // SAFETY: the text is copied.
        call(|err| unsafe {
            let start = text.as_ptr() as *const c_char;
            ffi::slm_chat_output_push(self.get(), kind, start, text.len(), err)
        })
    }

    /// Adds text of the answer, cut anywhere.
    pub fn push(&mut self, text: &str) -> Result<()> {
        self.push_piece(ffi::SLM_PIECE_TEXT, text)
    }

    /// Ends the answer; what is held back comes out.
    pub fn end(&mut self) -> Result<()> {
        self.push_piece(ffi::SLM_PIECE_END, "")
    }

    /// The next part, or `None` until more is pushed.
    pub fn next_event(&mut self) -> Result<Option<ChatEvent>> {
        let mut raw = ffi::slm_chat_event::default();
        // SAFETY: the struct is ours and tells its size; its texts are copied before the next call.
        unsafe {
            call(|err| ffi::slm_chat_output_next(self.get(), &mut raw, err))?;
            Ok(match raw.kind {
                ffi::SLM_CHAT_REASONING => {
                    Some(ChatEvent::Reasoning(text(raw.text, raw.size).to_string()))
                }
                ffi::SLM_CHAT_ANSWER => {
                    Some(ChatEvent::Answer(text(raw.text, raw.size).to_string()))
                }
                ffi::SLM_CHAT_TOOL_CALL => Some(ChatEvent::ToolCall(ToolCall {
                    index: raw.index,
                    id: c_text(raw.id).to_string(),
                    name: c_text(raw.name).to_string(),
                    arguments: c_text(raw.arguments).to_string(),
                })),
                ffi::SLM_CHAT_END => Some(ChatEvent::End),
                _ => None,
            })
        }
    }

    /// The names of the styles of reasoning and of tool calls, "" if there is none.
    pub fn styles(&self) -> (&str, &str) {
        let mut raw = ffi::slm_chat_output_info::default();
        // SAFETY: the struct is ours and tells its size; names are static. Nothing is NULL.
        unsafe {
            ffi::slm_chat_output_get_info(self.get(), &mut raw, std::ptr::null_mut());
            (c_text(raw.reasoning), c_text(raw.tool_calls))
        }
    }
}

/// An answer being generated: an iterator of its parts, without [`ChatEvent::End`].
pub struct ChatAnswer<'a> {
    generator: Generator<'a>,
    output: &'a mut ChatOutput,
    pushed_end: bool,
    after_error: bool,
}

impl Context {
    /// Answers a rendered conversation.
    ///
    /// ```
    /// use slm::*;
    /// let model = Model::open("../models/storyteller-q8_0.gguf")?;
    /// let mut context = Context::new(&model)?;
    /// let template = ChatTemplate::builtin("chatml", &model)?;
    /// let mut output = ChatOutput::new(&template, None)?;
    /// let messages = r#"[{"role": "user", "content": "Tell me a story."}]"#;
    /// let prompt = template.render(messages, &ChatOptions::new())?;
    /// let options = GenerateOptions::new().max_tokens(20);
    /// for event in context.chat(&prompt, &mut output, options)? {
    ///     if let ChatEvent::Answer(text) = event? {
    ///         print!("{}", text);
    ///     }
    /// }
    /// # Ok::<(), Error>(())
    /// ```
    pub fn chat<'a>(
        &'a mut self,
        prompt: &ChatPrompt,
        output: &'a mut ChatOutput,
        options: GenerateOptions<'a>,
    ) -> Result<ChatAnswer<'a>> {
        let tokens = self.model().tokenize_prompt(prompt, TextFlags::BOS)?;
        output.begin(Some(prompt))?;
        let generator = self.begin(Prompt::Tokens(&tokens), options, Some(output))?;
        Ok(ChatAnswer { generator, output, pushed_end: false, after_error: false })
    }
}

impl<'a> ChatAnswer<'a> {
    /// The generator behind it, to look at.
    pub fn generator(&self) -> &Generator<'a> {
        &self.generator
    }

    fn step(&mut self) -> Result<Option<ChatEvent>> {
        loop {
            match self.output.next_event()? {
                Some(ChatEvent::End) => return Ok(None),
                Some(event) => return Ok(Some(event)),
                None if self.pushed_end => return Ok(None),
                None => {}
            }
            match self.generator.next_piece()? {
                Some(piece) => {
                    let special = piece.is_special;
                    let kind = if special { ffi::SLM_PIECE_SPECIAL } else { ffi::SLM_PIECE_TEXT };
                    self.output.push_piece(kind, piece.text)?;
                }
                None => {
                    self.output.end()?;
                    self.pushed_end = true;
                }
            }
        }
    }
}

impl Iterator for ChatAnswer<'_> {
    type Item = Result<ChatEvent>;

    fn next(&mut self) -> Option<Result<ChatEvent>> {
        if std::mem::take(&mut self.after_error) {
            return None;
        }
        let step = self.step();
        self.after_error = step.is_err();
        step.transpose()
    }
}
