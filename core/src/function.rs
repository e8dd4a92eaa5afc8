//! How a CPU enters a function.

/// What a thread needs to enter a function that a tracer has it call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FunctionEntry<R> {
    /// Its registers.
    pub registers: R,
    /// A word that has to be in memory: its address, and what is there.
    pub frame: Option<(u64, u64)>,
    /// The stack pointer when the function has returned.
    pub returned_sp: u64,
}
