//! What may happen in a world that is explored.

use trapline_core::{EventFlags, FollowFork, StepOver};
use trapline_fake::Fault;

/// A world, and what may happen in it.
#[derive(Debug, Clone)]
pub(crate) struct Scenario {
    pub(crate) flags: EventFlags,
    pub(crate) follow: FollowFork,
    /// Threads that the first process starts with.
    pub(crate) threads: usize,
    /// What programs, and whoever kills them, may do.
    pub(crate) moves: &'static [Move],
    /// How often they do something.
    pub(crate) steps: usize,
    /// How many processes there may be.
    pub(crate) processes: usize,
    /// Whether new processes have the numbers of those that have ended.
    pub(crate) reuse: bool,
    /// How many events the user keeps before resuming them.
    pub(crate) kept: usize,
    /// What the user does with an event besides resuming it.
    pub(crate) user: &'static [User],
    /// How often the user does that.
    pub(crate) whims: usize,
    /// How often somebody is killed right before a request.
    pub(crate) ambushes: usize,
    /// How often a request fails.
    pub(crate) failures: usize,
    /// The code of every program; without any there are no breakpoints.
    pub(crate) code: &'static [u8],
    /// Where in it breakpoints may be inserted.
    pub(crate) spots: &'static [u64],
    /// Whether all of those are inserted into the first process at the start.
    pub(crate) set: bool,
    /// How often a thread runs its code right before a request.
    pub(crate) dashes: usize,
    /// Whether a trap that it runs into by that comes behind all else, an interrupt too.
    pub(crate) late: bool,
    /// How threads get past breakpoints.
    pub(crate) step_over: StepOver,
    /// A bug that is to be found.
    pub(crate) fault: Option<Fault>,
}

impl Scenario {
    /// The scenario with as many steps more, in each way that there is to get past breakpoints.
    pub(crate) fn each_way(&self, more: usize) -> impl Iterator<Item = Scenario> + '_ {
        let ways = [StepOver::OutOfLine, StepOver::InPlace];
        let ways = ways.into_iter().take(if self.code.is_empty() { 1 } else { 2 });
        ways.map(move |step_over| Scenario { step_over, steps: self.steps + more, ..self.clone() })
    }
}

/// Something that a program does, or that is done to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Move {
    Fork,
    Vfork,
    Sibling,
    Thread,
    Exec,
    ExitThread,
    Exit,
    Signal,
    Stop,
    Cont,
    Kill,
    /// Goes to the start of its code, or returns from a system call, and executes what is there.
    Run,
    /// The same, but a trap is not reported before all else is.
    RunInto,
}

/// Something that a user does with an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum User {
    Drop,
    Detach,
    Kill,
    Interrupt,
    Halt,
    Step,
    Break,
    Unbreak,
}

use Move::*;

const NONE: Scenario = Scenario {
    flags: EventFlags::PROCESS,
    follow: FollowFork::Both,
    threads: 1,
    moves: &[],
    steps: 2,
    processes: 3,
    reuse: false,
    kept: 0,
    user: &[],
    whims: 0,
    ambushes: 0,
    failures: 0,
    code: &[],
    spots: &[],
    set: false,
    dashes: 0,
    late: false,
    step_over: StepOver::OutOfLine,
    fault: None,
};

const THREADS: EventFlags = EventFlags::PROCESS.union(EventFlags::THREAD);
/// All but the stops of system calls, which are a matter of one thread alone.
const ALL: EventFlags = EventFlags::all().difference(EventFlags::SYSCALL);

const FORKS: Scenario =
    Scenario { moves: &[Fork, Vfork, Exit, Exec, Move::Kill], steps: 3, ..NONE };

