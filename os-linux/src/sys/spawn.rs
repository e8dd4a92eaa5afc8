//! The line between a tracer and a child of `std::process::Command` that is about to exec:
//! `socketpair(2)`, `recvmsg(2)`, and what runs in the child.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use trapline_core::Result;

use super::{above_stdio, check, last_error};
use crate::ext::BpfInstruction;
use crate::ffi::{Credentials, SECCOMP_FILTER_FLAG_SPEC_ALLOW};

/// What the child says when it is about to exec.
pub(crate) const READY: u8 = b'r';
/// What the spawner thread says when `Command::spawn` has returned.
pub(crate) const RETURNED: u8 = b's';

/// One end of the line. Messages keep their boundaries, and none raises SIGPIPE.
#[derive(Debug)]
pub(crate) struct Line(OwnedFd);

/// A message that has come over the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Message {
    /// What it says.
    pub(crate) what: u8,
    /// The sender, in the receiver's numbering, whatever namespace the sender lives in.
    pub(crate) sender: i32,
}

impl Line {
    /// The tracer's end and the child's. Receiving at the tracer's waits for at most `timeout`.
    pub(crate) fn pair(timeout: Duration) -> Result<(Self, Self)> {
        let mut fds: [RawFd; 2] = [-1; 2];
        let kind = libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC;
        // SAFETY: writes two descriptors into `fds`.
        if unsafe { libc::socketpair(libc::AF_UNIX, kind, 0, fds.as_mut_ptr()) } != 0 {
            return Err(last_error("socketpair", -1));
        }
        // SAFETY: the kernel has just made both for us.
        let ends = fds.map(|fd| unsafe { OwnedFd::from_raw_fd(fd) });
        let [tracer, child] = ends.map(above_stdio);
        let (tracer, child) = (Self(tracer?), Self(child?));
        tracer.set_option(libc::SO_PASSCRED, &1_i32)?;
        let timeout = libc::timeval {
            tv_sec: timeout.as_secs() as libc::time_t,
            tv_usec: timeout.subsec_micros().into(),
        };
        tracer.set_option(libc::SO_RCVTIMEO, &timeout)?;
        Ok((tracer, child))
    }

    /// The number of the descriptor.
    pub(crate) fn raw(&self) -> RawFd {
        self.0.as_raw_fd()
    }

    /// Sends a message; nobody may be there to hear it.
    pub(crate) fn send(&self, bytes: &[u8]) {
        // What to do about a dead listener is up to whoever learns that it died.
        let _ = send(self.raw(), bytes);
    }

    /// Receives a message at the tracer's end; `None` if none came in time.
    pub(crate) fn receive(&self) -> io::Result<Option<Message>> {
        let mut what = 0_u8;
        let mut iov = libc::iovec { iov_base: (&raw mut what).cast(), iov_len: 1 };
        // SAFETY: all zeros are a value of both structures of integers.
        let mut control: Credentials = unsafe { std::mem::zeroed() };
        // SAFETY: all zeros are a value of this structure of integers and pointers.
        let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
        header.msg_iov = &mut iov;
        header.msg_iovlen = 1;
        header.msg_control = (&raw mut control).cast();
        header.msg_controllen = size_of::<Credentials>() as _;
        // SAFETY: writes one byte through `iov`, at most the length of `control`, and `header`;
        // all outlive the call.
        let received = unsafe { libc::recvmsg(self.raw(), &mut header, libc::MSG_CMSG_CLOEXEC) };
        if let Err(e) = check(received as libc::c_long) {
            return match e.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(None),
                _ => Err(e),
            };
        }
        let kind = (control.header.cmsg_level, control.header.cmsg_type);
        let is_sender = kind == (libc::SOL_SOCKET, libc::SCM_CREDENTIALS);
        let sender = if is_sender { control.who.pid } else { 0 };
        Ok(Some(Message { what, sender }))
    }

    fn set_option<T>(&self, option: libc::c_int, value: &T) -> Result<()> {
        let value: *const T = value;
        let length = size_of::<T>() as libc::socklen_t;
        // SAFETY: reads `length` bytes of `value`, which is a `T`.
        let done =
            unsafe { libc::setsockopt(self.raw(), libc::SOL_SOCKET, option, value.cast(), length) };
        if done != 0 {
            return Err(last_error("setsockopt", self.raw()));
        }
        Ok(())
    }
}

