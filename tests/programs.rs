//! E2, E4, F1: real programs under `trace --follow both` write and return what they do without a
//! tracer, and are as many processes as strace sees.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::common::skip;
use crate::fixtures::fixture;

crate::tests![
    f1_bash_with_pipelines_and_background_jobs,
    f1_make_with_eight_jobs,
    f1_multiprocessing_by_fork,
    f1_multiprocessing_by_spawn,
    f1_multiprocessing_by_forkserver,
    f1_a_daemon_in_a_session_of_its_own,
    f1_posix_spawn,
    f1_git_clones_a_repository,
];

/// Pipelines, a background job whose status is waited for, a command's output.
const BASH: &str = "\
for i in 1 2 3; do echo $i; done | sort -r | tr 1 x
(sleep 0.1; echo background; exit 4) & job=$!
wait $job; echo \"status $?\"
lines=$(printf '%s\\n' a b c | cat | wc -l); echo $((lines + 0))
exit 9
";

const MAKEFILE: &str = "\
all: a b c d e f g h
\t@cat *.out | sort; exit 3
a b c d e f g h:
\t@/bin/echo $@ | cat >$@.out
";

const MULTIPROCESSING: &str = "\
import multiprocessing, sys

def square(x):
    return x * x

if __name__ == '__main__':
    context = multiprocessing.get_context(sys.argv[1])
    with context.Pool(2) as pool:
        print(sum(pool.map(square, range(50))))
    one = context.Process(target=sys.exit, args=(7,))
    one.start()
    one.join()
    print(one.exitcode)
    sys.exit(6)
";

/// Two clones: one that links files, and one that has another process pack them.
const GIT: &str = "\
git clone -q source one && git clone -q --no-local source two && git -C two log --format=%s";

/// A directory that is there for one run.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Directory {
        let name = format!("trapline-programs-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).unwrap();
        Directory(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn is_here(tool: &str) -> bool {
    let found = Command::new(tool).arg("--version").stdin(Stdio::null()).output();
    found.is_ok_and(|output| output.status.success())
}

/// Ends the test if a tool is not here.
fn needs(tool: &str) {
    if !is_here(tool) {
        skip(&format!("there is no {tool} here"));
    }
}

/// Runs a command to its end, and to that of all orphans that it leaves, in a directory of its own
/// that is prepared for it, and that has the same name each time.
fn run(mut command: Command, prepare: &impl Fn(&Path)) -> Output {
    let directory = Directory::new("run");
    prepare(&directory.0);
    let output = command.current_dir(&directory.0).stdin(Stdio::null()).output().unwrap();
    // A program that has closed the pipe may still be on the way out.
    // SAFETY: a null status is allowed; this process has no other children.
    while unsafe { libc::waitpid(-1, std::ptr::null_mut(), 0) } > 0 {}
    output
}

/// A command with another one behind it.
fn with(mut command: Command, args: &[&str]) -> Command {
    command.args(args);
    command
}

/// Compares what a program writes and returns, and how many processes it is.
fn same(args: &[&str], prepare: impl Fn(&Path)) {
    let untraced = run(with(Command::new(args[0]), &args[1..]), &prepare);
    assert!(!untraced.stdout.is_empty(), "{untraced:?}");

    let files = Directory::new("trace");
    let (json, text) = (files.0.join("json"), files.0.join("text"));
    let mut trace = fixture("trace", &["--follow", "both", "--json"]);
    trace.arg(&json).arg("-o").arg(&text).arg("--");
    let traced = run(with(trace, args), &prepare);
    assert_eq!(String::from_utf8_lossy(&traced.stdout), String::from_utf8_lossy(&untraced.stdout));
    assert_eq!(traced.status, untraced.status);
    let events = std::fs::read_to_string(json).unwrap();
    let count = |event: &str| events.matches(&format!("\"event\":\"{event}\"")).count();
    assert!(count("fork") > 0);
    assert_eq!(count("exit"), count("fork") + 1);

    if !is_here("strace") {
        drop(files);
        skip("there is no strace here");
    }
    let log = files.0.join("strace");
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-e", "trace=fork,vfork,clone,clone3", "-o"]).arg(&log).arg("--");
    let straced = run(with(strace, args), &prepare);
    assert_eq!(straced.status, untraced.status);
    let log = std::fs::read_to_string(log).unwrap();
    assert_eq!(count("fork"), forks(&log), "{log}\n{events}");
}

/// How many processes were made, by a log of strace's, in which each line begins with a pid.
fn forks(log: &str) -> usize {
    let mut begun: BTreeMap<&str, &str> = BTreeMap::new();
    let mut forks = 0;
    for line in log.lines() {
        let Some((pid, what)) = line.split_once(' ') else { continue };
        let what = what.trim_start();
        if !["fork(", "vfork(", "clone", "<..."].iter().any(|call| what.starts_with(call)) {
            continue; // a signal, an end
        }
        if what.ends_with("<unfinished ...>") {
            begun.insert(pid, what);
            continue;
        }
        let start = if what.starts_with("<...") { begun.remove(pid) } else { None };
        let is_thread = what.contains("CLONE_THREAD")
            || start.is_some_and(|start| start.contains("CLONE_THREAD"));
        let result = what.rsplit_once(" = ").and_then(|(_, r)| r.parse::<i64>().ok());
        forks += usize::from(!is_thread && result.is_some_and(|pid| pid > 0));
    }
    forks
}

fn python(method: &str) {
    needs("python3");
    same(&["python3", "program.py", method], |directory| {
        std::fs::write(directory.join("program.py"), MULTIPROCESSING).unwrap();
    });
}

fn f1_bash_with_pipelines_and_background_jobs() {
    needs("bash");
    same(&["bash", "-c", BASH], |_| ());
}

fn f1_make_with_eight_jobs() {
    needs("make");
    same(&["make", "-j8"], |directory| {
        std::fs::write(directory.join("Makefile"), MAKEFILE).unwrap();
    });
}

fn f1_multiprocessing_by_fork() {
    python("fork");
}

fn f1_multiprocessing_by_spawn() {
    python("spawn");
}

fn f1_multiprocessing_by_forkserver() {
    python("forkserver");
}

fn f1_a_daemon_in_a_session_of_its_own() {
    needs("setsid");
    let script = "setsid sh -c 'sleep 0.2; echo late; exit 3' & echo early; exit 2";
    same(&["sh", "-c", script], |_| ());
}

fn f1_posix_spawn() {
    let this = std::env::current_exe().unwrap();
    let script = "for i in 1 2 3 4; do \
        TRAPLINE_FIXTURE=spawn \"$0\" sh -c \"echo $i; exit $i\"; echo \"status $?\"; \
        done; exit 5";
    same(&["sh", "-c", script, this.to_str().unwrap()], |_| ());
}

fn f1_git_clones_a_repository() {
    needs("git");
    same(&["sh", "-c", GIT], |directory| {
        let git = |args: &[&str]| {
            let mut git = Command::new("git");
            git.args(["-c", "user.name=a", "-c", "user.email=a@b", "-C", "source"]).args(args);
            let output = git.current_dir(directory).output().unwrap();
            assert!(output.status.success(), "{output:?}");
        };
        std::fs::create_dir(directory.join("source")).unwrap();
        git(&["init", "-q"]);
        for file in ["one", "two", "three"] {
            std::fs::write(directory.join("source").join(file), file).unwrap();
            git(&["add", file]);
            git(&["commit", "-q", "-m", file]);
        }
    });
}
