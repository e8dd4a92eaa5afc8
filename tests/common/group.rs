//! Process groups, to find what nobody traces.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};

/// The processes of a group that have not ended.
pub fn living_in(group: i32) -> BTreeSet<i32> {
    all().into_iter().filter(|p| p.group == group && !p.is_zombie).map(|p| p.pid).collect()
}

struct Process {
    pid: i32,
    group: i32,
    is_zombie: bool,
}

fn all() -> Vec<Process> {
    if cfg!(target_os = "freebsd") {
        let list = ["-ax", "-o", "pid=", "-o", "pgid=", "-o", "stat="];
        let ps = Command::new("ps").args(list).stdout(Stdio::piped()).spawn().expect("ps");
        let itself = ps.id() as i32;
        let output = ps.wait_with_output().expect("ps");
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        let listed = text.lines().filter_map(|line| parse(line.split_whitespace(), [0, 1, 2]));
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
        all.extend(parse(words, [0, 3, 1]));
    }
    all
}

/// Pid, group and state stand at these places.
fn parse<'a>(words: impl Iterator<Item = &'a str>, at: [usize; 3]) -> Option<Process> {
    let words: Vec<&str> = words.collect();
    let [pid, group, state] = at.map(|at| words.get(at).copied());
    let is_zombie = state?.starts_with(['Z', 'X']);
    Some(Process { pid: pid?.parse().ok()?, group: group?.parse().ok()?, is_zombie })
}
