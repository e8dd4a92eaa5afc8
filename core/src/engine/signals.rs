//! Signals that a thread gets later, or from the tracer.

use crate::{Backend, Result, Signal, Stopped};

use super::Engine;
use super::thread::{Delivery, State};

impl<B: Backend> Engine<B> {
    /// Has a stopped thread get a signal when it is resumed, whatever it is stopped for.
    pub(crate) fn send_signal(&mut self, stop: &Stopped, signal: Signal) -> Result<()> {
        let thread = self.asked(stop)?;
        self.send(stop.place.index, thread, signal)
    }

    fn send(&mut self, index: u32, thread: crate::backend::Thread, signal: Signal) -> Result<()> {
        self.backend.get_mut().send_signal(thread, signal)?;
        let slot = self.table.slot_mut(index);
        if signal != Signal::KILL {
            slot.injected.insert(signal);
        }
        Ok(())
    }

    /// Whether a stop for a signal is for one that the tracer has sent.
    pub(super) fn is_injected(&mut self, index: u32, signal: Signal) -> bool {
        let injected = &mut self.table.slot_mut(index).injected;
        let is_injected = injected.contains(signal);
        injected.remove(signal);
        is_injected
    }

    /// The signal that a thread is to get when it now runs: what was chosen, or what it has kept.
    /// If the kernel does not have it any more, it is sent again.
    pub(super) fn due_signal(
        &mut self,
        index: u32,
        chosen: Option<Signal>,
    ) -> Result<Option<Signal>> {
        let slot = self.table.slot(index);
        let signal = chosen.or(slot.kept);
        let Some(signal) = signal.filter(|_| slot.delivery == Delivery::Resend) else {
            return Ok(signal);
        };
        // It may be there already, if the thread could not be run then.
        if !slot.injected.contains(signal) {
            let thread = slot.thread;
            crate::error::unless_gone(self.send(index, thread, signal))?;
        }
        Ok(None)
    }

    /// A thread was run: it has got what was due, also the trap of the program's own.
    pub(super) fn took_signals(&mut self, index: u32) {
        let slot = self.table.slot_mut(index);
        (slot.kept, slot.delivery) = (None, Delivery::Kernel);
        self.paid(index);
    }

    /// Keeps a signal for when the thread runs. `gone` says that the kernel lets go of it.
    pub(super) fn keep(&mut self, index: u32, signal: Signal, gone: bool) {
        let slot = self.table.slot_mut(index);
        slot.kept = Some(signal);
        if gone {
            slot.delivery = Delivery::Resend;
        }
    }

    /// Delivers a signal that nobody is to hear of; in a halted process once it runs again.
    pub(super) fn deliver_silently(&mut self, index: u32, signal: Signal) -> Result<()> {
        if self.table.process_of(index).is_halted() {
            self.keep(index, signal, false);
            self.table.slot_mut(index).state = State::Resting;
            return Ok(());
        }
        let run = self.run_as_before(index);
        self.start_silently(index, run, Some(signal));
        Ok(())
    }
}
