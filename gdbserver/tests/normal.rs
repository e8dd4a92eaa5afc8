//! What two runs of the same session have in common: ids are named by the order in which they appear,
//! and addresses are all the same.

use std::collections::HashMap;

#[derive(Default)]
struct Names(HashMap<String, String>);

impl Names {
    fn name(&mut self, kind: char, value: &str) -> String {
        let next = self.0.keys().filter(|key| key.starts_with(kind)).count() + 1;
        self.0.entry(format!("{kind}{value}")).or_insert(format!("{kind}{next}")).clone()
    }
}

/// The digits at the start of a text.
fn digits(text: &str, radix: u32) -> &str {
    let end = text.find(|c: char| !c.is_digit(radix)).unwrap_or(text.len());
    &text[..end]
}

/// A transcript of gdb without what is different each time.
pub fn transcript(text: &str) -> String {
    let mut names = Names::default();
    let mut out = String::new();
    for line in text.lines() {
        let line = named(line, &mut names);
        // The columns of a table are as wide as the ids.
        match line.contains("Target Id") || line.contains("    Thread P") {
            true => out += &line.split_whitespace().collect::<Vec<_>>().join(" "),
            false => out += &line,
        }
        out.push('\n');
    }
    out
}

fn named(line: &str, names: &mut Names) -> String {
    let mut out = String::new();
    let mut rest = line;
    while let Some(first) = rest.chars().next() {
        if let Some(hex) = rest.strip_prefix("0x") {
            let hex = digits(hex, 16);
            if hex.len() >= 6 {
                // Which are the same is no help: that depends on chance, and on the environment.
                out += "ADDRESS";
                rest = &rest[2 + hex.len()..];
                continue;
            }
        }
        // Arguments of functions that wait for a thread or for a process.
        let argument = ["expected=", "pid="].into_iter().find(|name| rest.starts_with(name));
        if let Some(name) = argument {
            let behind = &rest[name.len()..];
            let id = digits(behind, 10);
            if !id.is_empty() {
                out += name;
                out += &names.name('T', id);
                rest = &behind[id.len()..];
                continue;
            }
        }
        if let Some(behind) = rest.strip_prefix("process ") {
            let pid = digits(behind, 10);
            if !pid.is_empty() {
                out += "process ";
                out += &names.name('P', pid);
                rest = &behind[pid.len()..];
                continue;
            }
        }
        if let Some((thread, behind)) = thread(rest, names) {
            out += &thread;
            rest = behind;
            continue;
        }
        out.push(first);
        rest = &rest[first.len_utf8()..];
    }
    out
}

/// `Thread PID.TID`.
fn thread<'t>(text: &'t str, names: &mut Names) -> Option<(String, &'t str)> {
    let behind = text.strip_prefix("Thread ")?;
    let pid = digits(behind, 10);
    let behind = behind[pid.len()..].strip_prefix('.')?;
    let tid = digits(behind, 10);
    let behind = &behind[tid.len()..];
    Some((format!("Thread {}.{}", names.name('P', pid), names.name('T', tid)), behind))
}
