//! Packets as clients send them, and such as none does.

use super::*;

fn parsed(text: &str) -> Result<Packet, Malformed> {
    parse(text.as_bytes())
}

#[test]
fn plain_ones() {
    assert_eq!(parsed("!"), Ok(Packet::Extended));
    assert_eq!(parsed("?"), Ok(Packet::WhyStopped));
    assert_eq!(parsed("g"), Ok(Packet::ReadRegisters));
    assert_eq!(parsed("p1f"), Ok(Packet::ReadRegister(31)));
    assert_eq!(parsed("P0=00ff"), Ok(Packet::WriteRegister(0, vec![0, 255])));
    assert_eq!(parsed("m400000,10"), Ok(Packet::ReadMemory { addr: 0x40_0000, len: 16 }));
    assert_eq!(parsed("M10,2:abcd"), Ok(Packet::WriteMemory { addr: 16, data: vec![0xab, 0xcd] }));
    assert_eq!(parsed("X10,2:ab"), Ok(Packet::WriteMemory { addr: 16, data: b"ab".to_vec() }));
    assert_eq!(parsed("D"), Ok(Packet::Detach { process: None, stay_stopped: false }));
    assert_eq!(parsed("D;1f"), Ok(Packet::Detach { process: Some(31), stay_stopped: false }));
    assert_eq!(parsed("D1"), Ok(Packet::Detach { process: None, stay_stopped: true }));
    assert_eq!(parsed("R00"), Ok(Packet::Restart));
}

#[test]
fn threads() {
    let thread = |text: &str| match parsed(&format!("T{text}")) {
        Ok(Packet::IsAlive(thread)) => Some((thread.process, thread.thread)),
        _ => None,
    };
    assert_eq!(thread("p10.1f"), Some((Some(Id::One(16)), Id::One(31))));
    assert_eq!(thread("p10.-1"), Some((Some(Id::One(16)), Id::All)));
    assert_eq!(thread("p10"), Some((Some(Id::One(16)), Id::All)));
    assert_eq!(thread("p-1.-1"), Some((Some(Id::All), Id::All)));
    assert_eq!(thread("0"), Some((None, Id::Any)));
    assert_eq!(thread("-1"), Some((None, Id::All)));
    for wrong in ["", "p", "p1.", "px", "-2", "p-1.5", "fffffffff", "p1.2.3"] {
        assert_eq!(thread(wrong), None, "{wrong}");
    }
}

#[test]
fn resumptions() {
    let ones = "vCont;s:p1.2;C0a:p1.-1;r10,20:p3.4;t:5;c";
    let Ok(Packet::ResumeThreads(actions)) = parsed(ones) else { panic!("{:?}", parsed(ones)) };
    let kinds: Vec<Action> = actions.iter().map(|action| action.action.clone()).collect();
    assert_eq!(
        kinds,
        [
            Action::Step(None),
            Action::Continue(Some(10)),
            Action::StepWithin(0x10..0x20),
            Action::Stop,
            Action::Continue(None)
        ]
    );
    assert_eq!(actions.last().map(|action| action.thread), Some(ThreadId::ALL));
    assert_eq!(
        parsed("C05;400"),
        Ok(Packet::Resume { action: Action::Continue(Some(5)), addr: Some(0x400) })
    );
    for wrong in ["vCont", "vCont;", "vCont;x", "vCont;C", "vCont;r1", "vCont;c:p", "s-1", "C"] {
        assert_eq!(parsed(wrong), Err(Malformed), "{wrong}");
    }
}

#[test]
fn points() {
    let Ok(Packet::Insert(point)) = parsed("Z0,401000,1;X3,222b27X2,0027;cmds:1,X1,27") else {
        panic!("a breakpoint")
    };
    assert_eq!((point.kind, point.addr, point.len), (PointKind::Software, 0x40_1000, 1));
    assert_eq!(point.conditions.len(), 2);
    assert_eq!(point.commands, [Expression::new(vec![0x27])]);
    assert!(point.persists);
    for wrong in ["Z", "Z5,1,1", "Z0,1", "Z0,1,1;Y", "Z0,1,1;X9,22", "Z0,1,1;Xffffffffffffffff,"] {
        assert_eq!(parsed(wrong), Err(Malformed), "{wrong}");
    }
}

