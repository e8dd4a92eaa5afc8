//! Registers and memory.

use trapline_core::backend::{
    Patience, RawKind, RawReason, RawStop, Run, Thread, TrapOrigin, Waited,
};
use trapline_core::{Backend, Error, EventFlags, ExitStatus, Signal};
use trapline_os_freebsd::{FreeBsd, Space};

use crate::bsd::driver::*;

fn trapped(origin: TrapOrigin) -> RawReason {
    RawReason::Signal { signal: Signal::TRAP, trap: Some(origin) }
}

pub(super) fn round_trip() {
    let mut b = FreeBsd::open().unwrap();
    let first = start(&mut b, &["registers"], EventFlags::PROCESS);
    go(&mut b, &first);
    let stop = next(&mut b);
    assert_eq!(reason(&stop), trapped(TrapOrigin::Breakpoint));
    assert_eq!(b.trap_origin(thread(&stop)).unwrap(), TrapOrigin::Breakpoint);
    let t = thread(&stop);
    let mut regs = b.registers(t).unwrap();
    assert_eq!(regs.r12, 0x1111_2222_3333_4444);
    assert_eq!(regs.r13, 0x5555_6666_7777_8888);
    assert_eq!(regs.orig_rax, u64::MAX);
    assert_ne!(regs.fs_base, 0, "thread-local data");
    let mut code = [0];
    b.read_memory(t, regs.rip - 1, &mut code).unwrap();
    assert_eq!(code, [0xcc]);
    regs.r12 = 42;
    b.set_registers(t, &regs).unwrap();
    assert_eq!(b.registers(t).unwrap(), regs);
    // The bases are written if they change.
    let mut other = regs;
    other.gs_base = 0x1234_5000;
    b.set_registers(t, &other).unwrap();
    assert_eq!(b.registers(t).unwrap().gs_base, 0x1234_5000);
    b.set_registers(t, &regs).unwrap();
    other.rflags |= 0x3000; // the I/O privilege level
    assert!(matches!(b.set_registers(t, &other), Err(Error::Os { .. })));

    let fp = b.fp_registers(t).unwrap();
    assert_eq!(fp.xmm[5].to_le_bytes(), [7; 16]);
    let mut state = b.extended_state(t).unwrap();
    assert_eq!(state.fp_registers().xmm[5], fp.xmm[5]);
    assert!(state.enabled().is_some());
    let mut new = fp.clone();
    new.xmm[5] = u128::from_le_bytes([8; 16]);
    b.set_fp_registers(t, &new).unwrap();
    assert_eq!(b.fp_registers(t).unwrap(), new);
    new.xmm[5] = u128::from_le_bytes([9; 16]);
    state.set_fp_registers(&new);
    b.set_extended_state(t, &state).unwrap();
    assert_eq!(b.extended_state(t).unwrap().fp_registers().xmm[5], new.xmm[5]);

    b.resume(t, Run::Continue, None).unwrap();
    assert_eq!(run_out(&mut b), ExitStatus::Code(0));
}

pub(super) fn step() {
    let mut b = FreeBsd::open().unwrap();
    let first = start(&mut b, &["exit", "0"], EventFlags::PROCESS);
    let mut at = b.registers(thread(&first)).unwrap().rip;
    for _ in 0..200 {
        let before = b.requests();
        b.resume(thread(&first), Run::Step, None).unwrap();
        assert_eq!(b.requests() - before, 1);
        let stop = next(&mut b);
        assert_eq!(reason(&stop), trapped(TrapOrigin::Step));
        let now = b.registers(thread(&stop)).unwrap();
        assert_ne!(now.rip, at);
        at = now.rip;
    }
    b.resume(thread(&first), Run::Continue, None).unwrap();
    assert_eq!(run_out(&mut b), ExitStatus::Code(0));
}

/// A step that another stop overtook does not trap later, when it is not wanted any more.
pub(super) fn step_then_continue() {
    let mut b = FreeBsd::open().unwrap();
    let first = start(&mut b, &["raise", "3"], EventFlags::PROCESS);
    go(&mut b, &first);
    let stop = next(&mut b);
    assert_eq!(reason(&stop), RawReason::Signal { signal: Signal::USR1, trap: None });
    kill(first.pid.unwrap().as_raw(), libc::SIGUSR2);
    b.resume(thread(&stop), Run::Step, None).unwrap();
    let stop = next(&mut b);
    assert_eq!(reason(&stop), RawReason::Signal { signal: Signal::USR2, trap: None });
    b.resume(thread(&stop), Run::Continue, Some(Signal::USR1)).unwrap();
    let mut seen = Vec::new();
    loop {
        let stop = next(&mut b);
        match stop.kind {
            RawKind::Ended(status) => {
                assert_eq!(status, ExitStatus::Code(3));
                break;
            }
            RawKind::Stop(reason) => seen.push(reason),
        }
        go(&mut b, &stop);
    }
    assert_eq!(seen, [RawReason::Signal { signal: Signal::USR1, trap: None }; 2]);
}

