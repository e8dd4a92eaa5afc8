//! The one choice of the CPU. Its types are named, not projected from the back end's, of which a host's
//! compiler would not know that they are none of its own.

cfg_if::cfg_if! {
    if #[cfg(target_arch = "x86_64")] {
        pub use trapline_arch_x86_64 as x86_64;
        pub use trapline_arch_x86_64::Registers;
    } else if #[cfg(target_arch = "aarch64")] {
        pub use trapline_arch_aarch64 as aarch64;
        pub use trapline_arch_aarch64::Registers;
    } else {
        compile_error!("trapline knows x86-64 and aarch64");
    }
}
