//! Models: how they are opened, and what they are.

use crate::call::{self, call, guard, run_progress, CancelFlag, Handle, Pinned, Progress};
use crate::error::{Error, Result};
use crate::ffi;
use crate::options::{allocator_method, defaults, flag_methods, number_methods, stop_methods};
use crate::text::Token;
use std::any::Any;
use std::ffi::CString;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::ControlFlow;
use std::os::raw::{c_char, c_void};
use std::path::Path;
use std::sync::Arc;

/// How serious a line of the log is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// What is going on.
    Info,
    /// What may be meant otherwise.
    Warning,
}

type Log = Box<dyn Fn(LogLevel, &str) + Send + Sync>;

/// What C has pointers to stands behind the handle, and so is dropped after it.
struct Inner {
    handle: Handle<ffi::slm_model>,
    _log: Option<Pinned<Log>>,
    _memory: Option<Box<dyn Any + Send + Sync>>,
}

// SAFETY: slm_model is immutable, and any number of threads may use and free it; so are what stands
// beside it.
unsafe impl Send for Inner {}
unsafe impl Sync for Inner {}

/// Weights and vocabulary. Immutable, shared by any number of threads and contexts; a clone is the
/// same model.
///
/// ```
/// let model = slm::Model::open("../models/storyteller-q8_0.gguf")?;
/// let info = model.info();
/// assert_eq!((info.family, info.n_layer), ("llama", 4));
/// std::thread::scope(|scope| {
///     for _ in 0..2 {
///         scope.spawn(|| model.tokenize("Once upon a time", slm::TextFlags::BOS).unwrap());
///     }
/// });
/// # Ok::<(), slm::Error>(())
/// ```
#[derive(Clone)]
pub struct Model(Arc<Inner>);

impl Model {
    /// Maps a GGUF file. If somebody shortens the file while the model is in use, the system raises
    /// SIGBUS, which is no business of Rust's; [`ModelOptions::read`] copies the weights instead.
    pub fn open(path: impl AsRef<Path>) -> Result<Model> {
        ModelOptions::new().open(path)
    }

    /// A model that lies in memory, used where it is: `include_bytes!`, a `Vec<u8>`, an
    /// `Arc<[u8]>`, a memory map. It is dropped with the last clone and the last context.
    pub fn from_memory(bytes: impl AsRef<[u8]> + Send + Sync + 'static) -> Result<Model> {
        ModelOptions::new().open_memory(vec![bytes])
    }

    /// Reads a model from anything that can seek, to its end. The weights are copied.
    pub fn from_reader(reader: impl Read + Seek) -> Result<Model> {
        ModelOptions::new().open_reader(reader)
    }

    pub(crate) fn get(&self) -> *mut ffi::slm_model {
        self.0.handle.get()
    }

    /// What the model is.
    pub fn info(&self) -> ModelInfo<'_> {
        let mut raw = ffi::slm_model_info::default();
        // SAFETY: the struct is ours, of the size told. It cannot fail: nothing is NULL.
        unsafe {
            ffi::slm_model_get_info(self.get(), &mut raw, std::ptr::null_mut());
            ModelInfo::from_raw(&raw)
        }
    }
}

/// How to open a model. All fields have defaults.
///
/// ```
/// use std::ops::ControlFlow;
/// let mut last = 0;
/// let model = slm::ModelOptions::new()
///     .check(true)
///     .log(|level, line| eprintln!("{:?}: {}", level, line))
///     .progress(|done, _total| { last = done; ControlFlow::Continue(()) })
///     .open("../models/storyteller-q8_0.gguf")?;
/// assert!(last > 1_000_000);
/// # Ok::<(), slm::Error>(())
/// ```
pub struct ModelOptions<'a> {
    raw: ffi::slm_model_options,
    log: Option<Log>,
    progress: Option<Progress<'a>>,
    cancel: Option<CancelFlag>,
}

impl Default for ModelOptions<'_> {
    fn default() -> Self {
        let raw = defaults(ffi::slm_model_options_init);
        ModelOptions { raw, log: None, progress: None, cancel: None }
    }
}

