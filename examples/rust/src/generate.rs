//! Generation: prompt in, pieces of text out.

use crate::call::{call, run_progress, text, tokens, CancelFlag, Handle, Pinned, Progress};
use crate::chat::ChatOutput;
use crate::context::{count, Context};
use crate::error::Result;
use crate::ffi;
use crate::model::c_string;
use crate::options::{defaults, stop_methods};
use crate::sampler::Sampler;
use crate::text::{TextFlags, Token};
use std::ffi::CString;
use std::marker::PhantomData;
use std::ops::ControlFlow;
use std::os::raw::c_char;
use std::time::Duration;

/// What is continued: text, or tokens.
#[derive(Clone, Copy, Debug)]
pub enum Prompt<'p> {
    /// Text, which is tokenised with the flags of the options.
    Text(&'p [u8]),
    /// Tokens as they are.
    Tokens(&'p [Token]),
}

impl<'p> From<&'p str> for Prompt<'p> {
    fn from(text: &'p str) -> Self {
        Prompt::Text(text.as_bytes())
    }
}

impl<'p> From<&'p String> for Prompt<'p> {
    fn from(text: &'p String) -> Self {
        Prompt::Text(text.as_bytes())
    }
}

impl<'p> From<&'p [Token]> for Prompt<'p> {
    fn from(tokens: &'p [Token]) -> Self {
        Prompt::Tokens(tokens)
    }
}

impl<'p> From<&'p Vec<Token>> for Prompt<'p> {
    fn from(tokens: &'p Vec<Token>) -> Self {
        Prompt::Tokens(tokens)
    }
}

/// How to generate. All fields have defaults.
pub struct GenerateOptions<'a> {
    raw: ffi::slm_generate_options,
    sequence: i32,
    stops: Vec<String>,
    cancel: Option<CancelFlag>,
    progress: Option<Progress<'a>>,
    sampler: Option<&'a mut Sampler>,
}

impl Default for GenerateOptions<'_> {
    fn default() -> Self {
        GenerateOptions {
            raw: defaults(ffi::slm_generate_options_init),
            sequence: 0,
            stops: Vec::new(),
            cancel: None,
            progress: None,
            sampler: None,
        }
    }
}

impl<'a> GenerateOptions<'a> {
    /// The defaults: greedy, on sequence 0, until the model ends or the context is full.
    pub fn new() -> Self {
        GenerateOptions::default()
    }

    /// Tokens at most.
    pub fn max_tokens(mut self, max_tokens: i32) -> Self {
        self.raw.max_tokens = max_tokens;
        self
    }

    /// A string that ends the text and is no part of it; there may be 16.
    pub fn stop(mut self, stop: impl Into<String>) -> Self {
        self.stops.push(stop.into());
        self
    }

    /// The sequence to continue.
    pub fn sequence(mut self, sequence: i32) -> Self {
        self.sequence = sequence;
        self
    }

    /// How the prompt's text becomes tokens; by default with a start token where the sequence is
    /// empty.
    pub fn flags(mut self, flags: TextFlags) -> Self {
        self.raw.flags = flags.bits();
        self
    }

    /// How tokens are chosen; it keeps what it has seen afterwards.
    pub fn sampler(mut self, sampler: &'a mut Sampler) -> Self {
        self.sampler = Some(sampler);
        self
    }

    /// Control tokens give pieces, too.
    pub fn special_pieces(mut self, on: bool) -> Self {
        self.raw.special_pieces = on as i32;
        self
    }

    /// Token healing, for prompts that end inside a token.
    pub fn heal(mut self, on: bool) -> Self {
        self.raw.heal = on as i32;
        self
    }

    /// Tokens inside reasoning, in a chat; then its end follows as if the model had said it.
    pub fn reasoning_budget(mut self, tokens: i32) -> Self {
        self.raw.reasoning_budget = tokens;
        self
    }

    /// The longest that a piece may take; then it is [`Status::Deadline`](crate::Status::Deadline),
    /// and asking again goes on.
    pub fn step_timeout(mut self, timeout: Duration) -> Self {
        self.raw.step_ns = i64::try_from(timeout.as_nanos()).unwrap_or(i64::MAX);
        self
    }

