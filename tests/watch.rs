//! Clauses D1, D2 and D4: what is watched is hit, each time and nothing else.

use trapline::HardwareKind::{self, Change, ReadWrite, Write};
use trapline::{Error, Event, HardwareBreakpoint, Next, StopReason};

use crate::common::*;
use crate::regs as cpu;

crate::tests![
    d1_a_write_is_a_hit_and_a_read_is_not,
    d1_reads_and_writes,
    d1_every_length_at_every_place,
    d1_several_at_once_and_each_by_its_name,
    d1_one_write_that_hits_two,
    d1_the_same_one_twice_is_one_and_goes_with_the_second_removal,
    d1_changes_are_told_with_both_values,
    d1_changes_and_writes_share_a_register,
    d1_the_kernels_own_writes_are_no_hits,
    d2_every_thread_has_it_before_its_first_instruction,
    d2_threads_that_run_get_it_at_once,
    d4_hits_in_flight_count_when_it_is_inserted_again,
    d4_a_step_that_ends_with_a_watched_write_is_both,
    d1_nonsense_is_refused_by_us,
    d1_bytes_that_are_not_there_cannot_be_watched_for_changes,
];

fn d1_a_write_is_a_hit_and_a_read_is_not() {
    let (mut program, stop) = Watched::new("write:8@0 read:8@0 same:8@0 write:4@4 write:8@8");
    let id = program.watch(0, 8, Write);
    program.go(stop);
    let hits = program.hits();
    assert_eq!(Watched::count(&hits, id), 3, "also of what is there already");
    assert_eq!(hits.len(), 3, "{hits:?}");
    assert!(hits.iter().all(|(_, causes)| !causes.single_step));
}

fn d1_reads_and_writes() {
    let (mut program, stop) = Watched::new("write:8@0 read:8@0 read:1@7 read:8@8 write:1@0");
    let id = program.watch(0, 8, ReadWrite);
    program.go(stop);
    let hits = program.hits();
    assert_eq!((Watched::count(&hits, id), hits.len()), (4, 4));
}

fn d1_every_length_at_every_place() {
    for len in [1, 2, 3, 4, 5, 7, 8, 11] {
        for at in [8, 9, 12, 15] {
            let words: Vec<String> = (0..32).map(|i| format!("write:1@{i}")).collect();
            let (mut program, stop) = Watched::new(&words.join(" "));
            let breakpoint = HardwareBreakpoint { addr: program.data + at, len, kind: Write };
            match program.tracer.insert_breakpoint(program.pid, breakpoint) {
                Ok(id) => {
                    program.go(stop);
                    let hits = program.hits();
                    assert_eq!(hits.len(), len as usize, "{len} bytes at {at}");
                    assert_eq!(Watched::count(&hits, id), hits.len());
                }
                Err(Error::NoFreeSlot { needed, free: 4, .. }) => {
                    assert!(needed > 4, "{len} bytes at {at}");
                    program.tracer.kill(program.pid).unwrap();
                    program.go(stop);
                    while program.tracer.wait().unwrap().is_some() {}
                }
                Err(other) => panic!("{other}"),
            }
        }
    }
}

fn d1_several_at_once_and_each_by_its_name() {
    let (mut program, stop) = Watched::new("write:8@0 write:4@12 write:2@8 read:1@32 write:8@4");
    let first = program.watch(0, 8, Write);
    let second = program.watch(12, 4, Write);
    let third = program.watch(32, 1, ReadWrite);
    program.go(stop);
    let hits = program.hits();
    let ids: Vec<Vec<_>> =
        hits.iter().map(|(_, causes)| causes.hardware.iter().collect()).collect();
    assert_eq!(ids, [vec![first], vec![second], vec![third], vec![first]]);
}

fn d1_one_write_that_hits_two() {
    let (mut program, stop) = Watched::new("write:8@4");
    let (low, high) = (program.watch(0, 8, Write), program.watch(8, 8, Write));
    program.go(stop);
    let hits = program.hits();
    assert_eq!(hits.len(), 1);
    assert_eq!(hits[0].1.hardware.iter().collect::<Vec<_>>(), [low, high]);
}

