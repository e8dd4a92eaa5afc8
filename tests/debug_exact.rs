//! Clauses D2 and D7, and what hits cost: each write of a crowd of threads is one hit; what the
//! self-test says; who else has debug registers.

use trapline::HardwareKind::Write;
use trapline::debug_registers::{SelfTest, Verdict, self_test};
use trapline::{Error, EventFlags, HardwareBreakpoint};

use crate::common::*;
use crate::fixtures::cpu;

crate::tests![
    d2_each_write_of_a_crowd_is_one_hit,
    one_hit_is_few_requests,
    arming_writes_only_what_changes,
    d7_the_self_test_counts_every_hit,
    d7_the_self_test_beside_a_tracer,
    d6_registers_that_somebody_else_holds,
];

/// The long form of a test, if the environment asks for it.
fn long() -> bool {
    std::env::var_os("TRAPLINE_LONG").is_some()
}

/// 64 threads at a time, which come and go, and each write as often as this.
fn crowd(generations: u32, writes: u32) {
    let words = format!("repeat:{generations} threads:64 repeat:{writes} write:8@0 }} }} }}");
    let (mut program, stop) = Watched::built(&words, |b| b.events(EventFlags::empty()));
    let id = program.watch(0, 8, Write);
    program.go(stop);
    let hits = program.hits();
    let expected = (generations * 64 * writes) as usize;
    assert_eq!((Watched::count(&hits, id), hits.len()), (expected, expected));
}

fn d2_each_write_of_a_crowd_is_one_hit() {
    match (long(), cfg!(target_os = "linux")) {
        (true, true) => crowd(25, 63),
        (true, false) => crowd(8, 20),
        (false, true) => crowd(4, 10),
        (false, false) => crowd(2, 2),
    }
}

fn one_hit_is_few_requests() {
    let (mut program, stop) = Watched::new("repeat:50 write:8@0 }");
    program.watch(0, 8, Write);
    program.go(stop);
    let mut costs = Vec::new();
    for _ in 0..50 {
        let before = program.tracer.requests();
        if cfg!(target_os = "freebsd") {
            // So that the wait finds it at once.
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        let (stop, _) = program.trap();
        program.go(stop);
        costs.push(program.tracer.requests() - before);
    }
    if cfg!(target_os = "linux") {
        // A targeted wait may miss, and another one follows.
        let least = cpu::HIT_REQUESTS;
        assert_eq!(*costs.iter().min().unwrap(), least, "{costs:?}");
        assert!(costs.iter().all(|&cost| cost <= least + least / 4), "{costs:?}");
    } else {
        // And PT_LWPINFO, and a request that waits for the registers to be saved.
        assert_eq!(*costs.iter().min().unwrap(), 6, "{costs:?}");
    }
    assert_eq!(program.hits(), []);
}

fn arming_writes_only_what_changes() {
    let (mut program, stop) = Watched::new("");
    let cost = |program: &mut Watched, what: &mut dyn FnMut(&mut Watched)| {
        let before = program.tracer.requests();
        what(program);
        program.tracer.requests() - before
    };
    let first = cost(&mut program, &mut |p| _ = p.watch(0, 8, Write));
    let second = cost(&mut program, &mut |p| _ = p.watch(8, 8, Write));
    let again = cost(&mut program, &mut |p| _ = p.watch(8, 8, Write));
    let pid = program.pid;
    let ids: Vec<_> = program.tracer.breakpoints(pid).unwrap().map(|(id, _)| id).collect();
    let removed =
        cost(&mut program, &mut |p| assert!(p.tracer.remove_breakpoint(pid, ids[0]).unwrap()));
    assert_eq!(again, 0);
    if cfg!(target_os = "linux") {
        assert_eq!([first, second, removed], cpu::ARMING_REQUESTS);
    }
    program.go(stop);
    assert_eq!(program.hits(), []);
}

fn d7_the_self_test_counts_every_hit() {
    for programs in [1, 4] {
        for one_cpu in [true, false] {
            let mut test = SelfTest::default();
            (test.programs, test.one_cpu) = (programs, one_cpu);
            (test.rounds) = 25;
            let report = self_test(test).unwrap();
            assert_eq!(report.execute.expected, 25 * programs as u64);
            assert_eq!(report.verdict(), Verdict::Reliable, "{report}");
            assert_eq!(report.free_slots, 4, "{report}");
        }
    }
}

fn d7_the_self_test_beside_a_tracer() {
    let (mut program, stop) = Watched::new("write:8@0");
    let id = program.watch(0, 8, Write);
    match self_test(SelfTest::default()) {
        Ok(report) => assert!(report.verdict().is_reliable(), "{report}"),
        Err(Error::Unsupported { .. }) if cfg!(target_os = "freebsd") => {}
        Err(error) => panic!("{error}"),
    }
    program.go(stop);
    let hits = program.hits();
    assert_eq!(Watched::count(&hits, id), 1);
}

fn d6_registers_that_somebody_else_holds() {
    let (mut program, stop) = Watched::new("write:8@0 write:8@8 write:8@16");
    let Some(_held) = held_by_perf(program.pid.as_raw(), program.data + 64, 2) else {
        program.tracer.kill(program.pid).unwrap();
        program.go(stop);
        while program.tracer.wait().unwrap().is_some() {}
        skip("performance counters cannot hold debug registers here");
    };
    let (one, two) = (program.watch(0, 8, Write), program.watch(8, 8, Write));
    let third = HardwareBreakpoint { addr: program.data + 16, len: 8, kind: Write };
    let refused = program.tracer.insert_breakpoint(program.pid, third).unwrap_err();
    assert!(matches!(refused, Error::NoFreeSlot { needed: 3, free: 2, .. }), "{refused}");
    program.go(stop);
    let hits = program.hits();
    assert_eq!((Watched::count(&hits, one), Watched::count(&hits, two)), (1, 1));
    assert_eq!(hits.len(), 2);
}

/// Has performance counters of a process hold so many debug registers.
#[cfg(target_os = "linux")]
fn held_by_perf(pid: i32, addr: u64, many: u64) -> Option<Vec<std::os::fd::OwnedFd>> {
    use std::os::fd::FromRawFd;
    (0..many)
        .map(|i| {
            // struct perf_event_attr, version 0: 64 bytes.
            let mut attr = [0_u64; 8];
            attr[0] = 5 | 64 << 32; // PERF_TYPE_BREAKPOINT, size
            attr[2] = 1; // period
            attr[5] = 1 << 5; // exclude_kernel
            attr[6] = 2 << 32; // HW_BREAKPOINT_W
            attr[7] = addr + 8 * i;
            let mut attr = [attr.as_slice(), &[8, 0, 0, 0]].concat(); // bp_len
            attr[0] = 5 | (attr.len() as u64 * 8) << 32;
            // SAFETY: reads the attributes, whose size they say themselves.
            let fd = unsafe {
                libc::syscall(libc::SYS_perf_event_open, attr.as_mut_ptr(), pid, -1, -1, 0)
            };
            // SAFETY: the descriptor is new, and nobody else's.
            (fd >= 0).then(|| unsafe { std::os::fd::OwnedFd::from_raw_fd(fd as i32) })
        })
        .collect()
}

#[cfg(target_os = "freebsd")]
fn held_by_perf(_: i32, _: u64, _: u64) -> Option<Vec<()>> {
    None
}
