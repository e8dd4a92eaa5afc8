//! Hardware breakpoints: they belong to the process, and every thread has them in its debug
//! registers before its next instruction.

mod process;
mod step_over;
mod thread;
mod trap;

use std::rc::Rc;

use crate::backend::DebugSlots;
use crate::debug::{Inserted, check, plan};
use crate::{
    Backend, Breakpoint, BreakpointId, Change, Error, HardwareBreakpoint, HardwareKind,
    InheritDebug, Pid, Result, StopReason, Stopped,
};

use super::{Engine, ProcessHandle};

impl<B: Backend> Engine<B> {
    /// Inserts a hardware breakpoint into a process.
    ///
    /// What no CPU could do is refused before anything is asked of the kernel; on an error no
    /// thread has changed.
    pub(super) fn insert_hardware(
        &mut self,
        process: ProcessHandle,
        breakpoint: HardwareBreakpoint,
    ) -> Result<BreakpointId> {
        check::<B::Arch>(&breakpoint)?;
        let debug = self.table.process_mut(process).debug.get_or_insert_default();
        if let Some(known) = debug.find(breakpoint) {
            known.count += 1;
            return Ok(known.id);
        }
        plan::<B::Arch>(&debug.wanted(Some(breakpoint)), &debug.slots, debug.room())?;
        self.with_all_stopped(process, |tracer| {
            // Meanwhile it may have ended, or have exec'ed.
            if !tracer.table.is_there(process) {
                return Err(Error::GONE);
            }
            tracer.insert_at_rest(process, breakpoint)
        })
    }

    fn insert_at_rest(
        &mut self,
        process: ProcessHandle,
        breakpoint: HardwareBreakpoint,
    ) -> Result<BreakpointId> {
        self.look_for_room(process)?;
        let value = match breakpoint.kind {
            HardwareKind::Change => self.value_of(process, &breakpoint)?,
            _ => Vec::new(),
        };
        let debug = self.table.process_mut(process).debug.get_or_insert_default();
        let slots = plan::<B::Arch>(&debug.wanted(Some(breakpoint)), &debug.slots, debug.room())?;
        let slots = Rc::new(slots);
        self.watch_all(process, &slots)?;
        self.watches = true;
        let id = self.next_breakpoint();
        let debug = self.table.process_mut(process).debug.get_or_insert_default();
        debug.slots = slots;
        let before = debug.seen_before(&breakpoint);
        debug.breakpoints.push(Inserted { id, breakpoint, count: 1, value, before });
        Ok(id)
    }

    /// Removes a hardware breakpoint that was inserted into a process; says whether it has one of
    /// this id.
    pub(super) fn remove_hardware(
        &mut self,
        process: ProcessHandle,
        id: BreakpointId,
    ) -> Result<bool> {
        let Some(debug) = &mut self.table.process_mut(process).debug else { return Ok(false) };
        let Some(known) = debug.breakpoints.iter_mut().find(|known| known.id == id) else {
            return Ok(false);
        };
        if known.count > 1 {
            known.count -= 1;
            return Ok(true);
        }
        self.with_all_stopped(process, |tracer| {
            if tracer.table.is_there(process) {
                tracer.remove_at_rest(process, id)?;
            }
            Ok(true)
        })
    }

    fn remove_at_rest(&mut self, process: ProcessHandle, id: BreakpointId) -> Result<()> {
        let Some(debug) = &mut self.table.process_mut(process).debug else { return Ok(()) };
        let mut breakpoints = debug.breakpoints.clone();
        breakpoints.retain(|known| known.id != id);
        let left: Vec<_> = breakpoints.iter().map(|known| known.breakpoint).collect();
        let slots = plan::<B::Arch>(&left, &debug.slots, debug.room())?;
        let slots = Rc::new(slots);
        self.watch_all(process, &slots)?;
        if let Some(debug) = &mut self.table.process_mut(process).debug {
            let removed = debug.breakpoints.iter().find(|known| known.id == id).cloned();
            if let Some(removed) = removed {
                debug.note_removed(removed);
            }
            debug.breakpoints = breakpoints;
            debug.slots = slots;
        }
        Ok(())
    }

    /// The hardware breakpoints of a process, in the order in which they were inserted.
    pub(super) fn hardware_of(&self, process: ProcessHandle) -> Vec<(BreakpointId, Breakpoint)> {
        let debug = self.table.process(process).debug.as_deref();
        let breakpoints = debug.map_or(&[][..], |debug| &debug.breakpoints);
        breakpoints.iter().map(|known| (known.id, known.breakpoint.into())).collect()
    }

    /// The values, old and new, of the breakpoints of [`HardwareKind::Change`] among the causes of
    /// a trap, in the order in which these were inserted.
    pub(crate) fn watch_changes(&self, stop: &Stopped) -> Result<&[Change]> {
        self.asked(stop)?;
        let trapped = matches!(stop.reason(), StopReason::Trap(_));
        let debug = self.table.slot(stop.place.index).debug.as_deref().filter(|_| trapped);
        Ok(debug.map_or(&[], |debug| &debug.changes))
    }

    /// Sets what inherits the hardware breakpoints of a process.
    pub(crate) fn set_inherit_debug(&mut self, pid: Pid, inherit: InheritDebug) -> Result<()> {
        let process = self.shown(pid)?;
        self.table.process_mut(process).inherit = inherit;
        Ok(())
    }

    /// Asks which registers there are, once per image.
    fn look_for_room(&mut self, process: ProcessHandle) -> Result<()> {
        if self.table.process(process).debug.as_ref().is_some_and(|d| d.room.is_some()) {
            return Ok(());
        }
        let Some(index) = self.table.stopped_in(process) else { return Ok(()) };
        let room = self.backend.get_mut().debug_room(self.table.slot(index).thread)?;
        self.table.process_mut(process).debug.get_or_insert_default().room = Some(room);
        Ok(())
    }

    /// The bytes of a breakpoint as they are now.
    fn value_of(
        &mut self,
        process: ProcessHandle,
        breakpoint: &HardwareBreakpoint,
    ) -> Result<Vec<u8>> {
        let index = self.table.stopped_in(process).ok_or(Error::NOT_STOPPED)?;
        let mut value = vec![0; usize::try_from(breakpoint.len).unwrap_or(0)];
        let thread = self.table.slot(index).thread;
        let read = self.backend.get_mut().read_memory(thread, breakpoint.addr, &mut value)?;
        match breakpoint.addr.checked_add(read as u64) {
            Some(addr) if read < value.len() => Err(Error::bad_address(addr)),
            _ => Ok(value),
        }
    }

    /// Has all threads of a process that are stopped watch the same; if one cannot, none has
    /// changed. The others will before they run.
    fn watch_all(&mut self, process: ProcessHandle, slots: &Rc<DebugSlots>) -> Result<()> {
        self.look_up_threads(process)?;
        let debug = self.table.process(process).debug.as_ref();
        let before = debug.map(|debug| Rc::clone(&debug.slots)).unwrap_or_default();
        let mut threads = self.table.process(process).threads.clone();
        threads.retain(|&i| self.table.slot(i).can_be_asked());
        for (done, &index) in threads.iter().enumerate() {
            if let Err(error) = self.watch(index, slots) {
                for &index in threads.iter().take(done) {
                    if self.watch(index, &before).is_err() {
                        self.doubt(index);
                    }
                }
                return Err(error);
            }
        }
        Ok(())
    }
}
