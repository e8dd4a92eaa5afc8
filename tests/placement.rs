//! Placement: on which CPUs tracer and tracees run, and that they are put back.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use trapline::backend::CpuSet;
use trapline::{
    Backend, Builder, Event, EventFlags, ForkSide, Pid, Placement, Resume, Stopped, Tid, Tracer,
    backend,
};

use crate::common::*;
use crate::fixtures::fixture;

crate::tests![
    placement_what_is_spawned_shares_a_cpu_and_is_put_back,
    placement_what_is_attached_to_is_put_back,
    placement_on_a_chosen_cpu,
];

fn sharing() -> Tracer {
    Builder::new().placement(Placement::ShareCpu).build().expect("a tracer")
}

/// Where the calling thread may run, which has to be several CPUs.
fn own_cpus() -> CpuSet {
    let tracer = tracer(EventFlags::PROCESS);
    let own = tracer.on_backend(|backend| backend.cpus(None)).unwrap();
    if own.iter().count() < 2 {
        skip("there is one CPU");
    }
    own
}

fn cpus_of(tracer: &mut Tracer, pid: Pid, tid: Tid) -> CpuSet {
    tracer.on_backend(|backend| backend.cpus(Some(backend::Thread { pid, tid }))).unwrap()
}

fn cpus(tracer: &mut Tracer, stop: &Stopped) -> CpuSet {
    cpus_of(tracer, stop.pid(), stop.tid())
}

fn placement_what_is_spawned_shares_a_cpu_and_is_put_back() {
    let own = own_cpus();
    let mut tracer = sharing();
    assert_eq!(
        tracer.on_backend(|backend| backend.cpus(None)).unwrap(),
        own,
        "before there is a tracee"
    );
    // A child that lives as long as its parent does.
    tracer.spawn(fixture("orphan", &[])).unwrap();
    let shared = tracer.on_backend(|backend| backend.cpus(None)).unwrap();
    assert_eq!(shared.iter().count(), 1);
    let mut let_go = None;
    let log = run_with(&mut tracer, |tracer, event| {
        let Event::Forked(fork) = event else { return Some(event) };
        let (ForkSide::Stopped(parent), ForkSide::Stopped(child)) = (fork.parent, fork.child)
        else {
            panic!("killed by nobody");
        };
        assert_eq!(cpus(tracer, &parent), shared);
        assert_eq!(cpus(tracer, &child), shared);
        let (pid, tid) = (child.pid(), child.tid());
        tracer.detach(child).unwrap();
        assert_eq!(cpus_of(tracer, pid, tid), own);
        let_go = Some(pid);
        Some(parent.into())
    });
    assert_eq!((log.count("exec"), log.count("exit")), (1, 1));
    // Its end is this process's to wait for, as its reaper.
    let mut status = 0;
    let orphan = let_go.expect("a child").as_raw();
    // SAFETY: `status` lives across the call.
    assert_eq!(unsafe { libc::waitpid(orphan, &mut status, 0) }, orphan);
    drop(tracer);
    assert_eq!(own_cpus(), own, "the tracer is put back");
}

fn placement_what_is_attached_to_is_put_back() {
    let own = own_cpus();
    let mut child = fixture("forward", &["3"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    let pid = Pid::from(&child);
    for ends in [false, true] {
        let mut tracer = sharing();
        tracer.attach(pid).unwrap();
        let stop = next_stop(&mut tracer);
        let tid = stop.tid();
        let shared = tracer.on_backend(|backend| backend.cpus(None)).unwrap();
        assert_eq!((cpus(&mut tracer, &stop), shared.iter().count()), (shared, 1));
        if ends {
            tracer.resume(stop, Resume::Continue).unwrap();
            drop(tracer);
        } else {
            tracer.detach(stop).unwrap();
            assert_eq!(cpus_of(&mut tracer, pid, tid), own);
            drop(tracer);
        }
        let mut another = crate::common::tracer(EventFlags::PROCESS);
        assert_eq!(cpus_of(&mut another, pid, tid), own);
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

fn placement_on_a_chosen_cpu() {
    let own = own_cpus();
    for cpu in own.iter().take(3) {
        let placement = Placement::ShareCpuOf(cpu);
        let mut tracer = Builder::new().placement(placement).build().unwrap();
        let stop = spawned(&mut tracer, fixture("exit", &["0"]));
        assert_eq!(cpus(&mut tracer, &stop), CpuSet::one(cpu));
        tracer.resume(stop, Resume::Continue).unwrap();
        run(&mut tracer);
    }
    let placement = Placement::ShareCpuOf(60_000);
    let mut tracer = Builder::new().placement(placement).build().unwrap();
    assert!(matches!(tracer.spawn(sh("exit 0")), Err(trapline::Error::Os { .. })));
    assert!(tracer.wait().unwrap().is_none());
    drop(tracer);
    assert_eq!(own_cpus(), own);
}
