//! What options have in common: their defaults, and methods that many of them want.

use std::os::raw::c_int;

/// Options of slm's with the defaults that `init` knows.
pub(crate) fn defaults<T: Default>(init: unsafe extern "C" fn(*mut T, usize) -> c_int) -> T {
    let mut options = T::default();
    // SAFETY: each slm_*_options_init writes at most as many bytes as it is told, to the struct of
    // its own type. It cannot fail: nothing is NULL.
    unsafe { init(&mut options, std::mem::size_of::<T>()) };
    options
}

/// Numbers that go into `raw` as they are.
macro_rules! number_methods {
    ($($(#[$comment:meta])* $name:ident: $type:ty,)*) => { $(
        $(#[$comment])*
        pub fn $name(mut self, $name: $type) -> Self {
            self.raw.$name = $name;
            self
        }
    )* };
}

/// Bits of `raw.flags`.
macro_rules! flag_methods {
    ($($(#[$comment:meta])* $name:ident: $bit:expr,)*) => { $(
        $(#[$comment])*
        pub fn $name(mut self, on: bool) -> Self {
            self.raw.flags = if on { self.raw.flags | $bit } else { self.raw.flags & !$bit };
            self
        }
    )* };
}

/// The allocator of `raw`.
macro_rules! allocator_method {
    ($(#[$comment:meta])*) => {
        $(#[$comment])*
        pub unsafe fn allocator(mut self, alloc: ffi::slm_alloc_fn, user: *mut c_void) -> Self {
            self.raw.alloc = alloc;
            self.raw.alloc_user = user;
            self
        }
    };
}

/// What ends a long call, in fields of these names.
macro_rules! stop_methods {
    ($(#[$of_cancel:meta])* cancel, $(#[$of_progress:meta])* progress) => {
        $(#[$of_cancel])*
        pub fn cancel(mut self, flag: &CancelFlag) -> Self {
            self.cancel = Some(flag.clone());
            self
        }

        $(#[$of_progress])*
        pub fn progress(
            mut self,
            progress: impl FnMut(u64, u64) -> ControlFlow<()> + Send + 'a,
        ) -> Self {
            self.progress = Some(Box::new(progress));
            self
        }
    };
}

pub(crate) use {allocator_method, flag_methods, number_methods, stop_methods};
