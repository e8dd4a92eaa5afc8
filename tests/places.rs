//! F4: where things are in a process, and what its threads are at.

use trapline::{EventFlags, ExitStatus, MemoryRegion, Resume, ThreadState};

use crate::common::*;
use crate::fixtures::fixture;

crate::tests![f4_the_memory_map, f4_threads_and_what_they_are_at];

const AT_ENTRY: u64 = 9;

fn f4_the_memory_map() {
    let mut tracer = tracer(EventFlags::PROCESS);
    let stop = spawned(&mut tracer, fixture("exit", &["0"]));
    let pid = stop.pid();
    let map = tracer.memory_map(pid).unwrap();
    let at = |addr| -> &MemoryRegion {
        map.iter().find(|region| region.contains(addr)).unwrap_or_else(|| panic!("{addr:#x}"))
    };
    assert!(map.windows(2).all(|pair| pair[0].end <= pair[1].start), "{map:#x?}");
    let registers = tracer.registers(&stop).unwrap();
    let code = at(registers.pc());
    assert!(code.execute && code.read && code.path.is_some(), "{code:?}");
    let stack = at(registers.sp());
    assert!(stack.read && stack.write, "{stack:?}");
    let entry = tracer.auxv(pid, AT_ENTRY).unwrap().unwrap();
    let program = at(entry);
    assert!(program.execute && program.inode != 0 && program.device != 0, "{program:?}");
    assert_eq!(program.path, tracer.process_info(pid).unwrap().executable);
    assert_eq!(tracer.auxv(pid, 9999).unwrap(), None);
    tracer.resume(stop, Resume::Continue).unwrap();
    assert_eq!(next_exit(&mut tracer).1, ExitStatus::Code(0));
    assert!(tracer.memory_map(pid).unwrap_err().is_gone());
}

fn f4_threads_and_what_they_are_at() {
    let mut tracer = tracer(EventFlags::PROCESS);
    let stop = spawned(&mut tracer, fixture("probe-loop", &["1"]));
    let (stop, _) = announced(&mut tracer, stop);
    let pid = stop.pid();
    let info = tracer.thread_info(pid, stop.tid()).unwrap();
    assert_eq!((info.tid, info.state), (stop.tid(), ThreadState::Stopped));
    assert!(info.cpu.is_some());
    assert_eq!(info.name, tracer.thread_name(&stop).unwrap());
    // The C library has put something of its own there.
    let pointer = tracer.thread_pointer(&stop).unwrap();
    assert_ne!(pointer, 0);
    tracer.at(&stop).read_value::<u64>(pointer).unwrap();
    tracer.resume(stop, Resume::Continue).unwrap();
    assert_eq!(next_exit(&mut tracer).1, ExitStatus::Code(0));
}