/// Explored in full.
pub(crate) const SMALL: &[(&str, Scenario)] = &[
    ("forks", Scenario { ..FORKS }),
    ("forks_four", Scenario { moves: &[Fork, Exit], steps: 4, processes: 4, ..NONE }),
    ("forks_kept", Scenario { steps: 2, kept: 2, ..FORKS }),
    ("forks_reused", Scenario { moves: &[Fork, Exit, Move::Kill], reuse: true, ..FORKS }),
    ("forks_unasked", Scenario { flags: EventFlags::empty(), threads: 2, steps: 2, ..FORKS }),
    ("siblings", Scenario { moves: &[Sibling, Fork, Exit, Move::Kill], ..FORKS }),
    ("ambush", Scenario { moves: &[Fork, Vfork, Exec], ambushes: 1, ..NONE }),
    (
        "threads",
        Scenario { flags: THREADS, threads: 2, moves: &[Thread, ExitThread, Exit], ..NONE },
    ),
    ("threads_killed", Scenario { flags: THREADS, moves: &[Thread, Move::Kill], steps: 3, ..NONE }),
    ("threads_unasked", Scenario { threads: 2, moves: &[Thread, ExitThread, Move::Kill], ..NONE }),
    (
        "threads_kept",
        Scenario {
            flags: THREADS,
            threads: 2,
            moves: &[Thread, ExitThread, Move::Kill],
            kept: 2,
            ..NONE
        },
    ),
    ("threads_fork", Scenario { threads: 2, moves: &[Fork, ExitThread, Exec], ..NONE }),
    (
        "exec",
        Scenario {
            flags: THREADS,
            threads: 2,
            moves: &[Exec, Thread, ExitThread, Move::Kill],
            ..NONE
        },
    ),
    (
        "exec_kept",
        Scenario { threads: 2, moves: &[Exec, Move::Signal, Move::Kill], kept: 1, ..NONE },
    ),
    (
        "exit_flag",
        Scenario {
            flags: ALL,
            threads: 2,
            moves: &[Exec, Exit, ExitThread, Move::Kill],
            kept: 1,
            ..NONE
        },
    ),
    ("exit_flag_forks", Scenario { flags: ALL, moves: &[Fork, Exit, Move::Kill], kept: 1, ..NONE }),
    ("signals", Scenario { moves: &[Move::Signal, Move::Kill], steps: 3, kept: 1, ..NONE }),
    ("job_control", Scenario { threads: 2, moves: &[Stop, Cont, Move::Kill], steps: 3, ..NONE }),
    ("follow_parent", Scenario { follow: FollowFork::Parent, ..FORKS }),
    ("follow_child", Scenario { follow: FollowFork::Child, ..FORKS }),
    (
        "dropped",
        Scenario {
            moves: &[Fork, Move::Signal, Move::Kill],
            kept: 1,
            user: &[User::Drop],
            whims: 1,
            ..NONE
        },
    ),
    (
        "detached",
        Scenario {
            moves: &[Fork, Vfork, Move::Signal, Exec],
            kept: 1,
            user: &[User::Detach],
            whims: 1,
            ..NONE
        },
    ),
    (
        "detached_threads",
        Scenario {
            threads: 2,
            moves: &[Fork, Thread, Move::Signal],
            kept: 1,
            user: &[User::Detach],
            whims: 1,
            ..NONE
        },
    ),
    (
        "detached_ambush",
        Scenario {
            threads: 2,
            moves: &[Fork, Move::Signal],
            user: &[User::Detach],
            whims: 1,
            ambushes: 1,
            ..NONE
        },
    ),
    (
        "killed",
        Scenario {
            moves: &[Fork, Move::Signal, Thread],
            kept: 1,
            user: &[User::Kill],
            whims: 1,
            ..NONE
        },
    ),
    (
        "interrupted",
        Scenario {
            threads: 2,
            moves: &[Fork, Move::Signal],
            user: &[User::Interrupt],
            whims: 1,
            ..NONE
        },
    ),
    (
        "stepped",
        Scenario {
            threads: 2,
            moves: &[Fork, Move::Signal],
            user: &[User::Step],
            whims: 1,
            ..NONE
        },
    ),
    (
        "halted",
        Scenario {
            threads: 2,
            moves: &[Fork, Move::Signal, Thread],
            user: &[User::Halt],
            whims: 1,
            kept: 1,
            ..NONE
        },
    ),
    (
        "halted_held",
        Scenario {
            threads: 2,
            moves: &[Vfork, Exec, ExitThread],
            user: &[User::Halt],
            whims: 1,
            kept: 1,
            ..NONE
        },
    ),
    (
        "halted_ambush",
        Scenario {
            threads: 2,
            moves: &[Fork, Move::Signal],
            user: &[User::Halt],
            whims: 1,
            ambushes: 1,
            ..NONE
        },
    ),
    ("breaks", Scenario { threads: 2, moves: &[Run, RunInto], steps: 3, kept: 1, ..BREAKS }),
    ("breaks_forks", Scenario { moves: &[Run, Fork, Vfork, Exec], steps: 3, ..BREAKS }),
    (
        "breaks_changed",
        Scenario {
            threads: 2,
            moves: &[RunInto, Fork],
            user: &[User::Break, User::Unbreak],
            whims: 1,
            ..BREAKS
        },
    ),
    (
        "breaks_let_go",
        Scenario {
            threads: 2,
            moves: &[RunInto, Fork, Vfork],
            user: &[User::Detach],
            whims: 1,
            ..BREAKS
        },
    ),
    ("breaks_dashed", Scenario { threads: 2, moves: &[Run, Fork], steps: 1, dashes: 1, ..BREAKS }),
    (
        "breaks_late",
        Scenario {
            threads: 2,
            moves: &[Run],
            user: &[User::Detach, User::Halt, User::Unbreak],
            whims: 1,
            dashes: 1,
            late: true,
            ..BREAKS
        },
    ),
    ("breaks_ambush", Scenario { moves: &[Run, Vfork], ambushes: 1, ..BREAKS }),
    ("breaks_ambush_threads", Scenario { threads: 2, moves: &[Run], ambushes: 1, ..BREAKS }),
    (
        "breaks_halted",
        Scenario {
            threads: 2,
            moves: &[Run, Move::Signal],
            user: &[User::Halt, User::Step],
            whims: 1,
            ..BREAKS
        },
    ),
];

