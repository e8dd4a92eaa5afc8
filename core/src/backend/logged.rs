//! What passes between the engine and a back end, for the crate `tracing`, by the feature of that name.
//!
//! The engine's back end is a [`Logged`] one. Without the feature that is the back end itself, so that
//! nothing is left of this.

#[cfg(not(feature = "tracing"))]
mod choice {
    /// The back end itself.
    pub(crate) type Logged<B> = B;

    pub(crate) fn logged<B>(backend: B) -> Logged<B> {
        backend
    }

    pub(crate) fn bare<B>(logged: &mut Logged<B>) -> &mut B {
        logged
    }
}

#[cfg(feature = "tracing")]
mod choice {
    use std::ffi::OsString;
    use std::fmt::Debug;
    use std::os::fd::OwnedFd;
    use std::path::PathBuf;
    use std::process::Command;
    use std::sync::Arc;
    use std::time::Duration;

    use super::super::*;

    /// What the events are told as.
    const TARGET: &str = "trapline";

    /// A back end whose requests, and what they were answered with, are events at trace level.
    pub(crate) struct Logged<B>(B);

    pub(crate) fn logged<B>(backend: B) -> Logged<B> {
        Logged(backend)
    }

    pub(crate) fn bare<B>(logged: &mut Logged<B>) -> &mut B {
        &mut logged.0
    }

    /// A request in words, if anybody listens.
    fn asked(name: &str, with: &dyn Debug) -> Option<String> {
        let heard = tracing::enabled!(target: TARGET, tracing::Level::TRACE);
        heard.then(|| format!("{name}{with:?}"))
    }

    fn told(request: &str, asked: Option<String>, answer: &dyn Debug) {
        if let Some(asked) = asked {
            tracing::trace!(target: TARGET, request, "{asked} = {answer:?}");
        }
    }

    /// Methods that pass a request on. `whole` has the answer told, `brief` only whether it failed.
    /// Arguments behind a semicolon are too long to be told.
    macro_rules! pass_on {
        ($($how:ident $name:ident($($arg:ident: $type:ty),* $(; $long:ident: $long_type:ty)?)
            $(-> $answer:ty)?;)*) => {$(
            fn $name(&mut self, $($arg: $type,)* $($long: $long_type,)?) $(-> $answer)? {
                let name = stringify!($name);
                let asked = asked(name, &($(&$arg,)*));
                let answer = self.0.$name($($arg,)* $($long,)?);
                told(name, asked, &pass_on!(@$how answer));
                answer
            }
        )*};
        (@whole $answer:ident) => { &$answer };
        (@brief $answer:ident) => { $answer.as_ref().map(|_| ()) };
    }

    impl<B: Backend> Sealed for Logged<B> {}

    impl<B: Backend> Backend for Logged<B> {
        type Arch = B::Arch;
        type Detour = B::Detour;

        const SYSTEM: &'static str = B::SYSTEM;
        const STOP_SCOPE: StopScope = B::STOP_SCOPE;
        const INHERITS_SETUP: bool = B::INHERITS_SETUP;
        const YIELDS: u32 = B::YIELDS;
        const VDSO: u64 = B::VDSO;
        const CODE_AREA: u64 = B::CODE_AREA;
        const PASSES_BREAKPOINTS: bool = B::PASSES_BREAKPOINTS;

        fn open() -> Result<Self> {
            B::open().map(Logged)
        }

        fn first_thread(pid: Pid) -> Option<Tid> {
            B::first_thread(pid)
        }

        fn process_led_by(tid: Tid) -> Option<Pid> {
            B::process_led_by(tid)
        }

        fn code_mode(registers: &<B::Arch as Arch>::Registers) -> CodeMode {
            B::code_mode(registers)
        }

        fn restarted(
            registers: &<B::Arch as Arch>::Registers,
        ) -> Option<<B::Arch as Arch>::Registers> {
            B::restarted(registers)
        }

