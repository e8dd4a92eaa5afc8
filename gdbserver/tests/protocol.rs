//! What it answers, without a gdb: for systems where there is none.

use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use crate::harness::skip;
use crate::machine::{Program, Width};
use crate::program::{self, Server};
use crate::rsp::{Client, field};
use crate::session::{Listening, anywhere, listen};

crate::tests![
    a_program_from_start_to_end,
    registers_are_read_and_written,
    breakpoints_and_watchpoints,
    an_interrupt_stops_every_thread,
    a_signal_is_passed_or_not,
    a_signal_is_injected_at_any_stop,
    it_is_let_go_and_lives_on,
    gdb_goes_and_comes_again,
    the_registers_of_a_32_bit_program,
];

pub const RIP: u32 = 16;

/// The server with one of the fixtures, and a client of it. What the fixture writes comes line by
/// line.
pub fn debug(fixture: &str) -> (Listening, Client, Receiver<String>) {
    let mut command = Server::Ours.command();
    command.args(["--once", &anywhere()]).arg(std::env::current_exe().unwrap());
    command.env(program::DEBUGGEE, fixture);
    let (lines, written) = channel();
    let listening = listen(command, lines);
    let client = Client::connect(&listening.at);
    (listening, client, written)
}

/// The client goes, and with it the server.
pub fn done(listening: Listening, client: Client) -> (std::process::ExitStatus, String) {
    drop(client);
    listening.finish()
}

pub fn line(written: &Receiver<String>) -> String {
    written.recv_timeout(Duration::from_secs(60)).expect("a line of the program")
}

/// Runs until the fixture has said where its functions are.
pub fn to_where(client: &mut Client, written: &Receiver<String>) -> (u64, u64) {
    client.send("vCont;c");
    let line = line(written);
    let mut words = line.split(' ').map(|word| u64::from_str_radix(word, 16).unwrap());
    let places = (words.next().unwrap(), words.next().unwrap());
    client.interrupt();
    let reply = client.receive();
    assert!(reply.starts_with("T02"), "{reply}");
    places
}

fn a_program_from_start_to_end() {
    let (listening, mut client, written) = debug("exit");
    assert!(client.ask("?").starts_with("T05"));
    let (pid, threads) = client.threads();
    assert_eq!(threads.len(), 1);
    assert_eq!(client.ask(&format!("qAttached:{pid:x}")), "0");
    let description = client.transfer("features:read:target.xml");
    for name in ["\"rax\"", "\"xmm15\"", "\"mxcsr\"", "\"fs_base\""] {
        assert!(description.contains(name), "{description}");
    }
    let executable = client.transfer(&format!("exec-file:read:{pid:x}"));
    assert_eq!(executable, std::env::current_exe().unwrap().to_str().unwrap());
    assert!(client.transfer("auxv:read:").chars().count() >= 32);
    let rip = client.register(&threads[0], RIP);
    let code = client.ask(&format!("m{rip:x},4"));
    assert_eq!(code.len(), 8, "{code}");
    assert_eq!(client.ask("m0,4"), "E0e");
    let reply = client.ask(&format!("vCont;s:{}", threads[0]));
    assert!(reply.starts_with("T05"), "{reply}");
    assert!(client.ask("vCont;c").starts_with("W07;process:"));
    assert_eq!(line(&written), "here");
    let (status, _) = done(listening, client);
    assert!(status.success());
}

fn registers_are_read_and_written() {
    let (listening, mut client, _written) = debug("exit");
    let (_, threads) = client.threads();
    let rip = client.register(&threads[0], RIP);
    let all = client.ask("g");
    assert!(all.len() >= 2 * (0x218 + 16), "{}", all.len());
    assert_eq!(&all[256..272], format!("{:016x}", rip.swap_bytes()));
    assert_eq!(client.ask("P3=1122334455667788"), "OK");
    assert_eq!(client.register(&threads[0], 3), 0x8877_6655_4433_2211);
    // XMM2, then all as they were.
    let value = "000102030405060708090a0b0c0d0e0f";
    assert_eq!(client.ask(&format!("P2a={value}")), "OK");
    assert_eq!(client.ask("p2a"), value);
    assert_eq!(client.ask(&format!("G{all}")), "OK");
    assert_eq!(client.ask("g"), all);
    assert!(client.ask("vCont;c").starts_with("W07;process:"));
    done(listening, client);
}

