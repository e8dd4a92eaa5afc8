//! In what the kernels differ, as far as an engine can see.

use trapline_core::Arch;
use trapline_core::backend::StopScope;

use crate::arch::{FakeArch, FakeRegisters, Skip};

/// Which kernel a model is one of.
pub trait Rules: 'static {
    /// Its CPU.
    type Cpu: Arch<
            Registers = FakeRegisters,
            FpRegisters = Vec<u8>,
            ExtendedState = Vec<u8>,
            Emulated = Skip,
        >;

    /// The differences.
    const RULES: RuleSet;
}

/// The differences between the kernels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RuleSet {
    /// The system's name.
    pub system: &'static str,
    /// What one stop stops.
    pub scope: StopScope,
    /// Whether a new process starts with its parent's setup. If not, only its execs are reported
    /// until it is set up, and its forks are not followed.
    pub inherits_setup: bool,
    /// Whether a process's first thread has the number of the process. An exec then gives that
    /// number to the thread that called it.
    pub led_by_pid: bool,
    /// Whether the end of each thread is reported, the first thread's after all others'; if not,
    /// only that of a process.
    pub ends_by_thread: bool,
    /// Whether `SIGKILL` takes a thread out of its stop; if not, it waits for the resume.
    pub kills_stopped: bool,
    /// Whether the events of fork and exec carry their ids; if not, they have to be asked for.
    pub tells_ids: bool,
    /// Whether stop signals stop a traced process.
    pub job_control: bool,
    /// Whether a process can make a sibling (`CLONE_PARENT`); if not, it makes a child.
    pub siblings: bool,
    /// Whether the child of a fork starts with its creator's debug registers armed; old kernels did
    /// that.
    pub forks_copy_debug: bool,
    /// Whether a new thread does.
    pub threads_copy_debug: bool,
    /// Whether the kernel has a thread pass the execute breakpoint that it has stopped at.
    pub passes_breakpoints: bool,
    /// Whether the CPU tells of what a debug register watches before it is done, by its address.
    pub hits_before: bool,
    /// How many bytes one debug register can watch in a 32-bit program.
    pub longest_narrow_watch: u8,
    /// Whether an orphan goes to the nearest subreaper among its ancestors, or always to init.
    pub subreapers: bool,
}

/// Linux with `PTRACE_SEIZE`.
///
/// ```
/// use trapline::fake::{Kernel, LinuxRules};
///
/// let kernel = Kernel::<LinuxRules>::new();
/// # drop(kernel);
/// ```
#[derive(Debug)]
pub struct LinuxRules;

impl Rules for LinuxRules {
    type Cpu = FakeArch;

    const RULES: RuleSet = RuleSet {
        system: "Linux (a model)",
        scope: StopScope::Thread,
        inherits_setup: true,
        led_by_pid: true,
        ends_by_thread: true,
        kills_stopped: true,
        tells_ids: false,
        job_control: true,
        siblings: true,
        forks_copy_debug: false,
        threads_copy_debug: false,
        passes_breakpoints: true,
        hits_before: false,
        longest_narrow_watch: 8,
        subreapers: true,
    };
}

/// FreeBSD.
///
/// ```
/// use trapline::fake::{FreeBsdRules, Kernel};
///
/// let kernel = Kernel::<FreeBsdRules>::new();
/// # drop(kernel);
/// ```
#[derive(Debug)]
pub struct FreeBsdRules;

impl Rules for FreeBsdRules {
    type Cpu = FakeArch;

    const RULES: RuleSet = RuleSet {
        system: "FreeBSD (a model)",
        scope: StopScope::Process,
        inherits_setup: false,
        led_by_pid: false,
        ends_by_thread: false,
        kills_stopped: false,
        tells_ids: true,
        job_control: false,
        siblings: false,
        forks_copy_debug: true,
        threads_copy_debug: true,
        passes_breakpoints: false,
        hits_before: false,
        longest_narrow_watch: 4,
        subreapers: true,
    };
}

/// Linux on another CPU, which is invented: one that tells of what a debug register watches before it is
/// done.
///
/// ```
/// use trapline::fake::{Kernel, OtherCpuRules};
///
/// let kernel = Kernel::<OtherCpuRules>::new();
/// # drop(kernel);
/// ```
#[derive(Debug)]
pub struct OtherCpuRules;

impl Rules for OtherCpuRules {
    type Cpu = FakeArch<true>;

    const RULES: RuleSet = RuleSet {
        system: "Linux on another CPU (a model)",
        passes_breakpoints: false,
        hits_before: true,
        ..LinuxRules::RULES
    };
}
