//! Where Rust and C meet: objects and who frees them, results and buffers, closures that C calls.
//!
//! A panic must not unwind through C. A closure that panics is caught here, no other one runs in the
//! same call, C is told to stop, and when its call has returned the panic goes on. Callbacks run only on
//! the thread that made the call, so a thread-local is all it takes.

use crate::error::{Error, Result};
use crate::ffi;
use std::any::Any;
use std::cell::RefCell;
use std::ops::ControlFlow;
use std::os::raw::{c_int, c_void};
use std::panic::{catch_unwind, resume_unwind, AssertUnwindSafe};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::Arc;

/// One reference to an object of slm, given back when this goes.
pub(crate) struct Handle<T> {
    pointer: NonNull<T>,
    free: unsafe extern "C" fn(*mut T),
}

impl<T> Handle<T> {
    /// What `make` puts into its first argument, if it does not fail.
    pub(crate) fn create(
        free: unsafe extern "C" fn(*mut T),
        make: impl FnOnce(*mut *mut T, *mut ffi::slm_error) -> c_int,
    ) -> Result<Handle<T>> {
        let mut raw = std::ptr::null_mut();
        let result = status(|err| make(&mut raw, err));
        // It is owned before a panic can go on.
        let handle = NonNull::new(raw).map(|pointer| Handle { pointer, free });
        resume_panic();
        result?;
        handle.ok_or_else(|| Error::argument("slm has made no object"))
    }

    pub(crate) fn get(&self) -> *mut T {
        self.pointer.as_ptr()
    }
}

impl<T> Drop for Handle<T> {
    fn drop(&mut self) {
        // SAFETY: the pointer came from slm with a reference of ours, and nobody gives it back twice.
        unsafe { (self.free)(self.pointer.as_ptr()) }
    }
}

fn status(call: impl FnOnce(*mut ffi::slm_error) -> c_int) -> Result<()> {
    let mut err = ffi::slm_error::default();
    match call(&mut err) {
        ffi::SLM_OK => Ok(()),
        code => Err(Error::from_raw(code, &err)),
    }
}

/// A call and its result, or the panic of a closure that ran inside.
pub(crate) fn call(call: impl FnOnce(*mut ffi::slm_error) -> c_int) -> Result<()> {
    let result = status(call);
    resume_panic();
    result
}

/// A call that fills a buffer of (pointer, capacity, needed): once with room for `guess` elements, and
/// again if that is too small. `T` is a number.
pub(crate) fn fill<T: Copy>(
    guess: usize,
    mut call_with: impl FnMut(*mut T, usize, *mut usize, *mut ffi::slm_error) -> c_int,
) -> Result<Vec<T>> {
    // With no room at all, Vec's pointer would stand for nothing.
    let mut buffer: Vec<T> = Vec::with_capacity(guess.max(1));
    loop {
        let mut needed = 0;
        let room = buffer.capacity();
        let result = call(|err| call_with(buffer.as_mut_ptr(), room, &mut needed, err));
        if result.is_ok() && needed <= room {
            // SAFETY: slm has written `needed` elements.
            unsafe { buffer.set_len(needed) };
            return Ok(buffer);
        }
        if needed <= room {
            return result.map(|()| buffer);
        }
        buffer.reserve_exact(needed);
    }
}

/// Text that slm promises to be UTF-8.
///
/// # Safety
/// `text` points at `size` bytes that stay as they are for 'a, or is NULL.
pub(crate) unsafe fn text<'a>(text: *const std::os::raw::c_char, size: usize) -> &'a str {
    std::str::from_utf8(bytes(text, size)).unwrap_or("\u{fffd}")
}

/// # Safety
/// As for `text`.
pub(crate) unsafe fn bytes<'a>(text: *const std::os::raw::c_char, size: usize) -> &'a [u8] {
    if text.is_null() || size == 0 {
        return &[];
    }
    std::slice::from_raw_parts(text as *const u8, size)
}

/// # Safety
/// As for `text`.
pub(crate) unsafe fn tokens<'a>(tokens: *const i32, n: i32) -> &'a [i32] {
    if tokens.is_null() {
        return &[];
    }
    std::slice::from_raw_parts(tokens, n as usize)
}

