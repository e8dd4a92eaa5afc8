//! The events that are ready to be given, in order.
//!
//! An event names stopped threads by their places in the table. A thread can die, or be detached, while
//! its event waits; so its places are looked up again when it is taken out.

use std::collections::VecDeque;

use crate::arena::ProcessHandle;
use crate::backend::Thread;
use crate::stopped::Place;
use crate::{ForkKind, Only, Pid, Tid};

/// An event in the making.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ready {
    Stop(Place),
    Fork(ForkPair),
    ThreadExited {
        pid: Pid,
        tid: Tid,
    },
    /// The end of a process.
    Exited {
        process: ProcessHandle,
        pid: Pid,
    },
    Reparented {
        pid: Pid,
        from: Pid,
        to: Option<Pid>,
    },
    Detached {
        pid: Pid,
    },
}

/// Both sides of a fork.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ForkPair {
    pub(crate) kind: ForkKind,
    pub(crate) parent_pid: Option<Pid>,
    pub(crate) parent_tid: Option<Tid>,
    pub(crate) child_pid: Pid,
    pub(crate) parent: Side,
    pub(crate) child: Side,
}

/// A side of a fork.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Stopped(Place),
    Detached,
    /// It lives, and has not reported the fork.
    Silent,
    Gone,
}

/// The queue.
#[derive(Debug, Default)]
pub(crate) struct EventQueue {
    ready: VecDeque<Ready>,
}

impl Only {
    pub(crate) fn pid(self) -> Pid {
        let (Only::Thread(pid, _) | Only::Process(pid)) = self;
        pid
    }

    /// Whether an event of this process is one, and of a certain thread, if it is about one.
    fn is_about(self, pid: Option<Pid>, tid: Option<Tid>) -> bool {
        match self {
            Only::Process(only) => pid == Some(only),
            Only::Thread(only, thread) => pid == Some(only) && tid.is_none_or(|tid| tid == thread),
        }
    }
}

impl EventQueue {
    #[inline]
    pub(crate) fn push(&mut self, ready: Ready) {
        self.ready.push_back(ready);
    }

    /// What was taken out cannot be given yet.
    pub(crate) fn put_back(&mut self, ready: Ready) {
        self.ready.push_front(ready);
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.ready.is_empty()
    }

    /// Whether nothing is left but stops of threads that `is_gone` says are none any more.
    pub(crate) fn is_empty_but(&self, is_gone: impl Fn(Place) -> bool) -> bool {
        self.ready.iter().all(|ready| match ready {
            Ready::Stop(place) => is_gone(*place),
            _ => false,
        })
    }

    /// Takes the first event out, or the first one of a thread or process. `thread` says which thread is at a
    /// place; a stop whose thread is gone is taken whatever is asked for.
    #[inline]
    pub(crate) fn take(
        &mut self,
        only: Option<Only>,
        thread: impl Fn(Place) -> Option<Thread>,
    ) -> Option<Ready> {
        let Some(only) = only else { return self.ready.pop_front() };
        let side = |side: &Side| match side {
            Side::Stopped(place) => thread(*place).map(|thread| thread.tid),
            Side::Detached | Side::Silent | Side::Gone => None,
        };
        let at = self.ready.iter().position(|ready| match ready {
            Ready::Stop(place) => {
                thread(*place).is_none_or(|at| only.is_about(Some(at.pid), Some(at.tid)))
            }
            Ready::Fork(pair) => {
                only.is_about(pair.parent_pid, pair.parent_tid)
                    || only.is_about(Some(pair.child_pid), side(&pair.child))
            }
            Ready::ThreadExited { pid, tid } => only.is_about(Some(*pid), Some(*tid)),
            Ready::Exited { pid, .. } | Ready::Reparented { pid, .. } | Ready::Detached { pid } => {
                only.is_about(Some(*pid), None)
            }
        });
        self.ready.remove(at?)
    }

    /// Takes back what is queued of a process that is detached, but for its stops and forks, which
    /// go their own ways. One that had this id before, and whose end is in the queue, is told of.
    pub(crate) fn silence(&mut self, pid: Pid) {
        let of_older = |ready: &Ready| matches!(ready, Ready::Exited { pid: of, .. } if *of == pid);
        let older = self.ready.iter().rposition(of_older).map_or(0, |at| at + 1);
        for ready in &mut self.ready {
            match ready {
                // Its making is still to be told of.
                Ready::Fork(pair) if pair.child_pid == pid => {
                    if let Side::Stopped(_) = pair.child {
                        pair.child = Side::Detached;
                    }
                }
                _ => {}
            }
        }
        let mut at = 0;
        self.ready.retain(|ready| {
            at += 1;
            let of_it = matches!(ready, Ready::ThreadExited { pid: of, .. }
                | Ready::Reparented { pid: of, .. } if *of == pid);
            at <= older || !of_it
        });
    }

