//! The hardware breakpoints of a process, and which of them its children and its next program have.

use std::rc::Rc;

use crate::backend::{DebugRoom, NO_SLOTS, Setup};
use crate::debug::{ProcessDebug, ThreadDebug, plan};
use crate::{Backend, EventFlags, ForkKind, Inherit, Pid};

use super::super::{Engine, ProcessHandle};

impl<B: Backend> Engine<B> {
    /// A new process: has it inherit what it is to inherit of its parent, and remembers that its
    /// registers may be what the kernel has copied.
    pub(in super::super) fn inherit_hardware(
        &mut self,
        child: ProcessHandle,
        parent: Option<Pid>,
        kind: ForkKind,
    ) {
        let living = parent.and_then(|pid| self.table.find_process(pid));
        let dead = || {
            let is = |p: &super::super::process::Process| Some(p.pid) == parent;
            self.table.processes().find(|&(i, p)| i != child && is(p)).map(|(i, _)| i)
        };
        let parent = match living {
            None if self.watches => dead(),
            living => living,
        };
        let mut inherit = self.settings.inherit;
        let mut debug = parent.is_none().then(ProcessDebug::default);
        if let Some(parent) = parent {
            let parent = self.table.process(parent);
            inherit = parent.inherit;
            let copies = match kind {
                ForkKind::Fork | ForkKind::Clone => inherit.fork,
                ForkKind::Vfork => inherit.vfork,
            };
            debug = parent.debug.as_ref().map(|debug| match copies {
                Inherit::Copy => ProcessDebug::clone(debug),
                Inherit::Clear => ProcessDebug::default(),
            });
        }
        let child = self.table.process_mut(child);
        child.inherit = inherit;
        if self.watches {
            child.debug = debug.map(|debug| Box::new(debug.unsure()));
        }
    }

    /// A process has exec'ed, and `index` is its one thread. The kernel has cleared its debug
    /// registers, which is not relied upon.
    pub(in super::super) fn execed_hardware(&mut self, index: u32) {
        let slot = self.table.slot_mut(index);
        let (process, thread) = (slot.process, slot.thread);
        if slot.debug.take().is_none() && self.table.process(process).debug.is_none() {
            return;
        }
        self.table.slot_mut(index).debug = Some(ThreadDebug::boxed());
        let inherit = self.table.process(process).inherit.exec;
        let Some(debug) = &mut self.table.process_mut(process).debug else { return };
        debug.room = None;
        if inherit == Inherit::Clear {
            (debug.breakpoints, debug.slots) = (Vec::new(), Rc::default());
            return;
        }
        for known in &mut debug.breakpoints {
            known.count = known.count.max(1);
        }
        if !debug.breakpoints.is_empty() {
            // The new program may be allowed less than the old one. Where its registers do not
            // suffice the kernel says so.
            let room = match self.backend.get_mut().debug_room(thread) {
                Ok(room) => room,
                Err(error) => {
                    self.failures.note(thread.pid, error);
                    DebugRoom::ALL
                }
            };
            let Some(debug) = &mut self.table.process_mut(process).debug else { return };
            debug.room = Some(room);
            if let Ok(slots) = plan::<B::Arch>(&debug.wanted(None), &debug.slots, room) {
                debug.slots = Rc::new(slots);
            }
        }
        self.read_again(process, thread);
    }

    /// What a process reports, as the kernel is to be told: new threads have to stop at their
    /// birth for their debug registers to be set. (Where one stop stops one thread they always
    /// do.)
    pub(in super::super) fn wanted_setup(&self, process: ProcessHandle) -> Setup {
        let process = self.table.process(process);
        let mut setup = process.setup;
        if !Self::makers_announce_threads() && process.debug.is_some() {
            let armed = process.debug.as_ref().is_some_and(|debug| *debug.slots != NO_SLOTS);
            setup.flags.set(EventFlags::THREAD, armed || setup.flags.contains(EventFlags::THREAD));
        }
        setup
    }
}