/// Has the child of `command` say [`READY`] just before its exec, and then wait for an answer: an
/// error number, or 0 to go on. Then, with its tracer there to answer for it, the filter takes
/// effect. Closures that the command has already run first.
pub(crate) fn report_before_exec(
    command: &mut Command,
    tracer: &Line,
    child: Arc<Line>,
    filter: Option<Vec<BpfInstruction>>,
) {
    let tracer = tracer.raw();
    // SAFETY: the closure makes system calls and does nothing else: it allocates nothing, takes
    // no lock and does not panic. `tracer` is a number that the child alone closes for itself.
    unsafe {
        command.pre_exec(move || {
            ready(tracer, child.raw())?;
            filter.as_deref().map_or(Ok(()), install)
        })
    };
}

/// Has the child of `command` not be laid out at random when it execs.
pub(crate) fn fix_addresses(command: &mut Command) {
    let fix = || {
        // SAFETY: takes a number; this one asks what is set.
        let now = check(unsafe { libc::personality(0xffff_ffff) }.into())?;
        let wanted = now | libc::c_long::from(libc::ADDR_NO_RANDOMIZE);
        // SAFETY: as above.
        check(unsafe { libc::personality(wanted as libc::c_ulong) }.into()).map(drop)
    };
    // SAFETY: the closure makes two system calls and touches no memory but errno.
    unsafe { command.pre_exec(fix) };
}

/// Runs in the child. Async-signal-safe.
fn install(filter: &[BpfInstruction]) -> io::Result<()> {
    let program = libc::sock_fprog {
        len: filter.len().try_into().map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?,
        filter: filter.as_ptr().cast_mut().cast(),
    };
    let (mode, flags) = (libc::SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_SPEC_ALLOW);
    // SAFETY: the kernel reads `program` and the instructions that it points to, which have the
    // layout of `sock_filter`.
    let set =
        || check(unsafe { libc::syscall(libc::SYS_seccomp, mode, flags, &raw const program) });
    match set() {
        // Allowed to processes that cannot gain privileges by it.
        Err(e) if e.raw_os_error() == Some(libc::EACCES) => {
            // SAFETY: takes numbers.
            check(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) }.into())?;
            set().map(drop)
        }
        result => result.map(drop),
    }
}

/// Runs in the child. Async-signal-safe.
fn ready(tracer: RawFd, line: RawFd) -> io::Result<()> {
    // With the child's copy of the tracer's end closed, the tracer's death ends the line.
    // SAFETY: in this process nothing else uses that descriptor.
    unsafe { libc::close(tracer) };
    send(line, &[READY])?;
    let mut answer = [0_u8; 4];
    let received = loop {
        // SAFETY: writes at most 4 bytes into `answer`.
        let n = unsafe { libc::recv(line, answer.as_mut_ptr().cast(), answer.len(), 0) };
        if n != -1 || io::Error::last_os_error().raw_os_error() != Some(libc::EINTR) {
            break n;
        }
    };
    match (received, i32::from_ne_bytes(answer)) {
        (4, 0) => Ok(()),
        (4, error) => Err(io::Error::from_raw_os_error(error)),
        (0, _) => Err(io::Error::from_raw_os_error(libc::EPIPE)),
        _ => Err(io::Error::last_os_error()),
    }
}

/// `send(2)`, async-signal-safe.
fn send(fd: RawFd, bytes: &[u8]) -> io::Result<()> {
    loop {
        // SAFETY: reads `bytes`.
        let sent =
            unsafe { libc::send(fd, bytes.as_ptr().cast(), bytes.len(), libc::MSG_NOSIGNAL) };
        if sent != -1 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        if error.raw_os_error() != Some(libc::EINTR) {
            return Err(error);
        }
    }
}
