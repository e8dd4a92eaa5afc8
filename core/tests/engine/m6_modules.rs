//! M6: the modules of a program, and the event of their change.

use trapline_core::{
    Arch, CodeMode, EventFlags, ForkKind, ModuleKind, Pid, StopReason, Stopped, TrapCauses,
};
use trapline_fake::{PROGRAM_HEADERS, Rules};

use crate::common::*;

both![
    a_change_is_shown_once_it_is_over,
    a_list_without_an_end,
    what_is_removed_and_what_shares_the_place,
    copies_and_sharers,
    an_exec_forgets_it,
    flags_change_it,
    m6_code_that_cannot_trap_is_left_alone,
];

const FLAGS: EventFlags = EventFlags::PROCESS.union(EventFlags::MODULES);
const DYNAMIC: u64 = 0x5000_0000;
const DEBUG: u64 = 0x5100_0000;
const LINKS: u64 = 0x5200_0000;
/// The function of the dynamic linker, and where it is called from.
const FUNCTION: u64 = 0x1000;

fn words(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}

/// A program header: kind, address, size.
fn header(kind: u64, addr: u64, size: u64) -> Vec<u8> {
    words(&[kind, 0, addr, addr, size, size, 8])
}

fn causes(change: impl FnOnce(&mut TrapCauses)) -> StopReason {
    let mut causes = TrapCauses::default();
    change(&mut causes);
    StopReason::Trap(causes)
}

fn changed() -> StopReason {
    causes(|causes| causes.modules_changed = true)
}

impl<R: Rules> World<R> {
    /// A program whose dynamic linker has run, with this many entries in its list, before it is attached
    /// to.
    fn program(flags: EventFlags, links: u64) -> (Self, Pid, Stopped) {
        let mut world = Self::new(flags);
        let pid = world.kernel.start();
        let (phdr, dynamic) = (6, 2);
        world.kernel.map(pid, PROGRAM_HEADERS, &header(phdr, PROGRAM_HEADERS, 112));
        world.kernel.map(pid, PROGRAM_HEADERS + 56, &header(dynamic, DYNAMIC, 32));
        world.kernel.map(pid, DYNAMIC, &words(&[21, DEBUG, 0, 0]));
        world.kernel.map(pid, FUNCTION, &[0x90, 0x90, 0xf4]);
        world.lists(pid, links, 0);
        world.tracer().attach(pid).unwrap();
        let stop = world.stop();
        assert_eq!(stop.reason(), StopReason::Started);
        (world, pid, stop)
    }

    /// Has the linker's list be so long, in this state.
    fn lists(&self, pid: Pid, links: u64, state: u64) {
        let at = |n: u64| if n < links { LINKS + n * 0x100 } else { 0 };
        self.kernel.map(pid, DEBUG, &words(&[1, at(0), FUNCTION, state, 0]));
        for n in 0..links {
            let dynamic = if n == 0 { DYNAMIC } else { DYNAMIC + n * 0x10_0000 };
            self.kernel.map(pid, at(n), &words(&[n * 0x10_0000, 0, dynamic, at(n + 1), 0]));
        }
    }

    /// The thread of a process comes to the function.
    fn arrives(&mut self, pid: Pid) {
        let main = self.main(pid);
        self.kernel.jump(main, FUNCTION);
    }

    fn has_instruction(&self, pid: Pid) -> bool {
        self.kernel.memory(pid, FUNCTION, 1) == [0xcc]
    }
}

fn a_change_is_shown_once_it_is_over<R: Rules>() {
    let (mut world, pid, stop) = World::<R>::program(FLAGS, 2);
    assert!(world.has_instruction(pid));
    assert_eq!(world.tracer().breakpoints(pid).unwrap().count(), 0);
    let modules = world.tracer().modules(pid).unwrap();
    let kinds: Vec<ModuleKind> = modules.iter().map(|module| module.kind).collect();
    assert_eq!(kinds, [ModuleKind::Executable, ModuleKind::Library]);
    assert_eq!(modules[1].link_map, Some(LINKS + 0x100));
    world.go(stop);
    // As it was when it was attached to.
    world.arrives(pid);
    world.idle();
    // On the way, and then there.
    world.lists(pid, 3, 1);
    world.arrives(pid);
    world.idle();
    world.lists(pid, 3, 0);
    world.arrives(pid);
    let stop = world.stop_for(changed());
    assert_eq!(world.tracer().registers(&stop).unwrap().pc, FUNCTION);
    assert_eq!(world.tracer().modules(pid).unwrap().len(), 3);
    let mut byte = [0];
    world.tracer().read_memory(&stop, FUNCTION, &mut byte).unwrap();
    assert_eq!(byte, [0x90], "memory is shown without it");
    world.go(stop);
    world.arrives(pid);
    world.idle();
    world.run_to_the_end();
}

