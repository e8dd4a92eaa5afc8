//! What the tests need of the CPU: known instructions, what its programs can do, and the tests of its
//! 32-bit programs.

cfg_if::cfg_if! {
    if #[cfg(target_arch = "x86_64")] {
        mod x86_64;
        pub use x86_64::*;
        pub mod bits32;
        #[path = "../fixtures/machine.rs"]
        pub mod machine;
    } else if #[cfg(target_arch = "aarch64")] {
        mod aarch64;
        pub use aarch64::*;
        #[path = "bits32_arm.rs"]
        pub mod bits32;
    }
}
