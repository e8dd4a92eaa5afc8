//! Makes memory hold what an address space says, with few requests: places that are near each other are
//! read and written at once.

use crate::address_space::{Change, InMemory, KEPT, Reach, Shared, Ways, runs};
use crate::backend::Thread;
use crate::{Arch, Backend, CodeMode, Error, Result};

use super::super::Engine;

/// As many changes within a run are made one by one, which needs no more of the memory than they.
const FEW: usize = 2;

impl<B: Backend> Engine<B> {
    /// The breakpoint instruction.
    pub(super) const INT: &'static [u8] = <B::Arch as Arch>::BREAKPOINT;

    /// Has the memory hold what the address space says, through a stopped thread.
    pub(super) fn settle(&mut self, space: &Shared, thread: Thread) -> Result<()> {
        self.settle_each(space, thread).map_err(|(_, error)| error)
    }

    /// The same; an error comes with the place that it is about.
    pub(super) fn settle_each(
        &mut self,
        space: &Shared,
        thread: Thread,
    ) -> Result<(), (u64, Error)> {
        if space.borrow().is_doubted() {
            self.find_out(space, thread).map_err(|error| (0, error))?;
        }
        self.make_changes(space, thread)?;
        if space.borrow().has_lost() {
            self.look_for_lost(space, thread).map_err(|error| (0, error))?;
            self.make_changes(space, thread)?;
        }
        space.borrow_mut().tidy();
        Ok(())
    }

    fn make_changes(&mut self, space: &Shared, thread: Thread) -> Result<(), (u64, Error)> {
        space.borrow_mut().hand_over();
        let changes = space.borrow().changes();
        if changes.iter().any(|&(_, change)| change == Change::Insert) {
            let traced = self.backend.get_mut().trace_late_threads(thread);
            traced.map_err(|error| (0, error))?;
        }
        for run in runs(&changes, |&(addr, _)| addr) {
            if run.len() <= FEW || !self.settle_run(space, thread, run) {
                for &(addr, change) in run {
                    self.settle_one(space, thread, addr, change).map_err(|error| (addr, error))?;
                }
            }
        }
        Ok(())
    }

    /// Makes all changes of a run at once, and says whether that was possible.
    fn settle_run(&mut self, space: &Shared, thread: Thread, run: &[(u64, Change)]) -> bool {
        let (Some(&(start, _)), Some(&(last, _))) = (run.first(), run.last()) else { return true };
        let len = last - start + Self::INT.len() as u64;
        let mut memory = vec![0; usize::try_from(len).unwrap_or(0)];
        if !matches!(self.backend.get_mut().read_memory(thread, start, &mut memory), Ok(n) if n == memory.len())
        {
            return false;
        }
        let mut lost = Vec::new();
        for &(addr, change) in run {
            let at = usize::try_from(addr - start).unwrap_or(usize::MAX);
            let Some(there) = memory.get_mut(at..).and_then(|m| m.get_mut(..Self::INT.len()))
            else {
                return false;
            };
            let space = space.borrow();
            let Some(location) = space.get(addr) else { continue };
            match (change, location.code.bytes().get(..Self::INT.len())) {
                (Change::Insert, _) => there.copy_from_slice(Self::INT),
                (Change::Lift, Some(own)) if there == Self::INT => there.copy_from_slice(own),
                (Change::Lift, _) => lost.push(addr), // something else is there by now
            }
        }
        if self.backend.get_mut().write_text(thread, start, &memory).is_err() {
            return false;
        }
        let mut space = space.borrow_mut();
        run.iter().for_each(|&(addr, change)| space.settled(addr, change));
        space.lose_again(lost);
        true
    }

    fn settle_one(
        &mut self,
        space: &Shared,
        thread: Thread,
        addr: u64,
        change: Change,
    ) -> Result<()> {
        let own = space.borrow().get(addr).map(|location| location.code);
        match (change, own) {
            (Change::Insert, _) => self.backend.get_mut().write_text(thread, addr, Self::INT)?,
            (Change::Lift, Some(own)) if self.has_breakpoint(thread, addr)? => {
                let own = own.bytes().get(..Self::INT.len()).unwrap_or_default();
                match self.backend.get_mut().write_text(thread, addr, own) {
                    Err(Error::BadAddress { .. }) => {}
                    result => result?,
                }
            }
            (Change::Lift, _) => space.borrow_mut().lose(addr), // something else is there by now
        }
        space.borrow_mut().settled(addr, change);
        Ok(())
    }

    /// Whether a breakpoint instruction is in memory, ours or the program's.
    pub(super) fn has_breakpoint(&mut self, thread: Thread, addr: u64) -> Result<bool> {
        Ok(self.bytes_at(thread, addr, Self::INT.len())? == Self::INT)
    }

    /// The same after a change that the user has not asked for. Code that is not there any more needs
    /// no breakpoints; what is there comes to light when somebody asks for them again.
    pub(super) fn settle_again(&mut self, space: &Shared, thread: Thread) -> Result<()> {
        loop {
            match self.settle_each(space, thread) {
                Err((addr, Error::BadAddress { .. })) if space.borrow().is_wanted(addr) => {
                    space.borrow_mut().found(addr, InMemory::Lost);
                }
                result => return result.map_err(|(_, error)| error),
            }
        }
    }

    /// Has the memory hold what the address space says, where it is not known what it holds: it is a copy
    /// that was made at another moment. If that fails, the next call that settles it does it again.
    pub(super) fn settle_copy(&mut self, space: &Shared, thread: Thread) -> Result<()> {
        space.borrow_mut().doubt(true);
        self.settle(space, thread)
    }

