//! What a client asks for, as data: each packet is parsed into one [`Packet`], and nothing that is
//! sent makes it panic (gdb's manual, "Packets", "General Query Packets"; lldb's
//! `docs/resources/lldbgdbremote.md`).

mod agent;
mod fields;
mod files;
mod parse;
mod query;
mod resume;
#[cfg(test)]
mod tests;
mod thread_id;

pub use agent::{Expression, Machine, Outcome};
pub use fields::{from_hex, hex};
pub use files::FileRequest;
pub use parse::parse;
pub use query::{LldbRequest, Query, Setting};
pub use resume::{Action, ThreadAction};
pub use thread_id::{Id, ThreadId};

/// A packet that starts like one that is known, and goes on like none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

/// What a breakpoint is made by, and what it is for: the number behind `Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PointKind {
    /// An instruction in memory.
    Software,
    /// A debug register.
    Hardware,
    /// Writes of data.
    Write,
    /// Reads of data.
    Read,
    /// Both.
    Access,
}

/// A breakpoint or a watchpoint, as a client names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Point {
    /// What it is.
    pub kind: PointKind,
    /// Where it is.
    pub addr: u64,
    /// How many bytes; for a breakpoint, how the instruction is made.
    pub len: u64,
    /// It stops if one of these is not zero, or if there is none.
    pub conditions: Vec<Expression>,
    /// What to do at it instead of stopping.
    pub commands: Vec<Expression>,
    /// The commands are carried out even if no client is there.
    pub persists: bool,
}

/// What a client asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Packet {
    /// Nothing that is known: the answer is empty.
    Unknown,
    /// `!`
    Extended,
    /// `?`
    WhyStopped,
    /// `H`: which thread the packets are about that follow.
    SelectThread {
        /// `g` for questions, `c` for `s`, `c` and their like.
        operation: u8,
        /// Which one.
        thread: ThreadId,
    },
    /// `T`
    IsAlive(ThreadId),
    /// `g`
    ReadRegisters,
    /// `G`
    WriteRegisters(Vec<u8>),
    /// `p`
    ReadRegister(usize),
    /// `P`
    WriteRegister(usize, Vec<u8>),
    /// `m`
    ReadMemory {
        /// From here.
        addr: u64,
        /// So many bytes.
        len: u64,
    },
    /// `x`
    ReadBinary {
        /// From here.
        addr: u64,
        /// So many bytes.
        len: u64,
    },
    /// `M` and `X`
    WriteMemory {
        /// From here.
        addr: u64,
        /// These bytes.
        data: Vec<u8>,
    },
    /// `Z`
    Insert(Point),
    /// `z`
    Remove(Point),
    /// `c`, `C`, `s` and `S`
    Resume {
        /// What the thread does.
        action: Action,
        /// Where it goes on, if elsewhere than it stands.
        addr: Option<u64>,
    },
    /// `vCont?`
    WhatResumes,
    /// `vCont`
    ResumeThreads(Vec<ThreadAction>),
    /// `vCtrlC`
    Interrupt,
    /// `vStopped`
    NextStop,
    /// `vKill`
    KillProcess(i32),
    /// `k`
    Kill,
    /// `R`
    Restart,
    /// `vRun`: the program, which can be left out for the one of the last time, and arguments.
    Run(Vec<Vec<u8>>),
    /// `vAttach`
    Attach(i32),
    /// `D`
    Detach {
        /// Which one; without it, the current one.
        process: Option<i32>,
        /// It is to be left stopped (lldb).
        stay_stopped: bool,
    },
    /// `vFile`
    File(FileRequest),
    /// `q`
    Query(Query),
    /// `Q`
    Set(Setting),
    /// What only lldb asks for.
    Lldb(LldbRequest),
}
