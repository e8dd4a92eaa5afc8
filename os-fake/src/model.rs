//! What the model kernel knows of its processes and threads.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use trapline_core::backend::{NewTask, RawReason, Run, Setup, StopScope, TrapOrigin};
use trapline_core::{CpuSet, ExitStatus, Pid, Signal, SignalSet, Tid};

use crate::arch::FakeRegisters;
use crate::debug::DebugRegisters;
use crate::faults::Fault;
use crate::memory::Memory;
use crate::report::{Delivery, Execution, Swallowed};
use crate::rules::RuleSet;

/// The first process, and everybody's last parent.
pub(crate) const INIT: Pid = Pid::from_raw(1);

#[derive(Debug)]
pub(crate) struct Model {
    pub(crate) rules: RuleSet,
    pub(crate) processes: BTreeMap<Pid, Process>,
    pub(crate) tasks: BTreeMap<Tid, Task>,
    pub(crate) memory: Memory,
    /// What every program that is started or exec'ed has mapped.
    pub(crate) code: Option<(u64, Vec<u8>)>,
    /// What is to be put into the memory of children that a detach detaches as well.
    pub(crate) clean: BTreeMap<Pid, Vec<(u64, Vec<u8>)>>,
    /// The next numbers of processes and, where they are counted apart, of threads.
    pub(crate) next: (i32, i32),
    /// Numbers that are to be given again first.
    pub(crate) reuse: VecDeque<i32>,
    /// Orders the reports.
    pub(crate) clock: u64,
    /// Whose reports a wait does not see.
    pub(crate) held_back: BTreeSet<Tid>,
    /// The threads that compute.
    pub(crate) busy: BTreeSet<Tid>,
    /// Whether breakpoint instructions trap later than they are executed.
    pub(crate) slow_traps: bool,
    /// Whether the killed take their time.
    pub(crate) slow_deaths: bool,
    /// What is wrong with the back end.
    pub(crate) fault: Option<Fault>,
    /// How many pieces of memory the tracer has had mapped.
    pub(crate) mapped: u32,
    /// Processes that map none for it.
    pub(crate) codeless: BTreeSet<Pid>,
    /// Threads whose debug registers cannot be armed.
    pub(crate) unwatchable: BTreeSet<Tid>,
    /// Processes whose program is not of the CPU's full width.
    pub(crate) narrow: BTreeSet<Pid>,
    /// How many debug registers somebody else holds.
    pub(crate) reserved_slots: usize,
    /// Threads whose end the tracer was told.
    pub(crate) told: BTreeSet<Tid>,
    /// Where the tracer may run.
    pub(crate) tracer_cpus: CpuSet,
    pub(crate) records: Records,
}

/// The machine's.
pub(crate) fn all_cpus() -> CpuSet {
    (0..4).collect()
}

/// What was noted down.
#[derive(Debug, Default)]
pub(crate) struct Records {
    pub(crate) requests: u64,
    pub(crate) violations: Vec<String>,
    pub(crate) deliveries: Vec<Delivery>,
    pub(crate) swallowed: Vec<Swallowed>,
    /// The instructions that were executed.
    pub(crate) executed: Vec<Execution>,
    /// Parent, child, and the status that the one got of the other.
    pub(crate) statuses: Vec<(Pid, Pid, ExitStatus)>,
    /// All that passed between tracer and kernel, if it is to be kept.
    pub(crate) log: Option<Vec<String>>,
    /// A digest of all that passed between tracer and kernel.
    pub(crate) talk: u64,
    /// How many waits in a row have found nothing.
    pub(crate) quiet: u32,
    /// How many waits would have blocked for ever.
    pub(crate) blocked: u32,
    /// What a tracer in an event loop has said when it found nothing: how soon to look again.
    pub(crate) watches: Vec<Option<std::time::Duration>>,
    /// Threads that were still traced when the tracer ended.
    pub(crate) left: Vec<Tid>,
}

/// When something happened. Not part of what tells two states of the world apart.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(u64);

impl std::hash::Hash for Moment {
    fn hash<H: std::hash::Hasher>(&self, _: &mut H) {}
}

impl std::fmt::Debug for Moment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("_")
    }
}