fn a_list_without_an_end<R: Rules>() {
    let (mut world, pid, stop) = World::<R>::program(FLAGS, 2);
    // Its last entry leads to its first one; then to nowhere.
    for next in [LINKS, 0xdead_0000] {
        world.kernel.map(pid, LINKS + 0x100, &words(&[0, 0, DYNAMIC + 1, next, 0]));
        assert_eq!(world.tracer().modules(pid).unwrap().len(), 2);
    }
    // What is there of a program is nobody's word for it.
    for junk in [vec![0xff; 112], vec![0; 112]] {
        world.kernel.map(pid, PROGRAM_HEADERS, &junk);
        let _ = world.tracer().modules(pid).unwrap();
    }
    world.go(stop);
    world.run_to_the_end();
}

fn what_is_removed_and_what_shares_the_place<R: Rules>() {
    let (mut world, pid, stop) = World::<R>::program(FLAGS, 1);
    let id = world.put(pid, FUNCTION);
    assert_eq!(world.put(pid, FUNCTION), id, "asked for twice");
    world.go(stop);
    world.arrives(pid);
    let stop = world.stop_for(causes(|causes| causes.software = Some(id)));
    world.go(stop);
    world.lists(pid, 2, 0);
    world.arrives(pid);
    let both = causes(|causes| (causes.software, causes.modules_changed) = (Some(id), true));
    let stop = world.stop_for(both);
    assert!(world.tracer().remove_breakpoint(pid, id).unwrap());
    assert!(world.tracer().remove_breakpoint(pid, id).unwrap());
    assert!(!world.tracer().remove_breakpoint(pid, id).unwrap());
    assert!(world.has_instruction(pid));
    // One that is asked for again is another one.
    let other = world.put(pid, FUNCTION);
    assert_ne!(other, id);
    // What waits to be given is brought up to date, and the change remains.
    world.go(stop);
    world.lists(pid, 1, 0);
    world.arrives(pid);
    let stop = world.stop();
    drop(stop);
    assert!(world.tracer().remove_breakpoint(pid, other).unwrap());
    let stop = world.stop_for(changed());
    // Without the event the user's own stays.
    let id = world.put(pid, FUNCTION);
    world.tracer().set_events(pid, EventFlags::PROCESS).unwrap();
    assert!(world.has_instruction(pid));
    assert!(world.tracer().remove_breakpoint(pid, id).unwrap());
    assert!(!world.has_instruction(pid));
    world.go(stop);
    world.run_to_the_end();
}

fn copies_and_sharers<R: Rules>() {
    let (mut world, pid, stop) = World::<R>::program(FLAGS, 1);
    world.go(stop);
    let main = world.main(pid);
    let child = world.forks(main, ForkKind::Fork);
    assert!(world.has_instruction(child));
    world.lists(child, 2, 0);
    world.arrives(child);
    let stop = world.stop_for(changed());
    assert_eq!(stop.pid(), child);
    // It is nobody's harm.
    world.tracer().detach(stop).unwrap();
    assert!(!world.has_instruction(child));
    assert!(world.has_instruction(pid));
    world.run_to_the_end();
}

fn an_exec_forgets_it<R: Rules>() {
    let (mut world, pid, stop) = World::<R>::program(FLAGS, 1);
    world.go(stop);
    let main = world.main(pid);
    world.kernel.exec(main, "other");
    let stop = world.stop_for(StopReason::Execed { former_tid: None });
    // The new program has no dynamic linker.
    assert_eq!(world.tracer().modules(pid).unwrap(), []);
    world.go(stop);
    world.run_to_the_end();
}

fn flags_change_it<R: Rules>() {
    let (mut world, pid, stop) = World::<R>::program(EventFlags::PROCESS, 1);
    assert!(!world.has_instruction(pid));
    world.go(stop);
    world.lists(pid, 2, 0);
    world.arrives(pid);
    world.idle();
    // While it runs.
    world.tracer().set_events(pid, FLAGS).unwrap();
    assert!(world.has_instruction(pid));
    world.arrives(pid);
    world.idle();
    world.lists(pid, 1, 0);
    world.arrives(pid);
    let stop = world.stop_for(changed());
    world.tracer().set_events(pid, EventFlags::PROCESS).unwrap();
    assert!(!world.has_instruction(pid));
    world.go(stop);
    world.run_to_the_end();
}

/// Where 32-bit code has no breakpoint instruction that the tracer could use.
fn m6_code_that_cannot_trap_is_left_alone<R: Rules>() {
    let traps = <R::Cpu as Arch>::BREAKPOINT_MODES.contains(&CodeMode::Bits32);
    let (mut world, pid, stop) = World::<R>::program(EventFlags::PROCESS, 1);
    world.go(stop);
    let main = world.main(pid);
    world.kernel.set_code_segment(main, true);
    world.tracer().set_events(pid, FLAGS).unwrap();
    assert_eq!(world.has_instruction(pid), traps);
    world.lists(pid, 2, 0);
    world.arrives(pid);
    if traps {
        let stop = world.stop_for(changed());
        world.go(stop);
    }
    world.idle();
    // The engine's by itself, at an attach.
    world.tracer().detach_process(pid).unwrap();
    world.tracer().set_default_events(FLAGS);
    world.tracer().attach(pid).unwrap();
    let stop = world.stop();
    assert_eq!(world.has_instruction(pid), traps);
    world.go(stop);
    world.run_to_the_end();
}
