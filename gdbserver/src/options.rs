//! The command line, as gdb's own gdbserver has it, and a little more.

use std::ffi::OsString;

use clap::{Parser, ValueEnum};
use trapline::Pid;

use crate::wire::Address;

/// What becomes of the programs if the connection is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OnDisconnect {
    /// They are killed.
    Kill,
    /// They are let go, and run on.
    Detach,
    /// They stand still until a client comes again.
    Wait,
}

/// Packets that clients can be tried without.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Disabled {
    #[value(name = "vCont")]
    Resume,
    /// Stops do not say whose they are.
    #[value(name = "Tthread")]
    StopThread,
    #[value(name = "qC")]
    CurrentThread,
    #[value(name = "qfThreadInfo")]
    ThreadList,
    /// All that is about threads.
    #[value(name = "threads")]
    Threads,
    /// Stops are but signals.
    #[value(name = "T")]
    StopReasons,
}

const USES: &str = "\
Usage: trapline-gdbserver [OPTIONS] ADDRESS PROGRAM [ARGS]...
       trapline-gdbserver [OPTIONS] --attach ADDRESS PID
       trapline-gdbserver [OPTIONS] --multi ADDRESS";

const NOTES: &str = "\
ADDRESS is one of
  :PORT, HOST:PORT, [HOST]:PORT  TCP; tcp:, tcp4: and tcp6: may be in front. Without a HOST it is this
                                 machine alone, * is everybody. PORT 0 takes a free one.
  unix:PATH, /PATH               a socket in the file system
  stdio, -                       standard input and output

Whoever can connect can run programs as this user: there is no password.

In gdb: target extended-remote ADDRESS. In lldb: gdb-remote ADDRESS.";

/// A server of the gdb remote protocol: debug programs with gdb or lldb, here or from another machine.
#[derive(Debug, Parser)]
#[command(name = "trapline-gdbserver", version, override_usage = USES, after_help = NOTES)]
#[command(trailing_var_arg = true)]
struct Line {
    /// Attach to a running process; when the client goes, it lives on
    #[arg(long)]
    attach: bool,
    /// Start without a program, and stay when there is none any more
    #[arg(long)]
    multi: bool,
    /// Take one connection, and end with it
    #[arg(long)]
    once: bool,
    /// Print what goes over the line
    #[arg(long, visible_alias = "remote-debug")]
    debug: bool,
    /// Says that there are no tests in this program, as gdb's server does without them
    #[arg(long, hide = true)]
    selftest: bool,
    /// Do as if these packets were not known: vCont, Tthread, qC, qfThreadInfo, threads (all of them),
    /// T
    #[arg(long, value_delimiter = ',', require_equals = true, value_name = "NAMES")]
    disable_packet: Vec<Disabled>,
    /// Start programs by a shell
    #[arg(long)]
    startup_with_shell: bool,
    /// Start programs as they are (as it is without this, too)
    #[arg(long)]
    no_startup_with_shell: bool,
    /// Start programs at addresses that are different each time
    #[arg(long)]
    no_disable_randomization: bool,
    /// Start programs at addresses that are the same each time (as it is without this, too)
    #[arg(long)]
    disable_randomization: bool,
    /// Run programs by a command, up to a --
    #[arg(long, num_args = 1.., value_terminator = "--", allow_hyphen_values = true)]
    wrapper: Vec<OsString>,
    /// What becomes of the programs if the connection is lost: wait, or with --once, detach what was
    /// attached to and kill the rest
    #[arg(long, value_name = "WHAT")]
    on_disconnect: Option<OnDisconnect>,
    /// Where to listen, and a program with its arguments, or a process id
    #[arg(allow_hyphen_values = true, value_name = "ADDRESS")]
    words: Vec<OsString>,
}

/// What is to be debugged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum What {
    /// A program, with its arguments, that is started now.
    Program(Vec<OsString>),
    /// A running process.
    Process(Pid),
    /// What a client asks for.
    Nothing,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) address: Address,
    pub(crate) what: What,
    pub(crate) once: bool,
    pub(crate) multi: bool,
    pub(crate) debug: bool,
    pub(crate) shell: bool,
    pub(crate) random: bool,
    pub(crate) wrapper: Vec<OsString>,
    pub(crate) on_disconnect: Option<OnDisconnect>,
    disabled: Vec<Disabled>,
}

impl Options {
    /// Whether a packet is to be treated as unknown.
    pub(crate) fn disables(&self, packet: Disabled) -> bool {
        let with_threads = packet != Disabled::StopReasons;
        self.disabled.contains(&packet)
            || with_threads && self.disabled.contains(&Disabled::Threads)
    }
}

