//! A tracer on a thread of its own, for hosts whose threads have other things to do.

mod notice;
mod session;

use std::sync::mpsc::{self, Receiver, Sender, TryRecvError};
use std::task::Poll;
use std::thread::JoinHandle;
use std::time::Duration;

use crate::{Backend, Builder, Error, Event, Result, Tracer, Waker};

pub use notice::Notice;
pub use session::{Session, Stops};

/// How long the thread rests after a wait has failed, unless something is asked of it.
const AFTER_AN_ERROR: Duration = Duration::from_millis(10);

/// What the thread is asked to do.
type Job<B, S> = Box<dyn FnOnce(&mut Session<B, S>) + Send>;

enum Order<B: Backend, S> {
    Do(Job<B, S>),
    End,
}

/// A thread that owns a [`Tracer`]: closures go in, and what happens comes out as [`Notice`]s, which
/// can be sent anywhere.
///
/// A tracer and its tokens stay on the thread that made the tracer, because `ptrace` wants it so. A
/// program with a user interface, or with an async runtime, keeps that thread here. The thread waits
/// for events, keeps the tokens of stopped threads in its [`Session`], and gives a notice of each event
/// to a handler, which mostly sends it on through a channel of the host's. The host answers with
/// closures: [`post`](TracerThread::post) returns at once, [`call`](TracerThread::call) waits for the
/// answer. A closure ends the wait that the thread is in, and runs before the next event is taken.
///
/// A stop that nobody resumes lasts: the handler or a later closure resumes it. If the process is killed
/// meanwhile, its end is told once its stops are resumed, as ever.
///
/// All methods take `&self`, so that an `Arc` of it can be with several threads.
///
/// # The end
///
/// [`finish`](TracerThread::finish), or dropping it, ends the thread as soon as it has done all that was
/// posted before; then the tracer is dropped on its own thread, and its tracees are killed or detached,
/// as was chosen for them ([`OnExit`](crate::OnExit)). A panic in the handler or in a closure ends the
/// thread in the same way, and `finish` returns it.
///
/// ```no_run
/// use std::process::Command;
/// use std::sync::mpsc;
///
/// use trapline_core::{Backend, Builder, Notice, Result, Resume, TracerThread};
///
/// fn run<B: Backend + 'static>() -> Result<()> {
///     let (sender, notices) = mpsc::channel();
///     // The handler runs on the tracer's thread; any channel will do, also that of an event loop.
///     let thread = TracerThread::start(Builder::<B>::new(), move |_, notice| {
///         let _ = sender.send(notice);
///     })?;
///     let pid = thread.call(|session| Ok(session.tracer_mut().spawn(Command::new("true"))?.pid))?;
///     for notice in notices {
///         let notice = notice?;
///         println!("{notice:?}");
///         if matches!(notice, Notice::Exited { pid: ended, .. } if ended == pid) {
///             break;
///         }
///         thread.post(move |session| {
///             // A failure gives the stop again.
///             let _ = session.resume_all(notice.threads(), Resume::Continue);
///         })?;
///     }
///     Ok(())
/// }
/// ```
///
/// # Platform notes
///
/// The thread takes the signal mask of the one that starts it. A host whose signals are to be handled
/// by a certain thread blocks them before it starts this one, as for any other thread. The hidden helper
/// that a [waker](Tracer::waker) costs is made at once.
pub struct TracerThread<B: Backend + 'static, S: 'static = ()> {
    orders: Sender<Order<B, S>>,
    waker: Waker,
    /// `None` once it was waited for.
    thread: Option<JoinHandle<()>>,
}

impl<B: Backend, S> std::fmt::Debug for TracerThread<B, S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TracerThread").field("thread", &self.thread).finish_non_exhaustive()
    }
}