        fn read_memory_each(
            &mut self,
            thread: Thread,
            places: &mut [(u64, &mut [u8])],
        ) -> Vec<Result<usize>> {
            let asked = asked("read_memory_each", &(thread, places.len()));
            let answer = self.0.read_memory_each(thread, places);
            told("read_memory_each", asked, &answer);
            answer
        }

        fn stepped_to(&self, thread: Thread) -> Option<u64> {
            self.0.stepped_to(thread)
        }

        fn requests(&self) -> u64 {
            self.0.requests()
        }

        fn look(&mut self, thread: Thread) -> Result<Option<RawStop>> {
            let found = self.0.look(thread);
            if !matches!(found, Ok(None)) {
                told("look", asked("look", &(thread,)), &found);
            }
            found
        }

        pass_on! {
            whole spawn(command: Command, setup: Setup) -> Result<RawSpawn>;
            whole randomize_addresses(random: bool);
            whole attach(pid: Pid, setup: Setup) -> Result<RawAttach>;
            whole late_threads(pid: Pid) -> Result<Vec<Tid>>;
            whole trace_late_threads(thread: Thread) -> Result<()>;
            whole wait(patience: Patience) -> Result<Waited>;
            whole has_tracees() -> Result<bool>;
            brief waker() -> Result<Arc<dyn Wake>>;
            whole readiness() -> Result<OwnedFd>;
            whole watch(time: Option<Duration>) -> Result<()>;
            whole resume(thread: Thread, run: Run, signal: Option<Signal>) -> Result<()>;
            whole listen(thread: Thread) -> Result<()>;
            whole interrupt(thread: Thread) -> Result<()>;
            whole suspend(thread: Thread, suspended: bool) -> Result<()>;
            whole detach(thread: Thread, signal: Option<Signal>) -> Result<()>;
            whole clean_children(pid: Pid, code: Vec<(u64, Vec<u8>)>);
            whole kill(pid: Pid, stopped: Option<Tid>) -> Result<()>;
            whole send_signal(thread: Thread, signal: Signal) -> Result<()>;
            whole set_up(thread: Thread, setup: Setup) -> Result<()>;
            whole new_task(parent: Thread, setup: Setup) -> Result<NewTask>;
            whole former_tid(thread: Thread, setup: Setup) -> Result<Tid>;
            whole trap_origin(thread: Thread) -> Result<TrapOrigin>;
            whole signal_info(thread: Thread) -> Result<SignalInfo>;
            whole signal_mask(thread: Thread) -> Result<SignalSet>;
            whole set_signal_mask(thread: Thread, mask: SignalSet) -> Result<()>;
            whole pending_signals(thread: Thread) -> Result<PendingSignals>;
            whole syscall(thread: Thread) -> Result<Syscall>;
            whole registers(thread: Thread) -> Result<<B::Arch as Arch>::Registers>;
            whole set_registers(
                thread: Thread,
                registers: &<B::Arch as Arch>::Registers
            ) -> Result<()>;
            brief fp_registers(thread: Thread) -> Result<<B::Arch as Arch>::FpRegisters>;
            whole set_fp_registers(
                thread: Thread;
                registers: &<B::Arch as Arch>::FpRegisters
            ) -> Result<()>;
            brief extended_state(thread: Thread) -> Result<<B::Arch as Arch>::ExtendedState>;
            whole set_extended_state(
                thread: Thread;
                state: &<B::Arch as Arch>::ExtendedState
            ) -> Result<()>;
            whole read_memory(thread: Thread, addr: u64; buf: &mut [u8]) -> Result<usize>;
            whole write_memory(thread: Thread, addr: u64; data: &[u8]) -> Result<usize>;
            whole write_text(thread: Thread, addr: u64, data: &[u8]) -> Result<()>;
            whole write_data(thread: Thread, addr: u64; data: &[u8]) -> Result<usize>;
            whole map_code(thread: Thread, near: u64, len: u64) -> Result<u64>;
            whole unmap_code(thread: Thread, addr: u64, len: u64) -> Result<()>;
            whole change_syscall(thread: Thread, number: u64, args: [u64; 6]) -> Result<()>;
            whole skip_syscall(thread: Thread) -> Result<()>;
            whole set_syscall_result(
                thread: Thread,
                result: std::result::Result<u64, i32>
            ) -> Result<()>;
            whole call_syscall(
                thread: Thread,
                number: u64,
                args: &[u64]
            ) -> Result<std::result::Result<u64, i32>>;
            brief leave_place(thread: Thread) -> Result<B::Detour>;
            whole return_to_place(
                thread: Thread,
                detour: &B::Detour,
                kept: Option<Signal>
            ) -> Result<()>;
            whole has_shadow_stack(thread: Thread) -> Result<bool>;
            whole set_signal_addr(thread: Thread, addr: u64) -> Result<()>;
            whole disposition(thread: Thread, signal: Signal) -> Result<Disposition>;
            whole ends_handler(
                thread: Thread,
                registers: &<B::Arch as Arch>::Registers
            ) -> Result<bool>;
            whole shares_memory(one: Thread, other: Thread) -> Result<Option<bool>>;
            whole set_watched(
                thread: Thread,
                from: Option<&DebugSlots>,
                to: &DebugSlots
            ) -> Result<()>;
            whole debug_room(thread: Thread) -> Result<DebugRoom>;
            whole take_debug_status(thread: Thread) -> Result<DebugStatus>;
            whole has_pending_trap(thread: Thread) -> Result<bool>;
            whole process_of(tid: Tid) -> Result<(Pid, Option<Pid>)>;
            whole was_vforked(child: Thread) -> Result<Option<bool>>;
            whole is_unkillable(pid: Pid) -> Result<bool>;
            whole real_parent(pid: Pid) -> Result<Option<Pid>>;
            whole parent_at_end(pid: Pid, known: Pid) -> Result<Option<Pid>>;
            whole processes() -> Result<Vec<Listed>>;
            whole is_traced(pid: Pid) -> Result<bool>;
            whole threads(pid: Pid) -> Result<Vec<Tid>>;
            whole is_uninterruptible(thread: Thread) -> Result<bool>;
            whole is_asleep(thread: Thread) -> Result<bool>;
            whole cpus(thread: Option<Thread>) -> Result<CpuSet>;
            whole set_cpus(thread: Option<Thread>, cpus: &CpuSet) -> Result<()>;
            whole current_cpu() -> Result<u32>;
            whole executable(pid: Pid) -> Result<PathBuf>;
            whole arguments(pid: Pid) -> Result<Vec<OsString>>;
            brief auxiliary_vector(pid: Pid) -> Result<Vec<u8>>;
            brief memory_map(pid: Pid) -> Result<Vec<MemoryRegion>>;
            whole thread_info(thread: Thread) -> Result<ThreadInfo>;
            whole thread_pointer(thread: Thread) -> Result<u64>;
            whole thread_name(thread: Thread) -> Result<OsString>;
            whole forget(pid: Pid);
        }
    }
}

pub(crate) use choice::{Logged, bare, logged};

#[cfg(test)]
mod tests {
    /// A method with a default that is not passed on would be the default for every back end.
    #[test]
    fn every_method_is_passed_on() {
        let (name, body) =
            (|line: &str| line.trim_start().to_string(), include_str!("../backend.rs"));
        let of_trait = body.split("pub trait Backend").nth(1).expect("the trait");
        let here = include_str!("logged.rs").split("mod tests").next().expect("the code");
        let mut methods = 0;
        for line in of_trait.lines().take_while(|line| *line != "}").map(name) {
            let named =
                |keyword| line.strip_prefix(keyword).and_then(|rest| rest.split(['(', ':']).next());
            if let Some(method) = named("fn ") {
                let ways = [format!("fn {method}("), format!(" {method}(")];
                assert!(ways.iter().any(|way| here.contains(way.as_str())), "{method}");
                methods += 1;
            } else if let Some(constant) = named("const ") {
                assert!(here.contains(&format!("const {constant}: ")), "{constant}");
            }
        }
        assert!(methods > 50, "{methods}");
    }
}