fn breakpoints_and_watchpoints() {
    let (listening, mut client, written) = debug("calls");
    let (function, variable) = to_where(&mut client, &written);
    for (kind, word) in [("0", "swbreak"), ("1", "hwbreak")] {
        assert_eq!(client.ask(&format!("Z{kind},{function:x},1")), "OK");
        for _ in 0..3 {
            let reply = client.ask("vCont;c");
            let thread = field(&reply, "thread").unwrap().to_string();
            assert!(reply.starts_with("T05") && field(&reply, word).is_some(), "{reply}");
            assert_eq!(client.register(&thread, RIP), function);
        }
        assert_eq!(client.ask(&format!("z{kind},{function:x},1")), "OK");
    }
    assert_eq!(client.ask(&format!("Z2,{variable:x},8")), "OK");
    let before = client.ask(&format!("m{variable:x},8"));
    let reply = client.ask("vCont;c");
    let at = field(&reply, "watch").and_then(|at| u64::from_str_radix(at, 16).ok());
    assert_eq!(at, Some(variable), "{reply}");
    assert_ne!(client.ask(&format!("m{variable:x},8")), before);
    assert_eq!(client.ask(&format!("z2,{variable:x},8")), "OK");
    let (pid, _) = client.threads();
    assert_eq!(client.ask(&format!("vKill;{pid:x}")), "OK");
    done(listening, client);
}

fn an_interrupt_stops_every_thread() {
    let (listening, mut client, written) = debug("threads");
    for round in 0..5 {
        client.send("vCont;c");
        if round == 0 {
            while line(&written) != "running" {}
        }
        client.interrupt();
        let reply = client.receive();
        assert!(reply.starts_with("T02"), "{reply}");
        let (_, threads) = client.threads();
        assert_eq!(threads.len(), 4);
        let at: Vec<u64> = threads.iter().map(|t| client.register(t, RIP)).collect();
        let again: Vec<u64> = threads.iter().map(|t| client.register(t, RIP)).collect();
        assert_eq!(at, again);
        // One alone.
        let reply = client.ask(&format!("vCont;s:{}", threads[2]));
        assert_eq!(field(&reply, "thread"), Some(threads[2].as_str()), "{reply}");
        for (i, thread) in threads.iter().enumerate().filter(|(i, _)| *i != 2) {
            assert_eq!(client.register(thread, RIP), at[i], "thread {i} has stayed");
        }
    }
    let (pid, _) = client.threads();
    assert_eq!(client.ask(&format!("vKill;{pid:x}")), "OK");
    done(listening, client);
}

fn a_signal_is_passed_or_not() {
    let (listening, mut client, _) = debug("signals");
    let reply = client.ask("vCont;c");
    // gdb's number of SIGUSR1.
    assert!(reply.starts_with("T1e"), "{reply}");
    let info = client.ask("qXfer:siginfo:read::0,80");
    let number = info.chars().nth(1).map(|number| number as i32);
    assert_eq!(number, Some(libc::SIGUSR1), "si_signo is its first field: {info:?}");
    let thread = field(&reply, "thread").unwrap().to_string();
    let reply = client.ask(&format!("vCont;C1e:{thread};c"));
    assert!(reply.starts_with("T1e"), "{reply}");
    assert!(client.ask("vCont;c").starts_with("W01;process:"));
    done(listening, client);
}

fn a_signal_is_injected_at_any_stop() {
    let (listening, mut client, _) = debug("signals");
    let (_, threads) = client.threads();
    let reply = client.ask("vCont;c");
    assert!(reply.starts_with("T1e"), "{reply}");
    // Step away from the stop for the signal; then give one.
    let reply = client.ask(&format!("vCont;s:{}", threads[0]));
    assert!(reply.starts_with("T05"), "{reply}");
    let reply = client.ask(&format!("vCont;C1e:{};c", threads[0]));
    assert!(reply.starts_with("T1e"), "{reply}");
    assert!(
        client.ask("vCont;c").starts_with("W01;process:"),
        "one was dropped, one injected, one dropped"
    );
    done(listening, client);
}

