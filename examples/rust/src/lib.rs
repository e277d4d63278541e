//! Small language models inside your program: the safe interface of the C library slm, which is
//! compiled into your program and needs nothing else.
//!
//! ```
//! fn main() -> slm::Result<()> {
//!     let model = slm::Model::open("../models/storyteller-q8_0.gguf")?;
//!     let mut context = slm::Context::new(&model)?;
//!     let options = slm::GenerateOptions::new().max_tokens(60);
//!     for piece in context.generate("Once upon a time", options)? {
//!         print!("{}", piece?);
//!     }
//!     Ok(())
//! }
//! ```
//!
//! [`Model`], [`ChatTemplate`], [`ChatPrompt`] and [`Threads`] are shared by any number of threads;
//! [`Context`], [`Sampler`], [`Generator`] and [`ChatOutput`] belong to one thread at a time and may
//! move. What is used after it is gone does not compile:
//!
//! ```compile_fail,E0382
//! let model = slm::Model::open("../models/storyteller-q8_0.gguf").unwrap();
//! drop(model);
//! slm::Context::new(&model).unwrap();
//! ```
//!
//! Errors are [`Error`]s with a [`Status`] and a message. Once a closure has panicked, none is called
//! again in the call it ran in; that stops at the next batch of tokens or at its end, and the panic goes
//! on behind it. Nothing unwinds through C.
#![warn(missing_docs)]

mod call;
mod chat;
mod context;
mod embed;
mod error;
pub mod ffi;
mod generate;
mod metadata;
mod model;
mod options;
mod sampler;
mod text;
mod threads;

pub use call::CancelFlag;
pub use chat::{
    ChatAnswer, ChatEvent, ChatOptions, ChatOutput, ChatPrompt, ChatTemplate, Segment, ToolCall,
};
pub use context::{Context, ContextInfo, ContextOptions, Limits, Plan, Span, Want};
pub use embed::{EmbedOptions, Embeddings, Pooling};
pub use error::{Error, Result, Status};
pub use generate::{End, GenerateOptions, GenerateStats, Generator, Piece, Prompt};
pub use metadata::{Metadata, TensorInfo, Value};
pub use model::{LogLevel, Model, ModelInfo, ModelOptions};
pub use sampler::{Candidate, Sampler, SamplerOptions};
pub use text::{Decoder, TextFlags, Token, TokenInfo};
pub use threads::{Tasks, Threads};

/// The version of the C library as major * 1000000 + minor * 1000 + patch.
pub fn version() -> i32 {
    // SAFETY: it has no arguments.
    unsafe { ffi::slm_version() }
}

/// What this CPU and operating system offer, as `SLM_CPU_` bits of [`ffi`].
pub fn cpu_features() -> u64 {
    // SAFETY: it has no arguments.
    unsafe { ffi::slm_cpu_features() }
}

/// The names of the `SLM_CPU_` bits of a mask: "avx2".
pub fn cpu_feature_names(features: u64) -> Vec<&'static str> {
    let bits = (0..64).filter(|bit| features >> bit & 1 != 0);
    // SAFETY: the names are static; NULL becomes "".
    let name = |bit| unsafe { call::c_text(ffi::slm_cpu_feature_name(bit)) };
    bits.map(name).filter(|name| !name.is_empty()).collect()
}

/// Handles show their names, so that results which have them can be unwrapped either way.
macro_rules! debug {
    ($($name:ty),*) => { $(
        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct(stringify!($name)).finish_non_exhaustive()
            }
        }
    )* };
}

debug!(Model, Context, Sampler, Generator<'_>, Threads, Metadata<'_>, Decoder);
debug!(ChatTemplate, ChatPrompt, ChatOutput, ChatAnswer<'_>);

/// Who may be shared and who may be sent, checked when this is compiled.
#[allow(dead_code)]
fn thread_rules() {
    fn shared<T: Send + Sync>() {}
    fn sent<T: Send>() {}
    shared::<Model>();
    shared::<ChatTemplate>();
    shared::<ChatPrompt>();
    shared::<Threads>();
    shared::<CancelFlag>();
    shared::<ContextOptions>();
    shared::<SamplerOptions>();
    shared::<Decoder>();
    shared::<Error>();
    sent::<Context>();
    sent::<Sampler>();
    sent::<Generator<'_>>();
    sent::<ChatOutput>();
    sent::<ChatAnswer<'_>>();
}
