//! How processes come and go at a client's word.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use trapline::Pid;

use crate::inferiors::{Origin, Stop};
use crate::say;

use super::answers::Answer;
use super::session::Session;

impl Session<'_> {
    pub(super) fn run(&mut self, words: Vec<Vec<u8>>) -> Answer {
        let mut program: Vec<OsString> = words.into_iter().map(OsString::from_vec).collect();
        let launch = &self.server.inferiors.launch;
        match program.first_mut() {
            Some(name) if name.is_empty() => match launch.program.first() {
                Some(last) => name.clone_from(last),
                None => return Answer::error(),
            },
            Some(_) => {}
            None => return Answer::error(),
        }
        let name = program.first().map(|name| name.to_string_lossy().into_owned());
        let name = name.unwrap_or_default();
        match self.server.inferiors.start(program) {
            Ok(pid) => {
                say(format_args!("Process {name} created; pid = {pid}"));
                self.met(pid)
            }
            Err(error) => {
                say(format_args!("cannot start {name}: {error}"));
                Answer::error()
            }
        }
    }

    /// The stop at which a client meets a process.
    fn met(&mut self, pid: Pid) -> Answer {
        let process = self.server.inferiors.get(pid).ok();
        let first = process.and_then(|process| process.threads.first());
        let Some((tid, told)) = first.map(|first| (first.tid, first.told.clone())) else {
            return Answer::error();
        };
        self.general = Some((pid, tid));
        self.stop_reply(pid, tid, &told.unwrap_or(Stop::Trap)).into()
    }

    pub(super) fn attach(&mut self, pid: Pid) -> Answer {
        match self.server.inferiors.attach(pid) {
            Ok(()) => {
                say(format_args!("Attached; pid = {pid}"));
                let answer = self.met(pid);
                if self.server.inferiors.wishes.non_stop {
                    return self.server.inferiors.run_attached(pid).into();
                }
                answer
            }
            Err(error) => {
                say(format_args!("cannot attach to process {pid}: {error}"));
                Answer::error()
            }
        }
    }

    pub(super) fn is_attached(&mut self, pid: Option<Pid>) -> Answer {
        let Some(pid) = pid.or_else(|| self.current_process()) else { return Answer::error() };
        match self.server.inferiors.get(pid).map(|process| process.origin) {
            Ok(Origin::Attached) => Answer::Text("1".to_string()),
            Ok(Origin::Started) => Answer::Text("0".to_string()),
            Err(error) => error.into(),
        }
    }

    pub(super) fn detach(&mut self, pid: Option<Pid>, stay_stopped: bool) -> Answer {
        let Some(pid) = pid.filter(|&pid| self.server.inferiors.at(pid).is_some()) else {
            return Answer::error();
        };
        say(format_args!("Detaching from process {pid}"));
        let result = self.server.inferiors.detach(pid, stay_stopped);
        if let Err(error) = &result {
            say(format_args!("cannot let process {pid} go: {error}"));
        }
        self.forget(pid);
        result.into()
    }

    pub(super) fn kill_process(&mut self, pid: Pid) -> Answer {
        if self.server.inferiors.at(pid).is_none() {
            return Answer::error();
        }
        say(format_args!("Killing process(es): {pid}"));
        let answer = self.server.inferiors.kill(pid).into();
        self.forget(pid);
        answer
    }

    /// `k`, which has no answer for gdb.
    pub(super) fn kill_all(&mut self) -> Answer {
        let pids: Vec<Pid> = self.server.inferiors.all.iter().map(|process| process.pid).collect();
        for pid in pids {
            let _ = self.kill_process(pid);
        }
        if !self.extended && !self.server.options.multi {
            self.exit();
        }
        // lldb waits for a word, and gdb would take it for the answer to its next packet.
        match self.lists_threads {
            true => Answer::Text("X09".to_string()),
            false => Answer::Nothing,
        }
    }

    /// Neither has `R`.
    pub(super) fn restart(&mut self) -> Answer {
        if !self.extended {
            return Answer::unknown();
        }
        let program = self.server.inferiors.launch.program.clone();
        if let Some(pid) = self.current_process() {
            let _ = self.kill_process(pid);
        }
        if !program.is_empty() {
            match self.server.inferiors.start(program) {
                Ok(pid) => drop(self.met(pid)),
                Err(error) => say(format_args!("cannot start it again: {error}")),
            }
        }
        Answer::Nothing
    }
}