/// A 0-terminated string of slm's, "" for NULL.
///
/// # Safety
/// As for `text`.
pub(crate) unsafe fn c_text<'a>(text: *const std::os::raw::c_char) -> &'a str {
    if text.is_null() {
        return "";
    }
    std::ffi::CStr::from_ptr(text).to_str().unwrap_or("\u{fffd}")
}

// ---- Panics ------------------------------------------------------------------------------------

thread_local! {
    static PANIC: RefCell<Option<Box<dyn Any + Send>>> = RefCell::new(None);
}

/// Runs a closure of the host inside of a call of C, unless one has panicked in that call. A panic is
/// kept for `resume_panic`.
pub(crate) fn guard<R>(stopped: R, closure: impl FnOnce() -> R) -> R {
    if PANIC.with(|slot| slot.borrow().is_some()) {
        return stopped;
    }
    match catch_unwind(AssertUnwindSafe(closure)) {
        Ok(value) => value,
        Err(payload) => {
            PANIC.with(|slot| *slot.borrow_mut() = Some(payload));
            stopped
        }
    }
}

fn resume_panic() {
    if let Some(payload) = PANIC.with(|slot| slot.borrow_mut().take()) {
        resume_unwind(payload);
    }
}

// ---- Closures ----------------------------------------------------------------------------------

/// Something of the host's that C keeps a pointer to: it stays where it is. (A Box would do, but
/// moving one tells the compiler that nobody else has its address.)
pub(crate) struct Pinned<T>(NonNull<T>);

impl<T> Pinned<T> {
    pub(crate) fn new(value: T) -> Pinned<T> {
        Pinned(NonNull::from(Box::leak(Box::new(value))))
    }

    pub(crate) fn get(&self) -> *mut c_void {
        self.0.as_ptr() as *mut c_void
    }
}

impl<T> std::ops::Deref for Pinned<T> {
    type Target = T;
    fn deref(&self) -> &T {
        // SAFETY: made from a Box in `new`, freed in `drop` only.
        unsafe { self.0.as_ref() }
    }
}

impl<T> Drop for Pinned<T> {
    fn drop(&mut self) {
        // SAFETY: as above; what C has of it is not used any more.
        drop(unsafe { Box::from_raw(self.0.as_ptr()) });
    }
}

// SAFETY: owns its T as a Box does.
unsafe impl<T: Send> Send for Pinned<T> {}
unsafe impl<T: Sync> Sync for Pinned<T> {}

/// How far a long call is: done of total. `Break` stops it with [`Status::Cancelled`].
///
/// [`Status::Cancelled`]: crate::Status::Cancelled
pub(crate) type Progress<'a> = Box<dyn FnMut(u64, u64) -> ControlFlow<()> + Send + 'a>;

/// The slm_progress_fn of an `Option<Progress>`. C gets it even if there is none: this is how it is
/// told to stop when another closure has panicked, a log or an executor.
///
/// # Safety
/// `user` points at an `Option<Progress>` that nobody else uses during the call.
pub(crate) unsafe extern "C" fn run_progress(user: *mut c_void, done: u64, total: u64) -> i32 {
    let progress = &mut *(user as *mut Option<Progress<'_>>);
    guard(1, || match progress {
        Some(progress) => progress(done, total).is_break() as i32,
        None => 0,
    })
}

/// A flag that stops what runs, from any thread: loading, evaluation, generation. The stopped call
/// fails with [`Status::Cancelled`](crate::Status::Cancelled) and leaves everything usable; after
/// `reset` the work can go on.
#[derive(Clone, Debug, Default)]
pub struct CancelFlag(Arc<AtomicI32>);

impl CancelFlag {
    /// A flag that is not set.
    pub fn new() -> CancelFlag {
        CancelFlag::default()
    }

    /// Stops every call that was given this flag, now and until `reset`.
    pub fn cancel(&self) {
        self.0.store(1, Ordering::Relaxed);
    }

    /// Takes it back.
    pub fn reset(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    /// Whether it is set.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed) != 0
    }

    /// Valid as long as a clone of the flag is; slm reads it atomically.
    pub(crate) fn pointer(flag: &Option<CancelFlag>) -> *const i32 {
        flag.as_ref().map_or(std::ptr::null(), |flag| &*flag.0 as *const AtomicI32 as *const i32)
    }
}
