//! The x86-64 CPU: its registers, its debug registers and its breakpoint instruction.
//!
//! Plain data and pure functions: no operating system, no unsafe code. What an operating system
//! does with these values is in its back end. "SDM" is the *Intel 64 and IA-32 Architectures
//! Software Developer's Manual*; the AMD64 manual agrees in all that is used here.

#![forbid(unsafe_code)]

mod cpu;
pub mod debug;
mod flags;
mod fp;
mod instruction;
mod portable;
mod registers;
mod relocate;
mod xsave;

pub use cpu::X86_64;
pub use flags::RFlags;
pub use fp::{FXSAVE_LEN, FpRegisters};
pub use registers::Registers;
pub use relocate::Emulated;
pub use xsave::{ExtendedState, StateComponents, XsaveError};

/// The examples of the README compile.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
