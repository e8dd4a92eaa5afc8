//! What depends on the CPU: a port to another one is another file here.

cfg_if::cfg_if! {
    if #[cfg(target_arch = "x86_64")] {
        mod x86_64;
        pub(crate) use x86_64::*;
    } else {
        compile_error!("trapline does not know this CPU yet; it knows x86-64");
    }
}
