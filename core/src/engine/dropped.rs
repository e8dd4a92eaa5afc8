//! What becomes of tracees when their tracer is dropped.

use std::time::Duration;

use crate::backend::Run;
use crate::limits::{HELD_FOR, UNANSWERED};
use crate::{Backend, OnExit};

use super::{Engine, ProcessHandle};

impl<B: Backend> Drop for Engine<B> {
    fn drop(&mut self) {
        self.end();
        self.put_back_tracer();
    }
}

impl<B: Backend> Engine<B> {
    /// Ends all tracing: what was to be killed is killed and waited for, the rest is detached.
    fn end(&mut self) {
        self.leave_no_unseen();
        for process in self.table.all_living() {
            if !self.table.is_there(process) {
                continue;
            }
            let pid = self.table.process(process).pid;
            // There is nobody left to tell of what fails here.
            let _ = match self.table.process(process).setup.on_exit {
                OnExit::Kill => self.kill(pid),
                OnExit::Detach => self.detach_running(process),
            };
        }
        // No user is left for whom to wait for a silent parent.
        self.settings.half_patience = Duration::ZERO;
        for _ in 0..HELD_FOR {
            let driven = self.drive_until(UNANSWERED, |engine, _| {
                engine.end_stopped();
                let left = !engine.table.is_empty() || engine.expects_an_unknown()?;
                Ok((!left).then_some(()))
            });
            // There is nobody left to tell of what fails.
            if driven.is_ok() {
                break;
            }
        }
    }

    /// Moves on what has stopped while the tracer is ending.
    fn end_stopped(&mut self) {
        self.ready.clear();
        let stopped: Vec<u32> = self
            .table
            .living()
            .flat_map(|(_, p)| p.threads.iter().copied())
            .filter(|&i| self.table.slot(i).can_be_asked())
            .collect();
        for index in stopped {
            if !self.table.slot(index).can_be_asked() {
                continue;
            }
            let process = self.table.slot(index).process;
            let _ = match self.table.process(process).setup.on_exit {
                OnExit::Kill => {
                    let pid = self.table.process(process).pid;
                    let _ = self.kill(pid);
                    self.start(index, Run::Continue, None)
                }
                OnExit::Detach => self.detach_here(index, self.kept_signal(index)),
            };
        }
        let ended: Vec<ProcessHandle> =
            self.table.processes().filter(|(_, p)| p.has_ended()).map(|(i, _)| i).collect();
        for process in ended {
            self.table.remove_process(process);
        }
        self.held_exits.clear();
        self.departed = None;
    }
}
