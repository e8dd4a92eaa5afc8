//! A world with a tracer in it, and short words for what the tests say.

use std::task::Poll;
use std::time::Duration;

use trapline_core::{
    Builder, Event, EventFlags, ExitStatus, FollowFork, ForkKind, ForkSide, Forked, Pid, Resume,
    Signal, StopReason, Stopped, Tid, Tracer,
};
use trapline_fake::{Fake, Kernel, Rules};

/// Everything that is off by default, but for what changes how threads stop.
pub(crate) const THREADS: EventFlags = EventFlags::PROCESS.union(EventFlags::THREAD);

/// The end of what was killed.
pub(crate) const KILLED: ExitStatus =
    ExitStatus::Killed { signal: Signal::KILL, core_dumped: false };

/// Runs each of these tests with the rules of both kernels, and with an invented CPU. One that is left out is dead code, which
/// does not compile.
macro_rules! both {
    ($($name:ident),* $(,)?) => {
        $(
            mod $name {
                #[test]
                fn linux() {
                    super::$name::<trapline_fake::LinuxRules>();
                }

                #[test]
                fn freebsd() {
                    super::$name::<trapline_fake::FreeBsdRules>();
                }

                #[test]
                fn other_cpu() {
                    super::$name::<trapline_fake::OtherCpuRules>();
                }
            }
        )*
    };
}
pub(crate) use both;

/// A kernel and a tracer. At its end nothing may be amiss.
pub(crate) struct World<R: Rules> {
    pub(crate) kernel: Kernel<R>,
    tracer: Option<Tracer<Fake<R>>>,
}

impl<R: Rules> World<R> {
    pub(crate) fn new(flags: EventFlags) -> Self {
        Self::built(|builder| builder.events(flags))
    }

    pub(crate) fn following(flags: EventFlags, follow: FollowFork) -> Self {
        Self::built(|builder| builder.events(flags).follow_fork(follow))
    }

    /// One that waits for the halves of forks as long as it takes.
    pub(crate) fn patient(flags: EventFlags) -> Self {
        Self::built(|builder| builder.events(flags).half_patience(Duration::from_secs(3600)))
    }

    pub(crate) fn built(settings: impl FnOnce(Builder<Fake<R>>) -> Builder<Fake<R>>) -> Self {
        let kernel = Kernel::new();
        kernel.keep_log();
        // What no wait finds does not come any more, in a world without time.
        let builder = Tracer::builder().half_patience(Duration::ZERO);
        let tracer = settings(builder).build_on(kernel.backend());
        World { kernel, tracer: Some(tracer) }
    }

    /// With a process that is attached to, and runs.
    pub(crate) fn with_process(flags: EventFlags) -> (Self, Pid) {
        let mut world = Self::new(flags);
        let pid = world.attach();
        (world, pid)
    }

    pub(crate) fn tracer(&mut self) -> &mut Tracer<Fake<R>> {
        self.tracer.as_mut().expect("there until the end")
    }

    /// Attaches to a new process, and lets it run.
    pub(crate) fn attach(&mut self) -> Pid {
        let pid = self.kernel.start();
        self.tracer().attach(pid).unwrap();
        let stop = self.stop();
        assert_eq!((stop.pid(), stop.reason()), (pid, StopReason::Started));
        self.go(stop);
        pid
    }

    /// The only thread of a process.
    pub(crate) fn main(&self, pid: Pid) -> Tid {
        self.kernel.leader(pid)
    }

    /// A new thread of a process, running.
    pub(crate) fn new_thread(&mut self, pid: Pid) -> Tid {
        let tid = self.kernel.thread(self.main(pid));
        self.run_all();
        tid
    }

    /// Has a thread make a process, and runs both once that is told.
    pub(crate) fn forks(&mut self, maker: Tid, kind: ForkKind) -> Pid {
        let child = self.kernel.fork(maker, kind);
        let fork = self.forked();
        assert_eq!(fork.child_pid, child);
        self.go(fork);
        child
    }

    /// The next event, which is there.
    pub(crate) fn next(&mut self) -> Event {
        match self.tracer().wait().unwrap() {
            Some(Event::Woken) => panic!("nothing to report: {:?}", self.kernel),
            Some(event) => event,
            None => panic!("no tracees: {:?}", self.kernel),
        }
    }

