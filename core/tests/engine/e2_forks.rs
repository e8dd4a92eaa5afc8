//! E2: one `Forked` per new process, whichever half comes first, and whoever is killed when.

use trapline_core::{EventFlags, ForkKind, ForkSide, StopReason};
use trapline_fake::Rules;

use crate::common::*;

both![either_half_first,];

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
            assert_eq!(parent.reason(), StopReason::Forked { kind, child });
            assert_eq!((new.reason(), new.pid()), (StopReason::Started, child));
            world.go(fork);
            world.idle();
        }
    }
}
