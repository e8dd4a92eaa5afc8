//! A build with thousands of processes, and tracers of it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Names the tracer that this process is to be, if it is one.
const TRACER: &str = "TRAPLINE_BENCH_TRACER";

/// Many small C files and a makefile, in a directory of their own, which is removed in the end.
pub struct Workload {
    dir: PathBuf,
}

/// What traces the build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tool {
    Untraced,
    /// The example `trace`, which writes down all processes.
    Trace,
    /// A loop by hand that follows all processes and says nothing.
    Bare,
    /// `strace` of processes alone, which a seccomp filter stops at nothing else.
    StraceFilter,
    /// The same without the filter.
    Strace,
    /// `gdb` with every process as an inferior.
    Gdb,
}

impl Tool {
    pub const ALL: [Tool; 6] =
        [Tool::Untraced, Tool::Bare, Tool::Trace, Tool::StraceFilter, Tool::Strace, Tool::Gdb];

    pub fn name(self) -> &'static str {
        match self {
            Tool::Untraced => "untraced",
            Tool::Trace => "trace",
            Tool::Bare => "bare",
            Tool::StraceFilter => "strace_seccomp",
            Tool::Strace => "strace",
            Tool::Gdb => "gdb",
        }
    }

    /// The command that runs `make` under it.
    fn command(self, dir: &Path) -> Command {
        let make = ["make", "-s", "-j2"];
        let words: Vec<&str> = match self {
            Tool::Untraced => vec![],
            Tool::Trace | Tool::Bare => {
                let mut command = Command::new(std::env::current_exe().expect("this binary"));
                command.env(TRACER, self.name());
                if self == Tool::Trace {
                    command.args(["-o", "/dev/null", "--"]);
                }
                command.args(make);
                return command;
            }
            Tool::StraceFilter => {
                vec!["strace", "-f", "--seccomp-bpf", "-e", "trace=process", "-o", "/dev/null"]
            }
            Tool::Strace => vec!["strace", "-f", "-e", "trace=process", "-o", "/dev/null"],
            Tool::Gdb => {
                fs::write(dir.join("all.py"), GDB).expect("a file in a directory of ours");
                vec!["gdb", "-nx", "-batch", "-x", "all.py", "--args"]
            }
        };
        let mut all = words.into_iter().chain(make);
        let mut command = Command::new(all.next().expect("a word"));
        command.args(all);
        command
    }
}

/// Has gdb follow everything, and go on whenever it stops, until no inferior is left.
const GDB: &str = r#"
import gdb
for setting in ("pagination off", "confirm off", "follow-fork-mode parent", "detach-on-fork off",
                "schedule-multiple on", "auto-solib-add off", "print inferior-events off"):
    gdb.execute("set " + setting)
gdb.execute("handle all nostop noprint pass", to_string=True)
gdb.execute("run", to_string=True)
while True:
    alive = [i for i in gdb.inferiors() if i.pid]
    if not alive:
        break
    gdb.execute("inferior %d" % alive[0].num, to_string=True)
    for dead in [i for i in gdb.inferiors() if not i.pid and i.num != 1]:
        gdb.execute("remove-inferiors %d" % dead.num, to_string=True)
    gdb.execute("continue", to_string=True)
"#;

impl Workload {
    pub fn new(files: usize) -> io::Result<Self> {
        let dir = std::env::temp_dir().join(format!("trapline-build-{}", std::process::id()));
        fs::create_dir_all(&dir)?;
        for i in 0..files {
            let text = format!(
                "#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n\
                 int f{i}(int x) {{ char s[32]; snprintf(s, sizeof s, \"%d\", x + {i}); \
                 return (int)strlen(s) + atoi(s); }}\n"
            );
            fs::write(dir.join(format!("f{i}.c")), text)?;
        }
        let makefile = "all: $(patsubst %.c,%.o,$(wildcard *.c))\n\
                        %.o: %.c\n\tcc -O1 -c $< -o $@ && size $@ >/dev/null\n";
        fs::write(dir.join("Makefile"), makefile)?;
        Ok(Workload { dir })
    }

    /// The wall time of a build under a tool, from nothing.
    pub fn run(&self, tool: Tool, limit: Duration) -> Result<Duration, String> {
        for entry in fs::read_dir(&self.dir).map_err(|error| error.to_string())?.flatten() {
            if entry.path().extension().is_some_and(|extension| extension == "o") {
                let _ = fs::remove_file(entry.path());
            }
        }
        use std::os::unix::process::CommandExt;
        let mut command = tool.command(&self.dir);
        command.current_dir(&self.dir).stdin(Stdio::null()).process_group(0);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let start = Instant::now();
        let mut child = command.spawn().map_err(|error| format!("{}: {error}", tool.name()))?;
        let status = loop {
            // Woken when it ends, at most a millisecond late.
            match child.try_wait().map_err(|error| error.to_string())? {
                Some(status) => break status,
                None if start.elapsed() > limit => {
                    // SAFETY: a signal for the group that was made for it.
                    unsafe { libc::kill(-(child.id() as i32), libc::SIGKILL) };
                    let _ = child.wait();
                    return Err(format!("not done after {} s", limit.as_secs()));
                }
                None => std::thread::sleep(Duration::from_millis(1)),
            }
        };
        let taken = start.elapsed();
        let objects = fs::read_dir(&self.dir).map_err(|error| error.to_string())?.flatten();
        let is = |ending: &str| {
            let ending = ending.to_string();
            move |path: &PathBuf| path.extension().is_some_and(|e| e.to_str() == Some(&ending))
        };
        let paths: Vec<PathBuf> = objects.map(|entry| entry.path()).collect();
        let (built, sources) = (
            paths.iter().filter(|p| is("o")(p)).count(),
            paths.iter().filter(|p| is("c")(p)).count(),
        );
        match status.success() && built == sources {
            true => Ok(taken),
            false => Err(format!("{status}, {built} of {sources} files built")),
        }
    }
}

impl Drop for Workload {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// Becomes the tracer that the environment names; `trace` is the example's main function.
pub fn trace_if_asked(trace: impl FnOnce(Vec<std::ffi::OsString>) -> i32) {
    let Ok(tracer) = std::env::var(TRACER) else { return };
    // SAFETY: there is one thread.
    unsafe { std::env::remove_var(TRACER) };
    let args: Vec<_> = std::env::args_os().collect();
    let status = match tracer.as_str() {
        "trace" => trace(args),
        #[cfg(target_os = "linux")]
        "bare" => super::bare::tree::follow(args.into_iter().skip(1).collect()),
        other => panic!("no tracer {other}"),
    };
    std::process::exit(status);
}