/// A program whose first thread sleeps in a system call that it has entered by a step, at a stop
/// of its other thread for a SIGUSR1. Gives the first thread, too.
pub(super) fn stepped_into_sleep(b: &mut FreeBsd) -> (Thread, RawStop) {
    let first = start(b, &["raise-beside-sleepers"], EventFlags::PROCESS);
    let sleeper = thread(&first);
    go(b, &first);
    let stop = next(b);
    assert_eq!(signal(&stop), Some(Signal::USR1));
    // It has to enter again, by way of a breakpoint: what is written makes its sleep end.
    let syscall = b.registers(sleeper).unwrap().rip - 2;
    let mut code = [0; 2];
    b.read_memory(sleeper, syscall, &mut code).unwrap();
    assert_eq!(code, [0x0f, 0x05]);
    b.write_memory(sleeper, syscall, &[0xcc]).unwrap();
    let regs = b.registers(sleeper).unwrap();
    b.set_registers(sleeper, &regs).unwrap();
    b.resume(sleeper, Run::Continue, Some(Signal::USR1)).unwrap();
    let trap = next(b);
    assert_eq!((trap.tid, reason(&trap)), (first.tid, trapped(TrapOrigin::Breakpoint)));
    b.write_memory(sleeper, syscall, &code).unwrap();
    let mut regs = b.registers(sleeper).unwrap();
    assert_eq!(regs.rip, syscall + 1);
    regs.rip = syscall;
    b.set_registers(sleeper, &regs).unwrap();
    b.resume(sleeper, Run::Step, None).unwrap();
    assert_eq!(b.wait(Patience::Brief).unwrap(), Waited::Nothing);
    let other = stop.tid.unwrap();
    assert!(kill_thread(sleeper.pid, other, libc::SIGUSR1));
    let stop = next(b);
    assert_eq!((stop.tid, signal(&stop)), (Some(other), Some(Signal::USR1)));
    (sleeper, stop)
}

/// And is then continued: there is no trap that nobody wants.
pub(super) fn step_into_a_call() {
    let mut b = FreeBsd::open().unwrap();
    let (sleeper, stop) = stepped_into_sleep(&mut b);
    b.resume(sleeper, Run::Continue, signal(&stop)).unwrap();
    for _ in 0..3 {
        assert!(kill_thread(sleeper.pid, sleeper.tid, libc::SIGUSR1));
        let stop = next(&mut b);
        assert_eq!((stop.tid, signal(&stop)), (Some(sleeper.tid), Some(Signal::USR1)));
        go(&mut b, &stop);
    }
    b.kill(sleeper.pid, None).unwrap();
    assert!(matches!(next(&mut b).kind, RawKind::Ended(_)));
}

pub(super) fn memory_bounds() {
    const PAGE: u64 = 4096;
    let mut b = FreeBsd::open().unwrap();
    let (mut talk, line) = Talk::new(&["memory"]);
    let start: u64 = line.parse().unwrap();
    b.attach(talk.pid, setup(EventFlags::PROCESS)).unwrap();
    let stop = next(&mut b);
    let t = thread(&stop);
    let mut two = vec![0; 2 * PAGE as usize];
    assert_eq!(b.read_memory(t, start, &mut two).unwrap(), two.len());
    assert!(two.iter().enumerate().all(|(i, &byte)| byte == i as u8));
    // Into what is not mapped.
    let mut three = vec![0; 3 * PAGE as usize];
    assert_eq!(b.read_memory(t, start, &mut three).unwrap(), two.len());
    assert_eq!(three[..two.len()], two);
    assert_eq!(b.read_memory(t, start + 100, &mut three).unwrap(), two.len() - 100);
    assert_eq!(b.write_memory(t, start + 2 * PAGE - 3, &[1; 100]).unwrap(), 3);
    let gone = start + 2 * PAGE;
    for addr in [gone, 0, u64::MAX, 0xffff_8000_0000_0000] {
        match b.read_memory(t, addr, &mut three) {
            Err(Error::BadAddress { addr: bad, .. }) => assert_eq!(bad, addr),
            other => panic!("{addr:#x}: {other:?}"),
        }
    }
    assert!(matches!(b.write_memory(t, gone, &[1]), Err(Error::BadAddress { .. })));
    assert_eq!(b.read_memory(t, gone, &mut []).unwrap(), 0);
    // The first page is read-only for the process, not for us.
    assert_eq!(b.write_memory(t, start + 4, &[50, 51, 52]).unwrap(), 3);
    let mut text = [0; 3];
    b.read_space(t, Space::Text, start + 4, &mut text).unwrap();
    assert_eq!(text, [50, 51, 52]);
    b.write_space(t, Space::Text, start + 5, &[77]).unwrap();
    // More than one request's worth.
    let map = b.vm_entries(t).unwrap();
    let large = map.iter().filter(|e| e.protection.bits() != 0).max_by_key(|e| e.end - e.start);
    let large = large.unwrap();
    let mut all = vec![0; ((large.end - large.start) as usize + 1).min(5 << 20)];
    assert_eq!(b.read_memory(t, large.start, &mut all).unwrap(), all.len());
    b.detach(t, None).unwrap();
    drop(talk.input.take());
    assert_eq!(talk.child.wait().unwrap().code(), Some(77));
}

/// Written and read back; all zero before, and the kernel's refusal leaves them as they were.
pub(super) fn debug_registers() {
    let mut b = FreeBsd::open().unwrap();
    let first = start(&mut b, &["exit", "0"], EventFlags::PROCESS);
    let t = thread(&first);
    assert_eq!(b.debug_registers(t).unwrap(), [0; 8]);
    let rip = b.registers(t).unwrap().rip;
    let execute = [rip, 0, 0, 0, 0, 0, 0, 1];
    b.set_debug_registers(t, execute).unwrap();
    let read = b.debug_registers(t).unwrap();
    assert_eq!((read[0], read[7] & 0xffff_03ff), (rip, 1));
    let kernel = [0xffff_ffff_8000_0000, 0, 0, 0, 0, 0, 0, 1];
    assert!(matches!(b.set_debug_registers(t, kernel), Err(Error::Os { .. })));
    assert_eq!(b.debug_registers(t).unwrap()[0], rip);
    b.set_debug_registers(t, [0; 8]).unwrap();
    go(&mut b, &first);
    assert_eq!(run_out(&mut b), ExitStatus::Code(0));
}
