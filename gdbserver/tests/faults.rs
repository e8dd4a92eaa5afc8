//! What servers get wrong: keys and signals at the wrong moment, the dead, packets that nobody should
//! send.

use std::time::{Duration, Instant};

use crate::protocol::{RIP, debug, done, line, to_where};
use crate::rsp::field;

crate::tests![
    ctrl_c_while_the_program_stands_still,
    the_dead_still_answer,
    processes_of_others_are_left_alone,
    a_kill_has_no_answer,
    the_causes_of_stops_survive_that_breakpoints_are_inserted_again,
    mutated_packets_leave_the_program_alone,
    packets_that_are_too_long,
    answers_are_sent_again,
    a_condition_that_is_false,
    commands_of_a_breakpoint,
    memory_is_searched_and_summed,
];

fn ctrl_c_while_the_program_stands_still() {
    let (listening, mut client, written) = debug("calls");
    to_where(&mut client, &written);
    client.interrupt();
    assert!(client.ask("?").starts_with("T02"), "it has stopped for the one before");
    let reply = client.ask("vCont;c");
    assert!(reply.starts_with("T02"), "{reply}");
    let (pid, _) = client.threads();
    assert_eq!(client.ask(&format!("vKill;{pid:x}")), "OK");
    done(listening, client);
}

fn the_dead_still_answer() {
    let (listening, mut client, written) = debug("calls");
    to_where(&mut client, &written);
    let (pid, threads) = client.threads();
    let before = client.ask("g");
    let rip = client.register(&threads[0], RIP);
    // SAFETY: ends the fixture, which this test has had started.
    unsafe { libc::kill(pid as i32, libc::SIGKILL) };
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(client.ask("g"), before);
    assert_eq!(client.register(&threads[0], RIP), rip);
    assert_eq!(client.ask(&format!("T{}", threads[0])), "OK", "until the client is told");
    let reply = client.ask("vCont;c");
    assert!(reply.starts_with("X09"), "{reply}");
    done(listening, client);
}

fn processes_of_others_are_left_alone() {
    let (listening, mut client, written) = debug("calls");
    to_where(&mut client, &written);
    let own = std::process::id();
    for packet in [
        format!("vKill;{own:x}"),
        format!("D;{own:x}"),
        format!("Hgp{own:x}.{own:x}"),
        format!("Tp{own:x}.{own:x}"),
        format!("qAttached:{own:x}"),
        format!("qXfer:exec-file:read:{own:x}:0,100"),
    ] {
        let answer = client.ask(&packet);
        assert!(answer.starts_with('E'), "{packet}: {answer}");
    }
    // What names another process runs nothing of ours.
    let (pid, threads) = client.threads();
    let rip = client.register(&threads[0], RIP);
    client.send(&format!("vCont;c:p{own:x}.-1"));
    let reply = client.receive();
    assert!(reply.starts_with("W00") || reply == "N", "{reply}");
    assert_eq!(client.register(&threads[0], RIP), rip);
    assert_eq!(client.ask(&format!("vKill;{pid:x}")), "OK");
    done(listening, client);
}

fn a_kill_has_no_answer() {
    let (listening, mut client, written) = debug("calls");
    to_where(&mut client, &written);
    client.send("k");
    assert!(client.is_closed());
    let (status, _) = done(listening, client);
    assert!(status.success());
}

fn the_causes_of_stops_survive_that_breakpoints_are_inserted_again() {
    let (listening, mut client, written) = debug("threads");
    let (function, variable) = to_where(&mut client, &written);
    for round in 0..30 {
        for point in [format!("2,{variable:x},8"), format!("0,{function:x},1")] {
            assert_eq!(client.ask(&format!("Z{point}")), "OK");
        }
        let reply = client.ask("vCont;c");
        let cause = field(&reply, "watch").or(field(&reply, "swbreak"));
        assert!(reply.starts_with("T05") && cause.is_some(), "round {round}: {reply}");
        for point in [format!("2,{variable:x},8"), format!("0,{function:x},1")] {
            assert_eq!(client.ask(&format!("z{point}")), "OK");
        }
        let thread = field(&reply, "thread").unwrap().to_string();
        let reply = client.ask(&format!("vCont;s:{thread}"));
        assert_eq!(field(&reply, "thread"), Some(thread.as_str()), "{reply}");
    }
    let (pid, _) = client.threads();
    assert_eq!(client.ask(&format!("vKill;{pid:x}")), "OK");
    done(listening, client);
}

