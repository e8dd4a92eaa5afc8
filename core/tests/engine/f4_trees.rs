//! F4: attaching to a process with all its descendants, whatever happens meanwhile.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use trapline_core::{Error, Event, EventFlags, ForkKind, ForkSide, Pid, StopReason};
use trapline_fake::{Kernel, Rules};

use crate::common::*;

both![
    all_and_nobody_else,
    anything_at_any_moment,
    any_two_things_at_any_moments,
    what_is_traced_already_stays,
    a_child_that_nobody_has_told_of,
    nobody_there,
];

/// A tree and somebody else's, in a world of their own.
struct Forest<R: Rules> {
    world: World<R>,
    root: Pid,
    /// Its descendants, dead or alive, with itself.
    family: Rc<RefCell<Vec<Pid>>>,
    strangers: [Pid; 2],
}

/// Something that happens while the tracer attaches.
#[derive(Debug, Clone, Copy)]
enum Deed {
    Forks(usize),
    Ends(usize),
    Killed(usize),
    Execs(usize),
    /// Makes a child that makes another one and ends.
    Daemon(usize),
    /// The same, and the first one ends too.
    LastWish(usize),
}

const DEEDS: &[Deed] = &[
    Deed::Forks(0),
    Deed::Forks(1),
    Deed::Forks(2),
    Deed::Ends(0),
    Deed::Ends(1),
    Deed::Ends(2),
    Deed::Killed(1),
    Deed::Execs(1),
    Deed::Daemon(0),
    Deed::Daemon(1),
    Deed::Daemon(2),
    Deed::LastWish(1),
    Deed::LastWish(2),
];

impl<R: Rules> Forest<R> {
    /// A line of three, and two of another tree.
    fn new() -> Self {
        let world = World::<R>::new(EventFlags::PROCESS);
        let kernel = &world.kernel;
        let stranger = kernel.start();
        let root = kernel.start();
        let child = kernel.start_under(root);
        let family = vec![root, child, kernel.start_under(child)];
        let strangers = [stranger, kernel.start_under(stranger)];
        Forest { world, root, family: Rc::new(RefCell::new(family)), strangers }
    }

    /// Has something happen right before certain requests.
    fn before(&self, deeds: Vec<(u64, Deed)>) {
        let (family, first) = (Rc::clone(&self.family), RefCell::new(None));
        self.world.kernel.before_requests(move |kernel, call| {
            let first = *first.borrow_mut().get_or_insert(call.number);
            for (_, deed) in deeds.iter().filter(|(at, _)| first + at == call.number) {
                happens(kernel, &mut family.borrow_mut(), *deed);
            }
        });
    }

    /// All that live of the tree are traced, are known, and nobody else is.
    fn check(&mut self, what: &str) {
        let world = &mut self.world;
        let mut told = BTreeSet::new();
        let mut turns = 0;
        while let Some(event) = world.poll() {
            turns += 1;
            assert!(turns < 100, "{what}: no end of events");
            let new = match &event {
                Event::Stopped(stop) if stop.reason() == StopReason::Started => Some(stop.pid()),
                Event::Forked(fork) => Some(fork.child_pid),
                _ => None,
            };
            assert!(new.is_none_or(|pid| told.insert(pid)), "{what}: {event:?} twice");
            world.go(event);
        }
        let kernel = world.kernel.clone();
        let lives = |pid: &&Pid| kernel.fate(**pid).is_none() && !kernel.threads(**pid).is_empty();
        let living: BTreeSet<Pid> = self.family.borrow().iter().filter(lives).copied().collect();
        for &pid in &living {
            assert!(kernel.is_traced(pid), "{what}: {pid} got away");
        }
        let known: BTreeSet<Pid> = world.tracer().processes().collect();
        assert_eq!(known, living, "{what}");
        for stranger in self.strangers {
            assert!(!kernel.is_traced(stranger), "{what}: {stranger} is none of it");
        }
        world.idle();
    }
}

