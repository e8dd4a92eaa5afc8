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

    /// A thread has entered a call. One that had its id before it, and has ended, may have left
    /// one behind.
    pub(crate) fn entered(&mut self, pid: Pid, tid: Tid, call: String) {
        self.lose(tid);
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

    /// A thread has exec'ed, perhaps with another id before: the process has no other one now.
    pub(crate) fn execed(&mut self, pid: Pid, former: Tid, tid: Tid) {
        let exec = self.open.remove(&former);
        self.lose_all(pid);
        if let Some(exec) = exec {
            self.open.insert(tid, exec);
        }
    }

    /// A process has ended, perhaps in calls.
    pub(crate) fn ended(&mut self, pid: Pid, how: &str) {
        self.lose_all(pid);
        self.note(pid, how);
    }

    /// The calls of a process will not return.
    fn lose_all(&mut self, pid: Pid) {
        let open = self.open.iter().filter(|(_, (whose, _))| *whose == pid);
        let mut tids: Vec<Tid> = open.map(|(&tid, _)| tid).collect();
        tids.sort_unstable_by_key(|tid| tid.as_raw());
        for tid in tids {
            self.lose(tid);
        }
    }

    fn lose(&mut self, tid: Tid) {
        if let Some((pid, call)) = self.open.remove(&tid) {
            self.write(pid, &format!("{call} = ?"));
        }
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
