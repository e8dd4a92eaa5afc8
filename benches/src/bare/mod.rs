//! The loops by hand, with raw calls: each makes the requests that its job takes, and no others.

#[cfg(target_os = "linux")]
#[path = "attach_linux.rs"]
pub mod attach;
#[cfg(target_os = "linux")]
#[path = "crowd_linux.rs"]
pub mod crowd;
#[cfg(target_os = "freebsd")]
mod freebsd;
#[cfg(target_os = "linux")]
#[path = "hot_linux.rs"]
pub mod hot;
#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
#[path = "tree_linux.rs"]
pub mod tree;

#[cfg_attr(target_os = "linux", path = "memory_linux.rs")]
#[cfg_attr(target_os = "freebsd", path = "memory_freebsd.rs")]
pub mod memory;

#[cfg(target_os = "freebsd")]
pub use freebsd::*;
#[cfg(target_os = "linux")]
pub use linux::*;