impl<'a> ModelOptions<'a> {
    /// The defaults.
    pub fn new() -> Self {
        ModelOptions::default()
    }

    flag_methods! {
        /// Copy the weights into memory rather than map the file.
        read: ffi::SLM_LOAD_READ,
        /// Metadata, vocabulary and tensor table only: no context can be made.
        metadata_only: ffi::SLM_LOAD_METADATA,
        /// Look through all weights for NaN and infinity.
        check: ffi::SLM_LOAD_CHECK,
        /// Ignore tensors that the model's family has no place for.
        ignore_surplus: ffi::SLM_LOAD_SURPLUS,
    }

    number_methods! {
        /// Cap on the heap bytes of the model.
        max_bytes: u64,
        /// The CPU features that may be used, `SLM_CPU_` bits of [`ffi`]; 0 is the scalar reference.
        cpu: u64,
    }

    /// Lines of the log, of this model and of its contexts, on whichever thread is in a call.
    pub fn log(mut self, log: impl Fn(LogLevel, &str) + Send + Sync + 'static) -> Self {
        self.log = Some(Box::new(log));
        self
    }

    stop_methods! {
        /// Stops the loading from any thread.
        cancel,
        /// Told how many bytes of the weights are done; may stop the loading.
        progress
    }

    allocator_method! {
        /// The allocator of the model: see `slm_alloc_fn` in slm.h.
        ///
        /// # Safety
        /// `alloc` does what slm.h says, from any thread that uses the model, until the model and all
        /// that is made of it are gone; so does `user`.
    }

    /// Opens a file; of a split model the first one.
    pub fn open(self, path: impl AsRef<Path>) -> Result<Model> {
        let path = c_path(path.as_ref())?;
        // SAFETY: the path is a string until the call returns.
        self.create(None, |out, options, err| unsafe {
            ffi::slm_model_open(out, path.as_ptr(), options, err)
        })
    }

    /// Opens a model that lies in memory, in one part or, of a split model, several.
    pub fn open_memory<B>(self, files: Vec<B>) -> Result<Model>
    where
        B: AsRef<[u8]> + Send + Sync + 'static,
    {
        let count = files.len() as i32;
        // Asked for its bytes only now that it will not move any more, and only once.
        let files = Pinned::new(files);
        let data: Vec<&[u8]> = files.iter().map(|file| file.as_ref()).collect();
        let starts: Vec<*const c_void> = data.iter().map(|d| d.as_ptr() as *const c_void).collect();
        let sizes: Vec<usize> = data.iter().map(|d| d.len()).collect();
        let memory: Box<dyn Any + Send + Sync> = Box::new(files);
        // SAFETY: the bytes belong to `memory`, which stays as long as the model.
        self.create(Some(memory), |out, options, err| unsafe {
            ffi::slm_model_open_memory(out, starts.as_ptr(), sizes.as_ptr(), count, options, err)
        })
    }

    /// Reads a model of files of these sizes through a closure `(file, offset, buffer)` that says how
    /// many bytes it has read. What it fails with is the source of the error.
    pub fn open_with(
        self,
        sizes: &[u64],
        mut read: impl FnMut(usize, u64, &mut [u8]) -> io::Result<usize>,
    ) -> Result<Model> {
        let mut reading = Reading { read: &mut read, error: None };
        let user = &mut reading as *mut Reading<'_> as *mut c_void;
        // SAFETY: the callback and its data are used during the call only.
        let made = self.create(None, |out, options, err| unsafe {
            let count = sizes.len() as i32;
            ffi::slm_model_open_callback(
                out,
                Some(run_read),
                user,
                sizes.as_ptr(),
                count,
                options,
                err,
            )
        });
        made.map_err(|error| error.caused_by(reading.error))
    }

    /// Reads a model from the start of `reader` to its end.
    pub fn open_reader(self, mut reader: impl Read + Seek) -> Result<Model> {
        let size = reader.seek(SeekFrom::End(0)).map_err(|error| {
            Error::argument("the reader does not tell its size").caused_by(Some(error))
        })?;
        self.open_with(&[size], |_, offset, buffer| {
            reader.seek(SeekFrom::Start(offset))?;
            reader.read_exact(buffer)?;
            Ok(buffer.len())
        })
    }

