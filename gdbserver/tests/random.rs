//! Packets that resume, stop, let go and end programs, in any order, right and wrong: each is answered,
//! no program is lost, and nobody else's is touched. `TRAPLINE_PACKETS` says how many,
//! and `TRAPLINE_SEED` which.
//!
//! What would have a program do anything at all is left out: memory, registers, and addresses to go
//! to.

use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;

use crate::program::{DEBUGGEE, Server};
use crate::rsp::Client;
use crate::session::{Guard, anywhere, listen};

crate::tests![packets_that_resume_lose_no_program];

/// xorshift64
struct Random(u64);

impl Random {
    fn below(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 33) as usize % below
    }

    fn one<'a, T: ?Sized>(&mut self, of: &[&'a T]) -> &'a T {
        of[self.below(of.len())]
    }
}

/// Starts a fixture that this test debugs, or leaves alone.
fn start(fixture: &str) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.env(DEBUGGEE, fixture).stdin(Stdio::null()).stdout(Stdio::null());
    command.spawn().unwrap()
}

/// A session, and what it may touch.
struct Play {
    client: Client,
    random: Random,
    /// To be attached to.
    own: Vec<Guard>,
    /// Processes that were seen with the server.
    debugged: Vec<u32>,
}

/// The pid in a thread's name.
fn pid_of(thread: &str) -> u32 {
    let digits = thread.trim_start_matches('p').split('.').next().unwrap();
    u32::from_str_radix(digits, 16).unwrap()
}

impl Play {
    fn threads(&mut self) -> Vec<String> {
        let mut threads = Vec::new();
        let mut list = self.client.ask("qfThreadInfo");
        while let Some(more) = list.strip_prefix('m') {
            threads.extend(more.split(',').map(str::to_string));
            list = self.client.ask("qsThreadInfo");
        }
        assert_eq!(list, "l");
        for pid in threads.iter().map(|thread| pid_of(thread)) {
            if !self.debugged.contains(&pid) {
                self.debugged.push(pid);
            }
        }
        threads
    }

    /// A thread's name, which may be nobody's.
    fn name(&mut self, threads: &[String]) -> String {
        match self.random.below(8) {
            0 => "p-1.-1".to_string(),
            1 => format!("p{:x}.-1", pid_of(&threads[self.random.below(threads.len())])),
            2 => format!("p{:x}.{:x}", std::process::id(), self.random.below(40_000)),
            3 => "0".to_string(),
            _ => threads[self.random.below(threads.len())].clone(),
        }
    }

    /// One of gdb's signals: most of them end the fixture.
    fn signal(&mut self) -> String {
        let number = match self.random.below(6) {
            0 => self.random.below(256),
            _ => self.random.below(32),
        };
        format!("{number:02x}")
    }

    fn resumption(&mut self, threads: &[String]) -> String {
        if self.random.below(4) == 0 {
            let signal = self.signal();
            let kind = self.random.one(&["c", "s", "C", "S"]);
            return match kind {
                "c" | "s" => kind.to_string(),
                _ => format!("{kind}{signal}"),
            };
        }
        let mut packet = "vCont".to_string();
        for _ in 0..=self.random.below(3) {
            packet += ";";
            match self.random.below(8) {
                0 => packet += "t",
                1 => packet += "r400000,7fffffffffff",
                2 => packet += &format!("C{}", self.signal()),
                3 => packet += &format!("S{}", self.signal()),
                4 | 5 => packet += "s",
                _ => packet += "c",
            }
            if self.random.below(3) > 0 {
                packet += ":";
                packet += &self.name(threads);
            }
        }
        if self.random.below(10) == 0 {
            let at = self.random.below(packet.len());
            packet.truncate(at.max(5));
        }
        packet
    }

    /// In all-stop mode a resumption is answered by a stop, at the latest after a Ctrl-C.
    fn resume(&mut self, packet: &str, non_stop: bool) -> String {
        self.client.send(packet);
        if !non_stop {
            self.client.interrupt();
        }
        self.client.receive()
    }

    fn attach(&mut self) {
        let child = Guard(start("calls"));
        self.client.ask(&format!("vAttach;{:x}", child.0.id()));
        self.own.push(child);
    }

