//! E2: one `Forked` per new process, whichever half comes first, and whoever is killed when.

use trapline_core::{EventFlags, ForkKind, ForkSide, Forked, StopReason};
use trapline_fake::Rules;

use crate::common::*;

both![
    either_half_first,
    e2_dropped_sides_are_one_event_again,
    e2_a_dropped_side_is_not_paired_with_another_forks,
];

const KINDS: [ForkKind; 3] = [ForkKind::Fork, ForkKind::Vfork, ForkKind::Clone];

fn either_half_first<R: Rules>() {
    for kind in KINDS {
        for child_first in [false, true] {
            let mut world = World::<R>::patient(EventFlags::PROCESS);
            let pid = world.attach();
            let main = world.main(pid);
            let child = world.kernel.fork(main, kind);
            let late = if child_first { main } else { world.main(child) };
            world.kernel.hold(late);
            assert!(world.poll().is_none(), "one half is no event");
            world.kernel.release(late);
            let fork = world.forked();
            assert_eq!((fork.kind, fork.child_pid), (kind, child));
            assert_eq!((fork.parent_pid, fork.parent_tid), (Some(pid), Some(main)));
            let (ForkSide::Stopped(parent), ForkSide::Stopped(new)) = (&fork.parent, &fork.child)
            else {
                panic!("{fork:?}");
            };
            assert_eq!(parent.reason(), StopReason::Forked);
            assert_eq!((new.reason(), new.pid()), (StopReason::Started, child));
            world.go(fork);
            world.idle();
        }
    }
}

fn e2_dropped_sides_are_one_event_again<R: Rules>() {
    for kind in KINDS {
        for parent_first in [false, true] {
            let (mut world, pid) = World::<R>::with_process(EventFlags::PROCESS);
            let main = world.main(pid);
            let child = world.kernel.fork(main, kind);
            let fork = world.forked();
            if parent_first {
                drop(fork.parent);
                drop(fork.child);
            } else {
                drop(fork.child);
                drop(fork.parent);
            }
            let again = world.forked();
            assert_eq!((again.kind, again.child_pid), (kind, child));
            assert_eq!((again.parent_pid, again.parent_tid), (Some(pid), Some(main)));
            world.go(again);
            world.idle();
        }
    }
}

/// The parent has gone on and made another child while the first one's token was kept.
fn e2_a_dropped_side_is_not_paired_with_another_forks<R: Rules>() {
    let (mut world, pid) = World::<R>::with_process(EventFlags::PROCESS);
    let main = world.main(pid);
    world.kernel.fork(main, ForkKind::Fork);
    let Forked { parent: ForkSide::Stopped(parent), child: first, .. } = world.forked() else {
        panic!("the parent is stopped");
    };
    world.go(parent);
    let second = world.kernel.fork(main, ForkKind::Fork);
    let Forked { parent, child, .. } = world.forked();
    drop(first);
    drop(parent);
    drop(child);
    assert_eq!(world.stop().reason(), StopReason::Started);
    assert_eq!(world.forked().child_pid, second);
}
