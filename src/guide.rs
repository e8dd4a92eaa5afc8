#![doc = include_str!("../docs/guide/index.md")]

#[doc = include_str!("../docs/guide/first-breakpoint.md")]
pub mod first_breakpoint {}

#[doc = include_str!("../docs/guide/forks.md")]
pub mod forks {}

#[doc = include_str!("../docs/guide/all-stop.md")]
pub mod all_stop {}

#[doc = include_str!("../docs/guide/watch.md")]
pub mod watch {}

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