    /// The next event, a stop.
    pub(crate) fn stop(&mut self) -> Stopped {
        match self.next() {
            Event::Stopped(stop) => stop,
            other => panic!("not a stop: {other:?}"),
        }
    }

    /// The next event, a stop for this reason.
    pub(crate) fn stop_for(&mut self, reason: StopReason) -> Stopped {
        let stop = self.stop();
        assert_eq!(stop.reason(), reason);
        stop
    }

    /// The next event, a fork.
    pub(crate) fn forked(&mut self) -> Forked {
        match self.next() {
            Event::Forked(fork) => fork,
            other => panic!("not a fork: {other:?}"),
        }
    }

    /// The next event, the end of a process.
    pub(crate) fn exited(&mut self) -> (Pid, ExitStatus) {
        match self.next() {
            Event::Exited { pid, status, .. } => (pid, status),
            other => panic!("not an exit: {other:?}"),
        }
    }

    pub(crate) fn go(&mut self, event: impl Into<Event>) {
        self.tracer().resume(event, Resume::Continue).unwrap();
    }

    pub(crate) fn step(&mut self, event: impl Into<Event>) {
        self.tracer().resume(event, Resume::Step).unwrap();
    }

    /// What a wait finds without sleeping.
    pub(crate) fn poll(&mut self) -> Option<Event> {
        match self.tracer().try_wait().unwrap() {
            Poll::Ready(event) => event,
            Poll::Pending => None,
        }
    }

    /// Resumes all that comes, until nothing more does; says what it was.
    pub(crate) fn run_all(&mut self) -> Vec<String> {
        let mut seen = Vec::new();
        while let Some(event) = self.poll() {
            seen.push(told(&event));
            self.go(event);
            assert!(seen.len() < 1000, "no end of events: {seen:?}");
        }
        seen
    }

    /// Nothing is left to do, and nothing is amiss.
    pub(crate) fn idle(&mut self) {
        let event = self.poll();
        assert!(event.is_none(), "{event:?}");
        let wrong = self.kernel.check_idle(&[]);
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    /// Lets all that is there end, unwatched.
    pub(crate) fn run_to_the_end(&mut self) {
        self.kernel.choose(|_| Some(0));
        for pid in self.kernel.processes() {
            self.kernel.kill(pid);
        }
        self.run_all();
    }

    /// No tracee is left.
    pub(crate) fn over(&mut self) {
        let event = self.tracer().wait().unwrap();
        assert!(event.is_none(), "{event:?}: {:?}", self.kernel);
        assert!(self.tracer().is_empty());
        self.idle();
    }

    /// Ends the tracer.
    pub(crate) fn drop_tracer(&mut self) {
        self.tracer = None;
    }
}

impl<R: Rules> Drop for World<R> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.kernel.log();
            eprintln!("the last requests: {:#?}", &log[log.len().saturating_sub(30)..]);
            // What the engine makes of a broken world is of no interest.
            std::mem::forget(self.tracer.take());
            return;
        }
        // A tracer that ends waits, in real time, for what the kernel holds.
        for pid in self.kernel.processes() {
            self.kernel.kill(pid);
        }
        self.tracer = None;
        let (wrong, left) = (self.kernel.violations(), self.kernel.left_traced());
        let log = self.kernel.log();
        assert!(wrong.is_empty(), "{wrong:#?}\n{:#?}", &log[log.len().saturating_sub(30)..]);
        assert!(left.is_empty(), "still traced: {left:?}");
    }
}

/// An event, in short.
pub(crate) fn told(event: &Event) -> String {
    let side = |side: &ForkSide| match side {
        ForkSide::Stopped(_) => "stopped",
        ForkSide::Detached => "detached",
        ForkSide::Gone => "gone",
    };
    match event {
        Event::Stopped(stop) => format!("{} {:?}", stop.tid(), stop.reason()),
        Event::Forked(fork) => {
            let parent = fork.parent_pid.map_or("?".into(), |pid| pid.to_string());
            let (kind, child) = (fork.kind, fork.child_pid);
            format!("{parent} {kind} {child}: {}, {}", side(&fork.parent), side(&fork.child))
        }
        Event::ThreadExited { tid, .. } => format!("{tid} ended"),
        Event::Exited { pid, status, .. } => format!("{pid} {status}"),
        other => format!("{other:?}"),
    }
}
