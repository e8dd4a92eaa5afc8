//! What the tracer knows of processes, and what the kernel says of them.

use crate::backend::Setup;
use crate::{Backend, Error, EventFlags, Pid, ProcessInfo, Result, StopReason, Tid};

use super::process::Process;
use super::thread::{Reported, State};
use super::{Engine, ProcessHandle};

impl<B: Backend> Engine<B> {
    /// Which events a process reports.
    pub(crate) fn events(&self, pid: Pid) -> Result<EventFlags> {
        Ok(self.table.process(self.shown(pid)?).setup.flags)
    }

    /// Sets which events a process reports, for all its threads.
    pub(crate) fn set_events(&mut self, pid: Pid, flags: EventFlags) -> Result<()> {
        let process = self.shown(pid)?;
        self.change_linker(process, flags)?;
        let setup = self.table.process(process).setup;
        self.table.process_mut(process).setup = Setup { flags, ..setup };
        Ok(())
    }

    /// The processes that are traced.
    pub(crate) fn processes(&self) -> impl Iterator<Item = Pid> + '_ {
        self.table.living().filter(|(_, p)| !self.is_unseen(p.pid)).map(|(_, p)| p.pid)
    }

    /// The real parent of a traced process, as far as the tracer knows.
    pub(crate) fn real_parent(&self, pid: Pid) -> Result<Option<Pid>> {
        let index = self.table.find_process(pid).ok_or(Error::GONE)?;
        let seen = self.seen_parents.borrow();
        let seen = seen.iter().rfind(|&&(asked, _)| asked == pid).map(|&(_, parent)| parent);
        Ok(seen.unwrap_or(self.table.process(index).real_parent))
    }

    /// Notes the real parents that were told in answer to a question: they are no news any more.
    pub(super) fn note_seen_parents(&mut self) {
        for (pid, parent) in std::mem::take(self.seen_parents.get_mut()) {
            if let Some(process) = self.table.find_process(pid) {
                self.table.set_real_parent(process, parent);
            }
        }
    }

    /// What is known about a traced process, running or stopped, or about one whose end was the
    /// last event.
    pub(crate) fn process_info(&self, pid: Pid) -> Result<ProcessInfo> {
        let departed = self.departed.filter(|&i| self.table.process(i).pid == pid);
        let index = self.table.find_process(pid).or(departed).ok_or(Error::GONE)?;
        let process = self.table.process(index);
        let alive = !process.has_ended();
        let parent_traced =
            process.real_parent.is_some_and(|p| self.table.find_process(p).is_some());
        let threads = self.threads_reported(index);
        let exit_status = process.exit_status();
        let mut real_parent = process.real_parent;
        if alive && !parent_traced {
            // Nobody tells when a parent that is not traced ends.
            real_parent = self.backend.borrow_mut().real_parent(pid).unwrap_or(real_parent);
            let mut seen = self.seen_parents.borrow_mut();
            seen.retain(|&(asked, _)| asked != pid);
            seen.push((pid, real_parent));
        }
        let children = self
            .table
            .living()
            .filter(|(_, p)| p.real_parent == Some(pid))
            .map(|(_, p)| p.pid)
            .collect();
        Ok(ProcessInfo {
            pid,
            real_parent,
            children,
            threads,
            executable: if alive { self.backend.borrow_mut().executable(pid).ok() } else { None },
            arguments: if alive { self.backend.borrow_mut().arguments(pid).ok() } else { None },
            exit_status,
        })
    }

    /// The threads of a process as the events that were given leave them.
    fn threads_reported(&self, process: ProcessHandle) -> Vec<Tid> {
        let Process { pid, threads, .. } = self.table.process(process);
        let told = threads.iter().filter(|&&i| {
            let slot = self.table.slot(i);
            let to_be_told = slot.state == State::Queued(StopReason::ThreadStarted);
            self.table.is_first(i) || slot.reported == Reported::Birth && !to_be_told
        });
        let mut told: Vec<Tid> = told.map(|&i| self.table.slot(i).thread.tid).collect();
        for tid in self.ready.ended_threads(*pid) {
            if !told.contains(&tid) {
                told.push(tid);
            }
        }
        told
    }
}