    /// Finds out what memory holds.
    fn find_out(&mut self, space: &Shared, thread: Thread) -> Result<()> {
        let addresses = space.borrow().addresses();
        for run in runs(&addresses, |&addr| addr) {
            let memory = self.read_run(thread, run, Self::INT.len())?;
            for (&addr, there) in run.iter().zip(memory) {
                let there = there.get(..Self::INT.len()) == Some(Self::INT);
                let mut space = space.borrow_mut();
                let own = |at: u64| Some(space.get(at)?.code.bytes().starts_with(Self::INT));
                let inserted = there && own(addr) == Some(false);
                space.found(addr, if inserted { InMemory::Yes } else { InMemory::No });
            }
        }
        let areas = space.borrow().filled_areas();
        for (start, len) in areas {
            let memory = self.bytes_at(thread, start, len.max(1))?;
            space.borrow_mut().found_area(start, &memory);
        }
        space.borrow_mut().doubt(false);
        Ok(())
    }

    /// Looks which breakpoint instructions that should be in memory are not.
    pub(super) fn find_lost(&mut self, space: &Shared, thread: Thread) -> Result<Vec<u64>> {
        let addresses = space.borrow().addresses();
        let mut lost = Vec::new();
        for run in runs(&addresses, |&addr| addr) {
            let memory = self.read_run(thread, run, Self::INT.len())?;
            for (&addr, there) in run.iter().zip(memory) {
                if space.borrow().is_inserted(addr) && there != Self::INT {
                    space.borrow_mut().found(addr, InMemory::Lost);
                    lost.push(addr);
                }
            }
        }
        Ok(lost)
    }

    /// What is in memory at each place of a run; less where the memory ends.
    fn read_run(&mut self, thread: Thread, run: &[u64], each: usize) -> Result<Vec<Vec<u8>>> {
        let (Some(&start), Some(&last)) = (run.first(), run.last()) else { return Ok(Vec::new()) };
        let mut memory = vec![0; usize::try_from(last - start).unwrap_or(0) + each];
        let mut read = self.read_mapped(thread, start, &mut memory)?;
        let mut found = Vec::with_capacity(run.len());
        for &addr in run {
            let at = usize::try_from(addr - start).unwrap_or(usize::MAX);
            if at >= read && run.len() > 1 {
                // Behind something that cannot be read.
                if let Some(rest) = memory.get_mut(at..) {
                    let more = self.read_mapped(thread, addr, rest)?;
                    read = if more > 0 { at + more } else { read };
                }
            }
            let end = at.saturating_add(each).min(read);
            found.push(memory.get(at..end).unwrap_or_default().to_vec());
        }
        Ok(found)
    }

    /// Learns what the program has at some addresses, which are in order. An error is about one of
    /// them.
    pub(super) fn locate(
        &mut self,
        space: &Shared,
        thread: Thread,
        addresses: &[u64],
    ) -> Result<Vec<Result<()>>> {
        if !self.traps_in_code_of(thread)? {
            return Err(Error::bad_breakpoint(
                "32-bit code of this CPU can have those of its debug registers alone",
            ));
        }
        let mut results = Vec::with_capacity(addresses.len());
        for run in runs(addresses, |&addr| addr) {
            let memory = self.read_run(thread, run, KEPT)?;
            for (&addr, mut code) in run.iter().zip(memory) {
                if code.starts_with(Self::INT) && !space.borrow().is_inserted(addr) {
                    self.is_copy(space, thread, addr, Reach::Pages)?;
                }
                let located = Self::note_code(space, addr, &mut code);
                results.push(match self.unfit(thread, addr)? {
                    Some(why) => Err(Error::bad_breakpoint(why)),
                    None if located => Ok(()),
                    None => Err(Error::bad_address(addr)),
                });
            }
        }
        Ok(results)
    }

    /// Whether the CPU's breakpoint instruction means that in the code that a thread runs.
    pub(super) fn traps_in_code_of(&mut self, thread: Thread) -> Result<bool> {
        let modes = <B::Arch as Arch>::BREAKPOINT_MODES;
        let all = [CodeMode::Bits64, CodeMode::Bits32, CodeMode::Bits16];
        if all.iter().all(|mode| modes.contains(mode)) {
            return Ok(true);
        }
        Ok(modes.contains(&B::code_mode(&self.backend.get_mut().registers(thread)?)))
    }

    /// Why there can be no breakpoint at an address, by what the CPU is.
    fn unfit(&mut self, thread: Thread, addr: u64) -> Result<Option<&'static str>> {
        if addr % <B::Arch as Arch>::INSTRUCTION_ALIGNMENT != 0 {
            return Ok(Some("no instruction begins at such an address"));
        }
        let length = <B::Arch as Arch>::SEQUENCE_LENGTH;
        if length == 0 {
            return Ok(None);
        }
        let mut code = [vec![0; length], vec![0; length]];
        for (start, code) in [addr.saturating_sub(length as u64), addr].into_iter().zip(&mut code) {
            let read = match self.read_as_program(thread, start, code) {
                Ok(read) => read,
                Err(Error::BadAddress { .. }) => 0,
                Err(error) => return Err(error),
            };
            code.truncate(read);
        }
        let [before, at] = code;
        Ok(<B::Arch as Arch>::interrupts_sequence(&before, &at)
            .then_some("a trap within this load and store would have them tried again for ever"))
    }

    /// Notes what was read at an address, and says whether that was enough.
    fn note_code(space: &Shared, addr: u64, code: &mut [u8]) -> bool {
        let mut space = space.borrow_mut();
        space.hide(addr, code, Self::INT);
        if code.len() < Self::INT.len() {
            return false;
        }
        if space.get(addr).is_some_and(|location| location.memory == InMemory::Lost) {
            space.found(addr, InMemory::No);
        }
        space.locate(addr, code, Ways::of::<B::Arch>(code));
        true
    }
}
