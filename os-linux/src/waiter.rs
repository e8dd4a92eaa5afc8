//! For event loops: a thread that looks for stops while the host sleeps elsewhere.
//!
//! Nothing that can be polled tells of a tracee: a pidfd tells of ends alone, a signalfd needs the
//! host's signal mask, and io_uring's `waitid` is switched off in many places. But `waitid` with
//! WNOWAIT leaves what it finds, and without `__WNOTHREAD` it finds what belongs to the other
//! threads of the process. So a thread sleeps in it, and writes to an eventfd.
//!
//! It looks once for each order, because it would find the same stop again at once. It gets an order
//! after a wait that found nothing, and finds whatever has stopped since, so nothing is
//! missed in between. The wake helper is a tracee as well, and so wakes, time-outs and the end of the
//! thread itself need nothing more.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use std::os::fd::OwnedFd;

use trapline_core::Result;

use crate::sys::{EventFd, Kernel, Mask, error, own_tid};
use crate::{Linux, process};

/// How many tracers this process has. With one alone, what is found is its own.
pub(crate) static TRACERS: AtomicUsize = AtomicUsize::new(0);

/// Before it tells of what another tracer of this process has not taken yet, and that may hide
/// what is its own; or that there is no tracee.
const PAUSE: Duration = Duration::from_millis(1);

/// The thread, on the tracer's side.
#[derive(Debug)]
pub(crate) struct Waiter {
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
}

/// Where both meet.
#[derive(Debug)]
struct Shared {
    orders: Mutex<Orders>,
    changed: Condvar,
    /// Readable once something was found.
    found: EventFd,
    /// The tracer's thread.
    tracer: i32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Orders {
    Idle,
    Look,
    End,
}

impl Linux {
    /// What an event loop watches. The waiter thread is started if there is none.
    pub(crate) fn readiness_descriptor(&mut self) -> Result<OwnedFd> {
        self.wake_helper()?; // so that the waiter always has something to wait for
        let waiter = match self.waiter.take() {
            Some(waiter) => waiter,
            None => Waiter::new(&self.kernel)?,
        };
        self.waiter.insert(waiter).readiness()
    }

    /// Has the descriptor become readable at the next stop, or after this time.
    pub(crate) fn watch_for(&mut self, time: Option<Duration>) -> Result<()> {
        if let Some(time) = time {
            let deadline = Instant::now() + time;
            self.wake_helper()?;
            if let Some(helper) = &mut self.wake_helper {
                helper.stop_by(&self.kernel, deadline)?;
            }
        }
        if let Some(waiter) = &self.waiter {
            waiter.look();
        }
        Ok(())
    }
}

impl Waiter {
    pub(crate) fn new(kernel: &Kernel) -> Result<Self> {
        let shared = Arc::new(Shared {
            orders: Mutex::new(Orders::Idle),
            changed: Condvar::new(),
            found: EventFd::new(kernel)?,
            tracer: own_tid(),
        });
        let run = {
            let shared = shared.clone();
            let kernel = kernel.another();
            move || {
                Mask::all().set(); // the host's handlers run on its own threads
                shared.run(&kernel);
            }
        };
        let failed = |e| error("pthread_create", -1, e);
        let thread = Builder::new().name("trapline-waiter".into()).spawn(run).map_err(failed)?;
        Ok(Self { shared, thread })
    }

    /// A copy of the descriptor.
    pub(crate) fn readiness(&self) -> Result<OwnedFd> {
        self.shared.found.copy()
    }

    /// Has it look, if it does not already.
    pub(crate) fn look(&self) {
        let mut orders = self.shared.orders();
        if *orders == Orders::Idle {
            self.shared.found.clear();
            *orders = Orders::Look;
            self.shared.changed.notify_one();
        }
    }

    /// Has it end. What it sleeps for must then happen: `expire` has the wake helper stop.
    pub(crate) fn end(self, expire: impl FnOnce() -> bool) {
        *self.shared.orders() = Orders::End;
        self.shared.changed.notify_one();
        if expire() {
            let _ = self.thread.join();
        }
        // If not, it ends with the next change of any tracee, or with the process.
    }
}

impl Shared {
    fn orders(&self) -> MutexGuard<'_, Orders> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The thread.
    fn run(&self, kernel: &Kernel) {
        loop {
            let mut orders = self.orders();
            while *orders == Orders::Idle {
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
                *orders = Orders::Idle;
                self.found.set();
            }
        }
    }
}
