//! F4: real parents.

use trapline_core::{Event, EventFlags, ExitStatus, ForkKind, Pid};
use trapline_fake::Rules;

use crate::common::*;

both![
    a_family,
    orphans_get_a_new_one,
    nothing_of_it_unless_asked,
    a_daemon,
    a_parent_that_is_not_traced,
    each_gets_the_status_of_its_child,
    child_and_parent_end_together,
];

const FLAGS: EventFlags = EventFlags::PROCESS.union(EventFlags::REPARENT);
const INIT: Pid = Pid::from_raw(1);

impl<R: trapline_fake::Rules> World<R> {
    fn child_of(&mut self, pid: Pid) -> Pid {
        let child = self.kernel.fork(self.main(pid), ForkKind::Fork);
        let fork = self.forked();
        self.go(fork);
        child
    }

    fn real_parent(&mut self, pid: Pid) -> Option<Pid> {
        self.tracer().process_info(pid).unwrap().real_parent
    }

    fn ended(&mut self) -> (Pid, Option<Pid>) {
        match self.next() {
            Event::Exited { pid, real_parent, .. } => (pid, real_parent),
            other => panic!("not an exit: {other:?}"),
        }
    }

    fn reparented(&mut self) -> (Pid, Pid, Pid) {
        match self.next() {
            Event::Reparented { pid, from, to: Some(to) } => (pid, from, to),
            other => panic!("not that: {other:?}"),
        }
    }
}

fn a_family<R: Rules>() {
    let (mut world, pid) = World::<R>::with_process(FLAGS);
    assert_eq!(world.real_parent(pid), Some(INIT), "not the tracer");
    let (one, two) = (world.child_of(pid), world.child_of(pid));
    let grandchild = world.child_of(one);
    assert_eq!(world.tracer().process_info(pid).unwrap().children, [one, two]);
    assert_eq!(world.tracer().process_info(one).unwrap().children, [grandchild]);
    assert_eq!(world.real_parent(grandchild), Some(one));
    world.kernel.exit(world.main(two), 0);
    assert_eq!(world.ended(), (two, Some(pid)));
    assert_eq!(world.tracer().process_info(pid).unwrap().children, [one]);
    world.idle();
}

fn orphans_get_a_new_one<R: Rules>() {
    let (mut world, pid) = World::<R>::with_process(FLAGS);
    let middle = world.child_of(pid);
    let orphan = world.child_of(middle);
    for (subreaper, to) in [(true, pid), (false, INIT)] {
        if subreaper {
            world.kernel.set_subreaper(pid);
            world.kernel.exit(world.main(middle), 0);
            assert_eq!(world.ended(), (middle, Some(pid)));
            assert_eq!(world.reparented(), (orphan, middle, to));
            assert!(world.tracer().process_info(pid).unwrap().children.contains(&orphan));
        } else {
            world.kernel.exit(world.main(pid), 0);
            assert_eq!(world.ended(), (pid, Some(INIT)));
            assert_eq!(world.reparented(), (orphan, pid, to));
        }
        assert_eq!(world.real_parent(orphan), Some(to));
    }
    world.kernel.exit(world.main(orphan), 0);
    assert_eq!(world.ended(), (orphan, Some(INIT)));
    world.over();
}

fn nothing_of_it_unless_asked<R: Rules>() {
    let (mut world, pid) = World::<R>::with_process(EventFlags::PROCESS);
    let orphan = world.child_of(pid);
    world.kernel.exit(world.main(pid), 0);
    assert_eq!(world.ended().0, pid);
    world.idle();
    assert_eq!(world.real_parent(orphan), Some(INIT));
}

fn a_daemon<R: Rules>() {
    // Twice, as they do.
    let (mut world, pid) = World::<R>::with_process(FLAGS);
    let middle = world.child_of(pid);
    let daemon = world.child_of(middle);
    world.kernel.exit(world.main(middle), 0);
    assert_eq!(world.ended(), (middle, Some(pid)));
    assert_eq!(world.reparented(), (daemon, middle, INIT));
    world.kernel.exit(world.main(daemon), 3);
    assert_eq!(world.ended(), (daemon, Some(INIT)));
    world.idle();
}

fn a_parent_that_is_not_traced<R: Rules>() {
    let mut world = World::<R>::new(FLAGS);
    let shell = world.kernel.start();
    let pid = world.kernel.start_under(shell);
    world.tracer().attach(pid).unwrap();
    world.run_all();
    assert_eq!(world.real_parent(pid), Some(shell));
    // Nobody tells of its end, so it is asked for.
    world.kernel.exit(world.main(shell), 0);
    assert_eq!(world.real_parent(pid), Some(INIT));
    world.kernel.exit(world.main(pid), 0);
    assert_eq!(world.ended(), (pid, Some(INIT)));
    world.over();
}

fn each_gets_the_status_of_its_child<R: Rules>() {
    let (mut world, pid) = World::<R>::with_process(FLAGS);
    let child = world.child_of(pid);
    world.kernel.exit(world.main(child), 5);
    assert!(world.kernel.statuses().is_empty(), "the tracer comes first");
    assert_eq!(world.ended(), (child, Some(pid)));
    assert_eq!(world.kernel.statuses(), [(pid, child, ExitStatus::Code(5))]);
    world.kernel.exit(world.main(pid), 6);
    world.run_all();
    assert_eq!(world.kernel.statuses()[1], (INIT, pid, ExitStatus::Code(6)));
    world.over();
}

fn child_and_parent_end_together<R: Rules>() {
    for child_first in [false, true] {
        let (mut world, pid) = World::<R>::with_process(EventFlags::PROCESS);
        let child = world.child_of(pid);
        let (first, second) = if child_first { (child, pid) } else { (pid, child) };
        world.kernel.exit(world.main(first), 0);
        world.kernel.exit(world.main(second), 0);
        let mut ends = [world.ended(), world.ended()];
        ends.sort();
        // A zombie gets a new parent too, so either answers who it was.
        let [(first, parent), (second, of_child)] = ends;
        assert_eq!((first, parent, second), (pid, Some(INIT), child));
        assert!([Some(pid), Some(INIT)].contains(&of_child), "{of_child:?}");
        world.over();
    }
}
