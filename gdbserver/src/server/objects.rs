//! What a client reads piece by piece: `qXfer`.

use std::fmt::Write;
use std::os::unix::ffi::OsStrExt;

use trapline::Pid;

use crate::wire::{LONGEST, escape};
use crate::{regs, system};

use super::answers::Answer;
use super::session::Session;
use super::text;

/// An object as a whole, or why there is none.
type Whole = Result<Vec<u8>, Answer>;

impl Session<'_> {
    pub(super) fn read_object(
        &mut self,
        object: &[u8],
        annex: &[u8],
        offset: u64,
        len: u64,
    ) -> Answer {
        // One object is read from its start to its end; what changes meanwhile is seen next time.
        let key = [object, b":", annex].concat();
        let is_kept = self.object.as_ref().is_some_and(|(kept, _)| *kept == key);
        if offset == 0 || !is_kept {
            match self.object(object, annex) {
                Ok(whole) => self.object = Some((key, whole)),
                Err(answer) => return answer,
            }
        }
        let whole = self.object.as_ref().map(|(_, whole)| whole.as_slice()).unwrap_or_default();
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let Some(rest) = whole.get(start..) else { return Answer::error() };
        // Each byte may become two.
        let len = usize::try_from(len).unwrap_or(usize::MAX).min(LONGEST / 2 - 8);
        let (piece, more) = match rest.get(..len) {
            Some(piece) if piece.len() < rest.len() => (piece, b'm'),
            _ => (rest, b'l'),
        };
        Answer::Bytes([&[more], escape(piece).as_slice()].concat())
    }

    fn object(&mut self, object: &[u8], annex: &[u8]) -> Whole {
        let process = |session: &mut Self| session.current_process().ok_or_else(Answer::error);
        match object {
            b"features" => self.features(annex),
            b"auxv" => {
                let pid = process(self)?;
                let process = self.server.inferiors.get(pid).map_err(Answer::from)?;
                Ok(process.program.auxv.clone())
            }
            b"exec-file" => {
                let named = std::str::from_utf8(annex).ok().filter(|annex| !annex.is_empty());
                let pid = match named {
                    Some(digits) => {
                        let pid = i32::from_str_radix(digits, 16).ok().and_then(Pid::new);
                        pid.ok_or_else(Answer::error)?
                    }
                    None => process(self)?,
                };
                let process = self.server.inferiors.get(pid).map_err(Answer::from)?;
                Ok(process.program.executable.as_os_str().as_bytes().to_vec())
            }
            b"threads" => Ok(self.threads_xml().into_bytes()),
            b"libraries-svr4" => {
                let pid = process(self)?;
                self.libraries(pid, annex).map(String::into_bytes).map_err(Answer::from)
            }
            b"siginfo" => {
                let (pid, tid) = self.current().ok_or_else(Answer::error)?;
                let inferiors = &mut self.server.inferiors;
                inferiors.with_thread(pid, tid, system::siginfo).map_err(Answer::from)
            }
            b"osdata" => osdata(annex).map(String::into_bytes).ok_or_else(Answer::error),
            _ => Err(Answer::unknown()),
        }
    }

    fn features(&mut self, annex: &[u8]) -> Whole {
        if annex != b"target.xml" {
            return Err(Answer::error());
        }
        // Before there is a process nobody knows, and the client asks again when there is one.
        let layout = self.current_process().map(|pid| self.server.inferiors.layout(pid));
        Ok(regs::xml(layout.unwrap_or_default()).into_bytes())
    }

    pub(super) fn write_object(
        &mut self,
        object: &[u8],
        _annex: &[u8],
        offset: u64,
        data: &[u8],
    ) -> Answer {
        if object != b"siginfo" {
            return Answer::unknown();
        }
        let Some((pid, tid)) = self.current() else { return Answer::error() };
        let written = self.server.inferiors.with_thread(pid, tid, |tracer, stop| {
            let mut info = system::siginfo(tracer, stop)?;
            let start = usize::try_from(offset).unwrap_or(usize::MAX);
            let place = info.get_mut(start..).and_then(|rest| rest.get_mut(..data.len()));
            let Some(place) = place else {
                return Err(trapline::Error::BadAddress { addr: offset, pid: Some(pid) });
            };
            place.copy_from_slice(data);
            system::set_siginfo(tracer, stop, &info)
        });
        match written {
            Ok(()) => format!("{:x}", data.len()).into(),
            Err(error) => error.into(),
        }
    }
}

/// Tables of the system.
fn osdata(annex: &[u8]) -> Option<String> {
    let mut table =
        String::from("<?xml version=\"1.0\"?>\n<!DOCTYPE target SYSTEM \"osdata.dtd\">\n");
    let mut rows: Vec<Vec<(&str, String)>> = Vec::new();
    let kind = match annex {
        b"" => {
            rows.push(vec![
                ("Type", "processes".to_string()),
                ("Description", "Listing of all processes".to_string()),
                ("Title", "Processes".to_string()),
            ]);
            "types"
        }
        b"processes" => {
            for process in system::processes() {
                rows.push(vec![
                    ("pid", process.pid.to_string()),
                    ("user", process.user),
                    ("command", process.command),
                ]);
            }
            "processes"
        }
        _ => return None,
    };
    // Writing to a string cannot fail.
    let _ = writeln!(table, "<osdata type=\"{kind}\">");
    for row in rows {
        table += "<item>";
        for (name, value) in row {
            let _ = write!(table, "<column name=\"{name}\">{}</column>", text::xml(&value));
        }
        table += "</item>\n";
    }
    table += "</osdata>\n";
    Some(table)
}
