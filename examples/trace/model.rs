//! The processes that were seen, and what happened to them.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use trapline::{ExitStatus, ForkKind, Pid, ProcessInfo, Signal, SignalInfo, Tid};

use super::quote;

/// How much of a command line is kept for the tree and the timeline.
const COMMAND: usize = 300;

/// One event, as the outputs want it.
pub(crate) struct Record<'a> {
    /// Since the start.
    pub(crate) t: Duration,
    /// The process; `None` for a fork whose creator was killed and is not known.
    pub(crate) pid: Option<Pid>,
    pub(crate) tid: Option<Tid>,
    /// The process's place in [`Processes`].
    pub(crate) at: Option<usize>,
    pub(crate) what: What<'a>,
}

/// What happened.
pub(crate) enum What<'a> {
    Spawn,
    Attach,
    Fork { kind: ForkKind, child: Pid },
    Exec { info: Option<&'a ProcessInfo>, former_tid: Option<Tid> },
    VforkDone,
    Thread,
    ThreadExit,
    Signal { signal: Signal, info: Option<SignalInfo> },
    GroupStop(Signal),
    Reparented { from: Pid, to: Option<Pid> },
    Detach,
    Exit { status: ExitStatus, real_parent: Option<Pid> },
}

/// Where a process comes from.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Origin {
    Spawned,
    Attached,
    Made(ForkKind),
}

/// A program that a process has run.
pub(crate) struct Program {
    /// Its last word: `sh`.
    pub(crate) name: String,
    pub(crate) path: Option<PathBuf>,
    /// As a shell would take it, shortened.
    pub(crate) command: String,
}

/// How a process left the trace.
#[derive(Clone, Copy)]
pub(crate) enum End {
    Exited(ExitStatus),
    /// Not traced any more; it lives on.
    LetGo,
}

pub(crate) struct Process {
    pub(crate) pid: Pid,
    /// Its first thread.
    pub(crate) tid: Option<Tid>,
    pub(crate) origin: Origin,
    /// Its real parent now.
    pub(crate) parent: Option<Pid>,
    /// The parent that it got when its first one ended.
    pub(crate) adopted_by: Option<Pid>,
    /// The place of the process that made it.
    pub(crate) maker: Option<usize>,
    /// The name of what that ran then.
    pub(crate) copy_of: Option<String>,
    /// The place of its first real parent; `None` if that is not traced.
    pub(crate) born_to: Option<usize>,
    pub(crate) children: Vec<usize>,
    pub(crate) started: Duration,
    pub(crate) programs: Vec<Program>,
    pub(crate) end: Option<(Duration, End)>,
}

impl Process {
    /// The program that it runs now, if it was seen to start one.
    pub(crate) fn program(&self) -> Option<&Program> {
        self.programs.last()
    }
}

/// All processes that were seen, in the order of their appearance.
#[derive(Default)]
pub(crate) struct Processes {
    all: Vec<Process>,
    /// Those that live, by pid: the kernel gives the ids of the dead to others.
    living: HashMap<Pid, usize>,
    pub(crate) counts: Counts,
}

/// How often things happened.
#[derive(Default)]
pub(crate) struct Counts {
    pub(crate) forks: usize,
    pub(crate) execs: usize,
    pub(crate) exits: usize,
    /// Exits that were by a signal.
    pub(crate) killed: usize,
}

impl Processes {
    /// The place of a living process.
    pub(crate) fn find(&self, pid: Pid) -> Option<usize> {
        self.living.get(&pid).copied()
    }

    pub(crate) fn get(&self, at: usize) -> &Process {
        &self.all[at]
    }

    pub(crate) fn get_mut(&mut self, at: usize) -> &mut Process {
        &mut self.all[at]
    }

    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    /// Those without a parent among the others.
    pub(crate) fn roots(&self) -> impl DoubleEndedIterator<Item = usize> + '_ {
        (0..self.all.len()).filter(|&at| self.all[at].born_to.is_none())
    }

    /// A process appears.
    pub(crate) fn add(
        &mut self,
        pid: Pid,
        origin: Origin,
        maker: Option<usize>,
        parent: Option<Pid>,
        started: Duration,
    ) -> usize {
        let at = self.all.len();
        let born_to = match parent {
            Some(parent) => self.find(parent),
            None => maker,
        };
        if let Some(parent) = born_to {
            self.all[parent].children.push(at);
        }
        self.all.push(Process {
            pid,
            tid: None,
            origin,
            parent,
            adopted_by: None,
            maker,
            copy_of: maker.map(|maker| self.name(maker).into()),
            born_to,
            children: Vec::new(),
            started,
            programs: Vec::new(),
            end: None,
        });
        self.living.insert(pid, at);
        at
    }

    /// A process's real parent, as it turns out: who made it is not always its parent
    /// (`CLONE_PARENT`), and a parent that is not traced may end unseen.
    pub(crate) fn parent_is(&mut self, at: usize, parent: Option<Pid>) {
        let process = &self.all[at];
        if parent.is_none() || process.parent == parent {
            return;
        }
        let first = process.adopted_by.is_none() && process.programs.is_empty();
        self.all[at].parent = parent;
        if let (true, Some(before)) = (first, self.all[at].born_to) {
            self.all[before].children.retain(|&child| child != at);
            let born_to = parent.and_then(|parent| self.find(parent));
            self.all[at].born_to = born_to;
            if let Some(parent) = born_to {
                self.all[parent].children.push(at);
            }
        }
    }

    /// A process runs a program.
    pub(crate) fn runs(&mut self, at: usize, info: Option<&ProcessInfo>) {
        let path = info.and_then(|info| info.executable.clone());
        let args = info.and_then(|info| info.arguments.as_deref()).unwrap_or_default();
        let first = args.first().map(|arg| arg.as_os_str()).filter(|arg| !arg.is_empty());
        let name = Path::new(first.or(path.as_deref().map(Path::as_os_str)).unwrap_or_default());
        let name = name.file_name().unwrap_or(OsStr::new("?")).to_string_lossy().into_owned();
        let command = match (args, &path) {
            ([], Some(path)) => quote::command([path.as_os_str()], COMMAND),
            ([], None) => "?".into(),
            (args, _) => quote::command(args, COMMAND),
        };
        self.all[at].programs.push(Program { name, path, command });
    }

    /// The name of what a process runs: its own program, or the one that it is a copy of.
    pub(crate) fn name(&self, at: usize) -> &str {
        let process = &self.all[at];
        let program = process.program().map(|program| &program.name);
        program.or(process.copy_of.as_ref()).map_or("?", |name| name)
    }

    /// A process is not traced any more.
    pub(crate) fn end(&mut self, at: usize, t: Duration, end: End) {
        self.all[at].end = Some((t, end));
        if let End::Exited(status) = end {
            self.living.remove(&self.all[at].pid);
            self.counts.exits += 1;
            self.counts.killed += usize::from(matches!(status, ExitStatus::Killed { .. }));
        }
    }
}