    fn create(
        self,
        memory: Option<Box<dyn Any + Send + Sync>>,
        open: impl FnOnce(
            *mut *mut ffi::slm_model,
            *const ffi::slm_model_options,
            *mut ffi::slm_error,
        ) -> i32,
    ) -> Result<Model> {
        let ModelOptions { mut raw, log, mut progress, cancel } = self;
        let log = log.map(Pinned::new);
        if let Some(log) = &log {
            raw.log = Some(run_log);
            raw.log_user = log.get();
        }
        raw.progress = Some(run_progress);
        raw.progress_user = &mut progress as *mut Option<Progress<'_>> as *mut c_void;
        raw.cancel = CancelFlag::pointer(&cancel);
        let handle = Handle::create(ffi::slm_model_free, |out, err| open(out, &raw, err))?;
        Ok(Model(Arc::new(Inner { handle, _log: log, _memory: memory })))
    }
}

fn c_path(path: &Path) -> Result<CString> {
    #[cfg(unix)]
    let bytes = std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str());
    #[cfg(not(unix))]
    let bytes = path.to_str().ok_or_else(|| Error::argument("the path is no UTF-8"))?.as_bytes();
    CString::new(bytes).map_err(|_| Error::argument("the path has a zero byte"))
}

/// The slm_log_fn of a `Log`. A panic is kept until the call is through.
unsafe extern "C" fn run_log(user: *mut c_void, level: i32, message: *const c_char) {
    let log = &*(user as *const Log);
    let level = if level == ffi::SLM_LOG_WARN { LogLevel::Warning } else { LogLevel::Info };
    guard((), || log(level, call::c_text(message)));
}

type ReadAt<'a> = dyn FnMut(usize, u64, &mut [u8]) -> io::Result<usize> + 'a;

struct Reading<'a> {
    read: &'a mut ReadAt<'a>,
    error: Option<io::Error>,
}

/// The slm_read_fn of a `Reading`.
unsafe extern "C" fn run_read(
    user: *mut c_void,
    file: i32,
    offset: u64,
    buffer: *mut c_void,
    size: usize,
) -> i64 {
    let reading = &mut *(user as *mut Reading<'_>);
    // Rust wants to know what stands in a slice before anybody may look.
    std::ptr::write_bytes(buffer as *mut u8, 0, size);
    let buffer = std::slice::from_raw_parts_mut(buffer as *mut u8, size);
    guard(-1, || match (reading.read)(file as usize, offset, buffer) {
        Ok(n) if n <= size => n as i64,
        Ok(_) => -1,
        Err(error) => {
            reading.error = Some(error);
            -1
        }
    })
}

/// What a model is. The names are those of `slm_model_info`; numbers are 0 and tokens `None` where
/// the file has none.
#[derive(Clone, Debug)]
#[non_exhaustive]
#[allow(missing_docs)]
pub struct ModelInfo<'m> {
    pub family: &'m str,
    pub name: &'m str,
    pub tokenizer: &'m str,
    /// The pre-tokenizer that the file names.
    pub pre: &'m str,
    /// `SLM_PRE_` of [`ffi`]: whether it is known.
    pub pre_status: i32,
    /// The highest instruction set whose kernels are in use.
    pub isa: &'m str,
    pub chat_template: Option<&'m str>,
    pub n_vocab: i32,
    pub n_ctx_train: i32,
    pub n_embd: i32,
    pub n_layer: i32,
    pub n_head: i32,
    pub n_kv_head: i32,
    pub head_dim: i32,
    pub n_ff: i32,
    /// Floats of an embedding.
    pub n_embd_out: i32,
    /// Outputs of the classifier.
    pub n_outputs: i32,
    pub n_metadata: i32,
    pub n_tensors: i32,
    pub file_type: i32,
    pub gguf_version: i32,
    pub n_parameters: u64,
    pub weight_bytes: u64,
    pub mapped_bytes: u64,
    pub heap_bytes: u64,
    pub heap_peak_bytes: u64,
    pub cpu: u64,
    pub is_causal: bool,
    pub is_recurrent: bool,
    /// `SLM_POOLING_` of [`ffi`].
    pub pooling: i32,
    pub add_bos: bool,
    pub add_eos: bool,
    pub add_sep: bool,
    pub bos_token: Option<Token>,
    pub eos_token: Option<Token>,
    pub eot_token: Option<Token>,
    pub eom_token: Option<Token>,
    pub unk_token: Option<Token>,
    pub sep_token: Option<Token>,
    pub pad_token: Option<Token>,
    pub mask_token: Option<Token>,
    pub fim_pre_token: Option<Token>,
    pub fim_suf_token: Option<Token>,
    pub fim_mid_token: Option<Token>,
    pub fim_pad_token: Option<Token>,
    pub fim_rep_token: Option<Token>,
    pub fim_sep_token: Option<Token>,
}

