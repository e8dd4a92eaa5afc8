//! M6: the modules of a program.

use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use object::{Object, ObjectSymbol};
use trapline::{
    Breakpoint, Event, EventFlags, ExitStatus, Module, ModuleKind, Pid, Resume, Signal,
    SoftwareBreakpoint, StopReason, Stopped, Tracer, TrapCauses,
};

use crate::common::*;
use crate::fixtures::fixture;

crate::tests![
    m6_before_and_after_the_dynamic_linker,
    m6_each_module_is_where_the_map_has_its_file,
    m6_a_change_is_shown_once,
    m6_the_child_of_a_fork_shows_changes,
    m6_an_exec_has_changes_shown_anew,
    m6_changes_are_shown_from_an_attach_on,
    m6_a_users_breakpoint_at_the_same_place,
    m6_what_was_detached_has_no_breakpoint,
    m6_programs_of_every_kind,
    #[cfg(target_env = "gnu")]
    m6_namespaces,
];

const AT_ENTRY: u64 = 9;

/// Whether a stop is for a change of the modules, and for nothing else.
fn is_change(stop: &Stopped) -> bool {
    let StopReason::Trap(causes) = stop.reason() else { return false };
    let TrapCauses { single_step, software, hardware, modules_changed, .. } = causes;
    modules_changed && !single_step && software.is_none() && hardware.is_empty()
}

/// Runs a thread to its next event, which is a change.
fn to_change(tracer: &mut Tracer, stop: Stopped) -> Stopped {
    tracer.resume(stop, Resume::Continue).unwrap();
    let stop = next_stop(tracer);
    assert!(is_change(&stop), "{stop:?}");
    stop
}

fn libraries(tracer: &Tracer, pid: Pid) -> Vec<Module> {
    let mut modules = tracer.modules(pid).unwrap();
    modules.retain(|module| module.kind == ModuleKind::Library);
    modules
}

fn kinds(modules: &[Module], kind: ModuleKind) -> usize {
    modules.iter().filter(|module| module.kind == kind).count()
}

fn finish(tracer: &mut Tracer, stop: Stopped) {
    tracer.resume(stop, Resume::Continue).unwrap();
    assert_eq!(next_exit(tracer).1, ExitStatus::Code(0));
}

/// What a step of the fixture has come to: that it was possible.
fn done(tracer: &mut Tracer, stop: Stopped) -> Stopped {
    let (stop, done) = announced(tracer, stop);
    assert_eq!(done, 1, "no library could be loaded");
    stop
}

fn m6_before_and_after_the_dynamic_linker() {
    let mut tracer = tracer(EventFlags::PROCESS);
    let stop = spawned(&mut tracer, fixture("libraries", &[]));
    let pid = stop.pid();
    let before = tracer.modules(pid).unwrap();
    let executable = tracer.process_info(pid).unwrap().executable;
    assert_eq!((before[0].kind, &before[0].path), (ModuleKind::Executable, &executable));
    assert_eq!(kinds(&before, ModuleKind::DynamicLinker), 1, "{before:#x?}");
    assert_eq!(kinds(&before, ModuleKind::Library), 0, "{before:#x?}");
    let linker = before.iter().find(|module| module.kind == ModuleKind::DynamicLinker).unwrap();
    assert!(linker.contains(tracer.registers(&stop).unwrap().pc()), "it runs first: {linker:#x?}");
    assert!(linker.path.as_ref().is_some_and(|path| path.is_absolute()), "{linker:#x?}");

    let (stop, probe) = announced(&mut tracer, stop);
    let after = tracer.at(&stop).modules().unwrap();
    assert_eq!(after[0].range, before[0].range);
    assert_eq!(after[0].bias, before[0].bias);
    assert!(after[0].contains(probe));
    assert!(kinds(&after, ModuleKind::Library) > 0, "{after:#x?}");
    for kind in [ModuleKind::Executable, ModuleKind::DynamicLinker, ModuleKind::Vdso] {
        assert_eq!(kinds(&after, kind), kinds(&before, kind), "{kind:?} in {after:#x?}");
    }
    let libc = after.iter().find(|module| {
        let name = module.path.as_deref().and_then(|path| path.file_name());
        name.is_some_and(|name| name.to_string_lossy().starts_with("libc.so"))
    });
    let libc = libc.unwrap_or_else(|| panic!("no libc in {after:#x?}"));
    assert!(libc.name.is_some() && libc.link_map.is_some() && libc.dynamic.is_some());

    // The bias is what makes a symbol's address that of the program.
    let data = fs::read(executable.unwrap()).unwrap();
    let file = object::File::parse(&*data).unwrap();
    let symbol = file.symbols().find(|symbol| symbol.name() == Ok("trapline_probe")).unwrap();
    assert_eq!(symbol.address().wrapping_add(after[0].bias), probe);
    for module in after.iter().filter(|module| module.kind != ModuleKind::Vdso) {
        let data = fs::read(module.path.as_ref().unwrap()).unwrap();
        let file = object::File::parse(&*data).unwrap();
        assert_eq!(module.build_id.as_deref(), file.build_id().unwrap(), "{module:#x?}");
    }
    finish(&mut tracer, stop);
}

