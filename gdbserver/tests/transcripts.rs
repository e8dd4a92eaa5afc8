//! What a user types, with gdb's own gdbserver and with this one: the same answers.

use crate::program::{Server, compile, compile_narrow};
use crate::session::Session;

crate::tests![
    break_and_continue,
    step_and_finish,
    steps_from_the_first_instruction,
    watch_a_local_and_a_global,
    watch_until_the_scope_ends,
    rwatch_and_awatch,
    hbreak,
    more_watchpoints_than_the_cpu_has,
    two_threads,
    one_thread_alone,
    a_signal_that_stops_and_is_passed,
    a_signal_that_is_not_passed,
    a_signal_that_does_not_stop,
    another_signal_than_the_one_that_came,
    a_signal_at_a_breakpoint,
    a_queued_signal,
    a_fault,
    interrupt_of_a_running_program,
    call_of_a_function,
    a_breakpoint_in_a_called_function,
    exit_status,
    detach,
    kill,
    gdb_goes_without_a_word,
    memory_and_registers,
    vector_registers,
    vector_registers_are_written,
    libraries_through_the_server,
    a_32_bit_program,
];

/// A session with both servers; the transcript must have all of this.
fn same(program: &str, commands: &[&str], has: &[&str]) {
    let program = compile(program);
    check(&Session::new(&program, commands), has);
}

fn check(session: &Session<'_>, has: &[&str]) {
    let transcript = session.compare();
    for expected in has {
        assert!(transcript.contains(expected), "no {expected:?} in:\n{transcript}");
    }
}

fn break_and_continue() {
    same(
        "basic",
        &["break add", "continue", "bt", "info breakpoints", "continue", "delete", "continue"],
        &["Breakpoint 1, add (a=1, b=2)", "exited with code 011"],
    );
}

fn step_and_finish() {
    same(
        "basic",
        &[
            "break main",
            "continue",
            "next",
            "next",
            "next",
            "step",
            "step",
            "finish",
            "stepi",
            "nexti",
            "p total",
            "until",
            "continue",
        ],
        &["Value returned is $1 = 3", "exited with code 011"],
    );
}

fn steps_from_the_first_instruction() {
    same(
        "basic",
        &["x/2i $pc", "stepi", "stepi", "x/i $pc", "stepi 10", "info threads", "kill"],
        &["_start+3"],
    );
}

fn watch_a_local_and_a_global() {
    same(
        "basic",
        &[
            "break main",
            "continue",
            "watch total",
            "continue",
            "continue",
            "delete 2",
            "watch counter",
            "continue",
            "continue",
            "delete 3",
            "continue",
        ],
        &["Hardware watchpoint 2: total", "Hardware watchpoint 3: counter", "New value = 9"],
    );
}

fn watch_until_the_scope_ends() {
    same(
        "basic",
        &["break add", "continue", "watch sum", "continue", "continue", "delete", "continue"],
        &["deleted because the program has left the block"],
    );
}

fn rwatch_and_awatch() {
    same(
        "basic",
        &[
            "break main",
            "continue",
            "rwatch counter",
            "continue",
            "continue",
            "delete 2",
            "awatch counter",
            "continue",
            "continue",
            "delete 3",
            "continue",
        ],
        &["Hardware read watchpoint 2: counter", "Hardware access (read/write) watchpoint 3"],
    );
}

fn hbreak() {
    same(
        "basic",
        &["hbreak add", "continue", "bt", "continue", "step", "delete", "continue"],
        &["Hardware assisted breakpoint 1", "Breakpoint 1, add (a=1, b=2)"],
    );
}

fn more_watchpoints_than_the_cpu_has() {
    same(
        "basic",
        &[
            "break main",
            "continue",
            "watch *(long *)&counter",
            "watch total",
            "hbreak add",
            "hbreak twice",
            "watch $rsp",
            "continue",
            "kill",
        ],
        &[],
    );
}

fn two_threads() {
    same(
        "threads",
        &[
            "break work",
            "continue",
            "info threads",
            "thread apply all bt",
            "thread 1",
            "bt",
            "thread 2",
            "next",
            "next",
            "p done",
            "continue",
        ],
        &["in run (arg=", "Thread 2 (Thread", "pthread_join", "exited normally"],
    );
}

fn one_thread_alone() {
    same(
        "threads",
        &[
            "break work",
            "continue",
            "set scheduler-locking on",
            "step",
            "step",
            "info threads",
            "set scheduler-locking off",
            "continue",
        ],
        &["exited normally"],
    );
}

fn a_signal_that_stops_and_is_passed() {
    same(
        "signals",
        &[
            "handle SIGUSR1 stop print pass",
            "continue",
            "break count",
            "continue",
            "bt",
            "continue",
            "continue",
            "continue",
        ],
        &["Program received signal SIGUSR1", "<signal handler called>", "code 02]"],
    );
}

fn a_signal_that_is_not_passed() {
    same(
        "signals",
        &["handle SIGUSR1 stop print nopass", "continue", "continue", "continue"],
        &["Program received signal SIGUSR1", "exited normally"],
    );
}

fn a_signal_that_does_not_stop() {
    same("signals", &["handle SIGUSR1 nostop noprint pass", "continue"], &["code 02]"]);
}

fn another_signal_than_the_one_that_came() {
    same(
        "signals",
        &["handle SIGUSR1 stop print pass", "continue", "signal SIGUSR2", "signal 0"],
        &["code 012]"],
    );
}

