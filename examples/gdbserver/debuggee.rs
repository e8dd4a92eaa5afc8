//! The process that is debugged, and its tracer.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{Child, Command};

use trapline::{
    Breakpoint, BreakpointId, Error, Event, EventFlags, FollowFork, Halted, Pid, Result,
    StopReason, Stopped, Tid, Tracer,
};

use super::amd64::Layout;
use super::breakpoints::Watched;
use super::files::Files;
use super::frame::Vectors;
use super::running::Plan;

/// Everything behind the protocol.
pub(crate) struct Debuggee {
    pub(crate) tracer: Tracer,
    /// What gdb wants of the programs that it has run.
    pub(crate) launch: Launch,
    pub(crate) inferior: Option<Inferior>,
    pub(crate) files: Files,
    /// The registers as gdb knows them: those of the description that it has read last, or of the
    /// program. An exec that leads to the other width leaves them as they are until gdb asks.
    pub(crate) layout: Cell<Layout>,
    /// Stay when the process ends, and let gdb start another one.
    pub(crate) multi: bool,
    /// The one that was let go last, if it was started here: it is waited for.
    pub(crate) left: Option<Child>,
}

/// How programs are started.
#[derive(Default)]
pub(crate) struct Launch {
    /// The program that was run last, for `run` without a name.
    pub(crate) program: Vec<OsString>,
    /// Variables that are set, or taken out.
    pub(crate) environment: BTreeMap<OsString, Option<OsString>>,
    pub(crate) directory: Option<PathBuf>,
    /// At addresses that are different each time.
    pub(crate) random: bool,
}

/// How the process came here, and so what becomes of it when gdb goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    Started,
    Attached,
}

/// The process.
pub(crate) struct Inferior {
    pub(crate) pid: Pid,
    pub(crate) origin: Origin,
    /// `None` while it runs.
    pub(crate) halted: Option<Halted>,
    /// Stops of threads that gdb keeps at rest; it is told of them once it lets those run.
    pub(crate) untold: VecDeque<(Tid, StopReason)>,
    /// What gdb last asked for.
    pub(crate) plan: Plan,
    /// gdb has asked for a stop that has not come yet.
    pub(crate) interrupting: bool,
    /// What gdb has inserted.
    pub(crate) breakpoints: Vec<Inserted>,
    /// What it had inserted into a program that is no more, and may still want to remove.
    pub(crate) stale: BTreeSet<u64>,
    pub(crate) program: Program,
}

/// A breakpoint, as gdb named it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Inserted {
    pub(crate) id: BreakpointId,
    pub(crate) breakpoint: Breakpoint,
    /// For a watchpoint, how.
    pub(crate) watched: Option<Watched>,
    /// How many times gdb has inserted it.
    pub(crate) times: u32,
}

/// What is asked about the program without a way to ask the tracer: read once for each.
#[derive(Debug, Clone, Default)]
pub(crate) struct Program {
    pub(crate) executable: Vec<u8>,
    pub(crate) auxv: Vec<u8>,
    /// The names of its threads, as far as they were asked for.
    pub(crate) names: BTreeMap<Tid, String>,
    pub(crate) avx: bool,
    /// The registers that it has.
    pub(crate) layout: Layout,
}

impl Debuggee {
    pub(crate) fn new(multi: bool) -> Result<Self> {
        // Children are not debugged: gdbstub cannot tell gdb whose they are.
        let tracer =
            Tracer::builder().events(EventFlags::EXEC).follow_fork(FollowFork::Parent).build()?;
        Ok(Debuggee {
            tracer,
            launch: Launch::default(),
            inferior: None,
            files: Files::default(),
            layout: Cell::default(),
            multi,
            left: None,
        })
    }

    /// Starts a program, and has it stand at its first instruction.
    pub(crate) fn start(&mut self, program: Vec<OsString>) -> Result<Pid> {
        let Some((name, args)) = program.split_first() else {
            return Err(Error::Spawn(std::io::ErrorKind::NotFound.into()));
        };
        let mut command = Command::new(name);
        command.args(args);
        for (key, value) in &self.launch.environment {
            match value {
                Some(value) => command.env(key, value),
                None => command.env_remove(key),
            };
        }
        if let Some(directory) = &self.launch.directory {
            command.current_dir(directory);
        }
        self.tracer.randomize_addresses(self.launch.random);
        let pid = self.tracer.spawn(command)?.pid;
        self.launch.program = program;
        self.meet(pid, Origin::Started)?;
        Ok(pid)
    }

    /// Attaches to a process, and has it stand still.
    pub(crate) fn attach(&mut self, pid: Pid) -> Result<()> {
        self.tracer.attach(pid)?;
        self.meet(pid, Origin::Attached)
    }

