//! Samplers: how a token is chosen from logits.

use crate::call::{call, Handle};
use crate::context::count;
use crate::error::Result;
use crate::ffi;
use crate::model::{c_string, Model};
use crate::options::defaults;
use crate::text::Token;
use std::ffi::CString;
use std::os::raw::c_char;

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
    range: f32,
    exponent: f32,
    threshold: f32,
    base: f32,
    allowed: i32,
    rate: f32,
    decay: f32,
    breakers: Vec<String>,
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

    /// A temperature from `value - range` to `value + range`, by the entropy.
    pub fn dynamic_temperature(self, value: f32, range: f32, exponent: f32) -> Self {
        let kind = ffi::SLM_STAGE_DYNAMIC_TEMPERATURE;
        self.stage(Stage { kind, value, range, exponent, ..Stage::default() })
    }

    /// Bans what lies more than `value` standard deviations below the best.
    pub fn top_n_sigma(self, value: f32) -> Self {
        self.stage(Stage { kind: ffi::SLM_STAGE_TOP_N_SIGMA, value, ..Stage::default() })
    }

    /// Keeps the most typical that together have this probability, at least `min` of them.
    pub fn typical(self, value: f32, min: i32) -> Self {
        self.stage(Stage { kind: ffi::SLM_STAGE_TYPICAL, n: min, value, ..Stage::default() })
    }

    /// Drops, with this probability, all that have `threshold` but the least likely of them, if at
    /// least `min` are left.
    pub fn xtc(self, probability: f32, threshold: f32, min: i32) -> Self {
        let kind = ffi::SLM_STAGE_XTC;
        self.stage(Stage { kind, n: min, value: probability, threshold, ..Stage::default() })
    }

    /// Makes tokens less likely that would go on with a repeat of `allowed` tokens or more.
    pub fn dry(
        self,
        window: i32,
        multiplier: f32,
        base: f32,
        allowed: i32,
        breakers: &[&str],
    ) -> Self {
        self.stage(Stage {
            kind: ffi::SLM_STAGE_DRY,
            n: window,
            value: multiplier,
            base,
            allowed,
            breakers: breakers.iter().map(|&text| text.to_owned()).collect(),
            ..Stage::default()
        })
    }

    /// Keeps the surprise of the text near `target` bits. It must be the last stage.
    pub fn mirostat(self, target: f32, rate: f32) -> Self {
        let kind = ffi::SLM_STAGE_MIROSTAT;
        self.stage(Stage { kind, n: 100, value: target, rate, ..Stage::default() })
    }

    /// The second version of mirostat. It must be the last stage.
    pub fn mirostat_2(self, target: f32, rate: f32) -> Self {
        let kind = ffi::SLM_STAGE_MIROSTAT_2;
        self.stage(Stage { kind, value: target, rate, ..Stage::default() })
    }

    /// Prefers tokens near a probability. It must be the last stage.
    pub fn adaptive_p(self, target: f32, decay: f32) -> Self {
        let kind = ffi::SLM_STAGE_ADAPTIVE_P;
        self.stage(Stage { kind, value: target, decay, ..Stage::default() })
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
        let texts = self
            .stages
            .iter()
            .map(|s| s.breakers.iter().map(|text| c_string(text, "a breaker")).collect())
            .collect::<Result<Vec<Vec<CString>>>>()?;
        let breakers: Vec<Vec<*const c_char>> =
            texts.iter().map(|texts| texts.iter().map(|text| text.as_ptr()).collect()).collect();
        let raw: Vec<ffi::slm_sampler_stage> = self
            .stages
            .iter()
            .zip(biases.iter().zip(&breakers))
            .map(|(s, (biases, breakers))| ffi::slm_sampler_stage {
                kind: s.kind,
                n: s.n,
                value: s.value,
                repeat: s.penalties[0],
                frequency: s.penalties[1],
                presence: s.penalties[2],
                n_biases: count(biases.len()),
                biases: pointer(biases),
                range: s.range,
                exponent: s.exponent,
                threshold: s.threshold,
                base: s.base,
                allowed: s.allowed,
                rate: s.rate,
                decay: s.decay,
                n_breakers: count(breakers.len()),
                breakers: pointer(breakers),
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

/// NULL where there is nothing: slm wants fields that a stage does not read to be 0.
fn pointer<T>(list: &[T]) -> *const T {
    if list.is_empty() {
        std::ptr::null()
    } else {
        list.as_ptr()
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

    /// Takes the last `n` accepted tokens back: the chain is as it was when the first was accepted.
    pub fn rewind(&mut self, n: i32) -> Result<()> {
        // SAFETY: nothing but numbers.
        call(|err| unsafe { ffi::slm_sampler_rewind(self.get(), n, err) })
    }

    /// Forgets everything and starts over from the seed.
    pub fn reset(&mut self) -> Result<()> {
        self.rewind(i32::MAX)
    }
}
