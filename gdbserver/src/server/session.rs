//! One connection, from its first packet to its last.

use std::collections::VecDeque;

use trapline::{Pid, Tid};

use crate::inferiors::{News, Stop};
use crate::packet::{Id, ThreadId, parse};
use crate::wire::{Connection, Input};

use super::Server;
use super::answers::Answer;

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Close {
    /// The client has gone, or the line broke.
    Lost,
    /// The server is to end.
    Exit,
}

/// A stop that the client is told of in non-stop mode.
pub(super) struct Queued {
    pub(super) reply: String,
    /// The thread, and the child of its fork.
    pub(super) thread: Option<(Pid, Tid)>,
    pub(super) child: Option<Pid>,
}

/// A thread that the client has chosen, if it has.
type Chosen = Option<(Pid, Tid)>;

/// A connection.
pub(super) struct Session<'a> {
    pub(super) server: &'a mut Server,
    pub(super) line: Connection,
    /// Processes are named with threads.
    pub(super) multiprocess: bool,
    /// The reasons of stops that the client knows.
    pub(super) software_reason: bool,
    pub(super) hardware_reason: bool,
    /// The server stays when the last process has ended.
    pub(super) extended: bool,
    /// The thread that questions are about.
    pub(super) general: Chosen,
    /// The thread that `c` and `s` are about.
    pub(super) resumed: Chosen,
    /// In all-stop mode, the client waits for a stop.
    pub(super) awaits: bool,
    /// Ctrl-C came while everything stood still.
    pub(super) interrupted: bool,
    /// Stops that the client has yet to be told of, the first of which it was told of.
    pub(super) unacknowledged: VecDeque<Queued>,
    /// What is read piece by piece.
    pub(super) object: Option<(Vec<u8>, Vec<u8>)>,
    /// Threads that are still to be listed.
    pub(super) listing: VecDeque<String>,
    /// Whose view of the file system names are looked up in.
    pub(super) file_system: i32,
    /// lldb: a stop lists all threads.
    pub(super) lists_threads: bool,
    pub(super) close: Option<Close>,
}

impl<'a> Session<'a> {
    pub(super) fn new(server: &'a mut Server, line: Connection) -> Self {
        let general = server.inferiors.known().next();
        let general = general.and_then(|process| Some((process.pid, process.threads.first()?.tid)));
        Session {
            server,
            line,
            multiprocess: false,
            software_reason: false,
            hardware_reason: false,
            extended: false,
            general,
            resumed: None,
            awaits: false,
            interrupted: false,
            unacknowledged: VecDeque::new(),
            object: None,
            listing: VecDeque::new(),
            file_system: 0,
            lists_threads: false,
            close: None,
        }
    }

    /// Answers until the client goes.
    pub(super) fn converse(mut self) -> Result<Close, String> {
        loop {
            match self.turn() {
                Ok(()) => {}
                Err(Failure::Line) => return Ok(Close::Lost),
                Err(Failure::Tracer(error)) => return Err(error.to_string()),
            }
            if let Some(close) = self.close {
                return Ok(close);
            }
        }
    }

    /// Waits for the client or for the programs, and does what that asks for.
    fn turn(&mut self) -> Result<(), Failure> {
        let non_stop = self.server.inferiors.wishes.non_stop;
        if non_stop {
            self.server.inferiors.take_in()?;
            self.notify()?;
        }
        let runs = self.awaits || non_stop && self.server.inferiors.anything_runs();
        let input = match runs {
            true => self.line.poll()?,
            false => self.line.wait()?,
        };
        match input {
            Input::Packet(body) => {
                self.packet(&body)?;
                if non_stop {
                    self.server.inferiors.give_back()?;
                }
                Ok(())
            }
            Input::TooLong => Ok(self.line.answer(b"E01")?),
            Input::Interrupt => self.interrupt(),
            Input::Closed => {
                self.close = Some(Close::Lost);
                Ok(())
            }
            Input::Nothing if non_stop => Ok(self.server.inferiors.wait_once()?),
            Input::Nothing => match self.server.inferiors.wait()? {
                Some(news) => {
                    self.awaits = false;
                    let reply = self.news(news);
                    Ok(self.line.answer(reply.as_bytes())?)
                }
                None => Ok(()),
            },
        }
    }

