//! What is known of the processes, by what was told.

use std::collections::VecDeque;
use std::ffi::OsString;

use ratatui::widgets::ListState;
use trapline::{ExitStatus, Notice, Pid, StopReason, Tid};

/// How many lines of events are kept.
const LINES: usize = 500;

/// What the tracer's thread has sent.
pub(crate) struct Told {
    pub(crate) notice: trapline::Result<Notice>,
    /// The arguments of a program that was exec'ed.
    pub(crate) program: Option<Vec<OsString>>,
}

/// What a process is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Runs,
    /// By this thread.
    Paused(Tid),
    Ended(ExitStatus),
}

#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) pid: Pid,
    /// How many of its ancestors are in the list.
    pub(crate) depth: usize,
    pub(crate) program: String,
    pub(crate) state: State,
}

#[derive(Default)]
pub(crate) struct Model {
    /// Each behind its parent.
    pub(crate) processes: Vec<Process>,
    pub(crate) lines: VecDeque<String>,
    pub(crate) list: ListState,
}

impl Model {
    /// Takes in what was told.
    pub(crate) fn take(&mut self, Told { notice, program }: Told) {
        let notice = match notice {
            Ok(notice) => notice,
            Err(error) => return self.say(format!("error: {error}")),
        };
        if let Some(line) = trapline_hosts::line(&notice) {
            self.say(line);
        }
        match notice {
            Notice::Stopped { pid, tid, reason } => {
                let process = self.process(pid);
                if let Some(words) = program {
                    let words: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
                    process.program = words.join(" ");
                }
                if reason == StopReason::Interrupted {
                    process.state = State::Paused(tid);
                }
            }
            Notice::Forked { parent_pid, child_pid, .. } => self.forked(parent_pid, child_pid),
            Notice::Exited { pid, status, .. } => self.process(pid).state = State::Ended(status),
            _ => {}
        }
    }

    /// The process that was selected, and what it does.
    pub(crate) fn selected(&self) -> Option<(Pid, State)> {
        let process = self.processes.get(self.list.selected()?)?;
        Some((process.pid, process.state))
    }

    /// Selects the one before or behind it.
    pub(crate) fn select(&mut self, by: isize) {
        let last = self.processes.len().saturating_sub(1);
        let at = self.list.selected().unwrap_or(0);
        self.list.select(Some(at.saturating_add_signed(by).min(last)));
    }

    /// A paused process was asked to go on, which nothing tells of.
    pub(crate) fn asked(&mut self, pid: Pid) {
        let process = self.process(pid);
        if let State::Paused(_) = process.state {
            process.state = State::Runs;
        }
    }

    fn say(&mut self, line: String) {
        self.lines.truncate(LINES - 1);
        self.lines.push_front(line);
    }

    fn forked(&mut self, parent: Option<Pid>, child: Pid) {
        let known = |p: &Process| Some(p.pid) == parent;
        let (at, depth, program) = match self.processes.iter().rposition(known) {
            Some(at) => {
                let Process { depth, program, .. } = &self.processes[at];
                let behind = self.processes[at + 1..].iter().take_while(|p| p.depth > *depth);
                (at + 1 + behind.count(), depth + 1, program.clone())
            }
            None => (self.processes.len(), 0, String::new()),
        };
        // What is selected stays it.
        if let Some(selected) = self.list.selected().filter(|selected| *selected >= at) {
            self.list.select(Some(selected + 1));
        }
        let process = Process { pid: child, depth, program, state: State::Runs };
        self.processes.insert(at, process);
    }

    /// A process; the last one, if its number was used before.
    fn process(&mut self, pid: Pid) -> &mut Process {
        let at = self.processes.iter().rposition(|process| process.pid == pid);
        let at = at.unwrap_or_else(|| {
            self.forked(None, pid);
            self.list.select(self.list.selected().or(Some(0)));
            self.processes.len() - 1
        });
        &mut self.processes[at]
    }
}
