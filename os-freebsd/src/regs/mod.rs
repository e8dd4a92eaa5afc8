//! Registers, one file for each CPU.

#[cfg(target_arch = "x86_64")]
mod x86_64;
#[cfg(target_arch = "x86_64")]
pub(crate) use x86_64::{KnownRegisters, code_mode};
#[cfg(not(target_arch = "x86_64"))]
compile_error!("trapline knows FreeBSD on x86-64 (amd64) only");
