//! What depends on the CPU: the instructions of the traced programs, and what the loops by hand ask of
//! Linux about registers.

cfg_if::cfg_if! {
    if #[cfg(target_arch = "x86_64")] {
        mod x86_64;
        pub use x86_64::*;
        #[cfg(target_os = "linux")]
        #[path = "x86_64_linux.rs"]
        pub mod linux;
    } else if #[cfg(target_arch = "aarch64")] {
        mod aarch64;
        pub use aarch64::*;
        #[cfg(target_os = "linux")]
        #[path = "aarch64_linux.rs"]
        pub mod linux;
    }
}
