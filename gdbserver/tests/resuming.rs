//! What a client wants threads to do, and what comes of it when another one has something to tell
//! first. And what it says to the server itself.

use std::process::Stdio;
use std::sync::mpsc::{Receiver, channel};

use crate::program::{DEBUGGEE, Server};
use crate::protocol::{done, line, to_where};
use crate::rsp::{Client, field};
use crate::session::{Guard, Listening, anywhere, listen};

crate::tests![
    a_signal_is_not_lost_if_another_stop_is_told_first,
    a_step_that_was_done_before_is_told_first_or_not_at_all,
    a_thread_that_ends_alone_leaves_nothing_running,
    ctrl_c_ends_steps_within_a_range,
    a_ctrl_c_that_a_stop_has_answered_does_not_swallow_the_next,
    a_signal_that_this_system_lacks,
    an_attach_in_non_stop_mode_stops_nobody,
    a_name_alone_is_a_file_of_this_folder,
    a_program_that_is_not_there,
    a_host_that_is_not_there,
    what_the_monitor_says,
    libraries_are_files,
];

/// The server with a fixture, and a client that wants to know when nothing runs.
fn debug(fixture: &str) -> (Listening, Client, Receiver<String>) {
    let mut command = Server::Ours.command();
    command.args(["--once", &anywhere()]).arg(std::env::current_exe().unwrap());
    command.env(DEBUGGEE, fixture);
    let (lines, written) = channel();
    let listening = listen(command, lines);
    let client = Client::with(&listening.at, "swbreak+;hwbreak+;vContSupported+;no-resumed+");
    (listening, client, written)
}

fn kill(listening: Listening, mut client: Client) {
    let (pid, _) = client.threads();
    assert_eq!(client.ask(&format!("vKill;{pid:x}")), "OK");
    done(listening, client);
}

/// Two threads get signals at the same time. The client passes each to its thread and has all run, but
/// nobody runs before the other thread's is told.
fn a_signal_is_not_lost_if_another_stop_is_told_first() {
    let (listening, mut client, _written) = debug("two_signals");
    let mut reply = client.ask("vCont;c");
    let mut count = 0;
    while reply.starts_with("T1e") {
        count += 1;
        let thread = field(&reply, "thread").unwrap();
        reply = client.ask(&format!("vCont;C1e:{thread};c"));
    }
    assert_eq!(count, 60);
    assert!(reply.starts_with("W3c"), "all have come to their handlers: {reply}");
    done(listening, client);
}

/// While one thread steps others come to a breakpoint.
fn a_step_that_was_done_before_is_told_first_or_not_at_all() {
    let (listening, mut client, written) = debug("threads");
    let (function, _) = to_where(&mut client, &written);
    assert_eq!(client.ask(&format!("Z0,{function:x},1")), "OK");
    let mut reply = client.ask("vCont;c");
    for _ in 0..100 {
        assert!(field(&reply, "swbreak").is_some(), "a step that nobody wants now: {reply}");
        let thread = field(&reply, "thread").unwrap();
        client.ask(&format!("vCont;s:{thread};c"));
        reply = client.ask("vCont;c");
    }
    kill(listening, client);
}

fn a_thread_that_ends_alone_leaves_nothing_running() {
    let (listening, mut client, written) = debug("rendezvous");
    let (function, variable) = to_where(&mut client, &written);
    assert_eq!(client.ask(&format!("M{variable:x},8:0100000000000000")), "OK");
    assert_eq!(client.ask(&format!("Z0,{function:x},1")), "OK");
    let reply = client.ask("vCont;c");
    let thread = field(&reply, "thread").unwrap().to_string();
    assert_eq!(client.ask(&format!("z0,{function:x},1")), "OK");
    assert_eq!(client.ask(&format!("vCont;c:{thread}")), "N");
    assert!(!client.threads().1.contains(&thread));
    // The others are where they were, and run on.
    let mut reply = client.ask("vCont;c");
    while field(&reply, "swbreak").is_some() {
        reply = client.ask("vCont;c");
    }
    assert!(reply.starts_with("W05"), "{reply}");
    done(listening, client);
}

/// Each of the steps is a stop, and so an answer to the interrupt; none of them is told but for that.
fn ctrl_c_ends_steps_within_a_range() {
    let (listening, mut client, written) = debug("calls");
    to_where(&mut client, &written);
    let (_, threads) = client.threads();
    for _ in 0..20 {
        client.send(&format!("vCont;r0,7fffffffffff:{}", threads[0]));
        client.interrupt();
        let reply = client.receive();
        assert!(reply.starts_with("T02"), "{reply}");
    }
    kill(listening, client);
}

fn a_ctrl_c_that_a_stop_has_answered_does_not_swallow_the_next() {
    let (listening, mut client, written) = debug("threads");
    let (function, _) = to_where(&mut client, &written);
    let point = format!("0,{function:x},1");
    for _ in 0..30 {
        assert_eq!(client.ask(&format!("Z{point}")), "OK");
        client.send("vCont;c");
        client.interrupt(); // beside hits of all threads
        let reply = client.receive();
        assert!(field(&reply, "swbreak").is_some() || reply.starts_with("T02"), "{reply}");
        assert_eq!(client.ask(&format!("z{point}")), "OK");
        client.send("vCont;c");
        client.interrupt();
        let reply = client.receive();
        assert!(reply.starts_with("T02"), "{reply}");
    }
    kill(listening, client);
}

