use super::*;

const TID: Tid = Tid::from_raw(100_123);

fn lwp(flags: LwpFlags) -> LwpInfo {
    LwpInfo {
        tid: TID,
        reports: true,
        flags,
        siginfo: None,
        blocked: SignalSet::default(),
        pending: SignalSet::default(),
        child: flags.contains(LwpFlags::FORKED).then_some(Pid::from_raw(77)),
        syscall: 0,
        syscall_args: 0,
    }
}

fn signalled(flags: LwpFlags, signo: i32, code: i32) -> LwpInfo {
    let siginfo = Some(SigInfo { signo, code, ..SigInfo::default() });
    LwpInfo { siginfo, ..lwp(flags | LwpFlags::SI) }
}

fn signal(number: i32, trap: Option<TrapOrigin>) -> RawReason {
    RawReason::Signal { signal: Signal::from_raw(number).unwrap(), trap }
}

/// The events as the kernel shows them; what shows SCX or SCE besides is no system call.
#[test]
fn events() {
    use LwpFlags as F;
    let made = |kind| RawReason::Forked {
        kind,
        task: Some(NewTask::Process { pid: Pid::from_raw(77), sibling: false }),
    };
    for (flags, want) in [
        (F::SCX | F::EXEC, RawReason::Execed { former_tid: Some(TID) }),
        (F::SCX | F::FORKED, made(ForkKind::Fork)),
        (F::SCX | F::FORKED | F::VFORKED, made(ForkKind::Vfork)),
        (F::VFORK_DONE, RawReason::VforkDone),
        (F::SCX | F::BORN, RawReason::ThreadStarted),
        (F::SCE | F::EXITED, RawReason::ThreadExiting),
        (F::SCE, RawReason::SyscallEntry),
        (F::SCX, RawReason::SyscallExit),
        (F::empty(), RawReason::Unknown { raw: 0 }),
        (F::from_bits_retain(0x4000), RawReason::Unknown { raw: 0x4000 }),
    ] {
        assert_eq!(reason(SIGTRAP, &lwp(flags)), want, "{flags:?}");
    }
    assert_eq!(reason(SIGSTOP, &lwp(F::SCX | F::CHILD)), RawReason::Paused);
}

/// What has siginfo is a signal, whatever the flags say of the thread's state: SCE shows if it
/// sleeps in a system call.
#[test]
fn signals() {
    use LwpFlags as F;
    for flags in [F::empty(), F::SCE, F::SCX, F::SCE | F::VFORK_DONE] {
        assert_eq!(reason(30, &signalled(flags, 30, SI_USER)), signal(30, None));
        assert_eq!(reason(SIGSTOP, &signalled(flags, SIGSTOP, 0)), signal(SIGSTOP, None));
    }
    for (code, origin) in [
        (TRAP_BRKPT, TrapOrigin::Breakpoint),
        (TRAP_TRACE, TrapOrigin::Step),
        (4, TrapOrigin::Sent), // TRAP_CAP
        (SI_USER, TrapOrigin::Sent),
        (SI_LWP, TrapOrigin::Sent),
        (0, TrapOrigin::Sent),
    ] {
        let info = signalled(F::SCE, SIGTRAP, code);
        assert_eq!(reason(SIGTRAP, &info), signal(SIGTRAP, Some(origin)), "{code}");
    }
    // Real-time signals have no name, and are signals.
    assert_eq!(reason(126, &signalled(F::empty(), 126, SI_QUEUE)), signal(126, None));
    // No signal at all.
    assert_eq!(reason(0, &signalled(F::empty(), 0, 0)), RawReason::Unknown { raw: 0x20 });
}