impl<B: Backend> TracerThread<B> {
    /// Starts a thread with a tracer of these settings. The handler is called on it with each event, once
    /// its tokens are in the session, and with each error of a wait.
    ///
    /// The handler should not block. One that does keeps closures waiting, and a
    /// [`call`](TracerThread::call) that the host makes meanwhile.
    ///
    /// ```no_run
    /// use trapline::{Builder, TracerThread};
    ///
    /// let thread = TracerThread::start(Builder::new(), |_, notice| println!("{notice:?}"))?;
    /// # drop(thread);
    /// # Ok::<(), trapline::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Builder::build`] and [`Tracer::waker`]; [`Error::Os`] if there can be no more threads.
    pub fn start(
        builder: Builder<B>,
        handler: impl FnMut(&mut Session<B>, Result<Notice>) + Send + 'static,
    ) -> Result<Self> {
        Self::start_with(move || Ok((builder.build()?, ())), handler)
    }
}

impl<B: Backend, S> TracerThread<B, S> {
    /// Starts a thread with a tracer, and with a state of the host's, that are made on it. The state is
    /// for what stays there: a [`Halted`](crate::Halted), modules, breakpoints.
    ///
    /// ```
    /// use trapline_core::{Notice, Pid, Resume, Result, Tracer, TracerThread};
    /// use trapline_fake::{Kernel, LinuxRules};
    ///
    /// // A kernel that is no real one, to test a host: it lives on the tracer's thread.
    /// let thread = TracerThread::start_with(
    ///     || {
    ///         let kernel = Kernel::<LinuxRules>::new();
    ///         Ok((Tracer::builder().build_on(kernel.backend()), kernel))
    ///     },
    ///     |session, notice: Result<Notice>| {
    ///         let threads = notice.expect("an event").threads();
    ///         session.resume_all(threads, Resume::Continue).expect("it runs on");
    ///     },
    /// )?;
    /// let traced = thread.call(|session| {
    ///     let pid = session.state.start();
    ///     session.tracer_mut().attach(pid)?;
    ///     Ok(session.tracer().processes().collect::<Vec<Pid>>())
    /// })?;
    /// assert_eq!(traced.len(), 1);
    /// thread.finish().expect("no panic");
    /// # Ok::<(), trapline_core::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// What `make` returns; as [`start`](TracerThread::start) otherwise.
    pub fn start_with(
        make: impl FnOnce() -> Result<(Tracer<B>, S)> + Send + 'static,
        handler: impl FnMut(&mut Session<B, S>, Result<Notice>) + Send + 'static,
    ) -> Result<Self> {
        let (orders, to_do) = mpsc::channel();
        let (ready, is_ready) = mpsc::channel();
        let work = move || {
            let made = make().and_then(|(mut tracer, state)| {
                let waker = tracer.waker()?;
                Ok((Session::new(tracer, state), waker))
            });
            match made {
                Ok((session, waker)) => {
                    let _ = ready.send(Ok(waker));
                    serve(session, &to_do, handler);
                }
                Err(error) => {
                    let _ = ready.send(Err(error));
                }
            }
        };
        let thread = std::thread::Builder::new()
            .name("tracer".into())
            .spawn(work)
            .map_err(|source| Error::os("thread", -1, source))?;
        match is_ready.recv() {
            Ok(Ok(waker)) => Ok(TracerThread { orders, waker, thread: Some(thread) }),
            Ok(Err(error)) => Err(error),
            Err(_) => match thread.join() {
                Err(panic) => std::panic::resume_unwind(panic), // the host's own, of `make`
                Ok(()) => Err(Error::Ended),
            },
        }
    }

    /// Has the thread run a closure, and returns at once. Closures run in the order in which they are
    /// posted.
    ///
    /// Async code gets an answer by a channel of its runtime's that the closure sends to.
    ///
    /// ```no_run
    /// use trapline::{Builder, TracerThread};
    ///
    /// let thread = TracerThread::start(Builder::new(), |_, notice| println!("{notice:?}"))?;
    /// let pid = trapline::Pid::new(1234).expect("a positive number");
    /// thread.post(move |session| {
    ///     if let Err(error) = session.kill(pid) {
    ///         eprintln!("{error}");
    ///     }
    /// })?;
    /// # Ok::<(), trapline::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Ended`] if the thread has ended, by a panic; the closure does not run.
    pub fn post(&self, job: impl FnOnce(&mut Session<B, S>) + Send + 'static) -> Result<()> {
        self.orders.send(Order::Do(Box::new(job))).map_err(|_| Error::Ended)?;
        self.waker.wake();
        Ok(())
    }

