//! How tracing begins: spawning and attaching.

use crate::backend::Setup;
use crate::{AttachOptions, Backend, Error, Pid, Result, SpawnOptions, Spawned};

use super::Engine;
use super::process::{Births, First, Process, Start};
use super::thread::State;

impl<B: Backend> Engine<B> {
    /// Starts a program that is traced from before its first instruction.
    pub(crate) fn spawn(&mut self, options: SpawnOptions) -> Result<Spawned> {
        let SpawnOptions { command, on_exit, events, randomize_addresses } = options;
        self.place_tracer()?;
        let setup = Setup { flags: events.unwrap_or(self.settings.flags), on_exit };
        self.backend.get_mut().randomize_addresses(randomize_addresses);
        let mut raw = self.backend.get_mut().spawn(command, setup)?;
        let us = Pid::from_raw(std::process::id() as i32);
        let mut process = Process::new(raw.pid, Some(us), setup);
        let spawned = Spawned {
            pid: raw.pid,
            stdin: raw.child.as_mut().and_then(|child| child.stdin.take()),
            stdout: raw.child.as_mut().and_then(|child| child.stdout.take()),
            stderr: raw.child.as_mut().and_then(|child| child.stderr.take()),
        };
        process.child = raw.child;
        process.start = Start::Spawning;
        process.births = Births::under(setup);
        process.inherit = self.settings.inherit;
        let process = self.add_process(process);
        let tid = raw.stop.and_then(|stop| stop.tid).or_else(|| B::first_thread(raw.pid));
        if let Some(tid) = tid {
            let slot = self.table.add_thread(process, tid, State::Running);
            self.table.slot_mut(slot).applied = Some(setup);
        }
        self.take_all(raw.stop.into_iter().chain(raw.meanwhile));
        Ok(spawned)
    }

    /// Traces a running process, with all its threads.
    pub(crate) fn attach(&mut self, options: AttachOptions) -> Result<()> {
        let AttachOptions { pid, on_exit, events } = options;
        // It may be the child of a fork that is not reported yet.
        if self.table.find_process(pid).is_some() || self.backend.get_mut().is_traced(pid)? {
            return Err(Error::NotPermitted {
                pid,
                advice: "this tracer traces it already".into(),
            });
        }
        self.place_tracer()?;
        let setup = Setup { flags: events.unwrap_or(self.settings.flags), on_exit };
        let raw = self.backend.get_mut().attach(pid, setup)?;
        let mut process = Process::new(pid, raw.real_parent, setup);
        process.start = Start::Attaching;
        process.may_share = true;
        // What it is to report holds once it has stopped for the first time.
        process.births = Births::Untold;
        process.inherit = self.settings.inherit;
        if let Some(first) = B::first_thread(pid) {
            process.first = First::This(first);
        }
        let process = self.add_process(process);
        for tid in raw.threads {
            let slot = self.table.add_thread(process, tid, State::Running);
            let slot = self.table.slot_mut(slot);
            slot.applied = Some(setup);
            slot.was_born();
        }
        self.place_attached(process);
        self.take_all(raw.meanwhile);
        Ok(())
    }
}
