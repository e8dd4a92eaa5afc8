//! The Chrome trace-event file, which <https://ui.perfetto.dev> opens.
//!
//! The format is an array of objects; what is used of it: `B` and `E` begin and end a slice, `i`
//! is an instant, `M` names a track; `ts` is in microseconds. Slices of one track nest: the life
//! of the process, and in it its programs one after the other.

use std::collections::{BTreeSet, HashMap};

use serde_json::{Value, json};
use trapline::{Pid, Tid};

use super::model::{Origin, Process, Processes, Record, What};
use super::output::Output;

/// The ids of the dead are given to others, but a track is one process. More than any pid.
const NEXT_LIFE: i64 = 10_000_000;

pub(crate) struct Timeline {
    output: Output,
    /// How many processes have had a pid.
    lives: HashMap<Pid, i64>,
    /// Threads whose slice is open.
    threads: BTreeSet<(i64, Tid)>,
    empty: bool,
}

impl Timeline {
    pub(crate) fn new(output: Output) -> Timeline {
        output.write(b"[\n");
        Timeline { output, lives: HashMap::new(), threads: BTreeSet::new(), empty: true }
    }

    /// Writes what an event begins and ends.
    pub(crate) fn record(&mut self, record: &Record, processes: &Processes) {
        let ts = record.t.as_nanos() as f64 / 1000.0;
        if let What::Fork { child, .. } = &record.what {
            if let Some(at) = processes.find(*child) {
                let maker = json!(record.pid.map(|pid| pid.as_raw()));
                self.birth(ts, processes.get(at), maker, processes.name(at));
            }
        }
        let (Some(pid), Some(at)) = (record.pid, record.at) else { return };
        let process = processes.get(at);
        match &record.what {
            What::Spawn | What::Attach => {
                self.birth(ts, process, Value::Null, processes.name(at));
                if let Some(program) = process.program() {
                    self.begin(ts, pid, &program.name, json!({ "command": program.command }));
                }
            }
            What::Fork { .. } => {}
            What::Exec { .. } => {
                self.end(ts, pid, Value::Null);
                if let Some(program) = process.program() {
                    let path = program.path.as_ref().map(|path| path.to_string_lossy());
                    let args = json!({ "path": path, "command": program.command });
                    self.begin(ts, pid, &program.name, args);
                }
            }
            What::Thread => {
                if let Some(tid) = record.tid {
                    let track = self.track(pid);
                    self.threads.insert((track, tid));
                    self.slice("B", ts, (track, thread(tid)), "thread", Value::Null);
                }
            }
            What::ThreadExit => {
                let track = self.track(pid);
                let open = record.tid.filter(|&tid| self.threads.remove(&(track, tid)));
                if let Some(tid) = open {
                    self.slice("E", ts, (track, thread(tid)), "thread", Value::Null);
                }
            }
            What::Signal { signal, .. } => self.instant(ts, pid, &signal.to_string()),
            What::GroupStop(signal) => self.instant(ts, pid, &format!("stopped by {signal}")),
            What::Reparented { to, .. } => {
                let to = to.map_or("a parent elsewhere".into(), |to| to.to_string());
                self.instant(ts, pid, &format!("reparented to {to}"));
            }
            What::VforkDone => self.instant(ts, pid, "vfork done"),
            What::Detach => self.death(ts, process, "detached", processes.name(at)),
            What::Exit { status, .. } => {
                self.death(ts, process, &status.to_string(), processes.name(at));
            }
        }
    }

    /// Closes the array.
    pub(crate) fn finish(&self) {
        self.output.write(b"\n]\n");
    }

    /// A process begins: its life, and in it what it is a copy of.
    fn birth(&mut self, ts: f64, process: &Process, maker: Value, name: &str) {
        *self.lives.entry(process.pid).or_insert(-1) += 1;
        let parent = process.parent.map(|pid| pid.as_raw());
        let args = json!({ "real_parent": parent, "made_by": maker });
        self.begin(ts, process.pid, &format!("process {}", process.pid), args);
        if process.programs.is_empty() {
            let name = match process.origin {
                Origin::Made(_) => format!("({name})"),
                Origin::Spawned | Origin::Attached => "(starting)".into(),
            };
            self.begin(ts, process.pid, &name, Value::Null);
        }
    }

    /// A process ends, and its track gets the name of its last program.
    fn death(&mut self, ts: f64, process: &Process, how: &str, name: &str) {
        let pid = process.pid;
        let track = self.track(pid);
        let all = self.threads.iter().filter(|&&(of, _)| of == track);
        let open: Vec<(i64, Tid)> = all.copied().collect();
        for life in open {
            self.threads.remove(&life);
            self.slice("E", ts, (track, thread(life.1)), "thread", Value::Null);
        }
        self.end(ts, pid, Value::Null);
        self.end(ts, pid, json!({ "end": how }));
        self.write(&json!({
            "ph": "M", "pid": track, "name": "process_name", "args": { "name": name },
        }));
        self.write(&json!({
            "ph": "M", "pid": track, "name": "process_labels",
            "args": { "labels": process.program().map(|program| &program.command) },
        }));
    }

    fn begin(&mut self, ts: f64, pid: Pid, name: &str, args: Value) {
        let track = self.track(pid);
        self.slice("B", ts, (track, track), name, args);
    }

    fn end(&mut self, ts: f64, pid: Pid, args: Value) {
        let track = self.track(pid);
        self.slice("E", ts, (track, track), "", args);
    }

    fn instant(&mut self, ts: f64, pid: Pid, name: &str) {
        let track = self.track(pid);
        self.write(&json!({
            "ph": "i", "s": "t", "ts": ts, "pid": track, "tid": track, "name": name,
        }));
    }

    fn slice(&mut self, ph: &str, ts: f64, (pid, tid): (i64, i64), name: &str, args: Value) {
        self.write(&json!({
            "ph": ph, "ts": ts, "pid": pid, "tid": tid, "name": name, "args": args,
        }));
    }

    fn write(&mut self, event: &Value) {
        let comma = if std::mem::take(&mut self.empty) { "" } else { ",\n" };
        self.output.write(format!("{comma}{event}").as_bytes());
    }

    /// The track of the process that has this pid now.
    fn track(&self, pid: Pid) -> i64 {
        i64::from(pid.as_raw()) + NEXT_LIFE * self.lives.get(&pid).copied().unwrap_or(0)
    }
}

fn thread(tid: Tid) -> i64 {
    i64::from(tid.as_raw())
}
