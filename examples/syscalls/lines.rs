//! The lines that are written: one for each call, once it has returned.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use trapline::{Pid, Tid};

use super::arguments::show_result;

pub(crate) struct Lines {
    out: Box<dyn Write>,
    /// Whether to say whose call it is.
    pids: bool,
    /// The calls that have not returned.
    open: HashMap<Tid, (Pid, String)>,
}

impl Lines {
    /// Lines to a file, or to standard error.
    pub(crate) fn new(path: Option<&Path>, pids: bool) -> io::Result<Lines> {
        let out: Box<dyn Write> = match path {
            Some(path) => Box::new(BufWriter::new(File::create(path)?)),
            None => Box::new(io::stderr()),
        };
        Ok(Lines { out, pids, open: HashMap::new() })
    }

    /// A thread has entered a call.
    pub(crate) fn entered(&mut self, pid: Pid, tid: Tid, call: String) {
        self.lost(tid);
        self.open.insert(tid, (pid, call));
    }

    /// Whether a thread is in a call that it has entered.
    pub(crate) fn is_inside(&self, tid: Tid) -> bool {
        self.open.contains_key(&tid)
    }

    /// A thread has left its call.
    pub(crate) fn left(&mut self, tid: Tid, result: Result<u64, i32>) {
        if let Some((pid, call)) = self.open.remove(&tid) {
            self.write(pid, &format!("{call} = {}", show_result(result)));
        }
    }

    /// A thread has another id since its exec.
    pub(crate) fn renamed(&mut self, former: Tid, tid: Tid) {
        if let Some(call) = self.open.remove(&former) {
            self.lost(tid);
            self.open.insert(tid, call);
        }
    }

    /// A thread has ended, perhaps in a call.
    pub(crate) fn lost(&mut self, tid: Tid) {
        if let Some((pid, call)) = self.open.remove(&tid) {
            self.write(pid, &format!("{call} = ?"));
        }
    }

    /// A process has ended, perhaps in calls.
    pub(crate) fn ended(&mut self, pid: Pid, how: &str) {
        let mut tids: Vec<Tid> =
            self.open.iter().filter(|(_, (p, _))| *p == pid).map(|(&tid, _)| tid).collect();
        tids.sort_unstable_by_key(|tid| tid.as_raw());
        for tid in tids {
            self.lost(tid);
        }
        self.note(pid, how);
    }

    /// Something else has happened to a process.
    pub(crate) fn note(&mut self, pid: Pid, what: &str) {
        self.write(pid, &format!("--- {what} ---"));
    }

    pub(crate) fn write(&mut self, pid: Pid, line: &str) {
        // If nobody listens any more, the program still runs to its end.
        let _ = match self.pids {
            true => writeln!(self.out, "{pid:>7} {line}"),
            false => writeln!(self.out, "{line}"),
        };
    }
}
