//! Samplers: how a token is chosen from logits.

use crate::call::{call, Handle};
use crate::context::count;
use crate::error::Result;
use crate::ffi;
use crate::model::Model;
use crate::options::defaults;
use crate::text::Token;

/// A token that may come next: what a host's own stage of sampling sees and changes.
pub use crate::ffi::slm_candidate as Candidate;

/// A chain of stages, in the order in which they are added, and a seed. None at all is greedy.
///
/// ```
/// # let model = slm::Model::open("../models/storyteller-q8_0.gguf")?;
/// let mut sampler = slm::SamplerOptions::new()
///     .penalties(64, 1.1, 0.0, 0.0)
///     .top_k(40)
///     .temperature(0.8)
///     .seed(3)
///     .create(&model)?;
/// # Ok::<(), slm::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct SamplerOptions {
    // Without the pointers, which `create` puts in.
    stages: Vec<Stage>,
    seed: u64,
}

#[derive(Clone, Default)]
struct Stage {
    kind: i32,
    n: i32,
    value: f32,
    penalties: [f32; 3],
    biases: Vec<(Token, f32)>,
}

impl SamplerOptions {
    /// No stages: the best token.
    pub fn new() -> Self {
        SamplerOptions::default()
    }

    fn stage(mut self, stage: Stage) -> Self {
        self.stages.push(stage);
        self
    }

    /// Divides logits; 0 keeps only the best.
    pub fn temperature(self, value: f32) -> Self {
        self.stage(Stage { kind: ffi::SLM_STAGE_TEMPERATURE, value, ..Stage::default() })
    }

    /// Keeps the `n` best; 0 keeps all.
    pub fn top_k(self, n: i32) -> Self {
        self.stage(Stage { kind: ffi::SLM_STAGE_TOP_K, n, ..Stage::default() })
    }

    /// Keeps the likeliest that together have this probability, at least `min` of them.
    pub fn top_p(self, value: f32, min: i32) -> Self {
        self.stage(Stage { kind: ffi::SLM_STAGE_TOP_P, n: min, value, ..Stage::default() })
    }

    /// Keeps what has at least this part of the best probability, at least `min` of them.
    pub fn min_p(self, value: f32, min: i32) -> Self {
        self.stage(Stage { kind: ffi::SLM_STAGE_MIN_P, n: min, value, ..Stage::default() })
    }

    /// Makes tokens of the last `window` less likely: 1 and 0 and 0 change nothing.
    pub fn penalties(self, window: i32, repeat: f32, frequency: f32, presence: f32) -> Self {
        self.stage(Stage {
            kind: ffi::SLM_STAGE_PENALTIES,
            n: window,
            penalties: [repeat, frequency, presence],
            ..Stage::default()
        })
    }

    /// Adds to the logits of tokens; minus infinity bans one.
    pub fn logit_bias(self, biases: impl IntoIterator<Item = (Token, f32)>) -> Self {
        self.stage(Stage {
            kind: ffi::SLM_STAGE_LOGIT_BIAS,
            biases: biases.into_iter().collect(),
            ..Stage::default()
        })
    }

    /// The same seed and logits give the same tokens everywhere.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Makes the chain.
    pub fn create(&self, model: &Model) -> Result<Sampler> {
        let biases: Vec<Vec<ffi::slm_logit_bias>> = self
            .stages
            .iter()
            .map(|s| {
                s.biases.iter().map(|&(token, bias)| ffi::slm_logit_bias { token, bias }).collect()
            })
            .collect();
        let raw: Vec<ffi::slm_sampler_stage> = self
            .stages
            .iter()
            .zip(&biases)
            .map(|(s, biases)| ffi::slm_sampler_stage {
                kind: s.kind,
                n: s.n,
                value: s.value,
                repeat: s.penalties[0],
                frequency: s.penalties[1],
                presence: s.penalties[2],
                n_biases: count(biases.len()),
                biases: biases.as_ptr(),
                ..ffi::slm_sampler_stage::default()
            })
            .collect();
        let mut options = defaults(ffi::slm_sampler_options_init);
        options.seed = self.seed;
        // SAFETY: the structs are ours, of the sizes told, and read during the call only.
        let handle = unsafe {
            let (n, size) = (count(raw.len()), std::mem::size_of::<ffi::slm_sampler_stage>());
            Handle::create(ffi::slm_sampler_free, |out, err| {
                ffi::slm_sampler_create(out, model.get(), raw.as_ptr(), n, size, &options, err)
            })?
        };
        Ok(Sampler { handle, _model: model.clone() })
    }
}

/// A chain with its own random state. What it chooses it must be told to accept; a generator does
/// both.
pub struct Sampler {
    handle: Handle<ffi::slm_sampler>,
    _model: Model,
}

// SAFETY: slm_sampler may be used and freed from any thread, one at a time: it is not Sync.
unsafe impl Send for Sampler {}

impl Sampler {
    pub(crate) fn get(&self) -> *mut ffi::slm_sampler {
        self.handle.get()
    }

    /// A copy with the same history and random state, independent from then on.
    pub fn try_clone(&self) -> Result<Sampler> {
        // SAFETY: nothing but objects.
        let handle = Handle::create(ffi::slm_sampler_free, |out, err| unsafe {
            ffi::slm_sampler_clone(out, self.get(), err)
        })?;
        Ok(Sampler { handle, _model: self._model.clone() })
    }

    /// Chooses a token from a row of logits.
    pub fn sample(&mut self, logits: &[f32]) -> Result<Token> {
        let mut token = -1;
        // SAFETY: the row is borrowed during the call and has the length told.
        call(|err| unsafe {
            let n = count(logits.len());
            ffi::slm_sample(self.get(), logits.as_ptr(), n, &mut token, err)
        })?;
        Ok(token)
    }

    /// The stages, on candidates of the host's: they are sorted, changed and fewer afterwards.
    pub fn apply(&mut self, candidates: &mut Vec<Candidate>) -> Result<()> {
        let mut n = count(candidates.len());
        // SAFETY: slm reorders the first n and lowers n.
        call(|err| unsafe {
            ffi::slm_sampler_apply(self.get(), candidates.as_mut_ptr(), &mut n, err)
        })?;
        candidates.truncate(n.max(0) as usize);
        Ok(())
    }

    /// Sets the probabilities of candidates and draws one.
    pub fn choose(&mut self, candidates: &mut [Candidate]) -> Result<Token> {
        let mut token = -1;
        // SAFETY: slm reads and writes the first n.
        call(|err| unsafe {
            let n = count(candidates.len());
            ffi::slm_sampler_choose(self.get(), candidates.as_mut_ptr(), n, &mut token, err)
        })?;
        Ok(token)
    }

    /// Tells the chain which token became part of the text.
    pub fn accept(&mut self, token: Token) -> Result<()> {
        // SAFETY: nothing but numbers.
        call(|err| unsafe { ffi::slm_sampler_accept(self.get(), token, err) })
    }

    /// Takes the last `n` accepted tokens back, the random state included.
    pub fn rewind(&mut self, n: i32) -> Result<()> {
        // SAFETY: nothing but numbers.
        call(|err| unsafe { ffi::slm_sampler_rewind(self.get(), n, err) })
    }

    /// Forgets everything and starts over from the seed.
    pub fn reset(&mut self) -> Result<()> {
        self.rewind(i32::MAX)
    }
}
