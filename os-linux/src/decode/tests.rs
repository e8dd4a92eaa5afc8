use super::*;

const TID: Tid = Tid::from_raw(7);

fn stopped(event: u32, signal: i32) -> i32 {
    (event << 16) as i32 | signal << 8 | 0x7f
}

fn kind(status: i32) -> RawKind {
    let stop = stop(TID, status);
    assert_eq!((stop.pid, stop.tid), (None, Some(TID)));
    stop.kind
}

fn raw(status: i32) -> RawReason {
    match kind(status) {
        RawKind::Stop(reason) => reason,
        ended => panic!("{ended:?}"),
    }
}

#[test]
fn exits_and_kills() {
    assert_eq!(kind(0), RawKind::Ended(ExitStatus::Code(0)));
    assert_eq!(kind(0xff00), RawKind::Ended(ExitStatus::Code(255)));
    let killed = |signal, core_dumped| RawKind::Ended(ExitStatus::Killed { signal, core_dumped });
    assert_eq!(kind(9), killed(Signal::KILL, false));
    assert_eq!(kind(0x8b), killed(Signal::SEGV, true));
    // The last real-time signal.
    assert_eq!(kind(64), killed(Signal::from_raw(64).unwrap(), false));
}

#[test]
fn signal_stops_of_every_signal() {
    for number in 1..=64 {
        let signal = Signal::from_raw(number).unwrap();
        let expected = RawReason::Signal { signal, trap: None };
        assert_eq!(raw(stopped(0, number)), expected);
    }
}

#[test]
fn a_system_call_is_told_from_a_trap() {
    assert_eq!(raw(stopped(0, 0x85)), RawReason::Syscall);
    let trap = RawReason::Signal { signal: Signal::TRAP, trap: None };
    assert_eq!(raw(stopped(0, 5)), trap);
}

#[test]
fn events() {
    let forked = |kind| RawReason::Forked { kind, task: None };
    for (event, expected) in [
        (1, forked(ForkKind::Fork)),
        (2, forked(ForkKind::Vfork)),
        (3, forked(ForkKind::Clone)),
        (4, RawReason::Execed { former_tid: None }),
        (5, RawReason::VforkDone),
        (6, RawReason::ThreadExiting),
        (7, RawReason::SyscallFiltered),
        (128, RawReason::Paused),
    ] {
        assert_eq!(raw(stopped(event, 5)), expected);
    }
    for signal in [Signal::STOP, Signal::TSTP, Signal::TTIN, Signal::TTOU] {
        let status = stopped(128, signal.as_raw());
        assert_eq!(raw(status), RawReason::GroupStop(signal));
    }
}

#[test]
fn what_is_unknown_is_data() {
    for status in [
        stopped(0, 0),      // no signal
        stopped(0, 0x80),   // no signal in a system call
        stopped(0, 0x8a),   // another signal in a system call
        stopped(9, 5),      // no event yet
        stopped(128, 10),   // a group-stop by no stop signal
        stopped(0xffff, 5), // all bits
        0xffff,             // continued
        -1,
        i32::MIN,
        i32::MIN | 0x7f,
    ] {
        let expected = match status & 0xffff {
            // The low half alone says that it has ended.
            0 => RawKind::Ended(ExitStatus::Code(0)),
            _ => RawKind::Stop(RawReason::Unknown { raw: status as u32 }),
        };
        assert_eq!(kind(status), expected, "{status:#x}");
    }
}

#[test]
fn no_status_panics() {
    // Every low half, with no event, each known one and some others.
    for event in [0, 1, 2, 3, 4, 5, 6, 7, 8, 127, 128, 129, 0x7fff, 0xffff_u32] {
        for low in 0..=0xffff_u32 {
            let _ = stop(TID, (event << 16 | low) as i32);
        }
    }
}

#[test]
fn options_follow_the_setup() {
    let setup = |flags, on_exit| options(Setup { flags, on_exit });
    let plain = setup(EventFlags::empty(), OnExit::Detach);
    assert_eq!(plain, 0x3f);
    assert_eq!(setup(EventFlags::EXIT, OnExit::Detach), plain | 0x40);
    assert_eq!(setup(EventFlags::PROCESS, OnExit::Kill), plain | 0x10_0000);
}

#[test]
fn exit_codes_are_told_from_ids() {
    // Killed; killed with a core; exit(1); exit(255).
    for code in [9, 0x8b, 0x100, 0xff00, 0] {
        assert!(could_be_exit_code(code), "{code:#x}");
    }
    for id in [257, 1234, 32767, 0x1_0000, 4_194_304] {
        assert!(!could_be_exit_code(id), "{id:#x}");
    }
}

/// A `siginfo_t` with these numbers at these offsets.
fn info(fields: &[(usize, i32)]) -> Siginfo {
    let mut info = Siginfo::default();
    for &(at, number) in fields {
        info.0[at..at + 4].copy_from_slice(&number.to_ne_bytes());
    }
    info
}

#[test]
fn the_event_of_a_stop_is_in_its_code() {
    assert_eq!(event_of(&info(&[(0, 5), (8, 4 << 8 | 5)])), 4);
    assert_eq!(event_of(&info(&[(0, 5), (8, 6 << 8 | 5)])), 6);
}

#[test]
fn a_sent_signal_has_a_sender() {
    let sent = signal_info(&info(&[(0, 15), (8, 0), (16, 42), (20, 1000)])).unwrap();
    assert_eq!((sent.signal, sent.code), (Signal::TERM, 0));
    assert_eq!(sent.sender, Some(Pid::from_raw(42)));
    assert_eq!((sent.sender_uid, sent.addr), (Some(1000), None));
    assert_eq!(sent.value, None);
}

#[test]
fn a_queued_signal_has_a_value() {
    let queued = info(&[(0, 34), (8, -1), (16, 42), (20, 0), (24, 5), (28, 1)]);
    let queued = signal_info(&queued).unwrap();
    assert_eq!(queued.sender, Some(Pid::from_raw(42)));
    assert_eq!(queued.value, Some(0x1_0000_0005));
    // A timer's has a value and no sender.
    let timer = signal_info(&info(&[(0, 14), (8, -2), (16, 3), (24, 9)])).unwrap();
    assert_eq!((timer.sender, timer.value), (None, Some(9)));
}

#[test]
fn a_fault_has_an_address() {
    let fault = signal_info(&info(&[(0, 11), (8, 1), (16, 0x1000), (20, 2)])).unwrap();
    assert_eq!((fault.addr, fault.sender), (Some(0x2_0000_1000), None));
    // The kernel has none for a general protection fault, nor for an event.
    let general = signal_info(&info(&[(0, 11), (8, 0x80)])).unwrap();
    assert_eq!((general.addr, general.sender), (None, None));
    let event = signal_info(&info(&[(0, 5), (8, 0x405), (16, 42)])).unwrap();
    assert_eq!((event.addr, event.sender), (None, None));
    assert_eq!(signal_info(&info(&[])), None);
}

#[test]
fn changes_of_a_child() {
    assert_eq!(change(&info(&[])), None);
    for code in [libc::CLD_EXITED, libc::CLD_KILLED, libc::CLD_DUMPED] {
        let ended = info(&[(0, 17), (8, code), (16, 42)]);
        assert_eq!(change(&ended), Some(Change::Ended));
    }
    for code in [libc::CLD_STOPPED, libc::CLD_TRAPPED] {
        let stopped = info(&[(0, 17), (8, code), (16, 42), (24, 19)]);
        assert_eq!(change(&stopped), Some(Change::Stopped(19)));
    }
}
