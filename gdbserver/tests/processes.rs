//! Several processes, threads one by one, and clients that go: by the bare protocol.

use std::process::Command;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use crate::program::{DEBUGGEE, Server};
use crate::protocol::{RIP, done, line, to_where};
use crate::rsp::{Client, field};
use crate::session::{Listening, anywhere, listen};

crate::tests![
    both_sides_of_a_fork,
    a_child_that_is_let_go_has_no_breakpoints,
    a_client_that_does_not_know_forks,
    a_client_that_does_not_know_vforks,
    threads_that_begin_and_end_are_told,
    non_stop,
    non_stop_interrupt_of_one_thread,
    a_lost_client_with_kill,
    a_lost_client_with_detach,
    a_program_that_is_run_and_run_again,
    a_wrapper_and_a_shell,
    at_each_kind_of_address,
    without_packets_about_threads,
    by_standard_input_and_output,
    a_hit_that_waits_while_another_thread_steps,
];

/// The server with a fixture, and a client with features.
fn debug_with(
    options: &[&str],
    fixture: &str,
    features: &str,
) -> (Listening, Client, std::sync::mpsc::Receiver<String>) {
    let mut command = Server::Ours.command();
    command.args(options).arg(anywhere()).arg(std::env::current_exe().unwrap());
    command.env(DEBUGGEE, fixture);
    let (lines, written) = channel();
    let listening = listen(command, lines);
    let client = Client::with(&listening.at, features);
    (listening, client, written)
}

const FORKS: &str = "swbreak+;hwbreak+;vContSupported+;fork-events+;vfork-events+;exec-events+";

/// Whether a process is there.
fn is_there(pid: u32) -> bool {
    // SAFETY: sends no signal.
    unsafe { libc::kill(pid as i32, 0) == 0 }
}

