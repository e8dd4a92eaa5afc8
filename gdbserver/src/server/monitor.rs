//! Commands for the server itself: gdb's `monitor`.

use crate::packet::hex;

use super::answers::Answer;
use super::session::Session;

const HELP: &str = "\
The following monitor commands are supported:
  set debug <0|1>
    Print what goes over the line
  set remote-debug <0|1>
    The same
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
                format!("Debug output {}.\n", if on { "enabled" } else { "disabled" })
            }
            ["threads"] => self.threads_text(),
            _ => format!("Unknown monitor command.\n\n{HELP}"),
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
