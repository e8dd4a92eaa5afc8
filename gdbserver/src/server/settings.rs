//! What the client and the server tell each other that they can do, and what is set.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use crate::options::Disabled;
use crate::packet::Setting;
use crate::system;
use crate::wire::LONGEST;

use super::answers::Answer;
use super::session::Session;

/// What this server can do; gdb asks for nothing that is not here.
const FEATURES: &[&str] = &[
    "QPassSignals+",
    "QProgramSignals+",
    "QStartupWithShell+",
    "QEnvironmentHexEncoded+",
    "QEnvironmentReset+",
    "QEnvironmentUnset+",
    "QSetWorkingDir+",
    "QCatchSyscalls+",
    "qXfer:libraries-svr4:read+",
    "augmented-libraries-svr4-read+",
    "qXfer:auxv:read+",
    "qXfer:features:read+",
    "qXfer:exec-file:read+",
    "qXfer:threads:read+",
    "qXfer:osdata:read+",
    "QStartNoAckMode+",
    "multiprocess+",
    "fork-events+",
    "vfork-events+",
    "exec-events+",
    "QNonStop+",
    "QDisableRandomization+",
    "ConditionalBreakpoints+",
    "BreakpointCommands+",
    "swbreak+",
    "hwbreak+",
    "vContSupported+",
    "QThreadEvents+",
    "no-resumed+",
];

impl Session<'_> {
    pub(super) fn supported(&mut self, features: &[Vec<u8>]) -> Answer {
        let has = |name: &[u8]| features.iter().any(|feature| feature == name);
        self.multiprocess = has(b"multiprocess+");
        self.software_reason = has(b"swbreak+");
        self.hardware_reason = has(b"hwbreak+");
        let wishes = &mut self.server.inferiors.wishes;
        wishes.forks = has(b"fork-events+");
        wishes.vforks = has(b"vfork-events+");
        wishes.execs = has(b"exec-events+");
        wishes.no_resumed = has(b"no-resumed+");
        let mut answer = format!("PacketSize={LONGEST:x}");
        for feature in FEATURES.iter().chain(system::FEATURES) {
            let of = match *feature {
                "vContSupported+" => Disabled::Resume,
                "qXfer:threads:read+" => Disabled::ThreadList,
                _ => Disabled::Threads,
            };
            if of != Disabled::Threads && self.disables(of) {
                continue;
            }
            answer.push(';');
            answer += feature;
        }
        answer.into()
    }

    pub(super) fn set(&mut self, setting: Setting) -> Answer {
        let inferiors = &mut self.server.inferiors;
        let word = OsString::from_vec;
        match setting {
            Setting::NoAcknowledgements => return Answer::LastAcknowledged,
            Setting::NonStop(on) => {
                self.unacknowledged.clear();
                self.awaits = false;
                return inferiors.set_non_stop(on).into();
            }
            Setting::ThreadEvents(on) => {
                inferiors.wishes.threads = on;
                let pids: Vec<_> = inferiors.all.iter().map(|process| process.pid).collect();
                for pid in pids {
                    if let Err(error) = inferiors.set_events(pid) {
                        return error.into();
                    }
                }
            }
            Setting::PassSignals(signals) => inferiors.wishes.passed = signals,
            Setting::ProgramSignals(signals) => inferiors.wishes.program = Some(signals),
            Setting::CatchSyscalls(wanted) => {
                let Some(pid) = self.current_process() else { return Answer::error() };
                let inferiors = &mut self.server.inferiors;
                let Ok(process) = inferiors.get_mut(pid) else { return Answer::error() };
                process.syscalls = wanted;
                return inferiors.set_events(pid).into();
            }
            Setting::StartupWithShell(on) => inferiors.launch.shell = on,
            Setting::DisableRandomization(on) => inferiors.launch.random = !on,
            Setting::SetVariable(text) => {
                let Some(at) = text.iter().position(|&byte| byte == b'=').filter(|&at| at > 0)
                else {
                    return Answer::error();
                };
                let (key, value) = text.split_at(at);
                let value = value.get(1..).unwrap_or_default();
                let variables = &mut inferiors.launch.environment;
                variables.insert(word(key.to_vec()), Some(word(value.to_vec())));
            }
            Setting::UnsetVariable(key) => {
                if key.is_empty() || key.contains(&b'=') {
                    return Answer::error();
                }
                inferiors.launch.environment.insert(word(key), None);
            }
            Setting::ResetVariables => inferiors.launch.environment.clear(),
            Setting::WorkingDirectory(path) => {
                let path = (!path.is_empty()).then(|| PathBuf::from(word(path)));
                inferiors.launch.directory = path;
            }
            Setting::Agent => return Answer::unknown(),
        }
        Answer::ok()
    }
}
