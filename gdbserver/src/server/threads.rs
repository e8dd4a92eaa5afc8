//! Which threads there are.

use std::fmt::Write;

use trapline::{Pid, Tid};

use crate::packet::{ThreadId, hex};
use crate::system;
use crate::wire::LONGEST;

use super::answers::Answer;
use super::session::Session;
use super::text;

impl Session<'_> {
    /// All threads that a client knows of.
    pub(super) fn all_threads(&mut self) -> Vec<(Pid, Tid)> {
        self.server.inferiors.look_up_threads();
        let known = self.server.inferiors.known();
        known
            .flat_map(|process| process.threads.iter().map(|thread| (process.pid, thread.tid)))
            .collect()
    }

    pub(super) fn first_threads(&mut self) -> Answer {
        let threads = self.all_threads();
        self.listing = threads.into_iter().map(|(pid, tid)| self.name(pid, tid)).collect();
        self.more_threads()
    }

    pub(super) fn more_threads(&mut self) -> Answer {
        let mut answer = String::new();
        while let Some(name) = self.listing.front() {
            if answer.len() + name.len() + 2 > LONGEST / 2 {
                break;
            }
            answer.push(if answer.is_empty() { 'm' } else { ',' });
            answer += name;
            self.listing.pop_front();
        }
        if answer.is_empty() { Answer::Text("l".to_string()) } else { answer.into() }
    }

    /// The name of a thread; nothing if nobody knows it.
    pub(super) fn thread_name(&mut self, pid: Pid, tid: Tid) -> String {
        let inferiors = &mut self.server.inferiors;
        let Ok(thread) = inferiors.thread(pid, tid) else { return String::new() };
        if thread.stop.is_none() {
            return String::new();
        }
        let name = inferiors.with_thread(pid, tid, |tracer, stop| tracer.thread_name(stop));
        name.map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
    }

    pub(super) fn thread_info(&mut self, thread: ThreadId) -> Answer {
        match self.find_thread(thread) {
            Some((pid, tid)) => hex(self.thread_name(pid, tid).as_bytes()).into(),
            None => Answer::error(),
        }
    }

    /// The list of threads as `qXfer:threads:read` has it.
    pub(super) fn threads_xml(&mut self) -> String {
        let mut list = String::from("<threads>\n");
        for (pid, tid) in self.all_threads() {
            // Writing to a string cannot fail.
            let _ = write!(list, "<thread id=\"{}\"", self.name(pid, tid));
            if let Some(core) = system::core(pid, tid) {
                let _ = write!(list, " core=\"{core}\"");
            }
            let name = self.thread_name(pid, tid);
            if !name.is_empty() {
                let _ = write!(list, " name=\"{}\"", text::xml(&name));
            }
            list += "/>\n";
        }
        list += "</threads>\n";
        list
    }
}
