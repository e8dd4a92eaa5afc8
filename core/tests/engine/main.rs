//! The engine against the model of a kernel, clause by clause.

mod common;

mod e2_forks;
mod e3_execs;
mod e4_exits;
mod e5_kills;
mod e6_unknown;
mod e7_flags;
mod e8_signals;
mod f1_follow;
mod f3_detach;
mod f5_endings;
mod w4_halt;