    /// The threads of a process whose ends are to be told.
    pub(crate) fn ended_threads(&self, pid: Pid) -> impl Iterator<Item = Tid> + '_ {
        self.ready.iter().filter_map(move |ready| match ready {
            Ready::ThreadExited { pid: of, tid } if *of == pid => Some(*tid),
            _ => None,
        })
    }

    /// Takes out a fork of a process that is not detached from its side yet, and says where it was.
    /// Those of `but` stay.
    pub(crate) fn take_fork_of(&mut self, parent: Pid, but: &[Pid]) -> Option<(usize, ForkPair)> {
        let of_it = |ready: &Ready| match ready {
            Ready::Fork(pair) => {
                pair.parent_pid == Some(parent)
                    && !matches!(pair.parent, Side::Detached)
                    && !but.contains(&pair.child_pid)
            }
            _ => false,
        };
        let at = self.ready.iter().position(of_it)?;
        match self.ready.remove(at)? {
            Ready::Fork(pair) => Some((at, pair)),
            _ => None,
        }
    }

    /// Puts a fork where it was.
    pub(crate) fn put_fork(&mut self, at: usize, pair: ForkPair) {
        self.ready.insert(at.min(self.ready.len()), Ready::Fork(pair));
    }

    /// Nothing is given any more.
    pub(crate) fn clear(&mut self) {
        self.ready.clear();
    }
}

#[cfg(test)]
mod tests {
    use crate::arena::{Arena, OfProcess};

    use super::*;

    const PARENT: Pid = Pid::from_raw(10);
    const CHILD: Pid = Pid::from_raw(20);

    fn place(index: u32) -> Place {
        Place { tracer: 0, index, generation: 0 }
    }

    /// Each place is that of the first thread of a process with this number.
    fn thread(place: Place) -> Option<Thread> {
        let id = i32::try_from(place.index).ok()?;
        Some(Thread { pid: Pid::from_raw(id), tid: Tid::from_raw(id) })
    }

    fn fork() -> ForkPair {
        ForkPair {
            kind: ForkKind::Fork,
            parent_pid: Some(PARENT),
            parent_tid: Some(Tid::from_raw(10)),
            child_pid: CHILD,
            parent: Side::Stopped(place(10)),
            child: Side::Stopped(place(20)),
        }
    }

    fn exited(pid: Pid) -> Ready {
        let process = Arena::<(), OfProcess>::default().insert(());
        Ready::Exited { process, pid }
    }

    #[test]
    fn what_is_asked_for_is_taken_before_what_was_first() {
        let mut queue = EventQueue::default();
        queue.push(Ready::Stop(place(10)));
        queue.push(Ready::Stop(place(20)));
        queue.push(exited(CHILD));
        let only = Some(Only::Process(CHILD));
        assert_eq!(queue.take(only, thread), Some(Ready::Stop(place(20))));
        assert_eq!(queue.take(only, thread), Some(exited(CHILD)));
        assert_eq!(queue.take(only, thread), None);
        assert_eq!(queue.take(None, thread), Some(Ready::Stop(place(10))));
        assert!(queue.is_empty());
    }

    #[test]
    fn a_fork_is_an_event_of_both() {
        for pid in [PARENT, CHILD] {
            let mut queue = EventQueue::default();
            queue.push(Ready::Fork(fork()));
            let other = Only::Thread(pid, Tid::from_raw(99));
            assert_eq!(queue.take(Some(other), thread), None);
            assert!(queue.take(Some(Only::Process(pid)), thread).is_some());
        }
    }

    #[test]
    fn the_stop_of_one_that_is_gone_is_taken_whatever_is_asked_for() {
        let mut queue = EventQueue::default();
        queue.push(Ready::Stop(place(10)));
        assert!(queue.is_empty_but(|at| at == place(10)));
        assert!(queue.take(Some(Only::Process(CHILD)), |_| None).is_some());
    }

    #[test]
    fn a_detached_child_is_told_of_as_that_and_nothing_else_of_it() {
        let mut queue = EventQueue::default();
        let end = || Ready::ThreadExited { pid: CHILD, tid: Tid::from_raw(20) };
        queue.push(end());
        queue.push(exited(CHILD)); // one that had the number before
        queue.push(Ready::Fork(fork()));
        queue.push(end());
        queue.silence(CHILD);
        assert_eq!(queue.take(None, thread), Some(end()));
        assert_eq!(queue.take(None, thread), Some(exited(CHILD)));
        let detached = ForkPair { child: Side::Detached, ..fork() };
        assert_eq!(queue.take(None, thread), Some(Ready::Fork(detached)));
        assert!(queue.is_empty());
    }

    #[test]
    fn a_fork_that_is_put_back_is_where_it_was() {
        let mut queue = EventQueue::default();
        queue.push(exited(PARENT));
        queue.push(Ready::Fork(fork()));
        queue.push(exited(CHILD));
        let (at, pair) = queue.take_fork_of(PARENT, &[]).unwrap();
        queue.put_fork(at, pair);
        assert_eq!(queue.take_fork_of(PARENT, &[CHILD]), None);
        queue.take(None, thread);
        assert_eq!(queue.take(None, thread), Some(Ready::Fork(fork())));
    }
}
