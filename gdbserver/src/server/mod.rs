//! From the command line to the last connection.

mod answers;
mod files;
mod handle;
mod libraries;
mod lldb;
mod memory;
mod monitor;
mod objects;
mod session;
mod settings;
mod start;
mod stops;
mod terminal;
mod text;
mod threads;
mod tls;

use std::io::ErrorKind;

use trapline::{Error, OnExit};

use crate::inferiors::{Inferiors, Launch};
use crate::options::{OnDisconnect, Options, What};
use crate::say;
use crate::wire::{Address, Connection, Listener};

use files::Files;
use session::{Close, Session};
pub(crate) use terminal::give_terminal;

/// What outlives a connection.
pub(crate) struct Server {
    inferiors: Inferiors,
    files: Files,
    options: Options,
    /// The user has said that the library of gdb's server for threads is to be looked for where it is
    /// not: thread-local variables are not found, as there.
    has_no_thread_library: bool,
}

/// Does what a command line says; returns the exit status.
pub(crate) fn serve(options: Options) -> Result<i32, String> {
    terminal::leave_signals_to_the_program().map_err(|error| error.to_string())?;
    // Before anything runs: an address that cannot be had is found out now.
    let mut listener = Listener::bind(&options.address)?;
    if options.address == Address::Stdio {
        say(format_args!("stdin/stdout redirected"));
    }
    let launch = Launch {
        random: options.random,
        shell: options.shell,
        wrapper: options.wrapper.clone(),
        has_no_stdio: options.address == Address::Stdio,
        ..Launch::default()
    };
    let mut inferiors = Inferiors::new(launch).map_err(|error| error.to_string())?;
    inferiors.trace = options.debug;
    let mut server =
        Server { inferiors, files: Files::default(), options, has_no_thread_library: false };
    server.begin()?;
    if let Some(warning) = listener.warning() {
        say(format_args!("{warning}"));
    }
    let result = server.connections(&mut listener);
    let ended = server.inferiors.end_all(None);
    terminal::take_back();
    ended.map_err(|error| error.to_string())?;
    result
}

impl Server {
    /// Starts or attaches, as the command line says.
    fn begin(&mut self) -> Result<(), String> {
        match self.options.what.clone() {
            What::Program(program) => {
                let name = program.first().map(|name| name.to_string_lossy().into_owned());
                let name = name.unwrap_or_default();
                let pid = self.inferiors.start(program).map_err(|error| match error {
                    // In a shell's words and those of gdb's server, which scripts look for.
                    Error::Spawn(error) if error.kind() == ErrorKind::NotFound => format!(
                        "exec: {name}: not found\nDuring startup program exited with code 127.\n\
                         Exiting"
                    ),
                    error => format!("cannot start {name}: {error}"),
                })?;
                say(format_args!("Process {name} created; pid = {pid}"));
            }
            What::Process(pid) => {
                self.inferiors
                    .attach(pid)
                    .map_err(|error| format!("cannot attach to process {pid}: {error}"))?;
                say(format_args!("Attached; pid = {pid}"));
            }
            What::Nothing => {}
        }
        Ok(())
    }

    fn connections(&mut self, listener: &mut Listener) -> Result<i32, String> {
        let text = |error: std::io::Error| error.to_string();
        loop {
            if let Some(line) = listener.describe() {
                say(format_args!("{line}"));
            }
            let Some((stream, peer)) = listener.accept().map_err(text)? else { return Ok(0) };
            say(format_args!("Remote debugging from {peer}"));
            let waker = self.inferiors.tracer.waker().map_err(|error| error.to_string())?;
            let connection = Connection::new(stream, waker, self.options.debug).map_err(text)?;
            let close = Session::new(self, connection).converse()?;
            self.files = Files::default();
            if close == Close::Exit {
                say(format_args!("GDBserver exiting"));
                return Ok(0);
            }
            self.disconnected(close)?;
            let is_over = self.inferiors.all.is_empty() && !self.options.multi;
            if self.options.once || is_over {
                self.await_left();
                say(format_args!("GDBserver exiting"));
                return Ok(0);
            }
            say(format_args!(
                "Remote side has terminated connection.  GDBserver will reopen the connection."
            ));
        }
    }

    /// What becomes of the programs when a client is gone.
    fn disconnected(&mut self, close: Close) -> Result<(), String> {
        let text = |error: trapline::Error| error.to_string();
        let default = if self.options.once { None } else { Some(OnDisconnect::Wait) };
        let how = match (close, self.options.on_disconnect.or(default)) {
            (Close::Lost, Some(OnDisconnect::Kill)) => Some(OnExit::Kill),
            (Close::Lost, Some(OnDisconnect::Detach)) => Some(OnExit::Detach),
            (Close::Lost, None) => None,
            (Close::Lost, Some(OnDisconnect::Wait)) | (Close::Exit, _) => {
                return self.inferiors.rest_for_the_next().map_err(text);
            }
        };
        self.inferiors.end_all(how).map_err(text)
    }

    /// What was started here and let go ends before this does, as gdb's server has it.
    fn await_left(&mut self) {
        for mut child in std::mem::take(&mut self.inferiors.left) {
            let _ = child.wait();
        }
    }
}