#[derive(Debug, Clone, Hash)]
pub(crate) struct Process {
    /// The real parent.
    pub(crate) parent: Pid,
    pub(crate) subreaper: bool,
    pub(crate) leader: Tid,
    pub(crate) program: String,
    pub(crate) memory: u32,
    /// Which exec it runs the program of; its children's until they exec.
    pub(crate) image: u32,
    /// Signals that kill it when they are delivered.
    pub(crate) fatal: BTreeSet<Signal>,
    /// Signals that have handlers, and where these are.
    pub(crate) handlers: BTreeMap<Signal, u64>,
    /// Stopped by job control.
    pub(crate) group_stop: Option<Signal>,
    /// How it ends, once that is certain and before all its threads have ended.
    pub(crate) ending: Option<ExitStatus>,
    /// How it ended; nobody has waited for it.
    pub(crate) over: Option<(ExitStatus, Moment)>,
    /// The thread that execs, as long as it waits for the others.
    pub(crate) execing: Option<Tid>,
    /// The thread that waits for this one in `vfork`.
    pub(crate) vfork_parent: Option<Tid>,
    /// With process scope, the thread whose stop was waited for.
    pub(crate) reported: Option<Tid>,
    /// With process scope, killed in a stop.
    pub(crate) kill_waits: bool,
}

#[derive(Debug, Clone, Hash)]
pub(crate) struct Task {
    pub(crate) pid: Pid,
    /// What the tracer has set; `None` if it is not traced.
    pub(crate) setup: Option<Setup>,
    pub(crate) state: State,
    /// Where the kernel holds it.
    pub(crate) held: Option<Held>,
    pub(crate) suspended: bool,
    /// Traced since a fork without a setup of its own: reports its execs alone.
    pub(crate) bare: bool,
    /// Made by a thread that was in the middle of it when it was attached to, and not traced yet.
    pub(crate) late: bool,
    /// The first of a new process, and not reported yet.
    pub(crate) fresh: bool,
    /// A stop was asked for, and is due when it next runs.
    pub(crate) interrupt: bool,
    /// Its group-stop has ended, so that it must not be left in it.
    pub(crate) notify: bool,
    /// Killed in a stop that was reported, and nothing was reported since.
    pub(crate) overtaken: bool,
    /// On its way out, with this.
    pub(crate) leaving: Option<ExitStatus>,
    /// Its vfork child, between the event and the wait for it.
    pub(crate) vforked: Option<Pid>,
    pub(crate) run: Run,
    /// Signals that wait until it runs.
    pub(crate) signals: VecDeque<Signal>,
    pub(crate) registers: FakeRegisters,
    /// In a system call.
    pub(crate) in_call: bool,
    /// Its last stop for a system call was at the entry.
    pub(crate) entered: bool,
    /// The tracer has changed the call.
    pub(crate) changed_call: Option<(u64, [u64; 6])>,
    /// What the tracer has it return.
    pub(crate) changed_result: Option<Result<u64, i32>>,
    /// That call has replaced its registers.
    pub(crate) replaced: bool,
    /// Has executed a breakpoint instruction, and not stopped for that yet.
    pub(crate) trapped: bool,
    /// What its registers will be when the handlers that it runs are over.
    pub(crate) frames: Vec<FakeRegisters>,
    /// The signals that it blocks, by the tracer's word.
    pub(crate) blocked: SignalSet,
    /// Is on its way back from a handler.
    pub(crate) in_return: bool,
    /// Has stopped at the exit of the call that ended a handler.
    pub(crate) returned: bool,
    /// Floating-point registers and extended state.
    pub(crate) fp: Vec<u8>,
    /// Where it may run.
    pub(crate) cpus: CpuSet,
    pub(crate) debug: DebugRegisters,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum State {
    Runs,
    Stopped(Stop),
    /// Stopped by job control, without the tracer or with its leave.
    Listens,
    /// Killed, and still on the way out.
    Dying,
    /// Not waited for yet.
    Dead(ExitStatus, Moment),
}

/// A stop that a tracer hears of.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Stop {
    pub(crate) reason: RawReason,
    pub(crate) made: Option<NewTask>,
    pub(crate) former: Option<Tid>,
    pub(crate) origin: TrapOrigin,
    pub(crate) reported: bool,
    pub(crate) since: Moment,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Held {
    /// In `vfork`, until its child has exec'ed or ended.
    Vfork,
    /// In an exec, or in the exit of a whole process, until the other threads have ended.
    Others,
    /// In an uninterruptible sleep.
    Sleep,
}

impl Model {
    pub(crate) fn new(rules: RuleSet) -> Self {
        let mut model = Model {
            rules,
            processes: BTreeMap::new(),
            tasks: BTreeMap::new(),
            memory: Memory::default(),
            code: None,
            clean: BTreeMap::new(),
            next: (1, 100_000),
            reuse: VecDeque::new(),
            clock: 0,
            held_back: BTreeSet::new(),
            busy: BTreeSet::new(),
            slow_traps: false,
            slow_deaths: false,
            fault: None,
            mapped: 0,
            codeless: BTreeSet::new(),
            unwatchable: BTreeSet::new(),
            narrow: BTreeSet::new(),
            reserved_slots: 0,
            told: BTreeSet::new(),
            tracer_cpus: all_cpus(),
            records: Records::default(),
        };
        model.add_process(INIT, "init");
        model.next.0 = 100;
        model
    }

