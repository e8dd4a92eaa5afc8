//! How tracing starts.

use trapline_core::backend::{RawReason, RawStop, Setup};
use trapline_core::{Error, Pid, Result, Tid};

use crate::model::{Model, State};
use crate::stops::KILLED;

impl Model {
    /// Starts a program that is traced, up to its exec, unless it is killed before that.
    pub(crate) fn spawn(
        &mut self,
        program: &str,
        setup: Setup,
        killed: bool,
    ) -> (Pid, Option<RawStop>) {
        let pid = self.add_process(Pid::this(), program);
        self.trace_all(pid, setup);
        for tid in self.threads(pid) {
            let cpus = self.tracer_cpus.clone();
            self.tasks.entry(tid).and_modify(|task| task.cpus = cpus);
            let former = self.rules.tells_ids.then_some(tid);
            self.stop_with(tid, RawReason::Execed { former_tid: former }, None, Some(tid));
        }
        if killed {
            self.kill(pid);
            for tid in self.living(pid) {
                let Some(task) = self.tasks.get_mut(&tid) else { continue };
                task.leaving = Some(KILLED);
                self.leave(tid, KILLED);
            }
            return (pid, None);
        }
        let first = self.reports().into_iter().find(|report| report.pid == pid);
        (pid, first.map(|report| self.report(report)))
    }

    /// Whether a process can be attached to. A tracer that has it already is noted.
    pub(crate) fn check_attach(&mut self, pid: Pid) -> Result<()> {
        if self.living(pid).is_empty() {
            return Err(Error::GONE);
        }
        if self.is_traced(pid) {
            self.violation(format!("attach to process {pid}, which is traced"));
        }
        Ok(())
    }

    /// All threads of a process are traced from now on.
    fn trace_all(&mut self, pid: Pid, setup: Setup) {
        for task in self.tasks.values_mut().filter(|task| task.pid == pid) {
            task.setup = Some(setup);
            task.bare = false;
        }
    }

    /// The threads of a process that were being made when it was attached to, and are not traced.
    pub(crate) fn late(&self, pid: Pid) -> Vec<Tid> {
        let late = |tid: &Tid| self.tasks.get(tid).is_some_and(|task| task.late);
        self.living(pid).into_iter().filter(late).collect()
    }

    /// Traces them.
    pub(crate) fn trace_late(&mut self, pid: Pid) -> Vec<Tid> {
        let late = self.late(pid);
        let setup = self.tasks.values().find(|task| task.pid == pid && task.setup.is_some());
        let setup = setup.and_then(|task| task.setup);
        for tid in &late {
            if let Some(task) = self.tasks.get_mut(tid) {
                (task.setup, task.late) = (setup, false);
            }
        }
        late
    }

    /// Traces a running process, and has one thread stop.
    pub(crate) fn attach(&mut self, pid: Pid, setup: Setup) -> Vec<Tid> {
        let threads = self.living(pid);
        self.trace_all(pid, setup);
        let stopped = self.processes.get(&pid).and_then(|process| process.group_stop);
        if let Some(signal) = stopped {
            for &tid in &threads {
                if self.tasks.get(&tid).is_some_and(|task| task.state == State::Listens) {
                    self.stop(tid, RawReason::GroupStop(signal));
                }
            }
        } else if let Some(&tid) = threads.iter().find(|&&tid| self.acts(tid)) {
            self.stop(tid, RawReason::Paused);
        } else if let Some(task) = threads.first().and_then(|tid| self.tasks.get_mut(tid)) {
            task.interrupt = true;
        }
        threads
    }
}