fn d1_the_same_one_twice_is_one_and_goes_with_the_second_removal() {
    let (mut program, stop) = Watched::new("write:8@0 raise:10 write:8@0 raise:10 write:8@0");
    let id = program.watch(0, 8, Write);
    assert_eq!(program.watch(0, 8, Write), id);
    let three: Vec<_> = (1..4).map(|i| program.watch(i * 8, 8, Write)).collect();
    let no_more = HardwareBreakpoint { addr: program.data + 64, len: 8, kind: Write };
    let refused = program.tracer.insert_breakpoint(program.pid, no_more).unwrap_err();
    assert!(matches!(refused, Error::NoFreeSlot { needed: 1, free: 0, .. }), "{refused}");
    let pid = program.pid;
    let known: Vec<_> = program.tracer.breakpoints(pid).unwrap().map(|(id, _)| id).collect();
    assert_eq!(known, [id, three[0], three[1], three[2]]);
    program.go(stop);
    let (stop, _) = program.trap();
    assert!(program.tracer.remove_breakpoint(pid, id).unwrap());
    program.go(stop);
    let stop = watched::ready(next_stop(&mut program.tracer));
    program.go(stop);
    let (stop, causes) = program.trap();
    assert!(causes.hardware.contains(id), "it was inserted twice");
    assert!(program.tracer.remove_breakpoint(pid, id).unwrap());
    assert!(!program.tracer.remove_breakpoint(pid, id).unwrap());
    program.go(stop);
    let hits = program.hits();
    assert_eq!(hits, []);
}

fn d1_changes_are_told_with_both_values() {
    let (mut program, stop) = Watched::new("same:8@0 same:8@0 write:8@0 same:8@0 same:8@0");
    let id = program.watch(0, 8, Change);
    program.go(stop);
    let mut values = Vec::new();
    let hits = program.hits_with(|tracer, stop| {
        for change in tracer.watch_changes(stop).unwrap() {
            assert_eq!(change.id, id);
            let value = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().unwrap());
            values.push((value(&change.old), value(&change.new)));
        }
    });
    assert_eq!(hits.len(), 3);
    assert_eq!(values, [(0, 5), (5, 1000), (1000, 5)]);
}

fn d1_changes_and_writes_share_a_register() {
    let (mut program, stop) = Watched::new("same:8@0 same:8@0");
    let all = program.watch(0, 8, Write);
    let changes = program.watch(0, 8, Change);
    for i in 1..4 {
        program.watch(i * 8, 8, Write);
    }
    program.go(stop);
    let hits = program.hits();
    assert_eq!((Watched::count(&hits, all), Watched::count(&hits, changes)), (2, 1));
}

fn d1_the_kernels_own_writes_are_no_hits() {
    let (mut program, stop) = Watched::new("kernel-write:8@0 write:8@0");
    let id = program.watch(0, 8, ReadWrite);
    program.go(stop);
    let hits = program.hits();
    assert_eq!((Watched::count(&hits, id), hits.len()), (1, 1));
}

fn d2_every_thread_has_it_before_its_first_instruction() {
    let (mut program, stop) =
        Watched::new("thread write:8@0 thread write:8@0 } } repeat:20 thread write:8@0 } }");
    let id = program.watch(0, 8, Write);
    program.go(stop);
    let hits = program.hits();
    assert_eq!((Watched::count(&hits, id), hits.len()), (22, 22));
}

fn d2_threads_that_run_get_it_at_once() {
    let (mut program, stop) = Watched::new("threads:4 say:ready hear repeat:5 write:8@0 } }");
    program.go(stop);
    program.wait_for_lines(4);
    let id = program.watch(0, 8, Write);
    program.say("go\ngo\ngo\ngo\n");
    let hits = program.hits();
    assert_eq!((Watched::count(&hits, id), hits.len()), (20, 20));
}

fn d4_a_step_that_ends_with_a_watched_write_is_both() {
    let (mut program, stop) = Watched::new("write:8@0");
    let id = program.watch(0, 8, Write);
    let mut stop = stop;
    let mut both = 0;
    for _ in 0..200_000 {
        program.step(stop);
        let (next, causes) = program.trap();
        assert!(causes.single_step, "{causes:?}");
        stop = next;
        if causes.hardware.contains(id) {
            both += 1;
            break;
        }
    }
    assert_eq!(both, 1);
    // Nothing of it shows in the next ones.
    for _ in 0..10 {
        program.step(stop);
        let (next, causes) = program.trap();
        assert!(causes.single_step && causes.hardware.is_empty());
        stop = next;
    }
    program.go(stop);
    assert_eq!(program.hits(), []);
}

