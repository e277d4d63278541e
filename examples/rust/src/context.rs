//! Contexts: the memory of sequences, evaluation of tokens, rows of logits.

use crate::call::{call, run_progress, CancelFlag, Handle, Progress};
use crate::error::Result;
use crate::ffi;
use crate::model::Model;
use crate::options::{allocator_method, defaults, flag_methods, number_methods, stop_methods};
use crate::text::Token;
use crate::threads::Threads;
use std::ops::ControlFlow;
use std::os::raw::c_void;
use std::time::Duration;

/// What a context is made for. All fields have defaults.
#[derive(Clone)]
pub struct ContextOptions {
    raw: ffi::slm_context_options,
    threads: Option<Threads>,
}

// SAFETY: the pointers in `raw` are NULL, or what `allocator` was promised of; the pool stands apart.
unsafe impl Send for ContextOptions {}
unsafe impl Sync for ContextOptions {}

impl Default for ContextOptions {
    fn default() -> Self {
        ContextOptions { raw: defaults(ffi::slm_context_options_init), threads: None }
    }
}

impl ContextOptions {
    /// The defaults.
    pub fn new() -> Self {
        ContextOptions::default()
    }

    number_methods! {
        /// Positions a sequence may have; by default what the model was trained for, at most 4096.
        n_ctx: i32,
        /// Sequences, 1 by default, at most 256.
        n_sequences: i32,
        /// KV pages of 128 positions; by default enough for every sequence to be full.
        n_pages: i32,
        /// Tokens computed at once, 512 by default.
        n_batch: i32,
        /// Rows of logits one evaluation can give; by default one for each sequence.
        n_logits: i32,
        /// Threads of a pool of the context's own; see [`Threads`] for one to share.
        n_threads: i32,
        /// Checkpoints that a sequence can keep, none by default.
        n_checkpoints: i32,
        /// Cap on the heap bytes of the context.
        max_bytes: u64,
    }

    flag_methods! {
        /// Do not round activations: slower, closer to the exact product.
        exact: ffi::SLM_CONTEXT_EXACT,
        /// The same bits however a prompt is split into batches; slower.
        batch_invariant: ffi::SLM_CONTEXT_BATCH_INVARIANT,
    }

    /// Keep keys and values in 32 bits rather than 16.
    pub fn kv_f32(mut self, on: bool) -> Self {
        self.raw.kv_type = if on { ffi::SLM_KV_F32 } else { ffi::SLM_KV_F16 };
        self
    }

    /// A pool shared with other contexts.
    pub fn threads(mut self, threads: &Threads) -> Self {
        self.threads = Some(threads.clone());
        self
    }

    allocator_method! {
        /// The allocator of the context: see `slm_alloc_fn` in slm.h.
        ///
        /// # Safety
        /// `alloc` does what slm.h says on any thread that the context is moved to, until the context
        /// and its generators are gone; so does `user`.
    }

    fn raw(&self) -> ffi::slm_context_options {
        let threads = self.threads.as_ref().map_or(std::ptr::null_mut(), Threads::get);
        ffi::slm_context_options { threads, ..self.raw }
    }

    /// What such a context would need, exactly, without making it.
    pub fn plan(&self, model: &Model) -> Result<Plan> {
        let mut plan = ffi::slm_plan::default();
        let raw = self.raw();
        // SAFETY: the structs are ours and tell their sizes.
        model.call(|model, err| unsafe { ffi::slm_plan_memory(model, &raw, &mut plan, err) })?;
        Ok(Plan {
            n_threads: plan.n_threads,
            n_ctx: plan.n_ctx,
            n_pages: plan.n_pages,
            model_mapped_bytes: plan.model_mapped_bytes,
            model_heap_bytes: plan.model_heap_bytes,
            context_heap_bytes: plan.context_heap_bytes,
            kv_bytes: plan.kv_bytes,
            stack_bytes: plan.stack_bytes,
            state_bytes: plan.state_bytes,
        })
    }

    /// Makes a context; all of its memory is taken here.
    pub fn create(&self, model: &Model) -> Result<Context> {
        let raw = self.raw();
        // SAFETY: the struct is ours and tells its size; the pool is kept by slm and by us.
        let handle = Handle::create(ffi::slm_context_free, |out, err| unsafe {
            ffi::slm_context_create(out, model.get(), &raw, err)
        })?;
        Ok(Context { handle, model: model.clone(), _threads: self.threads.clone() })
    }
}

/// Bytes that a model and a context need: `slm_plan`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[allow(missing_docs)]
pub struct Plan {
    pub n_threads: i32,
    pub n_ctx: i32,
    pub n_pages: i32,
    pub model_mapped_bytes: u64,
    pub model_heap_bytes: u64,
    pub context_heap_bytes: u64,
    pub kv_bytes: u64,
    pub stack_bytes: u64,
    pub state_bytes: u64,
}

