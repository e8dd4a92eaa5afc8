//! One session of gdb with one server.

use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::normal;
use crate::program::Server;

/// How long something may take that takes no time.
const SOON: Duration = Duration::from_secs(60);

/// What a session is.
pub struct Session<'a> {
    pub program: &'a Path,
    pub args: &'a [&'a str],
    pub commands: &'a [&'a str],
    /// gdb gets a SIGINT when the program has written this line.
    pub interrupt_at: Option<&'a str>,
    /// gdb reads the libraries through the server, not from this machine.
    pub remote_files: bool,
    /// `target extended-remote`, with a server that has no program yet.
    pub multi: bool,
}

/// What came of it.
#[derive(Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What gdb has written, ids and addresses by name.
    pub transcript: String,
    /// What the program has written.
    pub program: String,
}

/// A process that is killed with this, if it is not waited for.
pub struct Guard(pub Child);

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Where a server listens.
#[derive(Debug, Clone)]
pub enum At {
    /// At a port of this machine.
    Port(u16),
    Path(PathBuf),
}

impl std::fmt::Display for At {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            At::Port(port) => write!(f, "127.0.0.1:{port}"),
            At::Path(path) => path.display().fmt(f),
        }
    }
}

/// An address for a server to listen at: a port, or a socket in the file system where this machine
/// has no network at all, not even with itself.
pub fn anywhere() -> String {
    if TcpListener::bind("127.0.0.1:0").is_ok() {
        return "127.0.0.1:0".to_string();
    }
    let name = format!("trapline-gdbserver-{}", std::process::id());
    format!("unix:{}", std::env::temp_dir().join(name).display())
}

/// A server that listens.
pub struct Listening {
    pub process: Guard,
    /// Where.
    pub at: At,
    readers: Vec<JoinHandle<String>>,
}

/// Starts a server and waits until it listens. The lines that its program writes are sent to
/// `lines`.
pub fn listen(mut command: Command, lines: Sender<String>) -> Listening {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let out = follow(child.stdout.take().unwrap(), lines);
    let (said, stderr) = channel();
    let err = follow(child.stderr.take().unwrap(), said);
    let process = Guard(child);
    loop {
        let line = stderr.recv_timeout(SOON).expect("a server that listens");
        let at =
            match line.strip_prefix("Listening on ").map(|at| at.strip_prefix("port ").ok_or(at)) {
                Some(Ok(port)) => At::Port(port.parse().unwrap()),
                Some(Err(path)) => At::Path(path.into()),
                None => continue,
            };
        return Listening { process, at, readers: vec![out, err] };
    }
}

impl Listening {
    /// Waits for the end of the server; returns its status, and what its program has written.
    pub fn finish(mut self) -> (std::process::ExitStatus, String) {
        let status = end_of(&mut self.process.0);
        let mut texts = self.readers.drain(..).map(|reader| reader.join().unwrap());
        (status, texts.next().unwrap())
    }
}

/// Waits for the end of a process.
pub fn end_of(child: &mut Child) -> std::process::ExitStatus {
    let until = std::time::Instant::now() + SOON;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        assert!(std::time::Instant::now() < until, "it does not end");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Reads lines as they come; the thread returns all of them.
fn follow(from: impl Read + Send + 'static, lines: Sender<String>) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let mut all = String::new();
        for line in BufReader::new(from).lines() {
            let Ok(line) = line else { break };
            all += &line;
            all.push('\n');
            let _ = lines.send(line);
        }
        all
    })
}

impl<'a> Session<'a> {
    pub fn new(program: &'a Path, commands: &'a [&'a str]) -> Self {
        Session {
            program,
            args: &[],
            commands,
            interrupt_at: None,
            remote_files: false,
            multi: false,
        }
    }

    /// The same session with both servers: what came of it must be the same. The transcript.
    pub fn compare(&self) -> String {
        let [theirs, ours] = [Server::Gdbs, Server::Ours].map(|server| self.run(server));
        assert!(
            theirs == ours,
            "gdbserver:\n{}{}\nours:\n{}{}",
            theirs.transcript,
            theirs.program,
            ours.transcript,
            ours.program
        );
        ours.transcript
    }

    /// A session with one server.
    pub fn run(&self, server: Server) -> Outcome {
        let mut command = server.command();
        command.arg("--once");
        if self.multi {
            command.args(["--multi", "127.0.0.1:0"]);
        } else {
            command.arg("127.0.0.1:0").arg(self.program).args(self.args);
        }
        let (lines, written) = channel();
        let listening = listen(command, lines);
        let transcript = self.gdb(&listening.at, &written);
        let (_, program) = listening.finish();
        Outcome { transcript, program }
    }

    /// gdb, from its connection to its end.
    pub fn gdb(&self, at: &At, written: &Receiver<String>) -> String {
        let mut gdb = Command::new("gdb");
        gdb.args(["-nx", "-batch"]);
        let settings = [
            "set pagination off",
            "set confirm off",
            "set width 0",
            "set style enabled off",
            "set debuginfod enabled off",
            "set startup-with-shell off",
        ];
        for command in settings {
            gdb.args(["-iex", command]);
        }
        if !self.remote_files {
            gdb.args(["-iex", "set sysroot /"]);
        }
        let target = if self.multi { "extended-remote" } else { "remote" };
        gdb.args(["-ex", &format!("target {target} {at}")]);
        for command in self.commands {
            gdb.args(["-ex", command]);
        }
        gdb.arg(self.program);
        gdb.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut gdb = Guard(gdb.spawn().unwrap());
        let (ignored, _) = channel();
        let out = follow(gdb.0.stdout.take().unwrap(), ignored.clone());
        let err = follow(gdb.0.stderr.take().unwrap(), ignored);
        if let Some(at) = self.interrupt_at {
            while written.recv_timeout(SOON).expect("a line of the program") != at {}
            // It is asleep by now, most likely; it is the same for both servers if it is not.
            std::thread::sleep(Duration::from_millis(50));
            // SAFETY: sends a signal to the gdb that was started here.
            unsafe { libc::kill(gdb.0.id() as i32, libc::SIGINT) };
        }
        let until = std::time::Instant::now() + SOON;
        while gdb.0.try_wait().unwrap().is_none() {
            if std::time::Instant::now() > until {
                let _ = gdb.0.kill();
                let (out, err) = (out.join().unwrap(), err.join().unwrap());
                panic!("gdb does not end:\n{out}{err}");
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let text = out.join().unwrap() + "-- errors:\n" + &err.join().unwrap();
        normal::transcript(&text)
    }
}
