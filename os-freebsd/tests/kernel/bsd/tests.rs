//! All tests, by name.

mod detach;
mod endings;
mod ext;
mod fork;
mod pdfork;
mod permission;
mod registers;
mod requests;
mod signals;
mod spawn;
mod stress;
mod syscalls;
mod threads;
mod tracer_ext;
mod wait;

macro_rules! tests {
    ($($module:ident: $($name:ident)*;)*) => {
        pub(crate) const ALL: &[(&str, fn())] =
            &[$($((concat!(stringify!($module), "::", stringify!($name)), $module::$name),)*)*];
    };
}

tests! {
    spawn: exec_stop_first errors_of_command killed_before_exec signals_before_exec
        second_back_end attach_and_detach attach_sleeping attach_stopped
        attach_refused failed_exec_under_signals;
    fork: fork_pair vfork_pair rfork_told_otherwise pdfork_pair posix_spawn_pair lost_report
        lost_report_told killed_vforker;
    pdfork: told_by_the_descriptor killed_by_a_close killed_by_its_parents_end daemons_live_on
        of_the_host;
    permission: without_unprivileged_debugging without_ptrace forbidden_by_the_program
        dropped_privileges taken_away_meanwhile;
    requests: not_stopped gone not_traced;
    endings: killed_tracer_kills killed_tracer_lets_live;
    threads: born_and_gone exec_from_a_thread exec_without_thread_events suspend_one step_one_of_many;
    signals: delivered suppressed changed siginfo kill_is_no_stop killed_by_abort
        plain_stop_is_three_requests interrupt_running overtaken_interrupt kill_at_attach kill_stopped kill_running
        stop_signals_do_nothing ignored_signals;
    wait: leaves_host_children no_tracees waker_from_thread_and_handler sigchld_ignored
        sigchld_ignored_and_real_parents
        stops_untold nobody_starves poll_and_brief;
    registers: round_trip step step_then_continue step_into_a_call memory_bounds debug_registers;
    syscalls: entry_and_exit exits_of_fork_and_exec run_syscall_without_flag
        step_in_a_call;
    detach: signals_counted breakpoints_of_threads step_outstanding step_into_a_call
        pending_fork
        after_overtaken_interrupt;
    ext: map_status_reaper questions;
    tracer_ext: lwp_info lwps event_mask arguments_and_results vm_entries trace_status reaper
        of_the_killed raw_sets;
    stress: fork_storm spawn_storm;
}