/// What a context has: `slm_context_info`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[allow(missing_docs)]
pub struct ContextInfo {
    pub n_ctx: i32,
    pub n_sequences: i32,
    pub n_batch: i32,
    pub n_logits: i32,
    pub n_pages: i32,
    pub n_pages_free: i32,
    pub n_threads: i32,
    pub heap_bytes: u64,
}

/// Which rows of logits a span gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// None.
    Nothing,
    /// That of its last token.
    Last,
    /// Those of all tokens.
    All,
}

/// A run of tokens for one sequence.
#[derive(Clone, Debug)]
pub struct Span<'a> {
    sequence: i32,
    position: Option<i32>,
    tokens: &'a [Token],
    want: Want,
    done: usize,
}

impl<'a> Span<'a> {
    /// Appends to a sequence and wants the last row of logits.
    pub fn new(sequence: i32, tokens: &'a [Token]) -> Self {
        Span { sequence, position: None, tokens, want: Want::Last, done: 0 }
    }

    /// The position of the first token, which must be the length of the sequence.
    pub fn at(mut self, position: i32) -> Self {
        self.position = Some(position);
        self
    }

    /// Other rows of logits than the last.
    pub fn want(mut self, want: Want) -> Self {
        self.want = want;
        self
    }

    /// After a call: how many of the tokens are committed.
    pub fn done(&self) -> usize {
        self.done
    }

    fn raw(&self) -> ffi::slm_span {
        ffi::slm_span {
            sequence: self.sequence,
            position: self.position.unwrap_or(-1),
            n_tokens: count(self.tokens.len()),
            tokens: self.tokens.as_ptr(),
            want: match self.want {
                Want::Nothing => ffi::SLM_WANT_NONE,
                Want::Last => ffi::SLM_WANT_LAST,
                Want::All => ffi::SLM_WANT_ALL,
            },
            ..ffi::slm_span::default()
        }
    }
}

/// A length for C; what is longer than an i32 is refused there.
pub(crate) fn count(length: usize) -> i32 {
    i32::try_from(length).unwrap_or(i32::MAX)
}

/// What ends a long call early. `Limits::default()` is nothing.
#[derive(Default)]
pub struct Limits<'a> {
    timeout: Option<Duration>,
    cancel: Option<CancelFlag>,
    progress: Option<Progress<'a>>,
}

impl<'a> Limits<'a> {
    /// Nothing.
    pub fn new() -> Self {
        Limits::default()
    }

    /// The call ends with [`Status::Deadline`](crate::Status::Deadline) after this time.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    stop_methods! {
        /// The call ends with [`Status::Cancelled`](crate::Status::Cancelled) when the flag is set.
        cancel,
        /// Told after every batch how many tokens are done; may stop the call.
        progress
    }

    pub(crate) fn deadline_ns(&self) -> i64 {
        self.timeout.map_or(ffi::SLM_NO_DEADLINE, |timeout| {
            // SAFETY: reads a clock.
            let now = unsafe { ffi::slm_clock_ns() };
            now.saturating_add(i64::try_from(timeout.as_nanos()).unwrap_or(i64::MAX))
        })
    }

    pub(crate) fn cancel_flag(&self) -> *const i32 {
        CancelFlag::pointer(&self.cancel)
    }

    /// A callback and its data, which borrow these limits.
    pub(crate) fn callback(&mut self) -> (ffi::slm_progress_fn, *mut c_void) {
        (Some(run_progress), &mut self.progress as *mut Option<Progress<'_>> as *mut c_void)
    }
}

/// KV cache, scratch memory and the sequences being worked on. It may move to another thread, and
/// only one at a time can use it:
///
/// ```
/// let model = slm::Model::open("../models/storyteller-q8_0.gguf")?;
/// let mut context = slm::Context::new(&model)?;
/// let tokens = model.tokenize("Once upon a", slm::TextFlags::BOS)?;
/// std::thread::spawn(move || {
///     let row = context.append(0, &tokens)?;
///     assert_eq!(row.len(), 2048);
///     Ok::<(), slm::Error>(())
/// }).join().unwrap()?;
/// # Ok::<(), slm::Error>(())
/// ```
///
/// Two threads at once do not compile:
///
/// ```compile_fail,E0277
/// let model = slm::Model::open("../models/storyteller-q8_0.gguf").unwrap();
/// let context = slm::Context::new(&model).unwrap();
/// std::thread::scope(|scope| {
///     scope.spawn(|| context.info());
/// });
/// ```
pub struct Context {
    handle: Handle<ffi::slm_context>,
    model: Model,
    _threads: Option<Threads>,
}