    pub(crate) fn by_process(&self) -> bool {
        self.rules.scope == StopScope::Process
    }

    pub(crate) fn violation(&mut self, what: String) {
        self.records.violations.push(what);
    }

    pub(crate) fn tick(&mut self) -> Moment {
        self.clock += 1;
        Moment(self.clock)
    }

    /// The living and dead threads of a process.
    pub(crate) fn threads(&self, pid: Pid) -> Vec<Tid> {
        self.tasks.iter().filter(|(_, task)| task.pid == pid).map(|(&tid, _)| tid).collect()
    }

    pub(crate) fn living(&self, pid: Pid) -> Vec<Tid> {
        let lives = |task: &Task| task.pid == pid && !matches!(task.state, State::Dead(..));
        self.tasks.iter().filter(|(_, task)| lives(task)).map(|(&tid, _)| tid).collect()
    }

    /// Whether a thread executes the program's instructions, so that it can do something.
    pub(crate) fn acts(&self, tid: Tid) -> bool {
        let Some(task) = self.tasks.get(&tid) else { return false };
        let Some(process) = self.processes.get(&task.pid) else { return false };
        let free = task.state == State::Runs && task.held.is_none() && !task.suspended;
        free && process.reported.is_none() && process.ending.is_none()
    }

    pub(crate) fn is_traced(&self, pid: Pid) -> bool {
        self.tasks.values().any(|task| task.pid == pid && task.setup.is_some())
    }

    /// An address space with a program in it.
    pub(crate) fn fresh_memory(&mut self) -> u32 {
        let space = self.memory.fresh();
        if let Some((addr, code)) = &self.code {
            self.memory.map(space, *addr, code);
        }
        space
    }

    /// A number that nobody has.
    fn number(&mut self) -> i32 {
        while let Some(number) = self.reuse.pop_front() {
            if !self.has_number(number) {
                return number;
            }
        }
        loop {
            let number = self.next.0;
            self.next.0 += 1;
            if !self.has_number(number) {
                return number;
            }
        }
    }

    /// Whether a process or a thread has this number.
    pub(crate) fn has_number(&self, number: i32) -> bool {
        self.processes.contains_key(&Pid::from_raw(number))
            || self.tasks.contains_key(&Tid::from_raw(number))
    }

    pub(crate) fn add_process(&mut self, parent: Pid, program: &str) -> Pid {
        let pid = Pid::from_raw(self.number());
        let memory = self.fresh_memory();
        let process = Process {
            parent,
            subreaper: false,
            leader: Tid::from_raw(0),
            program: program.to_string(),
            memory,
            image: memory,
            fatal: BTreeSet::new(),
            handlers: BTreeMap::new(),
            group_stop: None,
            ending: None,
            over: None,
            execing: None,
            vfork_parent: None,
            reported: None,
            kill_waits: false,
        };
        self.processes.insert(pid, process);
        let tid = match self.rules.led_by_pid {
            true => Tid::from_raw(pid.as_raw()),
            false => self.lwp(),
        };
        self.insert_task(pid, tid);
        if let Some(process) = self.processes.get_mut(&pid) {
            process.leader = tid;
        }
        pid
    }

    pub(crate) fn add_task(&mut self, pid: Pid) -> Tid {
        let tid = match self.rules.led_by_pid {
            true => Tid::from_raw(self.number()),
            false => self.lwp(),
        };
        self.insert_task(pid, tid);
        tid
    }

    fn lwp(&mut self) -> Tid {
        self.next.1 += 1;
        Tid::from_raw(self.next.1)
    }

    fn insert_task(&mut self, pid: Pid, tid: Tid) {
        self.told.remove(&tid);
        let task = Task {
            pid,
            setup: None,
            state: State::Runs,
            held: None,
            suspended: false,
            bare: false,
            late: false,
            fresh: false,
            interrupt: false,
            notify: false,
            overtaken: false,
            leaving: None,
            vforked: None,
            run: Run::Continue,
            signals: VecDeque::new(),
            registers: FakeRegisters::default(),
            in_call: false,
            entered: false,
            changed_call: None,
            changed_result: None,
            replaced: false,
            trapped: false,
            frames: Vec::new(),
            blocked: SignalSet::EMPTY,
            in_return: false,
            returned: false,
            fp: Vec::new(),
            cpus: all_cpus(),
            debug: DebugRegisters::default(),
        };
        self.tasks.insert(tid, task);
    }
}