fn m6_each_module_is_where_the_map_has_its_file() {
    let mut tracer = tracer(EventFlags::PROCESS);
    let stop = spawned(&mut tracer, fixture("libraries", &[]));
    let (stop, _) = announced(&mut tracer, stop);
    let pid = stop.pid();
    let map = tracer.memory_map(pid).unwrap();
    let modules = tracer.modules(pid).unwrap();
    for region in map.iter().filter(|region| region.execute && region.path.is_some()) {
        let of = modules.iter().filter(|module| module.contains(region.start)).collect::<Vec<_>>();
        let [of] = of[..] else { panic!("{region:#x?} is in {of:#x?}") };
        assert_eq!(of.path, region.path);
        assert!(of.range.end >= region.end, "{region:#x?} {of:#x?}");
    }
    finish(&mut tracer, stop);
}

fn m6_a_change_is_shown_once() {
    let mut tracer = tracer(EventFlags::PROCESS | EventFlags::MODULES);
    let steps = ["open", "open", "close", "close"];
    let stop = spawned(&mut tracer, fixture("libraries", &steps));
    let pid = stop.pid();
    assert_eq!(tracer.breakpoints(pid).unwrap().count(), 0, "the engine's own is nobody's");
    assert_eq!(libraries(&tracer, pid), []);
    let stop = to_change(&mut tracer, stop);
    let at_start = libraries(&tracer, pid);
    assert!(!at_start.is_empty());
    // Before the program itself: this breakpoint is arrived at later.
    let entry = tracer.auxv(pid, AT_ENTRY).unwrap().unwrap();
    let id = insert(&mut tracer, pid, entry);
    tracer.resume(stop, Resume::Continue).unwrap();
    let stop = next_stop(&mut tracer);
    assert!(is_hit(&mut tracer, &stop, id, entry), "{stop:?}");

    let (stop, _) = announced(&mut tracer, stop);
    let stop = to_change(&mut tracer, stop);
    let opened = libraries(&tracer, pid);
    assert!(opened.len() > at_start.len(), "{opened:#x?}");
    let stop = done(&mut tracer, stop);
    // The same once more changes nothing; nor does the first of two calls that give it back.
    let stop = done(&mut tracer, stop);
    let stop = done(&mut tracer, stop);
    let stop = to_change(&mut tracer, stop);
    assert_eq!(libraries(&tracer, pid), at_start);
    let stop = done(&mut tracer, stop);
    finish(&mut tracer, stop);
}

fn m6_the_child_of_a_fork_shows_changes() {
    let mut tracer = tracer(EventFlags::PROCESS | EventFlags::MODULES);
    let stop = spawned(&mut tracer, fixture("libraries", &["fork", "open"]));
    let stop = to_change(&mut tracer, stop);
    let (stop, _) = announced(&mut tracer, stop);
    tracer.resume(stop, Resume::Continue).unwrap();
    let fork = match tracer.wait().unwrap() {
        Some(Event::Forked(fork)) => fork,
        other => panic!("{other:?}"),
    };
    let child = fork.child_pid;
    tracer.resume(fork.parent.into_stopped().unwrap(), Resume::Continue).unwrap();
    let stop = done(&mut tracer, fork.child.into_stopped().unwrap());
    let stop = to_change(&mut tracer, stop);
    assert_eq!(stop.pid(), child);
    let stop = done(&mut tracer, stop);
    tracer.resume(stop, Resume::Continue).unwrap();
    // Both end, and the parent gets its signal.
    let log = run(&mut tracer);
    assert_eq!(log.count("exit 0"), 2, "{:?}", log.lines);
    assert_eq!(log.count("trap"), 0, "{:?}", log.lines);
}