/// Newer kernels have no thread report the stop of an attach; what is then shown is the state of
/// any thread. Older ones have one stop for the SIGSTOP.
#[test]
fn attach() {
    use LwpFlags as F;
    for flags in [F::empty(), F::SCE, F::VFORK_DONE, F::SCX | F::FORKED, F::SCE | F::EXITED] {
        let silent = LwpInfo { reports: false, ..lwp(flags) };
        let mut expected = Expected::attach();
        assert_eq!(expected.reason(SIGSTOP, &silent), Some(RawReason::Paused), "{flags:?}");
        assert_eq!(expected, Expected::default());
    }
    let mut expected = Expected::attach();
    assert!(expected.is_attaching());
    let old = signalled(F::SCE, SIGSTOP, 0);
    assert_eq!(expected.reason(SIGSTOP, &old), Some(RawReason::Paused));
    assert!(!expected.is_attaching());
    // The next one is somebody's.
    assert_eq!(expected.reason(SIGSTOP, &old), Some(signal(SIGSTOP, None)));
    // If another stop were first, the attach's own is not shown.
    let mut expected = Expected::attach();
    let other = signalled(F::empty(), 30, SI_USER);
    assert_eq!(expected.reason(30, &other), Some(signal(30, None)));
    assert_eq!(expected.reason(SIGSTOP, &old), None);
    assert_eq!(expected.reason(SIGSTOP, &old), Some(signal(SIGSTOP, None)));
}

#[test]
fn interrupts() {
    let stop = signalled(LwpFlags::empty(), SIGSTOP, 0);
    let other = signalled(LwpFlags::SCE, 30, SI_USER);
    let somebodys = Some(signal(SIGSTOP, None));
    let paused = Some(RawReason::Paused);
    let mut e = Expected::default();
    assert_eq!(e.reason(SIGSTOP, &stop), somebodys);
    e.ask(false);
    assert_eq!(e.reason(SIGSTOP, &stop), paused);
    assert_eq!(e.reason(SIGSTOP, &stop), somebodys);
    // It is answered without a stop; what is left of it is not shown.
    e.ask(false);
    e.answer();
    assert_eq!(e.reason(SIGSTOP, &stop), None);
    // Another stop takes its place; what is left of it is not shown.
    e.ask(false);
    assert_eq!(e.reason(30, &other), Some(signal(30, None)));
    assert_eq!(e.reason(SIGSTOP, &stop), None);
    assert_eq!(e.reason(SIGSTOP, &stop), somebodys);
    // Asked again while the first is still on its way: either may come first, and the second.
    e.ask(false);
    assert_eq!(e.reason(30, &other), Some(signal(30, None)));
    e.ask(false);
    assert_eq!(e.reason(SIGSTOP, &stop), paused);
    assert_eq!(e.reason(SIGSTOP, &stop), None);
    assert_eq!(e.reason(SIGSTOP, &stop), somebodys);
    // Asked again while the first is pending, they are one.
    e.ask(false);
    e.ask(true);
    assert_eq!(e.reason(SIGSTOP, &stop), paused);
    // Or the first was taken just before, and the second comes as well, soon.
    assert_eq!(e.reason(SIGSTOP, &stop), None);
    assert_eq!(e.reason(SIGSTOP, &stop), somebodys);
    e.ask(false);
    (0..300).for_each(|_| e.ask(true));
    assert_eq!(e.reason(SIGSTOP, &stop), paused);
    for _ in 0..SOON {
        assert_eq!(e.reason(30, &other), Some(signal(30, None)));
    }
    assert!(!e.may_come());
    assert_eq!(e.reason(SIGSTOP, &stop), somebodys);
    // The first stop of a child is a pause of its own.
    e.ask(false);
    assert_eq!(e.reason(SIGSTOP, &lwp(LwpFlags::SCX | LwpFlags::CHILD)), paused);
}

#[test]
fn statuses() {
    let killed = |number, core_dumped| {
        let signal = Signal::from_raw(number).unwrap();
        Status::Ended(ExitStatus::Killed { signal, core_dumped })
    };
    for (raw, want) in [
        (0x0000, Status::Ended(ExitStatus::Code(0))),
        (0x0700, Status::Ended(ExitStatus::Code(7))),
        (0xff00, Status::Ended(ExitStatus::Code(255))),
        // The data of a NOTE_EXIT has the whole number that was given to exit.
        (0x12_3400, Status::Ended(ExitStatus::Code(0x34))),
        (9, killed(9, false)),
        (6 | 0x80, killed(6, true)),
        (126, killed(126, false)),
        (0x057f, Status::Stopped(SIGTRAP)),
        (0x117f, Status::Stopped(SIGSTOP)),
        (0x7e7f, Status::Stopped(126)),
    ] {
        assert_eq!(status(raw), want, "{raw:#x}");
    }
}