fn happens<R: Rules>(kernel: &Kernel<R>, family: &mut Vec<Pid>, deed: Deed) {
    let (Deed::Forks(who)
    | Deed::Ends(who)
    | Deed::Killed(who)
    | Deed::Execs(who)
    | Deed::Daemon(who)
    | Deed::LastWish(who)) = deed;
    let pid = family[who];
    if kernel.fate(pid).is_some() || kernel.threads(pid).is_empty() {
        return;
    }
    let main = kernel.leader(pid);
    if matches!(deed, Deed::Killed(_)) {
        kernel.kill(pid);
        return;
    }
    if !kernel.acts(main) {
        return;
    }
    match deed {
        Deed::Forks(_) => family.push(kernel.fork(main, ForkKind::Fork)),
        Deed::Ends(_) => kernel.exit(main, 0),
        Deed::Execs(_) => kernel.exec(main, "other"),
        Deed::Killed(_) => {}
        Deed::Daemon(_) | Deed::LastWish(_) => {
            let middle = kernel.fork(main, ForkKind::Fork);
            family.push(middle);
            if kernel.acts(kernel.leader(middle)) {
                family.push(kernel.fork(kernel.leader(middle), ForkKind::Fork));
            }
            if kernel.acts(kernel.leader(middle)) {
                kernel.exit(kernel.leader(middle), 0);
            }
            if matches!(deed, Deed::LastWish(_)) && kernel.acts(main) {
                kernel.exit(main, 0);
            }
        }
    }
}

/// Attaches, with these deeds on the way; says how many requests that took.
fn attach<R: Rules>(deeds: &[(u64, Deed)]) -> u64 {
    let mut forest = Forest::<R>::new();
    let before = forest.world.tracer().requests();
    forest.before(deeds.to_vec());
    let root = forest.root;
    let result = forest.world.tracer().attach_tree(root);
    let requests = forest.world.tracer().requests() - before;
    forest.world.kernel.before_requests(|_, _| {});
    let what = format!("{} {deeds:?}", R::RULES.system);
    match result {
        Ok(attached) => {
            assert!(attached.contains(&root), "{what}");
            forest.check(&what);
        }
        // The root has ended before it could be attached to.
        Err(Error::Gone { .. }) => assert!(!forest.world.kernel.is_traced(root), "{what}"),
        Err(error) => panic!("{what}: {error}"),
    }
    requests
}

fn all_and_nobody_else<R: Rules>() {
    let mut forest = Forest::<R>::new();
    let root = forest.root;
    let attached = forest.world.tracer().attach_tree(root).unwrap();
    assert_eq!(attached, *forest.family.borrow());
    forest.check("");
}

fn anything_at_any_moment<R: Rules>() {
    let requests = attach::<R>(&[]);
    // From the first list on: who is no descendant then is none.
    for at in 1..requests {
        for &deed in DEEDS {
            attach::<R>(&[(at, deed)]);
        }
    }
}

fn any_two_things_at_any_moments<R: Rules>() {
    let requests = attach::<R>(&[]) + 2;
    for first in 1..requests {
        for second in first..requests {
            for &one in DEEDS {
                for &other in DEEDS {
                    if let (Deed::Execs(_), Deed::LastWish(_)) = (one, other) {
                        continue; // see "What is guaranteed"
                    }
                    attach::<R>(&[(first, one), (second, other)]);
                }
            }
        }
    }
}

fn what_is_traced_already_stays<R: Rules>() {
    let mut forest = Forest::<R>::new();
    let (root, child) = (forest.root, forest.family.borrow()[1]);
    forest.world.tracer().attach(child).unwrap();
    let stop = forest.world.stop_for(StopReason::Started);
    forest.world.go(stop);
    let attached = forest.world.tracer().attach_tree(root).unwrap();
    assert!(!attached.contains(&child) && attached.len() == 2, "{attached:?}");
    // Again, and there is nothing to do.
    assert_eq!(forest.world.tracer().attach_tree(root).unwrap(), []);
    forest.check("");
}

fn a_child_that_nobody_has_told_of<R: Rules>() {
    // Its fork was not waited for: to attach to it would be to take its first stop.
    let (mut world, pid) = World::<R>::with_process(EventFlags::PROCESS);
    let child = world.kernel.fork(world.main(pid), ForkKind::Fork);
    assert!(matches!(world.tracer().attach(child), Err(Error::NotPermitted { .. })));
    assert_eq!(world.tracer().attach_tree(pid).unwrap(), []);
    let fork = world.forked();
    assert!(matches!((&fork.parent, &fork.child), (ForkSide::Stopped(_), ForkSide::Stopped(_))));
    world.go(fork);
    world.idle();
}

fn nobody_there<R: Rules>() {
    let mut world = World::<R>::new(EventFlags::PROCESS);
    assert!(world.tracer().attach_tree(Pid::from_raw(12345)).unwrap_err().is_gone());
    assert!(world.tracer().is_empty());
}
