//! Embeddings: texts to vectors.

use crate::call::fill;
use crate::context::{count, Context, Limits};
use crate::error::Result;
use crate::ffi;
use crate::options::defaults;
use crate::text::Token;

/// What is made of a text's last hidden states.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Pooling {
    /// Nothing: a row for each token.
    None,
    /// Their mean.
    Mean,
    /// That of the first token.
    First,
    /// That of the last token.
    Last,
    /// The outputs of the model's classifier: of a reranker the score.
    Rank,
}

impl Pooling {
    fn raw(self) -> i32 {
        match self {
            Pooling::None => ffi::SLM_POOLING_NONE,
            Pooling::Mean => ffi::SLM_POOLING_MEAN,
            Pooling::First => ffi::SLM_POOLING_CLS,
            Pooling::Last => ffi::SLM_POOLING_LAST,
            Pooling::Rank => ffi::SLM_POOLING_RANK,
        }
    }
}

/// How texts become vectors. The default is what the file says, with vectors of length 1.
#[derive(Default)]
pub struct EmbedOptions<'a> {
    pooling: Option<Pooling>,
    raw: bool,
    limits: Limits<'a>,
}

impl<'a> EmbedOptions<'a> {
    /// The defaults.
    pub fn new() -> Self {
        EmbedOptions::default()
    }

    /// Another pooling than the file says.
    pub fn pooling(mut self, pooling: Pooling) -> Self {
        self.pooling = Some(pooling);
        self
    }

    /// Vectors as they are rather than of length 1.
    pub fn unnormalized(mut self, on: bool) -> Self {
        self.raw = on;
        self
    }

    /// What ends the call early.
    pub fn limits(mut self, limits: Limits<'a>) -> Self {
        self.limits = limits;
        self
    }
}

/// Rows of floats: one a text, or one a token without pooling.
#[derive(Clone, Debug, PartialEq)]
pub struct Embeddings {
    values: Vec<f32>,
    width: usize,
}

impl Embeddings {
    /// Floats of a row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// The rows, in the order of the texts.
    pub fn rows(&self) -> std::slice::ChunksExact<'_, f32> {
        self.values.chunks_exact(self.width.max(1))
    }
}

impl Context {
    /// Embeddings of texts given as tokens, with the start and end tokens that
    /// [`TextFlags::BOS`](crate::TextFlags::BOS) adds. Texts share batches, as many as there are
    /// empty sequences.
    ///
    /// ```
    /// let model = slm::Model::open("../models/storyteller-q8_0.gguf")?;
    /// let mut context = slm::Context::new(&model)?;
    /// let text = model.tokenize("A dog and a ball", slm::TextFlags::BOS)?;
    /// let vectors = context.embed(&[&text], slm::EmbedOptions::new())?;
    /// assert_eq!(vectors.width(), model.info().n_embd_out as usize);
    /// # Ok::<(), slm::Error>(())
    /// ```
    pub fn embed(&mut self, texts: &[&[Token]], options: EmbedOptions<'_>) -> Result<Embeddings> {
        let EmbedOptions { pooling, raw: unnormalized, mut limits } = options;
        let raw: Vec<ffi::slm_embed_text> = texts
            .iter()
            .map(|text| ffi::slm_embed_text {
                n_tokens: count(text.len()),
                tokens: text.as_ptr(),
                ..ffi::slm_embed_text::default()
            })
            .collect();
        let mut o = defaults(ffi::slm_embed_options_init);
        o.pooling = pooling.map_or(ffi::SLM_AUTO, Pooling::raw);
        o.normalize =
            if unnormalized { ffi::SLM_NORMALIZE_NONE } else { ffi::SLM_NORMALIZE_EUCLIDEAN };
        o.deadline_ns = limits.deadline_ns();
        o.cancel = limits.cancel_flag();
        let (progress, user) = limits.callback();
        o.progress = progress;
        o.progress_user = user;

        let info = self.model().info();
        let pooling = pooling.map_or(info.pooling, Pooling::raw);
        let n_rows = match pooling {
            ffi::SLM_POOLING_NONE => texts.iter().map(|text| text.len()).sum(),
            _ => texts.len(),
        };
        let width = if pooling == ffi::SLM_POOLING_RANK { info.n_outputs } else { info.n_embd_out }
            as usize;
        let context = self.get();
        let (n, size) = (count(raw.len()), std::mem::size_of::<ffi::slm_embed_text>());
        // SAFETY: `fill` gives a buffer of the room that it tells; texts, flag and closure are
        // borrowed until the call returns.
        let values = fill(n_rows.saturating_mul(width), |rows, room, needed, err| unsafe {
            ffi::slm_embed(context, raw.as_ptr(), n, size, &o, rows, room, needed, err)
        })?;
        Ok(Embeddings { width: values.len() / n_rows.max(1), values })
    }
}
