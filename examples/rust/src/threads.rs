//! Thread pools that contexts share: slm's own, or the host's.

use crate::call::{guard, Handle, Pinned};
use crate::error::Result;
use crate::ffi;
use crate::options::defaults;
use std::os::raw::c_void;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;

type Executor = Box<dyn Fn(&Tasks) + Send + Sync>;

struct Inner {
    handle: Handle<ffi::slm_threads>,
    // Behind the handle: dropped after it.
    _executor: Option<Pinned<Executor>>,
}

// SAFETY: a pool may be used and freed from any thread; executors are Send and Sync.
unsafe impl Send for Inner {}
unsafe impl Sync for Inner {}

/// A pool of worker threads; a clone is the same pool.
///
/// ```
/// # fn main() -> slm::Result<()> {
/// # let model = slm::Model::open("../models/storyteller-q8_0.gguf")?;
/// let pool = slm::Threads::new(2)?;
/// let a = slm::ContextOptions::new().threads(&pool).create(&model)?;
/// let b = slm::ContextOptions::new().threads(&pool).create(&model)?;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Threads(Arc<Inner>);

impl Threads {
    /// `count` threads, the calling one included.
    pub fn new(count: i32) -> Result<Threads> {
        Threads::create(count, None)
    }

    /// As many threads as slm thinks best: fast cores that the process may use.
    pub fn automatic() -> Result<Threads> {
        Threads::create(ffi::SLM_AUTO, None)
    }

    /// The host's own threads: `executor` runs tasks until [`Tasks::run_one`] says that there is none
    /// left, on as many threads as it likes. What it leaves undone runs on the calling thread; so does
    /// all that is left of a call once it has panicked.
    ///
    /// ```
    /// # fn main() -> slm::Result<()> {
    /// let pool = slm::Threads::with_executor(2, |tasks| {
    ///     std::thread::scope(|scope| {
    ///         scope.spawn(|| while tasks.run_one() {});
    ///         while tasks.run_one() {}
    ///     });
    /// })?;
    /// # Ok(()) }
    /// ```
    pub fn with_executor(
        count: i32,
        executor: impl Fn(&Tasks) + Send + Sync + 'static,
    ) -> Result<Threads> {
        Threads::create(count, Some(Pinned::new(Box::new(executor))))
    }

    fn create(count: i32, executor: Option<Pinned<Executor>>) -> Result<Threads> {
        let mut options = defaults(ffi::slm_threads_options_init);
        // SAFETY: the struct is ours, of the size told; the executor lives as long as the pool.
        let handle = unsafe {
            options.n_threads = count;
            if let Some(executor) = &executor {
                options.parallel = Some(run_parallel);
                options.parallel_user = executor.get();
            }
            Handle::create(ffi::slm_threads_free, |out, err| {
                ffi::slm_threads_create(out, &options, err)
            })?
        };
        Ok(Threads(Arc::new(Inner { handle, _executor: executor })))
    }

    pub(crate) fn get(&self) -> *mut ffi::slm_threads {
        self.0.handle.get()
    }
}

/// The tasks of one parallel region. They never wait for each other.
pub struct Tasks {
    next: AtomicUsize,
    count: usize,
    task: ffi::slm_task_fn,
    arg: *mut c_void,
}

// SAFETY: slm's tasks may run on any thread, each once, which `next` sees to.
unsafe impl Sync for Tasks {}

impl Tasks {
    /// How many there are altogether.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Runs a task that nobody has begun, on this thread; false if there is none.
    pub fn run_one(&self) -> bool {
        // Looked at first, so that no number of calls can make it wrap.
        if self.next.load(Ordering::Relaxed) >= self.count {
            return false;
        }
        let index = self.next.fetch_add(1, Ordering::Relaxed);
        match self.task {
            // SAFETY: the region is still on: `Tasks` cannot outlive run_parallel. Nobody else has
            // this index.
            Some(task) if index < self.count => unsafe {
                task(self.arg, index as i32);
                true
            },
            _ => false,
        }
    }
}

/// The slm_parallel_fn of an `Executor`. What runs tasks on other threads has borrowed `tasks` and
/// must have ended when the executor returns or unwinds.
unsafe extern "C" fn run_parallel(
    user: *mut c_void,
    n: i32,
    task: ffi::slm_task_fn,
    arg: *mut c_void,
) {
    let executor = &*(user as *const Executor);
    let tasks =
        Tasks { next: AtomicUsize::new(0), count: usize::try_from(n).unwrap_or(0), task, arg };
    guard((), || executor(&tasks));
    while tasks.run_one() {}
}