/// Packets that change nothing which the end of this test looks at. Those that write, resume or kill
/// do so even if they are misspelt.
const HARMLESS: &[&str] = &[
    "?",
    "g",
    "p1f",
    "m400000,10",
    "x10,4",
    "Hgp1.2",
    "Tp1.-1",
    "qC",
    "qfThreadInfo",
    "vCont?",
    "vFile:open:2f,0,1c0",
    "vFile:pread:5,100,0",
    "vFile:setfs:0",
    "vFile:fstat:5",
    "vFile:close:1",
    "z0,401000,1",
    "z2,401000,8",
    "Z5,1,1",
    "qSupported:multiprocess+;swbreak+;xmlRegisters=i386",
    "qXfer:features:read:target.xml:0,ffb",
    "qXfer:auxv:read::0,100",
    "qXfer:osdata:read::0,40",
    "qXfer:libraries-svr4:read:start=1;prev=2:0,100",
    "qXfer:siginfo:read::0,80",
    "qXfer:threads:read::0,100",
    "QPassSignals:e;10",
    "qGetTLSAddr:p1.2,0,7fff",
    "qSearch:memory:10;20;abc",
    "qCRC:10,20",
    "qSymbol::",
    "qAttached:10",
    "qThreadExtraInfo,p1.2",
    "QEnvironmentHexEncoded:413d42",
    "QSetWorkingDir:2f",
    "qMemoryRegionInfo:4000",
    "qRegisterInfo1f",
    "jThreadsInfo",
    "qRcmd:68656c70",
    "vMustReplyEmpty",
    "vStopped",
];

/// How many packets it is, `TRAPLINE_PACKETS` or a few.
fn count() -> u32 {
    std::env::var("TRAPLINE_PACKETS").ok().and_then(|count| count.parse().ok()).unwrap_or(3000)
}

fn mutated_packets_leave_the_program_alone() {
    let (listening, mut client, written) = debug("calls");
    to_where(&mut client, &written);
    let (pid, threads) = client.threads();
    let rip = client.register(&threads[0], RIP);
    let mut seed: u64 = 0x2545_f491_4f6c_dd1d;
    let mut random = |below: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed >> 33) as usize % below.max(1)
    };
    for _ in 0..count() {
        let mut packet = HARMLESS[random(HARMLESS.len())].as_bytes().to_vec();
        let name = packet.iter().position(|byte| !byte.is_ascii_alphabetic());
        let keep = name.unwrap_or(packet.len()).max(1);
        for _ in 0..random(5) {
            let at = keep + random(packet.len() + 1 - keep);
            match random(4) {
                0 => packet.truncate(at),
                1 => packet.insert(at, random(256) as u8),
                2 => packet.insert(at, b"0fF-,;:=.p#X"[random(12)]),
                _ if at < packet.len() => packet[at] = random(256) as u8,
                _ => {}
            }
        }
        // Those that would be another one, or that have answers of their own.
        let is_settings = packet.starts_with(b"qRcmd") || packet.starts_with(b"QStart");
        if !is_settings {
            client.ask_bytes(&packet);
        }
    }
    assert_eq!(client.ask("QPassSignals:"), "OK");
    assert!(client.ask("qSupported:multiprocess+;swbreak+;hwbreak+").contains("multiprocess+"));
    assert_eq!(client.register(&threads[0], RIP), rip);
    assert_eq!(client.threads(), (pid, threads));
    client.send("vCont;c");
    std::thread::sleep(Duration::from_millis(20));
    client.interrupt();
    let reply = client.receive();
    assert!(reply.starts_with("T02"), "{reply}");
    assert_eq!(client.ask(&format!("vKill;{pid:x}")), "OK");
    done(listening, client);
}

fn packets_that_are_too_long() {
    let (listening, mut client, written) = debug("calls");
    to_where(&mut client, &written);
    let long = "a".repeat(0x10_0000);
    assert_eq!(client.ask(&format!("qSupported:{long}")), "E01");
    assert_eq!(client.ask(&format!("vMustReplyEmpty{}", &long[..0x1_0000])), "");
    let answer = client.ask("m0,ffffffffffffffff");
    assert!(answer.starts_with('E'), "{answer}");
    let (pid, _) = client.threads();
    assert_eq!(client.ask(&format!("vKill;{pid:x}")), "OK");
    done(listening, client);
}

