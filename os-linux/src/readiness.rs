//! For event loops: a thread that looks for stops while the host sleeps elsewhere.
//!
//! Nothing that can be polled tells of a tracee: a pidfd tells of ends alone, a signalfd needs the
//! host's signal mask, and io_uring's `waitid` is switched off in many places. But `waitid` with
//! WNOWAIT leaves what it finds, and without `__WNOTHREAD` it finds what belongs to the other
//! threads of the process. So a thread sleeps in it, and writes to an eventfd.
//!
//! It looks once for each time that it is told to, as it would find the same stop again at once. It
//! is told after a wait that found nothing, and finds whatever has stopped since, so nothing is
//! missed in between. The doorbell is a tracee as well, and so wakes, time-outs and the end of the
//! thread itself need nothing more.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use std::os::fd::OwnedFd;

use trapline_core::Result;

use crate::process;
use crate::sys::{EventFd, Kernel, Mask, error, own_tid};

/// How many tracers this process has. With one alone, what is found is its own.
pub(crate) static TRACERS: AtomicUsize = AtomicUsize::new(0);

/// Before it tells of what another tracer of this process has not taken yet, and that may hide
/// what is its own; or that there is no tracee.
const PAUSE: Duration = Duration::from_millis(1);

/// The thread, on the tracer's side.
#[derive(Debug)]
pub(crate) struct Lookout {
    post: Arc<Post>,
    thread: JoinHandle<()>,
}

/// Where both meet.
#[derive(Debug)]
struct Post {
    orders: Mutex<Orders>,
    changed: Condvar,
    /// Readable once something was found.
    found: EventFd,
    /// The tracer's thread.
    tracer: i32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Orders {
    Rest,
    Look,
    End,
}

impl Lookout {
    pub(crate) fn new(kernel: &Kernel) -> Result<Self> {
        let post = Arc::new(Post {
            orders: Mutex::new(Orders::Rest),
            changed: Condvar::new(),
            found: EventFd::new(kernel)?,
            tracer: own_tid(),
        });
        let keep = {
            let post = post.clone();
            let kernel = kernel.another();
            move || {
                Mask::all().set(); // the host's handlers run on its own threads
                post.keep(&kernel);
            }
        };
        let failed = |e| error("pthread_create", -1, e);
        let thread = Builder::new().name("trapline-lookout".into()).spawn(keep).map_err(failed)?;
        Ok(Self { post, thread })
    }

    /// A copy of the descriptor.
    pub(crate) fn readiness(&self) -> Result<OwnedFd> {
        self.post.found.copy()
    }

    /// Has it look, if it does not already.
    pub(crate) fn look(&self) {
        let mut orders = self.post.orders();
        if *orders == Orders::Rest {
            self.post.found.clear();
            *orders = Orders::Look;
            self.post.changed.notify_one();
        }
    }

    /// Has it end. What it sleeps for must then happen: `ring` is the doorbell.
    pub(crate) fn end(self, ring: impl FnOnce() -> bool) {
        *self.post.orders() = Orders::End;
        self.post.changed.notify_one();
        if ring() {
            let _ = self.thread.join();
        }
        // If not, it ends with the next change of any tracee, or with the process.
    }
}

impl Post {
    fn orders(&self) -> MutexGuard<'_, Orders> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The thread.
    fn keep(&self, kernel: &Kernel) {
        loop {
            let mut orders = self.orders();
            while *orders == Orders::Rest {
                orders = self.changed.wait(orders).unwrap_or_else(PoisonError::into_inner);
            }
            if *orders == Orders::End {
                return;
            }
            drop(orders);
            let ours = match kernel.sleep_until_change() {
                Some(_) if TRACERS.load(Ordering::Relaxed) <= 1 => true,
                Some(tid) => {
                    let status = process::status(kernel, tid.as_raw()).ok().flatten();
                    status.is_some_and(|status| status.tracer == self.tracer)
                }
                None => false,
            };
            if !ours {
                std::thread::sleep(PAUSE);
            }
            let mut orders = self.orders();
            if *orders == Orders::Look {
                *orders = Orders::Rest;
                self.found.set();
            }
        }
    }
}
