//! Process groups, to find what nobody traces.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};

/// The processes of a group that have not ended.
pub fn living_in(group: i32) -> BTreeSet<i32> {
    all().into_iter().filter(|p| p.group == group && !p.is_zombie()).map(|p| p.pid).collect()
}

/// What the processes are, for messages.
#[allow(dead_code, reason = "an example has it as well")]
pub fn described(pids: &BTreeSet<i32>) -> Vec<String> {
    let listed = all().into_iter().filter(|process| pids.contains(&process.pid));
    listed.map(|p| format!("{} of {}: {}", p.pid, p.parent, p.state)).collect()
}

/// The children of a process that have ended, and that it has not waited for.
#[allow(dead_code, reason = "as above")]
pub fn zombies_of(parent: i32) -> Vec<i32> {
    let zombies = all().into_iter().filter(|p| p.parent == parent && p.is_zombie());
    zombies.map(|process| process.pid).collect()
}

struct Process {
    pid: i32,
    parent: i32,
    group: i32,
    state: String,
}

impl Process {
    fn is_zombie(&self) -> bool {
        self.state.starts_with(['Z', 'X'])
    }
}

fn all() -> Vec<Process> {
    if cfg!(target_os = "freebsd") {
        let list = ["-ax", "-o", "pid=", "-o", "ppid=", "-o", "pgid=", "-o", "stat="];
        let ps = Command::new("ps").args(list).stdout(Stdio::piped()).spawn().expect("ps");
        let itself = ps.id() as i32;
        let output = ps.wait_with_output().expect("ps");
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        let listed = text.lines().filter_map(|line| parse(line.split_whitespace(), [0, 1, 2, 3]));
        return listed.filter(|process| process.pid != itself).collect();
    }
    let mut all = Vec::new();
    for entry in std::fs::read_dir("/proc").expect("/proc") {
        let Ok(text) = std::fs::read(entry.expect("an entry").path().join("stat")) else {
            continue;
        };
        let text = String::from_utf8_lossy(&text);
        // The name, which stands in brackets, may have spaces.
        let Some((head, tail)) = text.rsplit_once(')') else { continue };
        let words = head.split(' ').take(1).chain(tail.split_whitespace());
        all.extend(parse(words, [0, 2, 3, 1]));
    }
    all
}

/// Pid, parent, group and state stand at these places.
fn parse<'a>(words: impl Iterator<Item = &'a str>, at: [usize; 4]) -> Option<Process> {
    let words: Vec<&str> = words.collect();
    let [pid, parent, group, state] = at.map(|at| words.get(at).copied());
    Some(Process {
        pid: pid?.parse().ok()?,
        parent: parent?.parse().ok()?,
        group: group?.parse().ok()?,
        state: state?.to_string(),
    })
}
