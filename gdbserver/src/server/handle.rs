//! What is done for each packet.

use trapline::{Error, Pid, Tid};

use crate::inferiors::Stop;
use crate::options::Disabled;
use crate::packet::{Action, Id, Packet, Query, ThreadAction, ThreadId};

use super::answers::Answer;
use super::session::{Close, Queued, Session};

impl Session<'_> {
    /// Does what a packet asks for.
    pub(super) fn handle(&mut self, packet: Packet) -> Answer {
        match packet {
            Packet::Unknown => Answer::unknown(),
            Packet::Extended => {
                self.extended = true;
                Answer::ok()
            }
            Packet::WhyStopped => self.why_stopped(),
            Packet::SelectThread { operation, thread } => self.select(operation, thread),
            Packet::IsAlive(thread) => match self.find_thread(thread) {
                Some((pid, tid)) if self.server.inferiors.is_alive(pid, tid) => Answer::ok(),
                _ => Answer::error(),
            },
            Packet::ReadRegisters => self.read_registers(),
            Packet::WriteRegisters(data) => self.write_all_registers(&data),
            Packet::ReadRegister(number) => self.read_register(number),
            Packet::WriteRegister(number, value) => self.write_register(number, &value),
            Packet::ReadMemory { addr, len } => self.read_memory(addr, len),
            Packet::ReadBinary { addr, len } => self.read_binary(addr, len),
            Packet::WriteMemory { addr, data } => self.write_memory(addr, &data),
            Packet::Insert(point) => match self.current_process() {
                Some(pid) => self.server.inferiors.insert(pid, &point).into(),
                None => Answer::error(),
            },
            Packet::Remove(point) => match self.current_process() {
                Some(pid) => self.server.inferiors.remove(pid, &point).into(),
                None => Answer::error(),
            },
            Packet::Resume { action, addr } => self.resume_current(action, addr),
            Packet::WhatResumes | Packet::ResumeThreads(_) if self.disables(Disabled::Resume) => {
                Answer::unknown()
            }
            Packet::WhatResumes => Answer::Text("vCont;c;C;s;S;t;r".to_string()),
            Packet::ResumeThreads(actions) => self.resume(&actions),
            Packet::Interrupt => self.interrupt_by_packet(),
            Packet::NextStop => self.next_stop(),
            Packet::KillProcess(pid) => {
                Pid::new(pid).map_or_else(Answer::error, |pid| self.kill_process(pid))
            }
            Packet::Kill => self.kill_all(),
            Packet::Restart => self.restart(),
            Packet::Run(words) => self.run(words),
            Packet::Attach(pid) => Pid::new(pid).map_or_else(Answer::error, |pid| self.attach(pid)),
            Packet::Detach { process, stay_stopped } => {
                let process = process.and_then(Pid::new).or_else(|| self.current_process());
                self.detach(process, stay_stopped)
            }
            Packet::File(request) => self.file(request),
            Packet::Query(query) => self.query(query),
            Packet::Set(setting) => self.set(setting),
            Packet::Lldb(request) => self.lldb(request),
        }
    }

    pub(super) fn disables(&self, packet: Disabled) -> bool {
        self.server.options.disables(packet)
    }

    fn query(&mut self, query: Query) -> Answer {
        match query {
            Query::Supported(features) => self.supported(&features),
            Query::CurrentThread if self.disables(Disabled::CurrentThread) => Answer::unknown(),
            Query::FirstThreads if self.disables(Disabled::ThreadList) => Answer::unknown(),
            Query::CurrentThread => match self.current() {
                Some((pid, tid)) => format!("QC{}", self.name(pid, tid)).into(),
                None => Answer::unknown(),
            },
            Query::FirstThreads => self.first_threads(),
            Query::MoreThreads => self.more_threads(),
            Query::Attached(pid) => self.is_attached(pid.and_then(Pid::new)),
            Query::ThreadInfo(thread) => self.thread_info(thread),
            Query::Read { object, annex, offset, len } => {
                self.read_object(&object, &annex, offset, len)
            }
            Query::Write { object, annex, offset, data } => {
                self.write_object(&object, &annex, offset, &data)
            }
            Query::Symbol { name, value } => self.symbol(name, value),
            Query::ThreadLocal { thread, offset, module } => {
                self.thread_local(thread, offset, module)
            }
            Query::Search { addr, len, pattern } => self.search(addr, len, &pattern),
            Query::Checksum { addr, len } => self.checksum(addr, len),
            Query::Monitor(command) => self.monitor(&command),
            // There are no tracepoints.
            Query::TraceStatus => Answer::unknown(),
            Query::Offsets => Answer::unknown(),
        }
    }

    /// The thread that questions are about: the one that was chosen, or any one.
    pub(super) fn current(&mut self) -> Option<(Pid, Tid)> {
        let inferiors = &self.server.inferiors;
        if let Some((pid, tid)) = self.general {
            if inferiors.thread(pid, tid).is_ok() {
                return self.general;
            }
            // Its process, as long as there is one.
            let first = inferiors.get(pid).ok().and_then(|process| process.threads.first());
            if let Some(first) = first {
                self.general = Some((pid, first.tid));
                return self.general;
            }
        }
        self.general = self.find_thread(ThreadId::ALL);
        self.general
    }

    /// The process that questions are about.
    pub(super) fn current_process(&mut self) -> Option<Pid> {
        self.current().map(|(pid, _)| pid)
    }

    fn select(&mut self, operation: u8, thread: ThreadId) -> Answer {
        let named =
            matches!(thread.thread, Id::One(_)) || matches!(thread.process, Some(Id::One(_)));
        let found = self.find_thread(thread);
        match operation {
            b'c' => self.resumed = found.filter(|_| named),
            // Whichever it is now is one of any.
            b'g' if !named && self.current().is_some() => {}
            b'g' => self.general = found,
            _ => return Answer::unknown(),
        }
        if found.is_none() && named { Answer::error() } else { Answer::ok() }
    }

    fn why_stopped(&mut self) -> Answer {
        if self.server.inferiors.wishes.non_stop {
            return self.all_stops();
        }
        // The current thread has a reason, or another one has.
        let told = |session: &Self, (pid, tid)| {
            session.server.inferiors.thread(pid, tid).ok().and_then(|thread| thread.told.clone())
        };
        let current = self.current();
        let with_reason = current.filter(|&at| told(self, at).is_some()).or_else(|| {
            let inferiors = &self.server.inferiors;
            let mut threads = inferiors
                .known()
                .flat_map(|process| process.threads.iter().map(|thread| (process.pid, thread)));
            let found = threads.find(|(_, thread)| thread.told.is_some());
            found.map(|(pid, thread)| (pid, thread.tid))
        });
        let Some((pid, tid)) = with_reason.or(current) else {
            return Answer::Text("W00".to_string());
        };
        self.general = Some((pid, tid));
        let stop = told(self, (pid, tid)).unwrap_or(Stop::Trap);
        // What was told and is over is not told as new again.
        let stop = match stop {
            Stop::Forked { .. } | Stop::VforkDone | Stop::Execed(_) | Stop::ThreadStarted => {
                Stop::Trap
            }
            stop => stop,
        };
        self.stop_reply(pid, tid, &stop).into()
    }

    /// Non-stop: all threads that stand still, one by one.
    fn all_stops(&mut self) -> Answer {
        let known = self.server.inferiors.known();
        let at_rest: Vec<(Pid, Tid, Stop)> = known
            .flat_map(|process| process.threads.iter().map(|thread| (process.pid, thread)))
            .filter(|(_, thread)| thread.wants == crate::inferiors::Wants::Nothing)
            .map(|(pid, thread)| {
                let stop = thread.told.clone().unwrap_or(Stop::Quiet);
                (pid, thread.tid, stop)
            })
            .collect();
        let queued = at_rest.iter().map(|(pid, tid, stop)| {
            let reply = self.stop_reply(*pid, *tid, stop);
            Queued { reply, thread: Some((*pid, *tid)), child: None }
        });
        self.unacknowledged = queued.collect();
        self.first_stop()
    }

    fn first_stop(&self) -> Answer {
        match self.unacknowledged.front() {
            Some(first) => first.reply.clone().into(),
            None => Answer::ok(),
        }
    }

    fn next_stop(&mut self) -> Answer {
        self.unacknowledged.pop_front();
        self.first_stop()
    }

    pub(super) fn resume(&mut self, actions: &[ThreadAction]) -> Answer {
        let non_stop = self.server.inferiors.wishes.non_stop;
        let mut unheard = Vec::new();
        for queued in &self.unacknowledged {
            unheard.extend(queued.thread.map(|(pid, tid)| (pid, Some(tid))));
            unheard.extend(queued.child.map(|pid| (pid, None)));
        }
        match self.server.inferiors.resume(actions, &unheard) {
            Ok(()) => {}
            Err(Error::Gone { .. }) => {}
            Err(error) => return error.into(),
        }
        if non_stop {
            return Answer::ok();
        }
        self.awaits = true;
        if std::mem::take(&mut self.interrupted) && self.interrupt().is_err() {
            return Answer::error();
        }
        Answer::Nothing
    }

    /// `c` and `s`, for clients without `vCont`.
    fn resume_current(&mut self, action: Action, addr: Option<u64>) -> Answer {
        let Some((pid, tid)) = self.resumed.or_else(|| self.current()) else {
            return Answer::error();
        };
        if let Some(addr) = addr {
            let [.., pc] = self.server.inferiors.layout(pid).first_asked();
            let moved =
                self.server.inferiors.write_registers(pid, tid, &[(pc, &addr.to_le_bytes())]);
            if let Err(error) = moved {
                return error.into();
            }
        }
        let process = Some(Id::One(pid.as_raw()));
        let thread = ThreadId { process, thread: Id::One(tid.as_raw()) };
        let mut actions = vec![ThreadAction { action, thread }];
        if self.resumed.is_none() {
            let action = Action::Continue(None);
            actions.push(ThreadAction { action, thread: ThreadId { process, thread: Id::All } });
        }
        self.resume(&actions)
    }

    fn interrupt_by_packet(&mut self) -> Answer {
        match self.interrupt() {
            Ok(()) => Answer::ok(),
            Err(_) => Answer::error(),
        }
    }

    /// The server is to end.
    pub(super) fn exit(&mut self) {
        self.close = Some(Close::Exit);
    }
}