fn a_signal_at_a_breakpoint() {
    same(
        "signals",
        &[
            "handle SIGUSR1 nostop noprint pass",
            "break between",
            "continue",
            "signal SIGUSR2",
            "continue",
        ],
        &["code 014]"],
    );
}

fn a_queued_signal() {
    same(
        "signals",
        &[
            "handle SIGUSR1 nostop noprint pass",
            "break between",
            "continue",
            "queue-signal SIGUSR2",
            "p counted",
            "continue",
            "continue",
        ],
        &["code 014]"],
    );
}

fn a_fault() {
    same(
        "crash",
        &["continue", "bt", "p to", "continue"],
        &["Program received signal SIGSEGV", "terminated with signal SIGSEGV"],
    );
}

fn interrupt_of_a_running_program() {
    let program = compile("sleeper");
    let commands = ["continue", "bt", "p go", "set variable go = 3", "continue"];
    let session = Session { interrupt_at: Some("ready"), ..Session::new(&program, &commands) };
    check(&session, &["Program received signal SIGINT", "exited with code 03"]);
}

fn call_of_a_function() {
    same(
        "basic",
        &[
            "break add",
            "continue",
            "delete",
            "p twice(20)",
            "p counter",
            "p add(1, 2) + 1",
            "p $rip",
            "p total",
            "up",
            "p total",
            "continue",
        ],
        &["= 40", "= 4"],
    );
}

fn a_breakpoint_in_a_called_function() {
    same(
        "basic",
        &["break main", "continue", "break add", "p twice(20)", "bt", "finish", "bt", "kill"],
        &["The program being debugged stopped while in a function called from GDB"],
    );
}

fn exit_status() {
    same("basic", &["continue", "p $_exitcode", "info threads"], &["code 011", "= 9"]);
}

fn detach() {
    same(
        "basic",
        &["break add", "continue", "detach", "info threads"],
        &["[Inferior 1 (process P1) detached]"],
    );
}

fn kill() {
    same("basic", &["break add", "continue", "kill", "info threads"], &["killed]"]);
}

fn gdb_goes_without_a_word() {
    same("basic", &["break add", "continue"], &["Breakpoint 1, add"]);
}

fn memory_and_registers() {
    same(
        "basic",
        &[
            "break add",
            "continue",
            "x/4xw $sp",
            "x/2i $pc",
            "set variable a = 100",
            "p $rsp",
            "p/x $eflags & 0x202",
            "set variable $rax = 7",
            "p $rax",
            "p $fs_base != 0",
            "finish",
            "x/1xb 8",
            "continue",
        ],
        &["Cannot access memory at address 0x8", "Value returned is $"],
    );
}

fn vector_registers() {
    same(
        "vectors",
        &[
            "break here",
            "continue",
            "p $xmm3.v4_float",
            "p $xmm5.v2_double",
            "p $ymm3.v8_float",
            "info float",
            "p $st0",
            "p $st1",
            "p $mxcsr",
            "p $ftag",
            "p $fs_base == 0",
            "p $orig_rax",
            "continue",
        ],
        &["{1, 2, 3, 4}", "= -2.25", "= 3.75", "exited normally"],
    );
}

// gdbserver cannot write them under every kernel.
fn vector_registers_are_written() {
    let program = compile("vectors");
    let commands = [
        "break here",
        "continue",
        "set variable $xmm3.v4_float[1] = 9.5",
        "p $xmm3.v4_float",
        "set variable $ymm5.v4_double[3] = 6.5",
        "p $ymm5.v4_double",
        "set variable $st0 = 1.5",
        "p $st0",
        "continue",
    ];
    let ours = Session::new(&program, &commands).run(Server::Ours).transcript;
    // The program sees what is in st0.
    for expected in ["{1, 9.5, 3, 4}", "{1.5, 0, 0, 6.5}", "= 1.5", "exited with code 01]"] {
        assert!(ours.contains(expected), "no {expected:?} in:\n{ours}");
    }
}

fn libraries_through_the_server() {
    let program = compile("basic");
    let commands = [
        "break add",
        "continue",
        "info sharedlibrary",
        "p (int)puts(\"called\")",
        "info auxv",
        "continue",
    ];
    let session = Session { remote_files: true, ..Session::new(&program, &commands) };
    check(&session, &["target:/lib", "AT_ENTRY"]);
}

fn a_32_bit_program() {
    let program = compile_narrow("narrow");
    let commands = [
        "show architecture",
        "break add",
        "continue",
        "bt",
        "info registers eax eip cs",
        "watch counter",
        "delete 1",
        "continue",
        "continue",
        "print add(5, 6)",
        "set var $eax = 77",
        "print $eax",
        "print $orig_eax",
        "x/3i $pc",
        "stepi",
        "stepi",
        "x/i $pc",
        "hbreak half",
        "delete 2",
        "continue",
        "print $st0",
        "finish",
        "info registers mxcsr",
        "print $xmm7.uint128",
        "continue",
    ];
    check(
        &Session::new(&program, &commands),
        &[
            "(currently \"i386\")",
            "Breakpoint 1, add (a=1, b=2)",
            "New value = 9",
            "$1 = 11",
            "$2 = 77",
            "$3 = -1",
            "Breakpoint 3, half (value=4)",
            "exited with code 024",
        ],
    );
}
