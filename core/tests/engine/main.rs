//! The engine against the model of a kernel, clause by clause.

#![deny(dead_code)]

mod common;

mod cost;
mod d_edges;
mod d_rearmed;
mod d_registers;
mod d_traps;
mod e10_breaks;
mod e10_failures;
mod e10_names;
mod e2_forks;
mod e2_races;
mod e3_execs;
mod e4_exits;
mod e4_threads;
mod e5_kills;
mod e5_tokens;
mod e6_unknown;
mod e7_calls;
mod e7_flags;
mod e8_signals;
mod e9_spawn;
mod f1_execs;
mod f1_follow;
mod f2_loans;
mod f2_sharers;
mod f2_unseen;
mod f2_vfork;
mod f3_detach;
mod f4_parents;
mod f4_trees;
mod f5_endings;
mod m1_conditions;
mod m1_late;
mod m1_modes;
mod m1_processes;
mod m1_races;
mod m1_rewritten;
mod m1_shared;
mod m1_slot_reuse;
mod m1_slots;
mod m1_software;
mod m4_calls;
mod m5_steps;
mod m6_modules;
mod placement;
mod reader;
mod w1_one;
mod w1_wakers;
mod w3_waits;
mod w4_ends;
mod w4_halt;
mod w5_thread;