    fn packet(&mut self, body: &[u8]) -> Result<(), Failure> {
        let answer = match parse(body) {
            Ok(packet) => self.handle(packet),
            Err(_) => Answer::Text("E01".to_string()),
        };
        match answer {
            Answer::Nothing => {}
            Answer::Text(text) => self.line.answer(text.as_bytes())?,
            Answer::Bytes(bytes) => self.line.answer(&bytes)?,
            Answer::LastAcknowledged => {
                self.line.answer(b"OK")?;
                self.line.stop_acknowledging();
            }
        }
        Ok(())
    }

    /// Ctrl-C between two packets.
    pub(super) fn interrupt(&mut self) -> Result<(), Failure> {
        let preferred = self.general.map(|(pid, _)| pid);
        match self.awaits || self.server.inferiors.wishes.non_stop {
            true => Ok(self.server.inferiors.interrupt(preferred)?),
            false => {
                self.interrupted = true;
                Ok(())
            }
        }
    }

    /// In non-stop mode: the client is told that there are stops, and asks for the rest.
    fn notify(&mut self) -> Result<(), Failure> {
        while let Some(news) = self.server.inferiors.next_news() {
            let is_first = self.unacknowledged.is_empty();
            let (thread, child) = match &news {
                News::Stopped { pid, tid, stop: Stop::Forked { child, .. } } => {
                    (Some((*pid, *tid)), Some(*child))
                }
                News::Stopped { pid, tid, .. } => (Some((*pid, *tid)), None),
                _ => (None, None),
            };
            let reply = self.news(news);
            if is_first {
                self.line.notify(format!("Stop:{reply}").as_bytes())?;
            }
            self.unacknowledged.push_back(Queued { reply, thread, child });
        }
        Ok(())
    }

    /// What the client is told of something that has happened.
    fn news(&mut self, news: News) -> String {
        if let (News::Stopped { pid, tid, .. }, false) =
            (&news, self.server.inferiors.wishes.non_stop)
        {
            self.general = Some((*pid, *tid));
        }
        match news {
            News::Stopped { pid, tid, stop } => self.stop_reply(pid, tid, &stop),
            News::ThreadExited { pid, tid } => format!("w0;{}", self.name(pid, tid)),
            News::Exited { pid, status } => {
                self.forget(pid);
                self.end_reply(pid, status)
            }
            News::NothingRuns if self.server.inferiors.wishes.no_resumed => "N".to_string(),
            News::NothingRuns => "W00".to_string(),
        }
    }

    /// A process is no more: the current thread is another one.
    pub(super) fn forget(&mut self, pid: Pid) {
        if self.general.is_some_and(|(of, _)| of == pid) {
            self.general = None;
        }
        if self.resumed.is_some_and(|(of, _)| of == pid) {
            self.resumed = None;
        }
    }

    /// How a client names a thread.
    pub(super) fn name(&self, pid: Pid, tid: Tid) -> String {
        match self.multiprocess {
            true => format!("p{:x}.{:x}", pid.as_raw(), tid.as_raw()),
            false => format!("{:x}", tid.as_raw()),
        }
    }

    /// The thread that a client names; of several, the first.
    pub(super) fn find_thread(&self, id: ThreadId) -> Option<(Pid, Tid)> {
        let process = id.process.unwrap_or(match (id.thread, self.general) {
            // A thread alone is of any process.
            (Id::One(_), _) | (_, None) => Id::Any,
            (_, Some((pid, _))) => Id::One(pid.as_raw()),
        });
        let of_process = |pid: Pid| process.covers(pid.as_raw());
        let threads = self.server.inferiors.known().filter(|known| of_process(known.pid));
        let mut threads = threads
            .flat_map(|known| known.threads.iter().map(move |thread| (known.pid, thread.tid)));
        threads.find(|(_, tid)| id.thread.covers(tid.as_raw()))
    }
}

/// What ends a session.
#[derive(Debug)]
pub(super) enum Failure {
    /// The line broke.
    Line,
    Tracer(trapline::Error),
}

impl From<std::io::Error> for Failure {
    fn from(_: std::io::Error) -> Self {
        Failure::Line
    }
}

impl From<trapline::Error> for Failure {
    fn from(error: trapline::Error) -> Self {
        Failure::Tracer(error)
    }
}
