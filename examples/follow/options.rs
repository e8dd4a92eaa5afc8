//! The command line.

use std::ffi::OsString;

use clap::{Parser, ValueEnum};
use trapline::{FollowExec, FollowFork, Pid};

const AFTER: &str = "\
Examples:
  follow -- make                                 the program; what it forks is detached
  follow --follow-fork-mode child -- sh daemon   always the newest process
  follow --detach-on-fork off -- make -j4        everybody
  follow --detach-on-fork off --detach-on-exec on -- make
                                                 everybody, until it runs another program
  follow -p 1234 --detach-on-fork off            a running process and all its descendants

Signals:
  Ctrl-C goes to the program from the terminal; SIGTERM and SIGHUP kill it. With -p, each of these
  lets all go, and they live on.

Exit status:
  That of the program, traced or not, or 128+N if signal N killed it; 0 with -p. 127 if there is no
  such program, 126 if it cannot be executed, 2 for wrong use, 125 if tracing failed.";

/// Follow one side of each fork, or both, as gdb's follow-fork-mode and detach-on-fork do, and say
/// what is traced and what was detached.
#[derive(Debug, Parser)]
#[command(name = "follow", version, after_help = AFTER)]
pub(crate) struct Options {
    /// The side of a fork to follow.
    #[arg(long, value_name = "SIDE", value_enum, default_value_t = Side::Parent)]
    pub(crate) follow_fork_mode: Side,

    /// Let the other side go; if off, both stay traced, and the mode has no effect.
    #[arg(long, value_name = "ON|OFF", value_enum, default_value_t = Switch::On)]
    pub(crate) detach_on_fork: Switch,

    /// Let a process go when it runs another program.
    #[arg(long, value_name = "ON|OFF", value_enum, default_value_t = Switch::Off)]
    pub(crate) detach_on_exec: Switch,

    /// Attach to this process and all its descendants.
    #[arg(short = 'p', value_name = "PID", conflicts_with = "program")]
    pub(crate) pid: Option<Pid>,

    /// The program to run, and its arguments.
    #[arg(value_name = "PROGRAM", trailing_var_arg = true, required_unless_present = "pid")]
    pub(crate) program: Vec<OsString>,
}

/// A side of a fork.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Side {
    Parent,
    Child,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Switch {
    On,
    Off,
}

impl Options {
    pub(crate) fn follow_fork(&self) -> FollowFork {
        match (self.detach_on_fork, self.follow_fork_mode) {
            (Switch::Off, _) => FollowFork::Both,
            (Switch::On, Side::Parent) => FollowFork::Parent,
            (Switch::On, Side::Child) => FollowFork::Child,
        }
    }

    pub(crate) fn follow_exec(&self) -> FollowExec {
        match self.detach_on_exec {
            Switch::On => FollowExec::Detach,
            Switch::Off => FollowExec::Follow,
        }
    }
}