fn d1_nonsense_is_refused_by_us() {
    let (mut program, stop) = Watched::new("");
    let (pid, before) = (program.pid, program.tracer.requests());
    let mut refused = |addr, len, kind: HardwareKind| {
        program.tracer.insert_breakpoint(pid, HardwareBreakpoint { addr, len, kind }).unwrap_err()
    };
    assert!(matches!(refused(0x1000, 0, Write), Error::BadBreakpoint { .. }));
    for len in [0, 2, 4, 8] {
        let error = refused(0x1000, len, HardwareKind::Execute);
        assert!(matches!(error, Error::BadBreakpoint { .. }), "{error}");
    }
    for addr in [cpu::USER_END, 0xffff_8000_0000_0000, u64::MAX - 7] {
        for kind in [HardwareKind::Execute, Write, ReadWrite, Change] {
            let error = refused(addr, 1, kind);
            assert!(matches!(error, Error::BadAddress { addr: bad, .. } if bad == addr), "{error}");
        }
    }
    assert!(matches!(refused(cpu::USER_END - 4, 8, Write), Error::BadAddress { .. }));
    assert!(matches!(refused(0x1000, 1 << 40, Write), Error::NoFreeSlot { free: 1.., .. }));
    assert_eq!(program.tracer.requests(), before, "the kernel was not asked");
    program.go(stop);
    assert_eq!(program.hits(), []);
}

fn d1_bytes_that_are_not_there_cannot_be_watched_for_changes() {
    let (mut program, stop) = Watched::new("write:8@0");
    let nowhere = HardwareBreakpoint { addr: 0x1000, len: 8, kind: Change };
    let error = program.tracer.insert_breakpoint(program.pid, nowhere).unwrap_err();
    assert!(matches!(error, Error::BadAddress { addr: 0x1000, .. }), "{error}");
    // To watch them for writes is no error: something may come there.
    let later = HardwareBreakpoint { addr: 0x1000, len: 8, kind: Write };
    program.tracer.insert_breakpoint(program.pid, later).unwrap();
    program.go(stop);
    assert_eq!(program.hits(), []);
}

// Threads hit it while others are brought to rest: their hits are in the kernel, or in the
// queue, when it is removed and inserted again, as debuggers do at each stop.
fn d4_hits_in_flight_count_when_it_is_inserted_again() {
    for kind in [Write, Change] {
        let words = "threads:4 repeat:40 write:8@0 } }";
        let (mut program, stop) = Watched::new(words);
        let mut id = program.watch(0, 8, kind);
        program.watch(64, 8, Write);
        program.go(stop);
        let (pid, mut hits, mut changes) = (program.pid, 0, 0);
        while let Some(event) = program.tracer.wait().unwrap() {
            let Event::Stopped(stop) = event else {
                program.go(event);
                continue;
            };
            let StopReason::Trap(causes) = stop.reason() else { panic!("{stop:?}") };
            assert_eq!(causes.hardware.iter().collect::<Vec<_>>(), [id]);
            hits += 1;
            changes += program.tracer.watch_changes(&stop).unwrap().len();
            let halted = program.tracer.halt(stop).unwrap();
            assert!(program.tracer.remove_breakpoint(pid, id).unwrap());
            let elsewhere = (hits % 2 == 0).then(|| program.watch(32, 8, Write));
            id = program.watch(0, 8, kind);
            if let Some(elsewhere) = elsewhere {
                assert!(program.tracer.remove_breakpoint(pid, elsewhere).unwrap());
            }
            program.tracer.resume_halted(halted, |_| Next::Continue).unwrap();
        }
        match kind {
            // Of writes that follow each other closely the first to be told shows them all.
            Change => assert!(changes == hits && (40..=160).contains(&hits), "{hits}"),
            _ => assert_eq!((hits, changes), (160, 0)),
        }
    }
}