    stop_methods! {
        /// Stops the generation from any thread.
        cancel,
        /// Told how many tokens of the prompt are done; may stop the call.
        progress
    }
}

/// Why a text has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum End {
    /// The model ended its answer.
    Token,
    /// A stop string came.
    Stop,
    /// `max_tokens`.
    Limit,
    /// The context is full.
    Full,
}

/// A piece of text, valid until the next one is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece<'g> {
    /// Whole characters.
    pub text: &'g str,
    /// Chosen since the last piece, those without text, too.
    pub tokens: &'g [Token],
    /// The text is that of a control token.
    pub is_special: bool,
}

/// What has been done so far: `slm_generate_stats`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[allow(missing_docs)]
pub struct GenerateStats {
    pub n_prompt: i32,
    pub n_prompt_done: i32,
    pub n_generated: i32,
    pub prompt_time: Duration,
    pub generate_time: Duration,
    pub first_token_time: Duration,
    pub n_reasoning: i32,
    pub n_answer: i32,
    pub n_tool_calls: i32,
    pub n_forced: i32,
}

/// An iterator of pieces. The first step runs the prompt. Dropping it ends the generation; the
/// sequence keeps the prompt and every token chosen.
///
/// After an error the iterator gives `None` once, so that loops end; asked again, it goes on where it
/// was if the error [is one of time](crate::Error::is_resumable).
///
/// ```
/// let model = slm::Model::open("../models/storyteller-q8_0.gguf")?;
/// let mut context = slm::Context::new(&model)?;
/// let options = slm::GenerateOptions::new().max_tokens(20);
/// for piece in context.generate("Once upon a time", options)? {
///     print!("{}", piece?);
/// }
/// # Ok::<(), slm::Error>(())
/// ```
///
/// It has the context and the sampler to itself:
///
/// ```compile_fail,E0505
/// # let model = slm::Model::open("../models/storyteller-q8_0.gguf").unwrap();
/// let mut context = slm::Context::new(&model).unwrap();
/// let mut generator = context.generate("Once", slm::GenerateOptions::new()).unwrap();
/// drop(context);
/// generator.next_piece().unwrap();
/// ```
///
/// A piece does not live longer than the next one:
///
/// ```compile_fail,E0499
/// # let model = slm::Model::open("../models/storyteller-q8_0.gguf").unwrap();
/// # let mut context = slm::Context::new(&model).unwrap();
/// let mut generator = context.generate("Once", slm::GenerateOptions::new()).unwrap();
/// let first = generator.next_piece().unwrap();
/// let second = generator.next_piece().unwrap();
/// println!("{:?}", first);
/// ```
pub struct Generator<'a> {
    // What C has pointers to stands behind the handle, and so is dropped after it.
    handle: Handle<ffi::slm_generator>,
    context: &'a mut Context,
    end: Option<End>,
    tokens: Vec<Token>,
    after_error: bool,
    _cancel: Option<CancelFlag>,
    _progress: Pinned<Option<Progress<'a>>>,
    _sampler: PhantomData<&'a mut Sampler>,
}

// SAFETY: it has its context, sampler and closure to itself, and all of them are Send.
unsafe impl Send for Generator<'_> {}