fn comes_true(what: impl Fn() -> bool) -> bool {
    let until = Instant::now() + Duration::from_secs(30);
    while Instant::now() < until {
        if what() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    false
}

/// Has a fixture go on that waits for it.
fn release(client: &mut Client, variable: u64) {
    assert_eq!(client.ask(&format!("M{variable:x},8:0100000000000000")), "OK");
}

/// Runs to the fork; the thread that forked, the child's, and the function that both call.
fn to_fork(
    client: &mut Client,
    written: &std::sync::mpsc::Receiver<String>,
) -> (String, String, u64) {
    let (function, variable) = to_where(client, written);
    release(client, variable);
    assert_eq!(client.ask(&format!("Z0,{function:x},1")), "OK");
    let reply = client.ask("vCont;c");
    let child = field(&reply, "fork").unwrap_or_else(|| panic!("{reply}")).to_string();
    let parent = field(&reply, "thread").unwrap().to_string();
    (parent, child, function)
}

fn both_sides_of_a_fork() {
    let (listening, mut client, written) = debug_with(&["--once"], "forks", FORKS);
    assert_eq!(client.ask("QPassSignals:14"), "OK");
    let (parent, child, function) = to_fork(&mut client, &written);
    let (_, threads) = client.threads();
    assert!(threads.contains(&parent) && threads.contains(&child), "{threads:?}");
    // The child alone, then both.
    let reply = client.ask(&format!("vCont;c:{child}"));
    assert_eq!(field(&reply, "thread"), Some(child.as_str()), "{reply}");
    assert_eq!(client.register(&child, RIP), function);
    assert_ne!(client.register(&parent, RIP), function);
    let mut ends = Vec::new();
    while ends.len() < 2 {
        let reply = client.ask("vCont;c");
        match reply.starts_with('W') {
            true => ends.push(reply),
            false => assert_eq!(field(&reply, "thread"), Some(parent.as_str()), "{reply}"),
        }
    }
    assert!(ends.iter().all(|end| end.starts_with("W03;process:")), "{ends:?}");
    done(listening, client);
}

fn a_child_that_is_let_go_has_no_breakpoints() {
    let (listening, mut client, written) = debug_with(&["--once"], "forks", FORKS);
    assert_eq!(client.ask("QPassSignals:14"), "OK");
    let (parent, child, _) = to_fork(&mut client, &written);
    let pid = child[1..].split('.').next().unwrap();
    assert_eq!(client.ask(&format!("D;{pid}")), "OK");
    let reply = client.ask("vCont;c");
    assert_eq!(field(&reply, "thread"), Some(parent.as_str()), "{reply}");
    let reply = client.ask("vCont;c");
    assert!(reply.starts_with("W03"), "the child has ended by itself: {reply}");
    done(listening, client);
}

fn a_client_that_does_not_know_forks() {
    let (listening, mut client, written) = debug_with(&["--once"], "forks", "swbreak+");
    assert_eq!(client.ask("QPassSignals:14"), "OK");
    let (function, variable) = to_where(&mut client, &written);
    release(&mut client, variable);
    assert_eq!(client.ask(&format!("Z0,{function:x},1")), "OK");
    let reply = client.ask("vCont;c");
    assert!(field(&reply, "swbreak").is_some(), "{reply}");
    assert!(client.ask("vCont;c").starts_with("W03"));
    done(listening, client);
}

/// While the child has the memory the other threads stay; then they run on.
fn a_client_that_does_not_know_vforks() {
    let (listening, mut client, _written) = debug_with(&["--once"], "spawns", "swbreak+");
    assert_eq!(client.ask("QPassSignals:14"), "OK");
    let reply = client.ask("vCont;c");
    assert!(reply.starts_with("W08"), "{reply}");
    done(listening, client);
}

fn threads_that_begin_and_end_are_told() {
    let (listening, mut client, _written) = debug_with(&["--once"], "threads", FORKS);
    assert_eq!(client.ask("QThreadEvents:1"), "OK");
    for _ in 0..3 {
        let reply = client.ask("vCont;c");
        assert!(reply.contains("create:;"), "{reply}");
    }
    assert_eq!(client.ask("QThreadEvents:0"), "OK");
    let (pid, threads) = client.threads();
    assert_eq!(threads.len(), 4);
    assert_eq!(client.ask(&format!("vKill;{pid:x}")), "OK");
    done(listening, client);
}

/// Has all threads run, in non-stop mode, and gives them.
fn run_all(client: &mut Client, written: &std::sync::mpsc::Receiver<String>) -> Vec<String> {
    assert_eq!(client.ask("QNonStop:1"), "OK");
    let reply = client.ask("?");
    assert!(reply.starts_with("T05"), "{reply}");
    assert_eq!(client.ask("vStopped"), "OK");
    assert_eq!(client.ask("vCont;c:p-1.-1"), "OK");
    while line(written) != "running" {}
    client.threads().1
}

fn non_stop() {
    let (listening, mut client, written) = debug_with(&["--once"], "threads", FORKS);
    assert_eq!(client.ask("QNonStop:1"), "OK");
    assert!(client.ask("?").starts_with("T05"));
    assert_eq!(client.ask("vStopped"), "OK");
    assert_eq!(client.ask("vCont;c"), "OK");
    let place = line(&written);
    let function = u64::from_str_radix(place.split(' ').next().unwrap(), 16).unwrap();
    while line(&written) != "running" {}
    // The program runs, and is asked.
    let (pid, threads) = client.threads();
    assert_eq!(threads.len(), 4);
    assert_eq!(client.ask(&format!("Hg{}", threads[0])), "OK");
    assert_eq!(client.ask(&format!("Z0,{function:x},1")), "OK");
    let mut stopped = vec![client.notification()];
    loop {
        match client.ask("vStopped").as_str() {
            "OK" if stopped.len() == 4 => break,
            "OK" => stopped.push(client.notification()),
            next => stopped.push(next.to_string()),
        }
    }
    for stop in &stopped {
        assert!(field(stop, "swbreak").is_some(), "{stop}");
        assert_eq!(client.register(field(stop, "thread").unwrap(), RIP), function);
    }
    // One runs on, the others stay.
    assert_eq!(client.ask(&format!("vCont;s:{}", threads[1])), "OK");
    let stop = client.notification();
    assert_eq!(field(&stop, "thread"), Some(threads[1].as_str()), "{stop}");
    assert_eq!(client.ask("vStopped"), "OK");
    assert_eq!(client.register(&threads[0], RIP), function);
    assert_eq!(client.ask(&format!("vKill;{pid:x}")), "OK");
    done(listening, client);
}

fn non_stop_interrupt_of_one_thread() {
    let (listening, mut client, written) = debug_with(&["--once"], "threads", FORKS);
    let threads = run_all(&mut client, &written);
    let pid = threads[0][1..].split('.').next().unwrap().to_string();
    for thread in &threads {
        assert_eq!(client.ask(&format!("vCont;t:{thread}")), "OK");
        let stop = client.notification();
        assert!(stop.starts_with("T00"), "{stop}");
        assert_eq!(field(&stop, "thread"), Some(thread.as_str()), "{stop}");
        assert_eq!(client.ask("vStopped"), "OK");
        let at = client.register(thread, RIP);
        std::thread::sleep(Duration::from_millis(5));
        assert_eq!(client.register(thread, RIP), at);
    }
    assert_eq!(client.ask(&format!("vKill;{pid}")), "OK");
    done(listening, client);
}

fn a_lost_client_with_kill() {
    let options = ["--on-disconnect", "kill", "--once"];
    let (listening, mut client, written) = debug_with(&options, "calls", FORKS);
    to_where(&mut client, &written);
    let (pid, _) = client.threads();
    done(listening, client);
    assert!(comes_true(|| !is_there(pid)));
}

fn a_lost_client_with_detach() {
    let options = ["--on-disconnect", "detach"];
    let (listening, mut client, written) = debug_with(&options, "calls", FORKS);
    let (function, _) = to_where(&mut client, &written);
    assert_eq!(client.ask(&format!("Z0,{function:x},1")), "OK");
    let (pid, _) = client.threads();
    drop(client);
    // It would die of the breakpoint, were it left behind.
    while line(&written) != "much later" {}
    // SAFETY: ends the fixture, which this test has had started.
    unsafe { libc::kill(pid as i32, libc::SIGKILL) };
    listening.finish();
}

fn words(words: &[&str]) -> String {
    let hex = |word: &&str| word.bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
    words.iter().map(hex).collect::<Vec<_>>().join(";")
}

fn a_program_that_is_run_and_run_again() {
    let mut command = Server::Ours.command();
    command.args(["--multi", "--once", &anywhere()]);
    let (lines, written) = channel();
    let listening = listen(command, lines);
    let mut client = Client::with(&listening.at, FORKS);
    assert_eq!(client.ask("!"), "OK");
    assert_eq!(client.ask("?"), "W00");
    assert_eq!(client.ask("QSetWorkingDir:2f"), "OK");
    let set: String = "WHO=me".bytes().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(client.ask(&format!("QEnvironmentHexEncoded:{set}")), "OK");
    for _ in 0..2 {
        let run = words(&["/bin/sh", "-c", "pwd; echo $WHO; exit 4"]);
        let reply = client.ask(&format!("vRun;{run}"));
        assert!(reply.starts_with("T05"), "{reply}");
        let reply = client.ask("vCont;c");
        assert!(reply.starts_with("W04"), "{reply}");
        assert_eq!([line(&written), line(&written)], ["/", "me"]);
    }
    let reply = client.ask(&format!("vRun;{}", words(&["/is/not/there"])));
    assert!(reply.starts_with('E'), "{reply}");
    done(listening, client);
}

fn a_wrapper_and_a_shell() {
    let mut command: Command = Server::Ours.command();
    command.args(["--once", "--startup-with-shell", "--wrapper", "env", "WHO=it is me", "--"]);
    command.args([&anywhere(), "/bin/sh", "-c", "echo \"$WHO\" \"$1\"; exit 5", "sh", "a 'b' $c"]);
    command.env("SHELL", "/bin/sh");
    let (lines, written) = channel();
    let listening = listen(command, lines);
    let mut client = Client::with(&listening.at, FORKS);
    let (pid, threads) = client.threads();
    let program = client.transfer(&format!("exec-file:read:{pid:x}"));
    assert!(!program.ends_with("/env"), "the wrapper is over: {program}");
    assert_eq!(threads.len(), 1);
    let reply = client.ask("vCont;c");
    assert!(reply.starts_with("W05"), "{reply}");
    assert_eq!(line(&written), "it is me a 'b' $c");
    done(listening, client);
}

/// Commands are answered the same over every kind of line.
fn at_each_kind_of_address() {
    let folder =
        std::env::temp_dir().join(format!("trapline-gdbserver-{}.lines", std::process::id()));
    std::fs::create_dir(&folder).unwrap();
    let path = folder.join("socket");
    let mut addresses = vec![format!("unix:{}", path.display()), path.display().to_string()];
    if std::net::TcpListener::bind("127.0.0.1:0").is_ok() {
        addresses.extend([":0", "tcp4::0", "localhost:0"].map(str::to_string));
    }
    for address in addresses {
        let mut command = Server::Ours.command();
        command.args(["--once", "--multi", &address]);
        let listening = listen(command, channel().0);
        let mut client = Client::with(&listening.at, FORKS);
        assert_eq!(client.ask("?"), "W00", "{address}");
        done(listening, client);
        assert!(!path.exists(), "a socket is removed");
    }
    std::fs::remove_dir(&folder).unwrap();
}

fn by_standard_input_and_output() {
    let mut command = Server::Ours.command();
    command.args(["--once", "stdio", "/bin/sh", "-c", "echo out; exit 6"]);
    command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
    command.stderr(std::process::Stdio::piped());
    let mut server = crate::session::Guard(command.spawn().unwrap());
    let mut to = server.0.stdin.take().unwrap();
    std::io::Write::write_all(&mut to, b"+$vCont;c#a8+").unwrap();
    let mut said = String::new();
    let mut from = server.0.stdout.take().unwrap();
    let mut byte = [0];
    while !said.contains("W06") {
        std::io::Read::read_exact(&mut from, &mut byte).unwrap();
        said.push(byte[0].into());
    }
    assert!(!said.contains("out"), "the line is not the program's: {said}");
    drop((to, from));
    assert!(crate::session::end_of(&mut server.0).success());
}

/// A thread that has come to a breakpoint, and has yet to be told of, keeps its stop while the client
/// takes the breakpoint away for another one's step.
fn a_hit_that_waits_while_another_thread_steps() {
    let (listening, mut client, written) = debug_with(&["--once"], "rendezvous", FORKS);
    let (function, variable) = to_where(&mut client, &written);
    release(&mut client, variable);
    let point = format!("0,{function:x},1");
    assert_eq!(client.ask(&format!("Z{point}")), "OK");
    let mut hits = std::collections::BTreeSet::new();
    for _ in 0..4 {
        let reply = client.ask("vCont;c");
        assert!(field(&reply, "swbreak").is_some(), "{reply}");
        let thread = field(&reply, "thread").unwrap().to_string();
        assert_eq!(client.ask(&format!("z{point}")), "OK");
        let step = client.ask(&format!("vCont;s:{thread}"));
        assert_eq!(field(&step, "thread"), Some(thread.as_str()), "{step}");
        assert_eq!(client.ask(&format!("Z{point}")), "OK");
        assert!(hits.insert(thread), "each comes there once");
    }
    let reply = client.ask("vCont;c");
    assert!(reply.starts_with("W05"), "{reply}");
    done(listening, client);
}

/// What older clients use, and what this server can be told to do without.
fn without_packets_about_threads() {
    let options = ["--once", "--disable-packet=threads,T"];
    let (listening, mut client, _written) = debug_with(&options, "exit", FORKS);
    for packet in ["qC", "vCont?", "qfThreadInfo"] {
        assert_eq!(client.ask(packet), "", "{packet}");
    }
    assert_eq!(client.ask("?"), "S05");
    assert_eq!(client.ask("s"), "S05");
    assert!(client.ask("c").starts_with("W07"));
    done(listening, client);
}