    /// Waits for the first stop of a process.
    fn meet(&mut self, pid: Pid, origin: Origin) -> Result<()> {
        loop {
            match self.tracer.wait()? {
                Some(Event::Stopped(stop)) if stop.pid() == pid => {
                    let halted = self.tracer.halt(stop)?;
                    self.inferior = Some(Inferior {
                        pid,
                        origin,
                        halted: Some(halted),
                        untold: VecDeque::new(),
                        plan: Plan::default(),
                        interrupting: false,
                        breakpoints: Vec::new(),
                        stale: BTreeSet::new(),
                        program: Program::default(),
                    });
                    self.look();
                    let program = self.inferior.as_ref().map(|inferior| inferior.program.layout);
                    self.layout.set(program.unwrap_or_default());
                    return Ok(());
                }
                Some(Event::Exited { pid: ended, .. }) if ended == pid => return Err(Error::Gone),
                Some(other) => self.tracer.resume(other, trapline::Resume::Continue)?,
                None => return Err(Error::Gone),
            }
        }
    }

    /// Notes what there is to know of the program that the process runs now.
    pub(crate) fn look(&mut self) {
        let Some(inferior) = &mut self.inferior else { return };
        let pid = inferior.pid;
        // What the system does not tell stays empty, and gdb does without.
        let executable = self.tracer.process(pid).ok().and_then(|process| process.executable);
        let executable = executable.map(|path| path.into_os_string().into_encoded_bytes());
        inferior.program = Program {
            executable: executable.unwrap_or_default(),
            auxv: self.tracer.auxiliary_vector(pid).unwrap_or_default(),
            names: BTreeMap::new(),
            avx: false,
            layout: layout(&self.tracer.auxiliary_entries(pid).unwrap_or_default()),
        };
        let halted = inferior.halted.as_ref().and_then(|halted| halted.threads.first());
        inferior.program.avx = halted.is_some_and(|stop| {
            self.tracer.extended_state(stop).is_ok_and(|state| state.ymm(0).is_some())
        });
    }

    /// The token of a thread at rest.
    pub(crate) fn token(inferior: &Option<Inferior>, tid: Tid) -> Result<&Stopped> {
        let halted = inferior.as_ref().ok_or(Error::Gone)?.halted.as_ref();
        let mut threads = halted.ok_or(Error::NotStopped)?.threads.iter();
        // One that the kernel holds has none.
        threads.find(|stop| stop.tid() == tid).ok_or(Error::NotStopped)
    }

    /// The token of some thread at rest, for what is the same for all: memory.
    pub(crate) fn any_token(inferior: &Option<Inferior>) -> Result<&Stopped> {
        let halted = inferior.as_ref().ok_or(Error::Gone)?.halted.as_ref();
        halted.ok_or(Error::NotStopped)?.threads.first().ok_or(Error::Gone)
    }

    /// The vector registers of a thread.
    pub(crate) fn vectors(tracer: &mut Tracer, stop: &Stopped) -> Result<Vectors> {
        match tracer.extended_state(stop) {
            Ok(state) => Ok(Vectors::Extended(state)),
            Err(Error::Unsupported { .. }) => Ok(Vectors::Fp(Box::new(tracer.fp_registers(stop)?))),
            Err(error) => Err(error),
        }
    }

    /// Lets the process go.
    pub(crate) fn detach(&mut self) -> Result<()> {
        let Some(mut inferior) = self.inferior.take() else { return Ok(()) };
        let pid = inferior.pid;
        match inferior.halted.take() {
            Some(halted) => self.tracer.detach_halted(halted)?,
            None => self.tracer.detach_process(pid)?,
        }
        // A thread that the kernel holds keeps the process ours until a later wait.
        self.tracer.detach_process(pid)?;
        self.left = self.tracer.take_child(pid);
        Ok(())
    }

    /// Kills the process, and waits for its end.
    pub(crate) fn kill(&mut self) -> Result<()> {
        let Some(inferior) = self.inferior.take() else { return Ok(()) };
        let pid = inferior.pid;
        self.tracer.kill(pid)?;
        drop(inferior);
        while let Some(event) = self.tracer.wait()? {
            match event {
                Event::Exited { pid: ended, .. } if ended == pid => break,
                other => self.tracer.resume(other, trapline::Resume::Continue)?,
            }
        }
        Ok(())
    }
}

/// The registers of a program, by the length of the program headers that its auxiliary vector tells.
fn layout(auxv: &[(u64, u64)]) -> Layout {
    const AT_PHENT: u64 = 4;
    const NARROW: u64 = 32;
    if auxv.contains(&(AT_PHENT, NARROW)) { Layout::I386 } else { Layout::Amd64 }
}