// SAFETY: slm_context may be used and freed from any thread, one at a time: it is not Sync.
unsafe impl Send for Context {}

impl Context {
    /// A context with all defaults.
    pub fn new(model: &Model) -> Result<Context> {
        ContextOptions::new().create(model)
    }

    pub(crate) fn get(&self) -> *mut ffi::slm_context {
        self.handle.get()
    }

    /// The model it was made for.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// What the context has.
    pub fn info(&self) -> Result<ContextInfo> {
        let mut raw = ffi::slm_context_info::default();
        // SAFETY: the struct is ours and tells its size.
        call(|err| unsafe { ffi::slm_context_get_info(self.get(), &mut raw, err) })?;
        Ok(ContextInfo {
            n_ctx: raw.n_ctx,
            n_sequences: raw.n_sequences,
            n_batch: raw.n_batch,
            n_logits: raw.n_logits,
            n_pages: raw.n_pages,
            n_pages_free: raw.n_pages_free,
            n_threads: raw.n_threads,
            heap_bytes: raw.heap_bytes,
        })
    }

    /// Positions of a sequence.
    pub fn length(&self, sequence: i32) -> Result<i32> {
        let mut length = 0;
        // SAFETY: nothing but numbers.
        call(|err| unsafe { ffi::slm_sequence_length(self.get(), sequence, &mut length, err) })?;
        Ok(length)
    }

    /// Makes `to` a copy of `from`; pages are shared until one side writes.
    pub fn fork(&mut self, from: i32, to: i32) -> Result<()> {
        // SAFETY: nothing but numbers.
        call(|err| unsafe { ffi::slm_sequence_fork(self.get(), from, to, err) })
    }

    /// Keeps the first `length` positions; recurrent models need a checkpoint there.
    pub fn rewind(&mut self, sequence: i32, length: i32) -> Result<()> {
        // SAFETY: nothing but numbers.
        call(|err| unsafe { ffi::slm_sequence_rewind(self.get(), sequence, length, err) })
    }

    /// Remembers the sequence as it is now, to rewind to.
    pub fn checkpoint(&mut self, sequence: i32, index: i32) -> Result<()> {
        // SAFETY: nothing but numbers.
        call(|err| unsafe { ffi::slm_sequence_checkpoint(self.get(), sequence, index, err) })
    }

    /// Runs the model over runs of tokens. When it ends early, [`Span::done`] says how far it came,
    /// and calling again with the rest gives what one call would have given.
    pub fn eval(&mut self, spans: &mut [Span<'_>], mut limits: Limits<'_>) -> Result<()> {
        let mut raw: Vec<ffi::slm_span> = spans.iter().map(Span::raw).collect();
        let mut options = defaults(ffi::slm_eval_options_init);
        // SAFETY: the structs are ours, of the sizes told; tokens, flag and closure are borrowed
        // until the call returns.
        let result = unsafe {
            options.deadline_ns = limits.deadline_ns();
            options.cancel = limits.cancel_flag();
            let (progress, user) = limits.callback();
            options.progress = progress;
            options.progress_user = user;
            let (n, size) = (count(raw.len()), std::mem::size_of::<ffi::slm_span>());
            call(|err| ffi::slm_eval(self.get(), raw.as_mut_ptr(), n, size, &options, err))
        };
        for (span, raw) in spans.iter_mut().zip(&raw) {
            span.done = raw.n_done.max(0) as usize;
        }
        result
    }

    /// Appends tokens to a sequence; the logits of what comes next.
    pub fn append(&mut self, sequence: i32, tokens: &[Token]) -> Result<&[f32]> {
        self.eval(&mut [Span::new(sequence, tokens)], Limits::new())?;
        self.row(-1)
    }

    /// Row `index` of the last evaluation's logits, in the order of spans and tokens wanted. The
    /// next evaluation overwrites it, which the borrow forbids:
    ///
    /// ```compile_fail,E0502
    /// # let model = slm::Model::open("../models/storyteller-q8_0.gguf").unwrap();
    /// # let mut context = slm::Context::new(&model).unwrap();
    /// # context.append(0, &[1, 2]).unwrap();
    /// let row = context.logits(0).unwrap();
    /// context.append(0, &[3]).unwrap();
    /// println!("{}", row[0]);
    /// ```
    pub fn logits(&self, index: usize) -> Result<&[f32]> {
        self.row(count(index))
    }

    fn row(&self, index: i32) -> Result<&[f32]> {
        let (mut row, mut n) = (std::ptr::null(), 0);
        // SAFETY: the row has n floats, valid until the next call that needs &mut self.
        unsafe {
            call(|err| ffi::slm_logits(self.get(), index, &mut row, &mut n, err))?;
            Ok(std::slice::from_raw_parts(row, n as usize))
        }
    }
}
