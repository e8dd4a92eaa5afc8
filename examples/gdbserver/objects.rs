//! What gdb reads piece by piece: the description, the auxiliary vector, the program's name; and
//! the names of threads.

use gdbstub::common::{Pid as GdbPid, Tid as GdbTid};
use gdbstub::target::TargetResult;
use gdbstub::target::ext::auxv::Auxv;
use gdbstub::target::ext::exec_file::ExecFile;
use gdbstub::target::ext::target_description_xml_override::TargetDescriptionXmlOverride;
use gdbstub::target::ext::thread_extra_info::ThreadExtraInfo;
use trapline::{Error, Result};

use super::amd64::Layout;
use super::debuggee::Debuggee;
use super::description;
use super::target::{refused, tid};

/// One piece of something; nothing behind its end.
fn piece(whole: &[u8], offset: u64, length: usize, buf: &mut [u8]) -> usize {
    let start = usize::try_from(offset).unwrap_or(usize::MAX).min(whole.len());
    let rest = &whole[start..];
    let len = rest.len().min(length).min(buf.len());
    buf[..len].copy_from_slice(&rest[..len]);
    len
}

impl TargetDescriptionXmlOverride for Debuggee {
    fn target_description_xml(
        &self,
        annex: &[u8],
        offset: u64,
        length: usize,
        buf: &mut [u8],
    ) -> TargetResult<usize, Self> {
        if annex != b"target.xml" {
            return Err(refused(Error::Gone));
        }
        // Before there is a process nobody knows, and gdb asks again when there is one.
        let program = self.inferior.as_ref().map(|inferior| &inferior.program);
        let avx = program.is_none_or(|program| program.avx);
        let layout = program.map_or(Layout::default(), |program| program.layout);
        self.layout.set(layout);
        Ok(piece(description::xml(layout, avx).as_bytes(), offset, length, buf))
    }
}

impl Auxv for Debuggee {
    fn get_auxv(&self, offset: u64, length: usize, buf: &mut [u8]) -> TargetResult<usize, Self> {
        let inferior = self.inferior.as_ref().ok_or(refused(Error::Gone))?;
        Ok(piece(&inferior.program.auxv, offset, length, buf))
    }
}

impl ExecFile for Debuggee {
    fn get_exec_file(
        &self,
        _: Option<GdbPid>,
        offset: u64,
        length: usize,
        buf: &mut [u8],
    ) -> TargetResult<usize, Self> {
        let inferior = self.inferior.as_ref().ok_or(refused(Error::Gone))?;
        Ok(piece(&inferior.program.executable, offset, length, buf))
    }
}

impl ThreadExtraInfo for Debuggee {
    fn thread_extra_info(&self, gdb: GdbTid, buf: &mut [u8]) -> Result<usize> {
        let names = self.inferior.as_ref().map(|inferior| &inferior.program.names);
        let name = tid(gdb).and_then(|tid| names?.get(&tid));
        Ok(name.map_or(0, |name| piece(name.as_bytes(), 0, usize::MAX, buf)))
    }
}

impl Debuggee {
    /// Asks for the names of all threads at rest: gdb lists them before it asks for one.
    pub(crate) fn name_threads(&mut self) {
        let Some(inferior) = &mut self.inferior else { return };
        inferior.program.names.clear();
        for stop in inferior.halted.iter().flat_map(|halted| &halted.threads) {
            if let Ok(name) = self.tracer.thread_name(stop) {
                inferior.program.names.insert(stop.tid(), name.to_string_lossy().into_owned());
            }
        }
    }
}
