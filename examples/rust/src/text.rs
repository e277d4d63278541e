//! Text and tokens, in both directions.

use crate::call::{bytes, fill};
use crate::chat::ChatPrompt;
use crate::error::Result;
use crate::ffi;
use crate::model::Model;
use std::os::raw::c_char;

/// The id of a token.
pub type Token = i32;

/// How text and tokens are converted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TextFlags(u32);

impl TextFlags {
    /// Neither of the others.
    pub const NONE: TextFlags = TextFlags(0);
    /// Add the start and end tokens the vocabulary asks for; decoding: take them away again.
    pub const BOS: TextFlags = TextFlags(ffi::SLM_TEXT_BOS);
    /// Special tokens in the text become tokens (never for text from a user); decoding: they are
    /// written out.
    pub const SPECIAL: TextFlags = TextFlags(ffi::SLM_TEXT_SPECIAL);
    /// Decoding alone: no spaces before punctuation, for vocabularies that llama.cpp cleans so.
    pub const CLEAN: TextFlags = TextFlags(ffi::SLM_TEXT_CLEAN);

    pub(crate) fn bits(self) -> u32 {
        self.0
    }
}

impl std::ops::BitOr for TextFlags {
    type Output = TextFlags;
    fn bitor(self, other: TextFlags) -> TextFlags {
        TextFlags(self.0 | other.0)
    }
}

/// What the vocabulary says of a token.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct TokenInfo<'m> {
    /// As the vocabulary stores it.
    pub text: &'m [u8],
    /// `SLM_TOKEN_` of [`ffi`].
    pub kind: i32,
    /// Whether generation ends at this token.
    pub is_end: bool,
    /// Of vocabularies that have scores.
    pub score: f32,
}

impl Model {
    /// Text to tokens, exactly as the model was trained.
    ///
    /// ```
    /// use slm::{Model, TextFlags};
    /// let model = Model::open("../models/storyteller-q8_0.gguf")?;
    /// let tokens = model.tokenize("Once upon a time", TextFlags::BOS)?;
    /// assert_eq!(model.detokenize(&tokens, TextFlags::BOS)?, b"Once upon a time");
    /// # Ok::<(), slm::Error>(())
    /// ```
    pub fn tokenize(&self, text: impl AsRef<[u8]>, flags: TextFlags) -> Result<Vec<Token>> {
        let text = text.as_ref();
        let start = text.as_ptr() as *const c_char;
        // SAFETY: `fill` gives a buffer of the room that it tells.
        fill(text.len() / 2 + 8, |tokens, room, needed, err| unsafe {
            ffi::slm_tokenize(self.get(), start, text.len(), flags.0, tokens, room, needed, err)
        })
    }

    /// A rendered conversation to tokens; special tokens are found in the template's text only.
    pub fn tokenize_prompt(&self, prompt: &ChatPrompt, flags: TextFlags) -> Result<Vec<Token>> {
        let info = prompt.raw();
        // SAFETY: the segments are the prompt's, which is borrowed.
        fill(info.size / 2 + 8, |tokens, room, needed, err| unsafe {
            ffi::slm_tokenize_segments(
                self.get(),
                info.segments,
                info.n_segments,
                info.segment_size,
                flags.0,
                tokens,
                room,
                needed,
                err,
            )
        })
    }

    /// Tokens to text: the bytes of the vocabulary, which may begin or end within a character.
    pub fn detokenize(&self, tokens: &[Token], flags: TextFlags) -> Result<Vec<u8>> {
        // SAFETY: as above.
        fill(tokens.len() * 8 + 8, |text: *mut u8, room, needed, err| unsafe {
            let text = text as *mut c_char;
            let (start, count) = (tokens.as_ptr(), tokens.len());
            ffi::slm_detokenize(self.get(), start, count, flags.0, text, room, needed, err)
        })
    }

    /// Token by token decoding in whole characters.
    pub fn decoder(&self, flags: TextFlags) -> Decoder {
        Decoder { model: self.clone(), flags, stream: ffi::slm_text_stream::default() }
    }

    /// What the vocabulary says of a token.
    pub fn token_info(&self, token: Token) -> Result<TokenInfo<'_>> {
        let mut raw = ffi::slm_token_info::default();
        // SAFETY: the text is the model's.
        unsafe {
            self.call(|model, err| ffi::slm_token_get_info(model, token, &mut raw, err))?;
            Ok(TokenInfo {
                text: bytes(raw.text, raw.text_size),
                kind: raw.kind,
                is_end: raw.is_end != 0,
                score: raw.score,
            })
        }
    }

    /// The token stored as exactly this text.
    pub fn find_token(&self, text: impl AsRef<[u8]>) -> Result<Option<Token>> {
        let text = text.as_ref();
        let mut token = -1;
        // SAFETY: the text is borrowed during the call.
        self.call(|model, err| unsafe {
            let start = text.as_ptr() as *const c_char;
            ffi::slm_token_find(model, start, text.len(), &mut token, err)
        })?;
        Ok(Some(token).filter(|&token| token >= 0))
    }
}

/// Decodes token by token: whole characters only, the start of one is held back until its end has
/// come.
#[derive(Clone)]
pub struct Decoder {
    model: Model,
    flags: TextFlags,
    stream: ffi::slm_text_stream,
}

impl Decoder {
    /// The text that one more token completes, which may be none.
    pub fn push(&mut self, token: Token) -> Result<String> {
        let (model, flags, stream) = (&self.model, self.flags, &mut self.stream);
        // SAFETY: `fill` gives a buffer of the room that it tells. Too small leaves the stream alone.
        let text = fill(64, |text: *mut u8, room, needed, err| unsafe {
            let text = text as *mut c_char;
            ffi::slm_decode_token(model.get(), stream, token, flags.0, text, room, needed, err)
        })?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    /// Ends the text: what is held back comes out.
    pub fn finish(&mut self) -> Result<String> {
        self.push(-1)
    }
}
