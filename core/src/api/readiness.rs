//! A way into an event loop of the host's.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::Arc;

use crate::{Backend, Result};

use super::Tracer;

/// A descriptor that becomes readable when a tracer may have an event: for `poll(2)`, `epoll(7)`,
/// `kevent(2)`, and what is built on them. Made by [`Tracer::readiness`]; cheap to clone.
///
/// Only wait for it to be readable; what can be read from it means nothing, and is not the host's
/// to read.
///
/// ```
/// use std::os::fd::AsFd;
/// use trapline::Readiness;
///
/// /// What an event loop watches.
/// fn register(readiness: &Readiness, mut watch: impl FnMut(std::os::fd::BorrowedFd<'_>)) {
///     watch(readiness.as_fd());
/// }
/// ```
#[derive(Debug, Clone)]
pub struct Readiness(Arc<OwnedFd>);

impl AsFd for Readiness {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for Readiness {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl<B: Backend> Tracer<B> {
    /// A descriptor for an event loop, which becomes readable when a tracee stops or ends, and
    /// when a [waker](Tracer::waker) wakes.
    ///
    /// The loop has one rule. After the descriptor was readable, and after any other use of the
    /// tracer, call [`try_wait`](Tracer::try_wait) until it gives no event; only then sleep. The
    /// call that gives no event arms the descriptor. From then on the descriptor becomes readable
    /// as soon as there may be an event, and stays readable, even if the event came just before
    /// that call. So no event is lost, whether the loop watches for levels or for edges. Now and
    /// then the descriptor is readable although there is no event.
    ///
    /// ```
    /// use std::task::Poll;
    /// use trapline::{Backend, Result, Resume, TracerOn};
    ///
    /// /// What the loop does when the descriptor is readable, and after anything else.
    /// fn take_events<B: Backend>(tracer: &mut TracerOn<B>) -> Result<()> {
    ///     while let Poll::Ready(Some(event)) = tracer.try_wait()? {
    ///         println!("{event:?}");
    ///         tracer.resume(event, Resume::Continue)?;
    ///     }
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Os`](crate::Error::Os) if the kernel is out of descriptors, threads or processes.
    ///
    /// # Platform notes
    ///
    /// On Linux this costs a thread, which looks for stops while the host sleeps and has all
    /// signals blocked, and the helper of a [waker](Tracer::waker). Each time the descriptor
    /// becomes readable takes two switches to that thread and a few requests; a blocking
    /// [`wait`](Tracer::wait) takes none. The thread also sees stops that the tracers of other
    /// threads of this process have not taken yet. Then the descriptor is readable although there
    /// is no event, up to a thousand times a second.
    ///
    /// On FreeBSD the descriptor is the kqueue that a wait sleeps on. It also becomes readable for
    /// other children of the host, and ten times a second.
    ///
    /// The descriptor is of use as long as the tracer lives. A copy that is kept longer is never
    /// readable, or always.
    pub fn readiness(&mut self) -> Result<Readiness> {
        Ok(Readiness(self.engine.readiness()?))
    }
}
