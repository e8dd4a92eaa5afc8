//! Why the kernel does not let us trace a process, and what to do about it: `ptrace(2)` says EPERM
//! for all of it.

use std::borrow::Cow;

use trapline_core::{Error, Pid};

/// What is known about a refusal.
#[derive(Debug, Clone)]
pub(crate) struct Refused {
    pub(crate) pid: i32,
    /// This process.
    pub(crate) own: i32,
    /// The thread that traces it already, and its name.
    pub(crate) tracer: Option<(i32, String)>,
    pub(crate) is_kernel_thread: bool,
    /// A security module has said so itself, by EACCES.
    pub(crate) by_module: bool,
    /// Effective users and capabilities.
    pub(crate) user: u32,
    pub(crate) own_user: u32,
    pub(crate) own_capabilities: u64,
    /// `kernel.yama.ptrace_scope`, if this kernel has it.
    pub(crate) yama: Option<u8>,
}

/// `CAP_SYS_PTRACE` of `linux/capability.h`.
const CAP_SYS_PTRACE: u64 = 1 << 19;

/// The process that was named is a thread of another one, which may not be known.
pub(crate) fn thread_of(tid: Pid, tgid: Option<i32>) -> Error {
    let advice = match tgid {
        Some(tgid) => format!("{tid} is a thread of process {tgid}; attach to {tgid}"),
        None => format!("{tid} is a thread of another process; attach to that"),
    };
    Error::NotPermitted { pid: tid, advice: advice.into() }
}

/// Nothing is known of the process, for there is no `/proc` that tells of it.
pub(crate) fn unexplained(pid: Pid) -> Error {
    Error::NotPermitted {
        pid,
        advice: "another process may trace it already, or it may have privileges that this \
                 process has not; mount a /proc of this pid namespace to find out which, or run \
                 the tracer as root or with CAP_SYS_PTRACE"
            .into(),
    }
}

/// No process may be traced at all, by a filter of system calls that this process is under.
pub(crate) fn by_filter(pid: Pid) -> Error {
    Error::NotPermitted {
        pid,
        advice:
            "a filter of system calls (seccomp) refuses ptrace to this process; run the tracer \
                 without it (in a container: --cap-add=SYS_PTRACE)"
                .into(),
    }
}

/// A tracee whose memory cannot be reached, by none of the ways that there are.
pub(crate) fn memory_of(pid: Pid) -> Error {
    Error::NotPermitted {
        pid,
        advice: "its memory is out of reach, since it may not be dumped, has changed its user, or \
                 has privileges that this process has not; run the tracer as root or with \
                 CAP_SYS_PTRACE (in a container: --cap-add=SYS_PTRACE)"
            .into(),
    }
}

impl Refused {
    pub(crate) fn error(&self) -> Error {
        Error::NotPermitted { pid: Pid::from_raw(self.pid), advice: self.advice() }
    }

    /// The first that holds, the surest first.
    fn advice(&self) -> Cow<'static, str> {
        if self.pid == self.own {
            return "a process cannot trace itself; run the tracer in a process of its own".into();
        }
        if let Some((tid, name)) = &self.tracer {
            let name = name.escape_debug();
            return format!("it is already traced by {tid} ({name}); end that, or have it detach")
                .into();
        }
        if self.is_kernel_thread {
            return "it is a thread of the kernel, and those cannot be traced".into();
        }
        if self.by_module {
            return "a security module (such as SELinux) forbids it; change its policy, or run the \
                    tracer where the process runs"
                .into();
        }
        let may_trace_all = self.own_capabilities & CAP_SYS_PTRACE != 0;
        match self.yama {
            Some(3) => {
                return "Yama forbids all tracing until the next boot (kernel.yama.ptrace_scope \
                        is 3)"
                    .into();
            }
            _ if may_trace_all => {
                return "a security module, or the user namespace it is in, forbids it, though this \
                        process has CAP_SYS_PTRACE; run the tracer where the process runs"
                    .into();
            }
            _ => {}
        }
        if self.user != self.own_user {
            return format!(
                "it belongs to user {}; run the tracer as that user, as root, or with \
                 CAP_SYS_PTRACE (in a container: --cap-add=SYS_PTRACE)",
                self.user
            )
            .into();
        }
        match self.yama {
            Some(1) => "Yama lets a process trace only its own descendants; set \
                        kernel.yama.ptrace_scope to 0 with sysctl, run the tracer as root, or \
                        have the tracer start the program"
                .into(),
            Some(2) => "Yama lets only an administrator trace (kernel.yama.ptrace_scope is 2); \
                        run the tracer as root"
                .into(),
            _ => "it has privileges that this process has not (a set-user-ID program, or one \
                  that may not be dumped); run the tracer as root or with CAP_SYS_PTRACE"
                .into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused() -> Refused {
        Refused {
            pid: 2,
            own: 1,
            tracer: None,
            is_kernel_thread: false,
            by_module: false,
            user: 1000,
            own_user: 1000,
            own_capabilities: 0,
            yama: None,
        }
    }

    #[track_caller]
    fn says(refused: &Refused, part: &str) {
        let message = refused.error().to_string();
        assert!(message.contains(part), "{message}");
        assert!(!message.contains('\n') && !message.contains("  "), "{message}");
    }

    #[test]
    fn each_reason_has_its_advice() {
        let own = Refused { pid: 1, ..refused() };
        says(&own, "not permitted to trace process 1: a process cannot trace itself");
        let tracer = Some((77, "gd\nb".into()));
        says(&Refused { tracer, ..refused() }, "already traced by 77 (gd\\nb)");
        let is_kernel_thread = true;
        says(&Refused { is_kernel_thread, ..refused() }, "thread of the kernel");
        says(&Refused { by_module: true, ..refused() }, "a security module (such as");
        says(&Refused { user: 0, ..refused() }, "belongs to user 0");
        for (yama, part) in
            [(1, "ptrace_scope to 0"), (2, "only an administrator"), (3, "until the next boot")]
        {
            let yama = Some(yama);
            says(&Refused { yama, ..refused() }, part);
        }
        let yama = Some(0);
        says(&Refused { yama, ..refused() }, "privileges that this process has not");
        let root = Refused { own_user: 0, own_capabilities: u64::MAX, yama: Some(1), ..refused() };
        says(&root, "a security module");
    }

    #[test]
    fn a_thread_is_not_a_process() {
        let message = thread_of(Pid::from_raw(8), Some(7)).to_string();
        assert!(message.ends_with("8 is a thread of process 7; attach to 7"), "{message}");
        let message = thread_of(Pid::from_raw(8), None).to_string();
        assert!(message.ends_with("a thread of another process; attach to that"), "{message}");
    }
}