impl Context {
    /// Begins to continue a sequence. Nothing is computed yet.
    pub fn generate<'a, 'p>(
        &'a mut self,
        prompt: impl Into<Prompt<'p>>,
        options: GenerateOptions<'a>,
    ) -> Result<Generator<'a>> {
        self.begin(prompt.into(), options, None)
    }

    pub(crate) fn begin<'a>(
        &'a mut self,
        prompt: Prompt<'_>,
        options: GenerateOptions<'a>,
        output: Option<&ChatOutput>,
    ) -> Result<Generator<'a>> {
        let GenerateOptions { mut raw, sequence, stops, cancel, progress, sampler } = options;
        let stops: Vec<CString> =
            stops.iter().map(|stop| c_string(stop, "a stop string")).collect::<Result<_>>()?;
        let starts: Vec<*const c_char> = stops.iter().map(|stop| stop.as_ptr()).collect();
        let progress = Pinned::new(progress);
        raw.n_stops = count(starts.len());
        raw.stops = starts.as_ptr();
        raw.cancel = CancelFlag::pointer(&cancel);
        raw.progress = Some(run_progress);
        raw.progress_user = progress.get();
        raw.chat_output = output.map_or(std::ptr::null(), |output| output.get() as *const _);
        let text: &[u8] = match prompt {
            Prompt::Text(text) => text,
            Prompt::Tokens(tokens) => {
                raw.prompt_tokens = tokens.as_ptr();
                raw.n_prompt_tokens = count(tokens.len());
                &[]
            }
        };
        let start = match prompt {
            Prompt::Text(text) => text.as_ptr() as *const c_char,
            Prompt::Tokens(_) => std::ptr::null(),
        };
        let sampler = sampler.map_or(std::ptr::null_mut(), |sampler| sampler.get());
        let context = self.get();
        // SAFETY: slm copies prompt and stops, reads the output during the call, and keeps flag,
        // closure and sampler, which the generator keeps or has borrowed, as it has this context.
        let handle = Handle::create(ffi::slm_generate_end, |out, err| unsafe {
            let size = text.len();
            ffi::slm_generate_begin(out, context, sequence, sampler, start, size, &raw, err)
        })?;
        Ok(Generator {
            handle,
            context: self,
            end: None,
            tokens: Vec::new(),
            after_error: false,
            _cancel: cancel,
            _progress: progress,
            _sampler: PhantomData,
        })
    }
}

impl Generator<'_> {
    /// The next piece of text, or `None` at the end.
    pub fn next_piece(&mut self) -> Result<Option<Piece<'_>>> {
        let mut raw = ffi::slm_piece::default();
        // SAFETY: the struct is ours and tells its size; the text is valid until the next call, which
        // needs &mut self.
        unsafe {
            call(|err| ffi::slm_generate_next(self.handle.get(), &mut raw, err))?;
            let tokens = tokens(raw.tokens, raw.n_tokens);
            self.tokens.extend_from_slice(tokens);
            if raw.kind == ffi::SLM_PIECE_END {
                self.end = Some(match raw.reason {
                    ffi::SLM_END_STOP => End::Stop,
                    ffi::SLM_END_LIMIT => End::Limit,
                    ffi::SLM_END_FULL => End::Full,
                    _ => End::Token,
                });
                return Ok(None);
            }
            Ok(Some(Piece {
                text: text(raw.text, raw.size),
                tokens,
                is_special: raw.kind == ffi::SLM_PIECE_SPECIAL,
            }))
        }
    }

    /// The tokens chosen so far of which a piece told; after the end, the end token too.
    pub fn tokens(&self) -> &[Token] {
        &self.tokens
    }

    /// Why the text has ended, once it has.
    pub fn end(&self) -> Option<End> {
        self.end
    }

    /// The context, to look at.
    pub fn context(&self) -> &Context {
        self.context
    }

    /// What has been done so far.
    pub fn stats(&self) -> Result<GenerateStats> {
        let mut raw = ffi::slm_generate_stats::default();
        // SAFETY: the struct is ours and tells its size.
        call(|err| unsafe { ffi::slm_generate_get_stats(self.handle.get(), &mut raw, err) })?;
        let time = |ns: i64| Duration::from_nanos(ns.max(0) as u64);
        Ok(GenerateStats {
            n_prompt: raw.n_prompt,
            n_prompt_done: raw.n_prompt_done,
            n_generated: raw.n_generated,
            prompt_time: time(raw.prompt_ns),
            generate_time: time(raw.generate_ns),
            first_token_time: time(raw.first_token_ns),
            n_reasoning: raw.n_reasoning,
            n_answer: raw.n_answer,
            n_tool_calls: raw.n_tool_calls,
            n_forced: raw.n_forced,
        })
    }
}

impl Iterator for Generator<'_> {
    type Item = Result<String>;

    fn next(&mut self) -> Option<Result<String>> {
        if std::mem::take(&mut self.after_error) {
            return None;
        }
        let step = self.next_piece().map(|piece| piece.map(|piece| piece.text.to_string()));
        self.after_error = step.is_err();
        step.transpose()
    }
}