impl<'m> ModelInfo<'m> {
    /// # Safety
    /// `raw` has been filled for a model that lives for 'm.
    unsafe fn from_raw(raw: &ffi::slm_model_info) -> ModelInfo<'m> {
        let token = |id: i32| if id >= 0 { Some(id) } else { None };
        let has_template = !raw.chat_template.is_null();
        ModelInfo {
            family: call::c_text(raw.family),
            name: call::c_text(raw.name),
            tokenizer: call::c_text(raw.tokenizer),
            pre: call::c_text(raw.pre),
            pre_status: raw.pre_status,
            isa: call::c_text(raw.isa),
            chat_template: if has_template { Some(call::c_text(raw.chat_template)) } else { None },
            n_vocab: raw.n_vocab,
            n_ctx_train: raw.n_ctx_train,
            n_embd: raw.n_embd,
            n_layer: raw.n_layer,
            n_head: raw.n_head,
            n_kv_head: raw.n_kv_head,
            head_dim: raw.head_dim,
            n_ff: raw.n_ff,
            n_embd_out: raw.n_embd_out,
            n_outputs: raw.n_outputs,
            n_metadata: raw.n_metadata,
            n_tensors: raw.n_tensors,
            file_type: raw.file_type,
            gguf_version: raw.gguf_version,
            n_parameters: raw.n_parameters,
            weight_bytes: raw.weight_bytes,
            mapped_bytes: raw.mapped_bytes,
            heap_bytes: raw.heap_bytes,
            heap_peak_bytes: raw.heap_peak_bytes,
            cpu: raw.cpu,
            is_causal: raw.is_causal != 0,
            is_recurrent: raw.is_recurrent != 0,
            pooling: raw.pooling,
            add_bos: raw.add_bos != 0,
            add_eos: raw.add_eos != 0,
            add_sep: raw.add_sep != 0,
            bos_token: token(raw.bos_token),
            eos_token: token(raw.eos_token),
            eot_token: token(raw.eot_token),
            eom_token: token(raw.eom_token),
            unk_token: token(raw.unk_token),
            sep_token: token(raw.sep_token),
            pad_token: token(raw.pad_token),
            mask_token: token(raw.mask_token),
            fim_pre_token: token(raw.fim_pre_token),
            fim_suf_token: token(raw.fim_suf_token),
            fim_mid_token: token(raw.fim_mid_token),
            fim_pad_token: token(raw.fim_pad_token),
            fim_rep_token: token(raw.fim_rep_token),
            fim_sep_token: token(raw.fim_sep_token),
        }
    }
}

/// The path's kin for calls of other modules.
pub(crate) fn c_string(text: &str, what: &str) -> Result<CString> {
    CString::new(text).map_err(|_| Error::argument(format!("{} has a zero byte", what)))
}

impl Model {
    pub(crate) fn call(
        &self,
        with: impl FnOnce(*const ffi::slm_model, *mut ffi::slm_error) -> i32,
    ) -> Result<()> {
        call(|err| with(self.get(), err))
    }
}
