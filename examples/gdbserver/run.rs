//! From the command line to the last connection.

mod amd64;
mod breakpoints;
mod connection;
mod debuggee;
mod description;
mod extended;
mod files;
mod frame;
mod memory;
mod objects;
mod options;
mod running;
mod session;
mod signals;
mod target;
mod x87;

use std::ffi::OsString;
use std::io::{self, Write};
use std::net::TcpListener;

use debuggee::{Debuggee, Origin};
use options::{Options, Refusal, What};
use session::Close;

/// Says something to whoever has started us. The program has standard output for itself.
pub(crate) fn say(line: std::fmt::Arguments<'_>) {
    // If nobody listens, gdb still does.
    let _ = writeln!(io::stderr(), "{line}");
}

/// Does what a command line says, the name of the program first; returns the exit status.
pub(crate) fn run(args: impl IntoIterator<Item = OsString>) -> i32 {
    let result = match options::parse(args) {
        Ok(options) => serve(&options),
        Err(Refusal::Print(text)) => {
            let _ = writeln!(io::stdout(), "{text}");
            Ok(())
        }
        Err(Refusal::Wrong(line)) => Err(line),
    };
    match result {
        Ok(()) => 0,
        Err(line) => {
            say(format_args!("gdbserver: {line}"));
            1
        }
    }
}

fn serve(options: &Options) -> Result<(), String> {
    // Ctrl-C on our terminal is for the program, which has it too.
    let ignored = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGQUIT] {
        signal_hook::flag::register(signal, ignored.clone()).map_err(|e| e.to_string())?;
    }
    // Before anything runs: an address that cannot be had is found out now.
    let listener = TcpListener::bind(&options.address)
        .map_err(|error| format!("cannot listen on {}: {error}", options.address))?;
    let port = listener.local_addr().map_err(|error| error.to_string())?.port();

    let mut debuggee = Debuggee::new(options.multi).map_err(|error| error.to_string())?;
    match &options.what {
        What::Program(program) => {
            debuggee.start(program.clone()).map_err(|error| {
                format!("cannot start {}: {error}", program[0].to_string_lossy())
            })?;
            debuggee.say_created();
        }
        What::Process(pid) => {
            debuggee
                .attach(*pid)
                .map_err(|error| format!("cannot attach to process {pid}: {error}"))?;
            debuggee.say_created();
        }
        What::Nothing => {}
    }
    say(format_args!("Listening on port {port}"));
    loop {
        let (stream, peer) = listener.accept().map_err(|error| error.to_string())?;
        say(format_args!("Remote debugging from host {}, port {}", peer.ip(), peer.port()));
        let waker = debuggee.tracer.waker().map_err(|error| error.to_string())?;
        let close = session::serve(&mut debuggee, stream, waker)?;
        if let Some(mut child) = debuggee.left.take() {
            // What was started here ends here, as gdbserver has it.
            if !options.multi || options.once {
                let _ = child.wait();
            }
        }
        let over = debuggee.inferior.is_none() && !options.multi;
        if options.once || over {
            say(format_args!("GDBserver exiting"));
            return Ok(());
        }
        if close == Close::Lost {
            say(format_args!(
                "Remote side has terminated connection.  GDBserver will reopen the connection."
            ));
        }
        say(format_args!("Listening on port {port}"));
    }
}

impl Debuggee {
    pub(crate) fn say_created(&self) {
        let Some(inferior) = &self.inferior else { return };
        let pid = inferior.pid;
        match inferior.origin {
            Origin::Started => {
                let name = self.launch.program.first();
                let name = name.map(|name| name.to_string_lossy()).unwrap_or_default();
                say(format_args!("Process {name} created; pid = {pid}"));
            }
            Origin::Attached => say(format_args!("Attached; pid = {pid}")),
        }
    }
}