#[test]
fn questions_and_settings() {
    assert_eq!(
        parsed("qXfer:features:read:target.xml:0,ffb"),
        Ok(Packet::Query(Query::Read {
            object: b"features".to_vec(),
            annex: b"target.xml".to_vec(),
            offset: 0,
            len: 0xffb
        }))
    );
    assert_eq!(
        parsed("qXfer:siginfo:write::10:abc"),
        Ok(Packet::Query(Query::Write {
            object: b"siginfo".to_vec(),
            annex: Vec::new(),
            offset: 16,
            data: b"abc".to_vec()
        }))
    );
    assert_eq!(parsed("QCatchSyscalls:0"), Ok(Packet::Set(Setting::CatchSyscalls(None))));
    let some = Setting::CatchSyscalls(Some(vec![1, 0x3b]));
    assert_eq!(parsed("QCatchSyscalls:1;1;3b"), Ok(Packet::Set(some)));
    assert_eq!(parsed("QPassSignals:e;10"), Ok(Packet::Set(Setting::PassSignals(vec![14, 16]))));
    assert_eq!(parsed("QNonStop:2"), Err(Malformed));
    assert_eq!(parsed("qUnheardOf:1"), Ok(Packet::Unknown));
    assert_eq!(parsed("vMustReplyEmpty"), Ok(Packet::Unknown));
    assert_eq!(parsed(""), Ok(Packet::Unknown));
}

/// Packets to start from.
const SEEDS: &[&str] = &[
    "!",
    "?",
    "g",
    "G0011",
    "p1f",
    "P0=00ff",
    "m400000,10",
    "M10,2:abcd",
    "X10,2:ab",
    "x10,4",
    "Hgp1.2",
    "Tp1.-1",
    "D;1f",
    "R00",
    "k",
    "vCont?",
    "vCont;s:p1.2;C0a:p1.-1;r10,20:p3.4;c",
    "vRun;2f62696e;61",
    "vAttach;10",
    "vKill;10",
    "vFile:open:2f,0,1c0",
    "vFile:pread:5,100,0",
    "vFile:setfs:0",
    "vFile:pwrite:5,0,abc",
    "Z0,401000,1;X3,222b27;cmds:1,X1,27",
    "z2,401000,8",
    "qSupported:multiprocess+;swbreak+;xmlRegisters=i386",
    "qXfer:features:read:target.xml:0,ffb",
    "qXfer:siginfo:write::10:abc",
    "QCatchSyscalls:1;1;3b",
    "QPassSignals:e;10",
    "QNonStop:1",
    "qGetTLSAddr:p1.2,0,7fff",
    "qSearch:memory:10;20;abc",
    "qCRC:10,20",
    "qRcmd:68656c70",
    "qSymbol::",
    "qAttached:10",
    "qThreadExtraInfo,p1.2",
    "QEnvironmentHexEncoded:413d42",
    "QSetWorkingDir:2f",
    "qMemoryRegionInfo:4000",
    "qRegisterInfo1f",
    "jThreadsInfo",
    "C05;400",
];

/// xorshift64*
struct Random(u64);

impl Random {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % below.max(1)
    }
}

/// One of the seeds, changed a little.
fn mutated(random: &mut Random) -> Vec<u8> {
    let seed = |random: &mut Random| SEEDS[random.next(SEEDS.len())].as_bytes().to_vec();
    let mut packet = seed(random);
    for _ in 0..random.next(6) {
        let at = random.next(packet.len() + 1);
        match random.next(6) {
            0 => packet.truncate(at),
            1 => packet.insert(at, random.next(256) as u8),
            2 => packet.insert(at, b"0fF-,;:=.p#X"[random.next(12)]),
            3 => {
                let other = seed(random);
                packet.splice(at.., other.into_iter().skip(random.next(8)));
            }
            4 if at < packet.len() => packet[at] = random.next(256) as u8,
            5 if at < packet.len() => drop(packet.remove(at)),
            _ => {}
        }
    }
    packet
}

/// Nothing that is sent makes the parser, or an expression in it, panic. More of them with
/// `TRAPLINE_PACKETS`.
#[test]
fn mutated_packets_are_parsed_or_refused() {
    struct Nothing;
    impl Machine for Nothing {
        fn register(&mut self, number: u16) -> Option<u64> {
            Some(number.into())
        }
        fn read(&mut self, addr: u64, buf: &mut [u8]) -> bool {
            buf.fill(addr as u8);
            true
        }
        fn print(&mut self, _: &[u8], _: &[u64]) {}
    }
    let count = std::env::var("TRAPLINE_PACKETS").ok().and_then(|count| count.parse().ok());
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut known = 0;
    for _ in 0..count.unwrap_or(100_000) {
        let packet = mutated(&mut random);
        match parse(&packet) {
            Ok(Packet::Unknown) | Err(Malformed) => {}
            Ok(Packet::Insert(point)) => {
                known += 1;
                for expression in point.conditions.iter().chain(&point.commands) {
                    expression.evaluate(&mut Nothing);
                }
            }
            Ok(_) => known += 1,
        }
        let mut decoder = crate::wire::Decoder::default();
        let framed = crate::wire::frame(&crate::wire::escape(&packet));
        let received = framed.iter().filter_map(|&byte| decoder.push(byte)).last();
        assert_eq!(received, Some(crate::wire::Received::Packet(packet)));
    }
    assert!(known > 0);
}
