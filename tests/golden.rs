//! One program, one list of events, the same on both systems: `trace --json`, with pids and tids
//! named by order of appearance and without the times.
//!
//! `TRAPLINE_BLESS=1 cargo test golden` prints the list that it found, for `golden.jsonl`.

use std::collections::HashMap;

use serde_json::{Map, Value};

use crate::fixtures::fixture;

crate::tests![golden_list_of_events,];

const GOLDEN: &str = include_str!("golden.jsonl");

/// Names numbers by the order in which they appear.
#[derive(Default)]
struct Names(Vec<u64>);

impl Names {
    fn name(&mut self, kind: char, value: &Value) -> Value {
        let Some(number) = value.as_u64() else { return value.clone() };
        let known = self.0.iter().position(|&n| n == number);
        let at = known.unwrap_or_else(|| {
            self.0.push(number);
            self.0.len() - 1
        });
        format!("{kind}{}", at + 1).into()
    }
}

/// The events of a `trace --json` file, as lines to compare.
fn normalise(json: &str) -> Vec<String> {
    let this = std::env::current_exe().unwrap().to_string_lossy().into_owned();
    let us = u64::from(std::process::id());
    let mut pids = Names::default();
    // Within its process, for FreeBSD uses the ids of threads again at once.
    let mut tids: HashMap<u64, Names> = HashMap::new();
    let mut lines = Vec::new();
    for line in json.lines() {
        let event: Map<String, Value> = serde_json::from_str(line).expect("a JSON object");
        // Signals that are ignored are reported on Linux only.
        if event.get("name").is_some_and(|name| name == "SIGCHLD") {
            continue;
        }
        let mut out = Map::new();
        for (key, value) in &event {
            let value = match key.as_str() {
                "t" => continue,
                // Its number is the system's; the name stands beside it.
                "signal" if event.contains_key("name") => continue,
                // One process is traced in its own process, the test's child.
                "real_parent" if value.as_u64().is_some_and(|p| !pids.0.contains(&p)) => {
                    assert_ne!(value.as_u64(), Some(us));
                    "the tracer".into()
                }
                "pid" | "child" | "real_parent" => pids.name('P', value),
                "tid" | "former_tid" => {
                    let process = event["pid"].as_u64().expect("a pid");
                    tids.entry(process).or_default().name('T', value)
                }
                "path" | "argv" => {
                    let text = value.to_string().replace(&this, "THIS");
                    serde_json::from_str(&text).unwrap()
                }
                _ => value.clone(),
            };
            out.insert(key.clone(), value);
        }
        lines.push(Value::Object(out).to_string());
    }
    lines
}

fn golden_list_of_events() {
    let dir = std::env::temp_dir().join(format!("trapline-golden-{}", std::process::id()));
    std::fs::create_dir(&dir).unwrap();
    let (json, text) = (dir.join("json"), dir.join("text"));
    let this = std::env::current_exe().unwrap();
    let mut trace = fixture("trace", &["--threads", "--signals", "--json"]);
    trace.arg(&json).arg("-o").arg(&text).arg("--");
    // The program that is traced is another mode of this binary, which only the environment
    // can say, and `env` would add its own exec.
    trace.arg("sh").arg("-c").arg("TRAPLINE_FIXTURE=golden exec \"$0\"").arg(&this);
    let status = trace.status().unwrap();
    assert_eq!(status.code(), Some(128 + libc::SIGTERM));
    let found = normalise(&std::fs::read_to_string(&json).unwrap());
    std::fs::remove_dir_all(&dir).unwrap();
    // The shell and its path are the system's.
    let mut found: Vec<_> = found.into_iter().filter(|line| !line.contains("\"sh\"")).collect();
    // Nothing orders what different processes do.
    let pid = |line: &String| line.find("\"pid\"").map(|at| line[at..at + 10].to_string());
    found.sort_by_key(pid);
    if std::env::var_os("TRAPLINE_BLESS").is_some() {
        panic!("the list:\n{}\n", found.join("\n"));
    }
    let golden: Vec<_> = GOLDEN.lines().map(str::to_string).collect();
    assert_eq!(found, golden, "found:\n{}", found.join("\n"));
}
