//! Commands for the server itself: gdb's `monitor`.

use std::path::Path;

use crate::packet::hex;

use super::answers::Answer;
use super::session::Session;

const HELP: &str = "\
The following monitor commands are supported:
  set debug <0|1>
    Print what goes over the line
  set remote-debug <0|1>
    The same
  set debug-format all|none
    Nothing is added to the lines that are printed; for scripts that set it
  set libthread-db-search-path [PATH]
    Where libthread_db would be looked for, which this server does without: thread-local variables are
    not found while it is in none of these folders
  threads
    List the threads, and what each does
  help
    Print this
  exit
    Quit GDBserver
";

impl Session<'_> {
    pub(super) fn monitor(&mut self, command: &[u8]) -> Answer {
        let text = String::from_utf8_lossy(command);
        let words: Vec<&str> = text.split_whitespace().collect();
        let said = match words.as_slice() {
            ["help"] => HELP.to_string(),
            ["exit"] => {
                self.exit();
                return Answer::ok();
            }
            ["set", "debug" | "remote-debug", value @ ("0" | "1")] => {
                let on = *value == "1";
                self.line.trace = on;
                self.server.inferiors.trace = on;
                let what = if words.contains(&"debug") { "Debug" } else { "Protocol debug" };
                format!("{what} output {}.\n", if on { "enabled" } else { "disabled" })
            }
            ["set", "debug-format", what @ ("all" | "none")] => {
                let on = if *what == "all" { "enabled" } else { "disabled" };
                format!("All extra debug format options {on}.\n")
            }
            ["set", "libthread-db-search-path", path @ ..] => {
                let path = path.first().copied().unwrap_or("$sdir:$pdir");
                let holds = |folder: &str| {
                    folder.starts_with('$') || Path::new(folder).join("libthread_db.so.1").exists()
                };
                self.server.has_no_thread_library = !path.split(':').any(holds);
                format!("libthread-db-search-path set to `{path}'\n")
            }
            ["threads"] => self.threads_text(),
            _ => {
                let said = format!("Unknown monitor command.\n\n{HELP}");
                let printed = format!("O{}", hex(said.as_bytes()));
                return match self.line.answer(printed.as_bytes()) {
                    Ok(()) => Answer::error(),
                    Err(_) => Answer::Nothing, // the line broke, as the next packet shows
                };
            }
        };
        hex(said.as_bytes()).into()
    }

    fn threads_text(&mut self) -> String {
        let all = self.all_threads();
        let inferiors = &self.server.inferiors;
        let lines = all.into_iter().filter_map(|(pid, tid)| {
            let thread = inferiors.thread(pid, tid).ok()?;
            let rests = if thread.stop.is_some() { "at rest" } else { "runs" };
            Some(format!("{pid}.{tid}: {rests}, {:?}\n", thread.wants))
        });
        lines.collect()
    }
}