fn answers_are_sent_again() {
    let (listening, mut client, written) = debug("calls");
    to_where(&mut client, &written);
    // The mode without acknowledgements has been agreed upon: a refusal is no more than noise, and a
    // wrong sum is no packet.
    client.send_bytes(b"--$qC#00++");
    assert!(client.ask("qC").starts_with("QCp"));
    let (pid, _) = client.threads();
    assert_eq!(client.ask(&format!("vKill;{pid:x}")), "OK");
    done(listening, client);
}

/// Reads a number of 8 bytes.
fn number(client: &mut crate::rsp::Client, addr: u64) -> u64 {
    let digits = client.ask(&format!("m{addr:x},8"));
    u64::from_str_radix(&digits, 16).map(u64::swap_bytes).unwrap_or_else(|_| panic!("{digits}"))
}

/// An expression that reads the variable and compares it with a number of 2 bytes.
fn equals(variable: u64, value: u16) -> String {
    let code = format!("25{variable:016x}1a23{value:04x}1327");
    format!("X{:x},{code}", code.len() / 2)
}

fn a_condition_that_is_false() {
    let (listening, mut client, written) = debug("calls");
    let (function, variable) = to_where(&mut client, &written);
    // It was never so, and is never.
    let point = format!("0,{function:x},1");
    assert_eq!(client.ask(&format!("Z{point};X2,2200")), "OK", "one that fails holds");
    let reply = client.ask("vCont;c");
    assert!(field(&reply, "swbreak").is_some(), "{reply}");
    let before = number(&mut client, variable);
    assert_eq!(client.ask(&format!("Z{point};X3,220027")), "OK", "other conditions");
    client.send("vCont;c");
    let until = Instant::now() + Duration::from_millis(300);
    std::thread::sleep(until - Instant::now());
    client.interrupt();
    let reply = client.receive();
    assert!(reply.starts_with("T02"), "{reply}");
    assert!(number(&mut client, variable) > before, "it has run over the breakpoint");
    assert_eq!(client.ask(&format!("z{point}")), "OK");
    let (pid, _) = client.threads();
    assert_eq!(client.ask(&format!("vKill;{pid:x}")), "OK");
    done(listening, client);
}

fn commands_of_a_breakpoint() {
    let (listening, mut client, written) = debug("calls");
    let (function, variable) = to_where(&mut client, &written);
    let now = number(&mut client, variable);
    let then = u16::try_from(now + 20).unwrap();
    let point = format!("0,{function:x},1");
    assert_eq!(client.ask(&format!("Z{point};{}", equals(variable, then))), "OK");
    let reply = client.ask("vCont;c");
    assert!(field(&reply, "swbreak").is_some(), "{reply}");
    assert_eq!(number(&mut client, variable), then.into());
    // It prints and goes on; the program is interrupted later.
    let print = format!("34{:02x}{:04x}{}00", 0, 3, "6869");
    let code = format!("22002200{print}27");
    let commands = format!("cmds:0,X{:x},{code}", code.len() / 2);
    assert_eq!(client.ask(&format!("Z{point};{commands}")), "OK");
    client.send("vCont;c");
    std::thread::sleep(Duration::from_millis(100));
    client.interrupt();
    let reply = client.receive();
    assert!(reply.starts_with("T02"), "{reply}");
    assert!(number(&mut client, variable) > then.into());
    let (pid, _) = client.threads();
    assert_eq!(client.ask(&format!("vKill;{pid:x}")), "OK");
    done(listening, client);
}

fn memory_is_searched_and_summed() {
    let (listening, mut client, written) = debug("exit");
    let (_, threads) = client.threads();
    let rip = client.register(&threads[0], RIP);
    let code = client.ask(&format!("m{rip:x},10"));
    let bytes: Vec<u8> =
        (4..12).map(|i| u8::from_str_radix(&code[2 * i..2 * i + 2], 16).unwrap()).collect();
    let mut packet = format!("qSearch:memory:{rip:x};1000;").into_bytes();
    packet.extend(&bytes);
    let answer = client.ask_bytes(&packet);
    let at = answer.strip_prefix("1,").and_then(|at| u64::from_str_radix(at, 16).ok());
    assert!(at.is_some_and(|at| at <= rip + 4), "{answer}");
    assert_eq!(client.ask(&format!("qSearch:memory:{rip:x};4;never here")), "0");
    assert!(client.ask(&format!("qCRC:{rip:x},10")).starts_with('C'));
    assert!(client.ask("qCRC:0,10").starts_with('E'));
    assert!(client.ask("vCont;c").starts_with("W07"));
    assert_eq!(line(&written), "here");
    done(listening, client);
}
