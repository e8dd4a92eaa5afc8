//! Ending a wait from elsewhere.

use std::sync::Arc;

use crate::backend::Wake;
use crate::{Backend, Result};

use super::Tracer;

/// Ends a blocked [`Tracer::wait`], from any thread and any signal handler. It is cheap to clone.
///
/// A wake before, during or after a wait ends this or the next one, with
/// [`Event::Woken`](crate::Event::Woken). Several wakes may end only one. A waker whose tracer is
/// gone does nothing.
///
/// ```no_run
/// use std::process::Command;
/// use std::time::Duration;
/// use trapline::{Event, Resume, Tracer};
///
/// let mut tracer = Tracer::builder().build()?;
/// let make = tracer.spawn(Command::new("make"))?.pid;
/// let waker = tracer.waker()?;
/// std::thread::spawn(move || {
///     std::thread::sleep(Duration::from_secs(60));
///     waker.wake();
/// });
/// while let Some(event) = tracer.wait()? {
///     match event {
///         Event::Woken => tracer.kill(make)?,
///         event => tracer.resume(event, Resume::Continue)?,
///     }
/// }
/// # Ok::<(), trapline::Error>(())
/// ```
#[derive(Clone)]
pub struct Waker(Arc<dyn Wake>);

impl Waker {
    /// Ends the wait. It is async-signal-safe.
    ///
    /// ```
    /// fn stop_waiting(waker: &trapline::Waker) {
    ///     waker.wake();
    /// }
    /// ```
    pub fn wake(&self) {
        self.0.wake();
    }
}

impl std::fmt::Debug for Waker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Waker")
    }
}

impl<B: Backend> Tracer<B> {
    /// A way to end a blocked [`wait`](Tracer::wait) from elsewhere; see [`Waker`].
    ///
    /// ```no_run
    /// use trapline::{Event, Tracer};
    ///
    /// let mut tracer = Tracer::builder().build()?;
    /// let waker = tracer.waker()?;
    /// let thread = std::thread::spawn(move || waker.wake());
    /// # thread.join().unwrap();
    /// # Ok::<(), trapline::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Os`](crate::Error::Os) if the kernel is out of processes or descriptors.
    ///
    /// # Platform notes
    ///
    /// The first waker needs a hidden helper. On Linux it is a tiny process, which is a child of this
    /// one that no ordinary wait finds; on FreeBSD it is a pipe.
    pub fn waker(&mut self) -> Result<Waker> {
        self.engine.waker().map(Waker)
    }
}
