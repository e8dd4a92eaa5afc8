//! F1: which side of a fork stays traced is a policy of the engine.

use trapline_core::{EventFlags, FollowFork, ForkKind, ForkSide};
use trapline_fake::Rules;

use crate::common::*;

both![both_sides, the_parent, the_child, whether_it_is_reported_or_not, changed_later, by_hand,];

const KINDS: [ForkKind; 3] = [ForkKind::Fork, ForkKind::Vfork, ForkKind::Clone];

fn both_sides<R: Rules>() {
    for kind in KINDS {
        let mut world = World::<R>::following(EventFlags::PROCESS, FollowFork::Both);
        let pid = world.attach();
        let child = world.kernel.fork(world.main(pid), kind);
        let fork = world.forked();
        world.go(fork);
        assert!(world.kernel.is_traced(pid) && world.kernel.is_traced(child));
        world.idle();
    }
}

fn the_parent<R: Rules>() {
    for kind in KINDS {
        let mut world = World::<R>::following(EventFlags::PROCESS, FollowFork::Parent);
        let pid = world.attach();
        let child = world.kernel.fork(world.main(pid), kind);
        let fork = world.forked();
        assert_eq!((fork.parent_pid, fork.child_pid), (Some(pid), child));
        assert!(matches!((&fork.parent, &fork.child), (ForkSide::Stopped(_), ForkSide::Detached)));
        assert!(!world.kernel.is_traced(child) && world.kernel.acts(world.main(child)));
        world.go(fork);
        world.idle();
        assert!(world.kernel.is_traced(pid));
        world.kernel.exit(world.main(child), 0);
        world.idle();
        assert!(world.kernel.acts(world.main(pid)), "{kind}");
    }
}

fn the_child<R: Rules>() {
    for kind in KINDS {
        let mut world = World::<R>::following(EventFlags::PROCESS, FollowFork::Child);
        let pid = world.attach();
        let child = world.kernel.fork(world.main(pid), kind);
        let fork = world.forked();
        assert_eq!((fork.parent_pid, fork.child_pid), (Some(pid), child));
        assert!(matches!((&fork.parent, &fork.child), (ForkSide::Detached, ForkSide::Stopped(_))));
        assert!(!world.kernel.is_traced(pid));
        world.go(fork);
        world.idle();
        assert_eq!(world.tracer().processes().collect::<Vec<_>>(), [child]);
        world.kernel.exit(world.main(child), 0);
        world.run_all();
        world.over();
        assert!(world.kernel.acts(world.main(pid)), "{kind}");
    }
}

fn whether_it_is_reported_or_not<R: Rules>() {
    for follow in [FollowFork::Parent, FollowFork::Child] {
        let parent = follow == FollowFork::Parent;
        let mut world = World::<R>::following(EventFlags::empty(), follow);
        let pid = world.attach();
        let child = world.kernel.fork(world.main(pid), ForkKind::Fork);
        world.idle();
        let traced = [pid, child].map(|pid| world.kernel.is_traced(pid));
        assert_eq!(traced, [parent, !parent]);
        assert!(world.kernel.acts(world.main(pid)) && world.kernel.acts(world.main(child)));
    }
}

fn changed_later<R: Rules>() {
    let mut world = World::<R>::following(EventFlags::PROCESS, FollowFork::Parent);
    let pid = world.attach();
    let (main, lost) = (world.main(pid), world.kernel.fork(world.main(pid), ForkKind::Fork));
    world.run_all();
    world.tracer().set_follow_fork(FollowFork::Both);
    let kept = world.kernel.fork(main, ForkKind::Fork);
    world.run_all();
    assert!(!world.kernel.is_traced(lost) && world.kernel.is_traced(kept));
    world.idle();
}

fn by_hand<R: Rules>() {
    for keep_parent in [true, false] {
        let (mut world, pid) = World::<R>::with_process(EventFlags::PROCESS);
        let child = world.kernel.fork(world.main(pid), ForkKind::Fork);
        let fork = world.forked();
        let (parent, new) =
            (fork.parent.into_stopped().unwrap(), fork.child.into_stopped().unwrap());
        let (keep, lose) = if keep_parent { (parent, new) } else { (new, parent) };
        world.tracer().detach(lose).unwrap();
        world.go(keep);
        let traced = [pid, child].map(|pid| world.kernel.is_traced(pid));
        assert_eq!(traced, [keep_parent, !keep_parent]);
        assert!(world.kernel.acts(world.main(pid)) && world.kernel.acts(world.main(child)));
        world.idle();
    }
}
