//! Where a thread is with regard to the breakpoints of its memory.
//!
//! ```text
//!              trapped                    written_back
//!   Nowhere -------------> Trapped(addr) ---------------> Here(addr) <---> Lifted(addr)
//!    ^ ^ ^                  |      | enter_slot                | |    run_lifted,
//!    | | |             lose |      +--> InSlot <---------------+ |    take_lifted
//!    | | |                  v              | leave_slot          |
//!    | | +-- written_back - Undone         |                     |
//!    | +-----------------------------------+                     |
//!    +------------------------------------------------- leave ---+
//! ```
//!
//! From each of them a thread can come to be `Exiting`, which it stays.

/// Where a thread is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum At {
    /// At no breakpoint that it knows of.
    #[default]
    Nowhere,
    /// At this address; it has reported that or need not, and must not trap there again.
    Here(u64),
    /// The same. The breakpoint instruction has trapped, and the kernel has it just behind that; its
    /// registers are kept.
    Trapped(u64),
    /// The same, but it is to arrive anew, if there is a breakpoint when it is run: nobody was told.
    Undone,
    /// At this address. It was run while the breakpoint was not in memory, and may have gone on.
    Lifted(u64),
    /// It was sent into the slot at this address, and may still be there.
    InSlot(u64),
    /// It was made by a thread that may be in a slot, and is looked at before it runs.
    InAnySlot,
    /// It is on its way out, and executes nothing more.
    Exiting,
}

impl At {
    /// The address of the breakpoint that it is at.
    #[inline]
    pub(crate) fn place(self) -> Option<u64> {
        match self {
            At::Here(addr) | At::Trapped(addr) | At::Lifted(addr) => Some(addr),
            At::Nowhere | At::Undone | At::InSlot(_) | At::InAnySlot | At::Exiting => None,
        }
    }

    /// Whether the kernel has it behind a breakpoint instruction, and its registers are kept.
    #[inline]
    pub(crate) fn has_trapped(self) -> bool {
        matches!(self, At::Trapped(_) | At::Undone)
    }

    /// Whether it may be in a slot.
    #[inline]
    pub(crate) fn is_in_slot(self) -> bool {
        matches!(self, At::InSlot(_) | At::InAnySlot)
    }

    fn turn(&mut self, at: At) {
        if *self != At::Exiting {
            *self = at;
        }
    }

    /// It is at a breakpoint, which is no new arrival. What the kernel knows of that is as before.
    pub(crate) fn arrive(&mut self, addr: u64) {
        if *self != At::Trapped(addr) {
            self.turn(At::Here(addr));
        }
    }

    /// A breakpoint instruction has trapped, and the registers of that moment are kept.
    pub(crate) fn trapped(&mut self, addr: u64) {
        self.turn(At::Trapped(addr));
    }

    /// It is run from a breakpoint that is not in memory for a while.
    pub(crate) fn run_lifted(&mut self, addr: u64) {
        self.turn(At::Lifted(addr));
    }

    /// It may be in the slot at this address.
    pub(crate) fn enter_slot(&mut self, slot: u64) {
        self.turn(At::InSlot(slot));
    }

    /// It may be in any slot.
    pub(crate) fn enter_any_slot(&mut self) {
        self.turn(At::InAnySlot);
    }

    /// It is in none, if it was thought to be.
    pub(crate) fn leave_slot(&mut self) {
        if self.is_in_slot() {
            *self = At::Nowhere;
        }
    }

    /// It is, or will be, where its program counter says, at no breakpoint.
    pub(crate) fn leave(&mut self) {
        self.turn(At::Nowhere);
    }

    /// It has not arrived where it is, or there is no breakpoint any more. If it has trapped, the kernel
    /// has yet to learn where it is.
    pub(crate) fn lose(&mut self) {
        self.turn(if self.has_trapped() { At::Undone } else { At::Nowhere });
    }

    /// The kernel has its program counter where the program has it.
    pub(crate) fn written_back(&mut self) {
        match *self {
            At::Trapped(addr) => *self = At::Here(addr),
            At::Undone | At::InSlot(_) | At::InAnySlot => *self = At::Nowhere,
            At::Nowhere | At::Here(_) | At::Lifted(_) | At::Exiting => {}
        }
    }

    /// Its program counter is this.
    pub(crate) fn moved(&mut self, pc: u64) {
        match self.place() {
            Some(addr) if addr == pc => self.arrive(addr),
            Some(_) => self.leave(),
            None => {}
        }
    }

    /// It was run while the breakpoint was not in memory; says whether that was so, and has not been
    /// looked at.
    pub(crate) fn take_lifted(&mut self) -> bool {
        match *self {
            At::Lifted(addr) => {
                *self = At::Here(addr);
                true
            }
            _ => false,
        }
    }

    /// It executes nothing more.
    pub(crate) fn exits(&mut self) {
        *self = At::Exiting;
    }
}

#[cfg(test)]
mod tests {
    use super::At;

    #[test]
    fn one_that_has_trapped_is_there_once_the_kernel_knows() {
        let mut at = At::default();
        at.trapped(0x1000);
        assert_eq!((at.place(), at.has_trapped()), (Some(0x1000), true));
        at.arrive(0x1000);
        assert!(at.has_trapped(), "the kernel does not know yet");
        at.written_back();
        assert_eq!(at, At::Here(0x1000));
        at.lose();
        assert_eq!(at, At::Nowhere);
    }

    #[test]
    fn one_that_has_trapped_and_is_to_arrive_anew_is_nowhere_once_the_kernel_knows() {
        let mut at = At::Trapped(0x1000);
        at.lose();
        assert!(at.has_trapped() && at.place().is_none());
        at.lose();
        at.written_back();
        assert_eq!(at, At::Nowhere);
    }

    #[test]
    fn one_that_is_moved_elsewhere_arrives_anew() {
        let mut at = At::Here(0x1000);
        at.moved(0x1000);
        assert_eq!(at, At::Here(0x1000));
        at.moved(0x1001);
        assert_eq!(at, At::Nowhere);
    }

    #[test]
    fn a_slot_is_left_once() {
        let mut at = At::default();
        at.enter_slot(0x2000);
        assert!(at.is_in_slot() && at.place().is_none());
        at.written_back();
        assert_eq!(at, At::Nowhere);
        at.arrive(0x1000);
        at.leave_slot();
        assert_eq!(at, At::Here(0x1000), "it was in none");
    }

    #[test]
    fn what_was_run_without_its_breakpoint_is_looked_at_once() {
        let mut at = At::Here(0x1000);
        at.run_lifted(0x1000);
        assert!(at.take_lifted() && !at.take_lifted());
        assert_eq!(at, At::Here(0x1000));
    }

    #[test]
    fn one_that_exits_comes_nowhere_any_more() {
        let mut at = At::InSlot(0x2000);
        at.exits();
        at.arrive(0x1000);
        at.trapped(0x1000);
        at.enter_slot(0x2000);
        at.leave();
        at.written_back();
        assert_eq!(at, At::Exiting);
    }
}
