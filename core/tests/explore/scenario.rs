//! What may happen in a world that is explored.

use trapline_core::{EventFlags, FollowFork};

/// A world, and what may happen in it.
#[derive(Debug, Clone)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
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
    /// How many events the user keeps before resuming them.
    pub(crate) kept: usize,
    /// What the user does with an event besides resuming it.
    pub(crate) user: &'static [User],
    /// How often the user does that.
    pub(crate) whims: usize,
    /// How often somebody is killed right before a request.
    pub(crate) ambushes: usize,
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
}