/// Why there are no options.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Something was asked for that is to be printed.
    Print(String),
    /// Wrong use.
    Wrong(String),
}

/// Reads a command line, the name of the program first.
pub(crate) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Options, Refusal> {
    let line = Line::try_parse_from(args).map_err(|error| match error.use_stderr() {
        false => Refusal::Print(error.to_string().trim_end().to_string()),
        true => Refusal::Wrong(error.to_string().trim_end().to_string()),
    })?;
    if line.selftest {
        return Err(Refusal::Print("Selftests have been disabled for this build.".to_string()));
    }
    let wrong = |line: &str| Err(Refusal::Wrong(format!("{line} (see --help)")));
    let mut words = line.words;
    let is_id = |word: &OsString| word.to_str().and_then(|text| text.parse::<i32>().ok());
    // gdb's server takes it behind the address, too.
    let behind = words.get(1).is_some_and(|word| word == "--attach");
    if behind {
        words.remove(1);
    }
    let attach = line.attach || behind;
    if attach && words.len() == 2 && words.first().and_then(is_id).is_some() {
        words.swap(0, 1);
    }
    if words.is_empty() {
        return wrong("where shall it listen? Say HOST:PORT or :PORT");
    }
    let text = words.remove(0);
    let Some(address) = text.to_str().and_then(Address::parse) else {
        return wrong(&format!("{} is no address to listen at", text.to_string_lossy()));
    };
    let what = match (attach, line.multi, words.as_slice()) {
        (true, _, [word]) => match is_id(word).and_then(Pid::new) {
            Some(id) => What::Process(id),
            None => return wrong(&format!("{} is no process id", word.to_string_lossy())),
        },
        (true, _, _) => return wrong("--attach takes one process id"),
        (false, true, []) => What::Nothing,
        (false, false, []) => return wrong("which program? Or say --attach or --multi"),
        (false, ..) => What::Program(words),
    };
    Ok(Options {
        address,
        what,
        once: line.once,
        multi: line.multi,
        debug: line.debug,
        shell: line.startup_with_shell && !line.no_startup_with_shell,
        random: line.no_disable_randomization && !line.disable_randomization,
        wrapper: line.wrapper,
        on_disconnect: line.on_disconnect,
        disabled: line.disable_packet,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Options, Refusal> {
        parse(std::iter::once("server").chain(line.split_whitespace()).map(OsString::from))
    }

    fn words(text: &str) -> Vec<OsString> {
        text.split_whitespace().map(OsString::from).collect()
    }

    #[test]
    fn programs_and_their_arguments() {
        let options = read("--once :0 ls -l --once -- x").unwrap();
        assert_eq!(options.what, What::Program(words("ls -l --once -- x")));
        assert!(options.once && !options.multi);
        let options = read("--wrapper env A=1 -- :0 ls").unwrap();
        assert_eq!(options.wrapper, words("env A=1"));
        assert_eq!(options.what, What::Program(words("ls")));
    }

    #[test]
    fn processes_and_nothing() {
        assert_eq!(read("--attach :0 12").unwrap().what, What::Process(Pid::new(12).unwrap()));
        assert_eq!(read("--attach 12 :0").unwrap().what, What::Process(Pid::new(12).unwrap()));
        assert_eq!(read(":0 --attach 12").unwrap().what, What::Process(Pid::new(12).unwrap()));
        assert_eq!(read("--multi :0").unwrap().what, What::Nothing);
        let kill = read("--multi --on-disconnect kill :0").unwrap();
        assert_eq!(kill.on_disconnect, Some(OnDisconnect::Kill));
        assert_eq!(read("--multi -").unwrap().address, Address::Stdio);
        let without = read("--multi --disable-packet=qC,vCont :0").unwrap();
        assert!(without.disables(Disabled::Resume) && !without.disables(Disabled::ThreadList));
        assert!(read("--disable-packet=threads :0 ls").unwrap().disables(Disabled::ThreadList));
    }

    #[test]
    fn wrong_lines() {
        for line in ["", ":0", "nowhere ls", "--attach :0", "--attach :0 x", "--what :0 ls"] {
            assert!(matches!(read(line), Err(Refusal::Wrong(_))), "{line}");
        }
        assert!(matches!(read("--help"), Err(Refusal::Print(_))));
        assert!(matches!(read("--version"), Err(Refusal::Print(_))));
    }
}
