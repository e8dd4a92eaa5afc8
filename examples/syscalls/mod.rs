//! What `linux_syscalls` and `freebsd_truss` share, which is all that no system call's name or
//! number is needed for.

// Each of the two uses a part of it.
#![allow(dead_code)]

pub(crate) mod arguments;
pub(crate) mod lines;
pub(crate) mod names;
pub(crate) mod program;