/// With a breakpoint at the first of two instructions.
const BREAKS: Scenario = Scenario { code: &[0x90, 0x90], spots: &[0], set: true, ..NONE };

/// Each move but those that take code. One that is listed again is as much more likely.
const EACH: &[Move] =
    &[Fork, Vfork, Sibling, Thread, Exec, ExitThread, Exit, Move::Signal, Stop, Cont, Move::Kill];

/// Both lists, of `N` together.
const fn join<const N: usize>(one: &[Move], other: &[Move]) -> [Move; N] {
    assert!(one.len() + other.len() == N);
    let (mut all, mut at) = ([Fork; N], 0);
    while at < N {
        all[at] = if at < one.len() { one[at] } else { other[at - one.len()] };
        at += 1;
    }
    all
}

const ANY: Scenario = Scenario {
    threads: 2,
    moves: &join::<14>(EACH, &[Move::Signal, Fork, Thread]),
    steps: 25,
    processes: 6,
    kept: 3,
    ..NONE
};

const BOLD: Scenario =
    Scenario { user: &[User::Interrupt, User::Halt, User::Step], whims: 6, ..ANY };

const WILD: Scenario = Scenario {
    user: &[User::Drop, User::Detach, User::Kill, User::Interrupt, User::Halt, User::Step],
    whims: 6,
    ambushes: 1,
    ..ANY
};

/// With a system call in the code.
const BROKEN: Scenario = Scenario {
    moves: &join::<18>(EACH, &[Run, RunInto, Run, RunInto, Run, Vfork, Run]),
    code: &[0x90, 0x90, 0x05, 0x90],
    spots: &[0, 1, 2, 3],
    set: false,
    dashes: 2,
    user: &[User::Break, User::Break, User::Unbreak, User::Interrupt, User::Halt, User::Step],
    whims: 10,
    ..ANY
};

const BROKEN_WILD: Scenario = Scenario {
    user: &[
        User::Break,
        User::Break,
        User::Break,
        User::Unbreak,
        User::Drop,
        User::Detach,
        User::Kill,
        User::Interrupt,
        User::Halt,
        User::Step,
    ],
    ambushes: 1,
    ..BROKEN
};

/// Too large for that; walked through at random.
pub(crate) const LARGE: &[(&str, Scenario)] = &[
    ("any", Scenario { ..ANY }),
    ("any_threads", Scenario { flags: THREADS, ..ANY }),
    ("any_all", Scenario { flags: ALL, reuse: true, ..ANY }),
    ("bold", Scenario { ..BOLD }),
    ("bold_all", Scenario { flags: ALL, ..BOLD }),
    ("wild", Scenario { ..WILD }),
    ("wild_all", Scenario { flags: ALL, ..WILD }),
    ("wild_unasked", Scenario { flags: EventFlags::empty(), ..WILD }),
    ("wild_parent", Scenario { follow: FollowFork::Parent, ..WILD }),
    ("wild_child", Scenario { follow: FollowFork::Child, ..WILD }),
    ("broken", Scenario { set: true, ..BROKEN }),
    ("broken_all", Scenario { flags: ALL, reuse: true, ..BROKEN }),
    ("broken_wild", Scenario { set: true, ..BROKEN_WILD }),
    ("broken_unasked", Scenario { flags: EventFlags::empty(), set: true, ..BROKEN_WILD }),
    ("broken_parent", Scenario { follow: FollowFork::Parent, set: true, ..BROKEN_WILD }),
    ("broken_child", Scenario { follow: FollowFork::Child, set: true, ..BROKEN_WILD }),
];
