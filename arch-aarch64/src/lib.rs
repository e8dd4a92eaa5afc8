//! The aarch64 CPU: its registers, its debug registers and its breakpoint instruction.
//!
//! Plain data and pure functions: no operating system, no unsafe code. What an operating system
//! does with these values is in its back end. "Arm ARM" is the *Arm Architecture Reference Manual
//! for A-profile architecture*, DDI 0487.

#![forbid(unsafe_code)]

mod cpu;
pub mod debug;
mod extended;
mod fp;
mod instruction;
mod pstate;
mod registers;

pub use cpu::AArch64;
pub use extended::{ExtendedState, PointerMasks, SveState};
pub use fp::FpRegisters;
pub use instruction::Emulated;
pub use pstate::Pstate;
pub use registers::Registers;

/// The examples of the README compile.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