    /// Has the thread run a closure, and waits for what it returns.
    ///
    /// ```no_run
    /// use trapline::{Builder, TracerThread};
    ///
    /// let thread = TracerThread::start(Builder::new(), |_, notice| println!("{notice:?}"))?;
    /// let processes = thread.call(|session| Ok(session.tracer().processes().count()))?;
    /// println!("{processes} processes");
    /// # Ok::<(), trapline::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// What the closure returns. [`Error::Ended`] if the thread has ended, or ends meanwhile, by a
    /// panic. [`Error::Unsupported`] from the handler and from closures: the thread would wait for
    /// itself.
    pub fn call<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Session<B, S>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        if self.is_current() {
            return Err(Error::unsupported("a call from the tracer's own thread", B::SYSTEM));
        }
        let (answer, answered) = mpsc::sync_channel(1);
        self.post(move |session| {
            let _ = answer.send(job(session));
        })?;
        answered.recv().unwrap_or(Err(Error::Ended))
    }

    /// Whether the thread has ended, which it does before [`finish`](TracerThread::finish) only by a
    /// panic.
    ///
    /// ```no_run
    /// use trapline::{Builder, TracerThread};
    ///
    /// let thread = TracerThread::start(Builder::new(), |_, notice| println!("{notice:?}"))?;
    /// assert!(!thread.is_finished());
    /// # Ok::<(), trapline::Error>(())
    /// ```
    pub fn is_finished(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Ends the thread once it has done all that was posted before, and waits for that. Its tracees are
    /// killed or detached, as was chosen for them.
    ///
    /// ```no_run
    /// use trapline::{Builder, TracerThread};
    ///
    /// let thread = TracerThread::start(Builder::new(), |_, notice| println!("{notice:?}"))?;
    /// thread.finish().expect("no panic");
    /// # Ok::<(), trapline::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The panic by which the thread has ended, as [`JoinHandle::join`] returns it.
    pub fn finish(mut self) -> std::thread::Result<()> {
        self.end()
    }

    fn end(&mut self) -> std::thread::Result<()> {
        let Some(thread) = self.thread.take() else { return Ok(()) };
        if self.orders.send(Order::End).is_ok() {
            self.waker.wake();
        }
        if thread.thread().id() == std::thread::current().id() {
            return Ok(()); // dropped by one of its own closures, after which it ends
        }
        thread.join()
    }

    fn is_current(&self) -> bool {
        let own = std::thread::current().id();
        self.thread.as_ref().is_some_and(|thread| thread.thread().id() == own)
    }
}

impl<B: Backend, S> Drop for TracerThread<B, S> {
    fn drop(&mut self) {
        let _ = self.end(); // a panic has printed its message
    }
}

/// What the thread does.
fn serve<B: Backend, S>(
    mut session: Session<B, S>,
    orders: &Receiver<Order<B, S>>,
    mut handler: impl FnMut(&mut Session<B, S>, Result<Notice>),
) {
    // The one that a sleep has ended with.
    let mut next = None;
    loop {
        // What is asked comes first, but a host that never stops asking must not hide the events.
        let (event, slept) = match next.take().map_or_else(|| orders.try_recv(), Ok) {
            Ok(Order::Do(job)) => {
                job(&mut session);
                let found = session.tracer_mut().try_wait();
                let event =
                    found.map(|found| if let Poll::Ready(event) = found { event } else { None });
                (event, false)
            }
            Ok(Order::End) | Err(TryRecvError::Disconnected) => return,
            Err(TryRecvError::Empty) => (session.tracer_mut().wait(), true),
        };
        match event {
            Ok(Some(Event::Woken)) => {}
            Ok(Some(event)) => {
                let notice = session.take_in(event);
                handler(&mut session, Ok(notice));
            }
            Ok(None) if slept => match orders.recv() {
                Ok(order) => next = Some(order),
                Err(_) => return,
            },
            Ok(None) => {}
            Err(error) => {
                handler(&mut session, Err(error));
                next = orders.recv_timeout(AFTER_AN_ERROR).ok();
            }
        }
    }
}