    /// Whatever was let go ends here.
    fn end_what_is_free(&mut self) {
        let threads = self.threads();
        for pid in std::mem::take(&mut self.debugged) {
            if threads.iter().any(|thread| pid_of(thread) == pid) {
                self.debugged.push(pid);
            } else {
                // SAFETY: ends a fixture, which the server has had, or has waited for a moment ago.
                unsafe { libc::kill(pid as i32, libc::SIGKILL) };
            }
        }
        self.own.retain_mut(|child| child.0.try_wait().unwrap().is_none());
    }
}

fn packets_that_resume_lose_no_program() {
    let number = |name: &str| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    let packets = number("TRAPLINE_PACKETS").unwrap_or(300);
    let seed = number("TRAPLINE_SEED").unwrap_or(0x9e37_79b9_7f4a_7c15);
    let mut bystander = Guard(start("calls"));
    let mut command = Server::Ours.command();
    command.args(["--once", "--multi", &anywhere()]).env(DEBUGGEE, "threads");
    let listening = listen(command, channel().0);
    let features = "swbreak+;hwbreak+;vContSupported+;no-resumed+;fork-events+;exec-events+";
    let client = Client::with(&listening.at, features);
    let mut play = Play { client, random: Random(seed), own: Vec::new(), debugged: Vec::new() };
    let this: String = std::env::current_exe()
        .unwrap()
        .to_str()
        .unwrap()
        .bytes()
        .map(|b| format!("{b:02x}"))
        .collect();
    let (mut non_stop, mut stops) = (false, 0);
    for _ in 0..packets {
        let threads = play.threads();
        if threads.is_empty() {
            let reply = play.client.ask(&format!("vRun;{this}"));
            assert!(reply.starts_with('T'), "{reply}");
            continue;
        }
        let thread = play.name(&threads);
        let pid = pid_of(&threads[play.random.below(threads.len())]);
        match play.random.below(40) {
            0 => drop(play.client.ask(&format!("vKill;{pid:x}"))),
            1 => {
                let reply = play.client.ask(&format!("D;{pid:x}"));
                // One that runs may have ended meanwhile.
                assert!(reply == "OK" || non_stop, "{reply}");
                play.end_what_is_free();
            }
            2 if threads.len() < 20 => play.attach(),
            3 => {
                // Not of the server's, and not attached to.
                let strange = bystander.0.id();
                let packet = play.random.one(&["vKill;", "D;", "vCont;k:p", "Hgp", "Tp"]);
                let reply = play.client.ask(&format!("{packet}{strange:x}"));
                assert!(reply.starts_with('E') || reply.is_empty(), "{packet}: {reply}");
            }
            4 => {
                let on = play.random.below(2) == 1;
                assert_eq!(play.client.ask(&format!("QNonStop:{}", u8::from(on))), "OK");
                non_stop = on;
            }
            5 => drop(play.client.ask("?")),
            6 => drop(play.client.ask(&format!("Hg{thread}"))),
            7 => drop(play.client.ask(&format!("Hc{thread}"))),
            8 => drop(play.client.ask(play.random.one(&["g", "p10", "qC", "vCont?", "T1", "!"]))),
            9 => drop(play.client.ask("QPassSignals:e;10;14")),
            10 => drop(play.client.ask(&format!("QThreadEvents:{}", play.random.below(2)))),
            11 => {
                drop(play.client.ask(play.random.one(&["vStopped", "vCtrlC", "QCatchSyscalls:0"])))
            }
            _ => {
                let packet = play.resumption(&threads);
                let reply = play.resume(&packet, non_stop);
                stops += u32::from(reply.starts_with(['T', 'W', 'X']));
            }
        }
    }
    assert!(stops > 0);
    play.client.ask("QNonStop:0");
    for thread in play.threads() {
        play.client.ask(&format!("vKill;{:x}", pid_of(&thread)));
    }
    assert!(play.threads().is_empty());
    play.end_what_is_free();
    assert!(bystander.0.try_wait().unwrap().is_none(), "nobody has touched it");
    drop(play);
    let (status, _) = listening.finish();
    assert!(status.success(), "{status}");
}