fn it_is_let_go_and_lives_on() {
    let (listening, mut client, written) = debug("calls");
    let (function, _) = to_where(&mut client, &written);
    assert_eq!(client.ask(&format!("Z0,{function:x},1")), "OK");
    let (pid, _) = client.threads();
    assert_eq!(client.ask(&format!("D;{pid:x}")), "OK");
    // It would die of the breakpoint, were it left behind.
    while line(&written) != "much later" {}
    // SAFETY: ends the fixture, which this test has had started.
    unsafe { libc::kill(pid as i32, libc::SIGKILL) };
    done(listening, client);
}

fn gdb_goes_and_comes_again() {
    let mut command = Server::Ours.command();
    command.arg(anywhere()).arg(std::env::current_exe().unwrap());
    command.env(program::DEBUGGEE, "calls");
    let (lines, written) = channel();
    let listening = listen(command, lines);
    let mut client = Client::connect(&listening.at);
    to_where(&mut client, &written);
    client.send("vCont;c");
    drop(client); // while it runs
    let mut client = Client::connect(&listening.at);
    assert!(client.ask("?").starts_with("T05"));
    let (pid, _) = client.threads();
    assert_eq!(client.ask(&format!("vKill;{pid:x}")), "OK");
    let (status, _) = done(listening, client);
    assert!(status.success());
}

fn the_registers_of_a_32_bit_program() {
    let program = Program::new("counts", Width::Bits32);
    if !std::process::Command::new(&program.path).status().is_ok_and(|s| s.success()) {
        skip("32-bit programs cannot be run here");
    }
    let mut command = Server::Ours.command();
    command.args(["--once", &anywhere()]).arg(&program.path);
    let listening = listen(command, channel().0);
    let mut client = Client::connect(&listening.at);
    let description = client.transfer("features:read:target.xml");
    for text in ["<architecture>i386</architecture>", "\"eax\"", "\"xmm7\"", "\"mxcsr\""] {
        assert!(description.contains(text), "{description}");
    }
    for text in ["\"rax\"", "\"xmm8\"", "\"fs_base\""] {
        assert!(!description.contains(text), "{description}");
    }
    let (_, threads) = client.threads();
    let here = program.at("here");
    assert_eq!(client.ask(&format!("Z0,{here:x},1")), "OK");
    let reply = client.ask("vCont;c");
    assert!(reply.starts_with("T05") && field(&reply, "swbreak").is_some(), "{reply}");
    let word = |value: u64| format!("{:08x}", (value as u32).swap_bytes());
    assert_eq!(field(&reply, "08"), Some(word(here).as_str()), "{reply}");
    let narrow = |client: &mut Client, number| client.register(&threads[0], number) >> 32;
    assert_eq!(narrow(&mut client, 0), 1, "EAX");
    assert_eq!(narrow(&mut client, 8), here, "EIP");
    let all = client.ask("g");
    // 16 words, 8 of 10 bytes, 8 words, 8 of 16 bytes, one word; and what the system adds.
    assert!(all.len() >= 2 * 0x134, "{}", all.len());
    assert_eq!(&all[64..72], word(here));
    assert_eq!(client.ask(&format!("G{all}")), "OK");
    assert_eq!(client.ask("g"), all);
    assert_eq!(client.ask("P0=05000000"), "OK");
    assert_eq!(client.ask("p0"), "05000000");
    assert_eq!(client.ask("P0=01000000"), "OK");
    assert_eq!(client.ask("P20=000102030405060708090a0b0c0d0e0f"), "OK");
    assert_eq!(client.ask("p20"), "000102030405060708090a0b0c0d0e0f");
    assert!(client.ask("vCont;c").starts_with("W00;process:"));
    done(listening, client);
}