fn m6_an_exec_has_changes_shown_anew() {
    let mut tracer = tracer(EventFlags::PROCESS | EventFlags::MODULES);
    let stop = spawned(&mut tracer, fixture("libraries", &["exec", "open"]));
    let stop = to_change(&mut tracer, stop);
    let (stop, _) = announced(&mut tracer, stop);
    tracer.resume(stop, Resume::Continue).unwrap();
    let stop = next_stop(&mut tracer);
    assert_eq!(stop.reason(), StopReason::Execed { former_tid: None });
    let stop = to_change(&mut tracer, stop);
    let (stop, _) = announced(&mut tracer, stop);
    let stop = to_change(&mut tracer, stop);
    // A change that is not wanted any more is none.
    let flags = tracer.events(stop.pid()).unwrap();
    tracer.set_events(stop.pid(), flags - EventFlags::MODULES).unwrap();
    let stop = done(&mut tracer, stop);
    finish(&mut tracer, stop);
}

fn m6_changes_are_shown_from_an_attach_on() {
    let mut command = fixture("libraries", &["unheard", "open", "close"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    // It has begun, and its libraries are there.
    child.stdout.take().unwrap().read_exact(&mut [0]).unwrap();
    let mut tracer = tracer(EventFlags::PROCESS | EventFlags::MODULES);
    let pid = Pid::new(child.id().try_into().unwrap()).unwrap();
    tracer.attach(pid).unwrap();
    let stop = next_stop(&mut tracer);
    assert_eq!(stop.reason(), StopReason::Started);
    assert!(!libraries(&tracer, pid).is_empty());
    child.stdin.take().unwrap().write_all(&[0]).unwrap();
    // Nothing has changed since, until it loads one.
    let (stop, _) = announced(&mut tracer, stop);
    let stop = to_change(&mut tracer, stop);
    let stop = done(&mut tracer, stop);
    // What is not wanted any more is not shown, and what is wanted again is.
    let flags = tracer.events(pid).unwrap();
    tracer.set_events(pid, flags - EventFlags::MODULES).unwrap();
    tracer.set_events(pid, flags).unwrap();
    let stop = to_change(&mut tracer, stop);
    let stop = done(&mut tracer, stop);
    finish(&mut tracer, stop);
    // The tracer has waited for it.
    let _ = child.wait();
}

fn m6_a_users_breakpoint_at_the_same_place() {
    let mut tracer = tracer(EventFlags::PROCESS | EventFlags::MODULES);
    let stop = spawned(&mut tracer, fixture("libraries", &["open", "close"]));
    let pid = stop.pid();
    let stop = to_change(&mut tracer, stop);
    let addr = tracer.registers(&stop).unwrap().pc();
    let (stop, _) = announced(&mut tracer, stop);
    let id = insert(&mut tracer, pid, addr);
    let all: Vec<_> = tracer.breakpoints(pid).unwrap().collect();
    assert_eq!(all, [(id, Breakpoint::Software(SoftwareBreakpoint { addr }))]);
    // The linker comes here before a change, too.
    let mut changed = 0;
    tracer.resume(stop, Resume::Continue).unwrap();
    let stop = loop {
        let stop = next_stop(&mut tracer);
        let StopReason::Trap(causes) = stop.reason() else { break stop };
        assert_eq!(causes.software, Some(id));
        changed += u32::from(causes.modules_changed);
        tracer.resume(stop, Resume::Continue).unwrap();
    };
    assert_eq!(changed, 1);
    assert_eq!(stop.reason(), StopReason::Signal(Signal::TRAP));
    let mut stop = stop;
    stop.set_signal(None).unwrap();
    pass_own_breakpoint(&mut tracer, &stop);
    // Without the user's the engine's stays.
    assert!(tracer.remove_breakpoint(pid, id).unwrap());
    assert_eq!(tracer.breakpoints(pid).unwrap().count(), 0);
    let stop = to_change(&mut tracer, stop);
    let stop = done(&mut tracer, stop);
    finish(&mut tracer, stop);
}

fn m6_what_was_detached_has_no_breakpoint() {
    let mut tracer = tracer(EventFlags::PROCESS | EventFlags::MODULES);
    let stop = spawned(&mut tracer, fixture("libraries", &["open", "unheard", "close", "open"]));
    let pid = stop.pid();
    let stop = to_change(&mut tracer, stop);
    let (stop, _) = announced(&mut tracer, stop);
    let stop = to_change(&mut tracer, stop);
    let stop = done(&mut tracer, stop);
    let stop = done(&mut tracer, stop);
    // It would die of the engine's breakpoint.
    tracer.detach(stop).unwrap();
    let mut child = tracer.take_child(pid).unwrap();
    let status = child.wait().unwrap();
    assert!(status.success(), "{status}");
}

#[cfg(target_env = "gnu")]
fn m6_namespaces() {
    let mut tracer = tracer(EventFlags::PROCESS | EventFlags::MODULES);
    let stop = spawned(&mut tracer, fixture("libraries", &["namespace"]));
    let pid = stop.pid();
    let stop = to_change(&mut tracer, stop);
    let (stop, _) = announced(&mut tracer, stop);
    let stop = to_change(&mut tracer, stop);
    let modules = tracer.modules(pid).unwrap();
    let is_libc = |module: &&Module| {
        let name = module.path.as_deref().and_then(|path| path.file_name());
        name.is_some_and(|name| name == "libc.so.6")
    };
    let libcs: Vec<&Module> = modules.iter().filter(is_libc).collect();
    let [one, other] = libcs[..] else { panic!("{libcs:#x?}") };
    assert_eq!((one.namespace, other.namespace), (0, 1));
    assert_ne!(one.bias, other.bias);
    assert_eq!(kinds(&modules, ModuleKind::DynamicLinker), 1, "{modules:#x?}");
    let stop = done(&mut tracer, stop);
    finish(&mut tracer, stop);
}

/// How a program is made, and which kinds of modules it has when it has begun.
const PROGRAMS: [(&str, &[&str], bool); 6] = [
    ("cc", &["-pie"], true),
    ("cc", &["-no-pie"], true),
    ("cc", &["-m32"], true),
    ("cc", &["-static", "-no-pie"], false),
    ("cc", &["-static-pie"], false),
    ("musl-gcc", &[], true),
];

fn m6_programs_of_every_kind() {
    let folder = std::env::temp_dir().join(format!("trapline-modules-{}", std::process::id()));
    fs::create_dir(&folder).unwrap();
    let source = folder.join("program.c");
    fs::write(&source, "int main(void) { return 0; }\n").unwrap();
    let program = folder.join("program");
    let mut made = 0;
    for (compiler, options, is_dynamic) in PROGRAMS {
        let mut command = Command::new(compiler);
        command.args(options).arg("-o").arg(&program).arg(&source).stderr(Stdio::null());
        if command.status().is_ok_and(|status| status.success()) {
            made += 1;
            println!("{compiler} {options:?}");
            has_its_modules(&program, is_dynamic);
        }
    }
    fs::remove_dir_all(&folder).unwrap();
    if made == 0 {
        skip("there is no C compiler here");
    }
}

fn has_its_modules(path: &Path, is_dynamic: bool) {
    let mut tracer = tracer(EventFlags::PROCESS | EventFlags::MODULES);
    let mut stop = spawned(&mut tracer, Command::new(path));
    let pid = stop.pid();
    let linkers = usize::from(is_dynamic);
    let before = tracer.modules(pid).unwrap();
    assert_eq!(kinds(&before, ModuleKind::Executable), 1, "{before:#x?}");
    assert_eq!(kinds(&before, ModuleKind::DynamicLinker), linkers, "{before:#x?}");
    // The linker of musl is the library as well, so that this has no other ones.
    if is_dynamic {
        stop = to_change(&mut tracer, stop);
    }
    let after = tracer.modules(pid).unwrap();
    assert_eq!(after[0].range, before[0].range);
    assert_eq!(after.iter().any(|module| module.name.is_some()), is_dynamic, "{after:#x?}");
    let data = fs::read(path).unwrap();
    let file = object::File::parse(&*data).unwrap();
    let main = file.symbols().find(|symbol| symbol.name() == Ok("main")).unwrap();
    let addr = main.address().wrapping_add(after[0].bias);
    assert!(after[0].contains(addr));
    assert_eq!(after[0].build_id.as_deref(), file.build_id().unwrap());
    let id = insert(&mut tracer, pid, addr);
    tracer.resume(stop, Resume::Continue).unwrap();
    let stop = next_stop(&mut tracer);
    assert!(is_hit(&mut tracer, &stop, id, addr), "{stop:?}");
    finish(&mut tracer, stop);
}