/// gdb has numbers for more real-time signals than a system may have.
fn a_signal_that_this_system_lacks() {
    let (listening, mut client, written) = debug("calls");
    to_where(&mut client, &written);
    let (_, threads) = client.threads();
    // 127, as gdb counts.
    client.send(&format!("vCont;C8d:{}", threads[0]));
    client.interrupt();
    let reply = client.receive();
    assert!(reply.starts_with("T02"), "{reply}");
    kill(listening, client);
}

/// Stops come when they are asked for: before that the client does not know what registers there are.
fn an_attach_in_non_stop_mode_stops_nobody() {
    let mut command = Server::Ours.command();
    command.args(["--once", "--multi", &anywhere()]);
    let listening = listen(command, channel().0);
    let mut client = Client::with(&listening.at, "swbreak+;hwbreak+;vContSupported+");
    let mut program = std::process::Command::new(std::env::current_exe().unwrap());
    program.env(DEBUGGEE, "calls").stdin(Stdio::null()).stdout(Stdio::piped());
    let mut program = Guard(program.spawn().unwrap());
    let pid = program.0.id();
    let written = std::io::BufReader::new(program.0.stdout.take().unwrap());
    let mut written = std::io::BufRead::lines(written);
    written.next().unwrap().unwrap(); // it has begun
    assert_eq!(client.ask("QNonStop:1"), "OK");
    assert_eq!(client.ask(&format!("vAttach;{pid:x}")), "OK");
    // It comes there by itself.
    assert_eq!(written.next().unwrap().unwrap(), "much later");
    assert_eq!(client.ask("?"), "OK", "nobody stands still");
    assert_eq!(client.ask(&format!("vCont;t:p{pid:x}.-1")), "OK");
    let stop = client.notification();
    assert!(stop.starts_with("T00"), "{stop}");
    assert_eq!(client.ask("vStopped"), "OK");
    assert_eq!(client.ask(&format!("vKill;{pid:x}")), "OK");
    done(listening, client);
}

fn a_name_alone_is_a_file_of_this_folder() {
    let this = std::env::current_exe().unwrap();
    let mut command = Server::Ours.command();
    command.args(["--once", &anywhere()]).arg(this.file_name().unwrap());
    command.current_dir(this.parent().unwrap()).env(DEBUGGEE, "exit");
    let (lines, written) = channel();
    let listening = listen(command, lines);
    let mut client = Client::connect(&listening.at);
    assert!(client.ask("vCont;c").starts_with("W07"));
    assert_eq!(line(&written), "here");
    done(listening, client);
}

/// What a server says that ends at once with status 1.
fn refusal(arguments: &[&str]) -> String {
    let mut command = Server::Ours.command();
    let output = command.args(arguments).stdin(Stdio::null()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    String::from_utf8(output.stderr).unwrap()
}

fn a_program_that_is_not_there() {
    let said = refusal(&["--once", "stdio", "no-such-program"]);
    let expected =
        "exec: no-such-program: not found\nDuring startup program exited with code 127.\n";
    assert!(said.starts_with("stdin/stdout redirected\n") && said.contains(expected), "{said}");
}

fn a_host_that_is_not_there() {
    let said = refusal(&["--once", "tcp8:123:2345", "/bin/sh"]);
    assert!(said.contains("tcp8:123:2345: cannot resolve name: "), "{said}");
}

fn what_the_monitor_says() {
    let (listening, mut client, _written) = debug("exit");
    let text = |digits: &str| {
        let byte = |at| char::from(u8::from_str_radix(&digits[at..at + 2], 16).unwrap());
        (0..digits.len()).step_by(2).map(byte).collect::<String>()
    };
    let packet = |command: &str| {
        let digits = command.bytes().map(|byte| format!("{byte:02x}"));
        format!("qRcmd,{}", digits.collect::<String>())
    };
    for (command, expected) in [
        ("set debug 0", "Debug output disabled.\n"),
        ("set remote-debug 0", "Protocol debug output disabled.\n"),
        ("set debug-format all", "All extra debug format options enabled.\n"),
        ("set libthread-db-search-path /x", "libthread-db-search-path set to `/x'\n"),
    ] {
        assert_eq!(text(&client.ask(&packet(command))), expected);
    }
    // What is not known is an error, with a text for the user before it.
    let said = client.ask(&packet("dance"));
    assert!(text(said.strip_prefix('O').unwrap()).starts_with("Unknown monitor command.\n"));
    assert_eq!(client.receive(), "E01");
    kill(listening, client);
}

/// What the kernel maps into each program is in the linker's list on FreeBSD, and no client finds it.
fn libraries_are_files() {
    let (listening, mut client, written) = debug("calls");
    to_where(&mut client, &written);
    let list = client.transfer("libraries-svr4:read:");
    let names: Vec<&str> =
        list.split("name=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    assert!(names.iter().any(|name| name.contains("libc.so")), "{list}");
    assert!(!names.iter().any(|name| name.starts_with('[')), "{list}");
    kill(listening, client);
}
