//! How to do with trapline what a debugger or a tracer does. Each chapter is short and stands for itself; its
//! code is compiled with the tests.
//!
//! 1. [Your first breakpoint](first_breakpoint): start a program, stop it somewhere, look at it.
//! 2. [Follow forks](forks): which processes a tracer has, and how it decides.
//! 3. [All-stop and non-stop](all_stop): one thread at rest, or all of them.
//! 4. [Watch a variable](watch): debug registers, and what they cost.
//! 5. [Call a function](call_function): in a program, and system calls in its name.
//! 6. [Libraries, and when they come](modules): where they are in memory, and the event.
//! 7. [Embed it in an event loop](event_loop): descriptors, wakers, a thread for the tracer.
//! 8. [Test your tracer](testing): on a model of a kernel, without a real one.
//! 9. [From `nix` or `pete`](from_nix_and_pete): what each line becomes.
//! 10. [Limits](limits): containers, Yama, kernels, and what to do.
//!
//! An item of the reference that not every system and CPU has says so in a line *Available*; what differs
//! between the systems is under *Platform notes*. The table of all
//! that works is in the [README](https://github.com/trapline/trapline#what-works-where), and the contract,
//! clause by clause, in
//! [ARCHITECTURE.md](https://github.com/trapline/trapline/blob/main/ARCHITECTURE.md).

#[doc = include_str!("../docs/guide/first-breakpoint.md")]
pub mod first_breakpoint {}

#[doc = include_str!("../docs/guide/forks.md")]
pub mod forks {}

#[doc = include_str!("../docs/guide/all-stop.md")]
pub mod all_stop {}

#[doc = include_str!("../docs/guide/watch.md")]
pub mod watch {}

#[doc = include_str!("../docs/guide/call-function.md")]
pub mod call_function {}

#[doc = include_str!("../docs/guide/modules.md")]
pub mod modules {}

#[doc = include_str!("../docs/guide/event-loop.md")]
pub mod event_loop {}

#[doc = include_str!("../docs/guide/testing.md")]
pub mod testing {}

#[doc = include_str!("../docs/guide/from-nix-and-pete.md")]
pub mod from_nix_and_pete {}

#[doc = include_str!("../docs/limits.md")]
pub mod limits {}

#[cfg(test)]
mod tests {
    #[test]
    fn the_first_program_is_the_example() {
        let example = include_str!("../examples/first_breakpoint.rs");
        let code = example.split_once("\n\n").expect("a comment comes first").1;
        assert!(include_str!("../docs/guide/first-breakpoint.md").contains(code.trim_end()));
    }
}