#[test]
fn masks() {
    use EventFlags as F;
    let always = EventMask::EXEC | EventMask::FORK | EventMask::VFORK;
    assert_eq!(EventMask::FIRST, EventMask::EXEC);
    for (flags, more) in [
        (F::empty(), EventMask::empty()),
        (F::PROCESS | F::VFORK_DONE | F::REPARENT, EventMask::empty()),
        (F::THREAD, EventMask::LWP),
        (F::EXIT, EventMask::LWP),
        (F::SYSCALL, EventMask::SCE | EventMask::SCX | EventMask::LWP),
    ] {
        assert_eq!(EventMask::of(flags), always | more, "{flags:?}");
    }
}

#[test]
fn exits_that_have_no_stop() {
    let made = |kind| RawReason::Forked { kind, task: None };
    for (reason, want) in [
        (made(ForkKind::Fork), true),
        (made(ForkKind::Vfork), false), // it comes with the end of the vfork
        (RawReason::VforkDone, true),
        (RawReason::Execed { former_tid: None }, true),
        (RawReason::SyscallEntry, false),
        (RawReason::SyscallExit, false),
        (RawReason::Paused, false),
        (RawReason::ThreadStarted, false),
    ] {
        assert_eq!(hides_syscall_exit(reason), want, "{reason:?}");
    }
}

#[test]
fn siginfo() {
    let full =
        |signo, code| SigInfo { signo, code, errno: 3, pid: 44, uid: 55, addr: 66, value: 77 };
    let sent = signal_info(&full(30, SI_USER)).unwrap();
    assert_eq!((sent.sender, sent.sender_uid), (Some(Pid::from_raw(44)), Some(55)));
    assert_eq!((sent.addr, sent.value, sent.errno), (None, None, 3));
    let queued = signal_info(&full(65, SI_QUEUE)).unwrap();
    assert_eq!((queued.sender.is_some(), queued.value), (true, Some(77)));
    let fault = signal_info(&full(SIGSEGV, 1)).unwrap();
    assert_eq!((fault.sender, fault.addr, fault.value), (None, Some(66), None));
    let timer = signal_info(&full(14, SI_TIMER)).unwrap();
    assert_eq!((timer.sender, timer.value), (None, Some(77)));
    // A fault's number, but sent.
    assert_eq!(signal_info(&full(SIGSEGV, SI_LWP)).unwrap().addr, None);
    assert_eq!(signal_info(&full(SIGTRAP, TRAP_BRKPT)).unwrap().addr, Some(66));
    for (signo, code, want) in
        [(SIGSEGV, 1, true), (SIGSEGV, SI_USER, false), (SIGTRAP, 1, false), (SIGBUS, 0, false)]
    {
        assert_eq!(full(signo, code).is_fault(), want, "{signo} {code}");
    }
    assert_eq!(signal_info(&full(0, 0)), None);
    for code in [SI_ASYNCIO, SI_MESGQ] {
        assert_eq!(signal_info(&full(23, code)).unwrap().value, Some(77));
    }
}

#[test]
fn results() {
    assert_eq!(syscall_result(0, 5), Ok(5));
    assert_eq!(syscall_result(9, 5), Err(9));
    assert_eq!(syscall_result(-1, 5), Err(-1)); // ERESTART
    assert_eq!(syscall_result(-2, 5), Ok(0)); // EJUSTRETURN
}

#[test]
fn sets() {
    let set = SignalSet([1 << (SIGTRAP - 1), 0, 0, 1 << 29]);
    assert!(set.has(SIGTRAP) && set.has(126));
    for number in [i32::MIN, -1, 0, 1, SIGSTOP, SIGKILL, SIGILL, SIGFPE, 127, 128, 129, i32::MAX] {
        assert!(!set.has(number), "{number}");
    }
    assert!(set.contains(Signal::from_raw(5).unwrap()));
    let bits = 1 << (SIGTRAP - 1) | 1 << (3 * 32 + 29);
    assert_eq!(set.portable(), trapline_core::SignalSet::from_bits(bits));
}
