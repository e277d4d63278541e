//! Errors: the status of a call, and the message that names what is wrong.

use crate::ffi;
use std::fmt;
use std::io;

/// What every call of this crate returns that can fail.
pub type Result<T> = std::result::Result<T, Error>;

/// The kinds of failure, as in slm.h (`Status::Format` is `SLM_E_FORMAT`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Status {
    /// A value out of range.
    Argument,
    /// No memory, or a `max_bytes` cap was reached.
    Memory,
    /// A file could not be opened or read.
    Io,
    /// The bytes are not a valid GGUF file.
    Format,
    /// A valid GGUF file that is not a consistent model.
    Model,
    /// An unknown family, encoding, tokenizer or format version.
    Unsupported,
    /// A buffer is too small, or more rows of logits are wanted than the context has.
    Space,
    /// The context has no room for these tokens.
    Full,
    /// The cancel flag was set, or a progress closure asked to stop.
    Cancelled,
    /// The time is up; call again to go on.
    Deadline,
    /// The object is in use by another call.
    Busy,
    /// The object was made before `fork()`.
    Forked,
    /// No finite logit to choose from.
    Numeric,
    /// The system gave no thread.
    Thread,
    /// A chat template is wrong, or refuses the conversation.
    Template,
    /// A status that this version of the crate does not know.
    Other(i32),
}

const STATUSES: [(i32, Status); 15] = [
    (ffi::SLM_E_ARGUMENT, Status::Argument),
    (ffi::SLM_E_MEMORY, Status::Memory),
    (ffi::SLM_E_IO, Status::Io),
    (ffi::SLM_E_FORMAT, Status::Format),
    (ffi::SLM_E_MODEL, Status::Model),
    (ffi::SLM_E_UNSUPPORTED, Status::Unsupported),
    (ffi::SLM_E_SPACE, Status::Space),
    (ffi::SLM_E_FULL, Status::Full),
    (ffi::SLM_E_CANCELLED, Status::Cancelled),
    (ffi::SLM_E_DEADLINE, Status::Deadline),
    (ffi::SLM_E_BUSY, Status::Busy),
    (ffi::SLM_E_FORKED, Status::Forked),
    (ffi::SLM_E_NUMERIC, Status::Numeric),
    (ffi::SLM_E_THREAD, Status::Thread),
    (ffi::SLM_E_TEMPLATE, Status::Template),
];

impl Status {
    pub(crate) fn from_code(code: i32) -> Status {
        let known = STATUSES.iter().find(|row| row.0 == code);
        known.map_or(Status::Other(code), |row| row.1)
    }

    /// The negative number that slm.h has for it.
    pub fn code(self) -> i32 {
        match self {
            Status::Other(code) => code,
            known => STATUSES.iter().find(|row| row.1 == known).map_or(0, |row| row.0),
        }
    }

    /// "SLM_E_FORMAT" and so on.
    pub fn name(self) -> &'static str {
        // SAFETY: slm_status_name answers every number with static text of ASCII.
        let name = unsafe { std::ffi::CStr::from_ptr(ffi::slm_status_name(self.code())) };
        name.to_str().unwrap_or("")
    }
}

/// A failed call.
///
/// ```
/// let error = slm::Model::open("/not/there.gguf").unwrap_err();
/// assert_eq!(error.status(), slm::Status::Io);
/// assert!(error.message().contains("/not/there.gguf"));
/// ```
#[derive(Debug)]
pub struct Error {
    status: Status,
    position: Option<i64>,
    message: String,
    source: Option<io::Error>,
}

impl Error {
    /// From the struct that a failed call has filled.
    pub(crate) fn from_raw(code: i32, raw: &ffi::slm_error) -> Error {
        let message: Vec<u8> =
            raw.message.iter().map(|&c| c as u8).take_while(|&c| c != 0).collect();
        Error {
            status: Status::from_code(code),
            position: Some(raw.position).filter(|&position| position >= 0),
            message: String::from_utf8_lossy(&message).into_owned(),
            source: None,
        }
    }

    pub(crate) fn argument(message: impl Into<String>) -> Error {
        Error { status: Status::Argument, position: None, message: message.into(), source: None }
    }

    pub(crate) fn caused_by(mut self, source: Option<io::Error>) -> Error {
        self.source = source;
        self
    }

    /// The kind of failure.
    pub fn status(&self) -> Status {
        self.status
    }

    /// Byte offset in the file or JSON, line of the template, or index of the token, span or stage.
    pub fn position(&self) -> Option<i64> {
        self.position
    }

    /// One line of English that names the tensor, key, token or argument concerned.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Whether the same call goes on where it was stopped.
    pub fn is_resumable(&self) -> bool {
        matches!(self.status, Status::Cancelled | Status::Deadline)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message, self.status.name())
    }
}

impl std::error::Error for Error {
    /// What the host's own reader failed with, if that was the reason.
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|error| error as _)
    }
}
