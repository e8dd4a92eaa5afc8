//! What gdb's `target extended-remote` adds: to run and to attach, and how.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use gdbstub::common::Pid as GdbPid;
use gdbstub::target::TargetResult;
use gdbstub::target::ext::extended_mode::{
    Args, AttachKind, ConfigureAslr, ConfigureAslrOps, ConfigureEnv, ConfigureEnvOps,
    ConfigureStartupShell, ConfigureStartupShellOps, ConfigureWorkingDir, ConfigureWorkingDirOps,
    CurrentActivePid, CurrentActivePidOps, ExtendedMode, ShouldTerminate,
};
use trapline::{Error, Pid, Result};

use super::debuggee::{Debuggee, Origin};
use super::target::{gdb_pid, refused};

fn word(bytes: &[u8]) -> OsString {
    OsString::from_vec(bytes.to_vec())
}

impl ExtendedMode for Debuggee {
    fn run(&mut self, filename: Option<&[u8]>, args: Args<'_, '_>) -> TargetResult<GdbPid, Self> {
        let program = filename.map(word).or_else(|| self.launch.program.first().cloned());
        let mut program: Vec<OsString> = program.into_iter().collect();
        program.extend(args.map(word));
        self.kill().map_err(refused)?;
        let pid = self.start(program).map_err(refused)?;
        self.say_created();
        Ok(gdb_pid(pid))
    }

    fn attach(&mut self, pid: GdbPid) -> TargetResult<(), Self> {
        let pid = i32::try_from(pid.get()).map_err(|_| refused(Error::Gone))?;
        self.detach().map_err(refused)?;
        self.attach(Pid::from_raw(pid)).map_err(refused)?;
        self.say_created();
        Ok(())
    }

    fn query_if_attached(&mut self, _: GdbPid) -> TargetResult<AttachKind, Self> {
        match self.inferior.as_ref().map(|inferior| inferior.origin) {
            Some(Origin::Attached) => Ok(AttachKind::Attach),
            Some(Origin::Started) => Ok(AttachKind::Run),
            None => Err(refused(Error::Gone)),
        }
    }

    fn kill(&mut self, _: Option<GdbPid>) -> TargetResult<ShouldTerminate, Self> {
        if let Some(inferior) = &self.inferior {
            super::say(format_args!("Killing process(es): {}", inferior.pid));
        }
        self.kill().map_err(refused)?;
        Ok(if self.multi { ShouldTerminate::No } else { ShouldTerminate::Yes })
    }

    fn restart(&mut self) -> Result<()> {
        let program = self.launch.program.clone();
        self.kill()?;
        self.start(program)?;
        self.say_created();
        Ok(())
    }

    fn support_configure_aslr(&mut self) -> Option<ConfigureAslrOps<'_, Self>> {
        Some(self)
    }

    fn support_configure_env(&mut self) -> Option<ConfigureEnvOps<'_, Self>> {
        Some(self)
    }

    fn support_configure_startup_shell(&mut self) -> Option<ConfigureStartupShellOps<'_, Self>> {
        Some(self)
    }

    fn support_configure_working_dir(&mut self) -> Option<ConfigureWorkingDirOps<'_, Self>> {
        Some(self)
    }

    fn support_current_active_pid(&mut self) -> Option<CurrentActivePidOps<'_, Self>> {
        Some(self)
    }
}

impl CurrentActivePid for Debuggee {
    fn current_active_pid(&mut self) -> Result<GdbPid> {
        // Before there is a process this is asked for, too; then the number says nothing.
        Ok(self.inferior.as_ref().map_or(GdbPid::MIN, |inferior| gdb_pid(inferior.pid)))
    }
}

impl ConfigureAslr for Debuggee {
    /// gdbstub passes the number of the packet `QDisableRandomization` as it is.
    fn cfg_aslr(&mut self, disabled: bool) -> TargetResult<(), Self> {
        self.launch.random = !disabled;
        Ok(())
    }
}

impl ConfigureEnv for Debuggee {
    fn set_env(&mut self, key: &[u8], value: Option<&[u8]>) -> TargetResult<(), Self> {
        let value = Some(word(value.unwrap_or_default()));
        self.launch.environment.insert(word(key), value);
        Ok(())
    }

    fn remove_env(&mut self, key: &[u8]) -> TargetResult<(), Self> {
        self.launch.environment.insert(word(key), None);
        Ok(())
    }

    fn reset_env(&mut self) -> TargetResult<(), Self> {
        self.launch.environment.clear();
        Ok(())
    }
}

impl ConfigureStartupShell for Debuggee {
    /// Programs are started as they are: a shell would have to be stepped out of.
    fn cfg_startup_with_shell(&mut self, _: bool) -> TargetResult<(), Self> {
        Ok(())
    }
}

impl ConfigureWorkingDir for Debuggee {
    fn cfg_working_dir(&mut self, dir: Option<&[u8]>) -> TargetResult<(), Self> {
        self.launch.directory = dir.map(|dir| PathBuf::from(word(dir)));
        Ok(())
    }
}
