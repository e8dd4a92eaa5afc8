//! How the arguments and the result of a system call are shown.

use nix::errno::Errno;
use trapline::{Stopped, SyscallAbi, Tracer};

/// What an argument is.
#[derive(Clone, Copy)]
enum Kind {
    /// A file descriptor, or the current directory.
    Fd,
    Int,
    /// A mode of files.
    Octal,
    /// The same, if the flags before it say that there is one.
    ModeIfCreated,
    /// An address, flags, or nobody knows.
    Hex,
    /// The address of a string.
    Str,
    /// The address of an array of addresses of strings.
    Strs,
    /// The address of as many bytes as the next argument says.
    Bytes,
}

/// How much is shown of a string, and of an array.
const LONGEST: usize = 64;
const MOST: usize = 16;

/// The arguments of calls that both systems have by the same name, and of some that one has.
fn kinds(name: &str) -> Option<&'static [Kind]> {
    use Kind::*;
    Some(match name {
        "fork" | "vfork" | "getpid" | "getppid" | "gettid" | "getuid" | "geteuid" | "getgid"
        | "getegid" | "issetugid" | "sync" | "sched_yield" | "setsid" => &[],
        "_exit" | "exit_group" | "exit" => &[Int],
        "close" | "dup" | "fchdir" | "fsync" | "fdatasync" => &[Fd],
        "umask" => &[Octal],
        "brk" => &[Hex],
        "chdir" | "chroot" | "rmdir" | "unlink" => &[Str],
        "kill" | "listen" => &[Int, Int],
        "dup2" => &[Fd, Fd],
        "fchmod" => &[Fd, Octal],
        "fstat" | "fstat64" | "fstatfs" => &[Fd, Hex],
        "stat" | "stat64" | "lstat" | "lstat64" | "statfs" | "access" | "freebsd11_stat"
        | "freebsd11_lstat" => &[Str, Hex],
        "chmod" | "mkdir" => &[Str, Octal],
        "pipe2" => &[Hex, Hex],
        "link" | "rename" | "symlink" => &[Str, Str],
        "munmap" => &[Hex, Int],
        "read" | "getdents64" => &[Fd, Hex, Int],
        "write" => &[Fd, Bytes, Int],
        "open" => &[Str, Hex, ModeIfCreated],
        "execve" => &[Str, Strs, Hex],
        "fexecve" => &[Fd, Strs, Hex],
        "readlink" | "__getcwd" => &[Str, Hex, Int],
        "fcntl" | "fcntl64" => &[Fd, Int, Hex],
        "ioctl" => &[Fd, Hex, Hex],
        "lseek" => &[Fd, Int, Int],
        "socket" => &[Int, Int, Int],
        "mprotect" | "madvise" => &[Hex, Int, Hex],
        "sigaction" | "sigprocmask" => &[Int, Hex, Hex],
        "mkdirat" => &[Fd, Str, Octal],
        "unlinkat" => &[Fd, Str, Hex],
        "symlinkat" => &[Str, Fd, Str],
        "openat" => &[Fd, Str, Hex, ModeIfCreated],
        "readlinkat" => &[Fd, Str, Hex, Int],
        "fstatat" | "newfstatat" | "fstatat64" | "faccessat" | "faccessat2" => &[Fd, Str, Hex, Hex],
        "renameat" => &[Fd, Str, Fd, Str],
        "wait4" => &[Int, Hex, Hex, Hex],
        "pread" | "pread64" => &[Fd, Hex, Int, Int],
        "pwrite" | "pwrite64" => &[Fd, Bytes, Int, Int],
        "rt_sigaction" | "rt_sigprocmask" => &[Int, Hex, Hex, Int],
        "execveat" => &[Fd, Str, Strs, Hex, Hex],
        "linkat" => &[Fd, Str, Fd, Str, Hex],
        "renameat2" => &[Fd, Str, Fd, Str, Hex],
        "statx" => &[Fd, Str, Hex, Hex, Hex],
        "clone" => &[Hex, Hex, Hex, Hex, Hex],
        "mmap" | "mmap2" => &[Hex, Int, Hex, Hex, Fd, Hex],
        _ => return None,
    })
}

/// A call, with `args` as far as it takes any.
pub(crate) fn show(
    tracer: &mut Tracer,
    stop: &Stopped,
    name: &str,
    abi: SyscallAbi,
    args: &[u64],
) -> String {
    let unknown = [Kind::Hex; 8];
    let kinds = kinds(name).unwrap_or(&unknown);
    let width = if abi == SyscallAbi::Bits32 { 4 } else { 8 };
    let mut memory = Memory { tracer, stop, width };
    let mut shown = Vec::new();
    for (i, (&arg, kind)) in args.iter().zip(kinds).enumerate() {
        shown.push(match kind {
            Kind::Fd if arg as i32 == libc::AT_FDCWD => "AT_FDCWD".into(),
            Kind::Fd => (arg as i32).to_string(),
            // The upper half of an int may be anything.
            Kind::Int if arg >> 32 == 0 => (arg as i32).to_string(),
            Kind::Int => (arg as i64).to_string(),
            Kind::ModeIfCreated if i > 0 && args[i - 1] & libc::O_CREAT as u64 == 0 => continue,
            Kind::Octal | Kind::ModeIfCreated => format!("{:#o}", arg & 0o7777),
            Kind::Hex => format!("{arg:#x}"),
            Kind::Str => memory.string(arg),
            Kind::Strs => memory.strings(arg),
            Kind::Bytes => {
                let length = args.get(i + 1).map_or(0, |&length| length as usize);
                let bytes = memory.bytes(arg, length.min(LONGEST));
                bytes.map_or(format!("{arg:#x}"), |bytes| quote(&bytes, bytes.len() < length))
            }
        });
    }
    format!("{name}({})", shown.join(", "))
}

/// What a call has returned.
pub(crate) fn show_result(result: Result<u64, i32>) -> String {
    match result {
        // An address.
        Ok(value) if value >> 31 != 0 => format!("{value:#x}"),
        Ok(value) => value.to_string(),
        Err(error) => match Errno::from_raw(error) {
            // ERESTART and its kin, which the program never sees.
            Errno::UnknownErrno => "? (to be made again after a signal)".into(),
            errno => format!("-1 {errno:?} ({})", errno.desc()),
        },
    }
}

/// The words of a program, as `execve` gets them.
pub(crate) fn show_words(words: &[std::ffi::OsString]) -> String {
    let quoted = |word: &std::ffi::OsString| quote(word.as_encoded_bytes(), false);
    let shown: Vec<String> = words.iter().take(MOST).map(quoted).collect();
    format!("[{}{}]", shown.join(", "), if words.len() > MOST { ", ..." } else { "" })
}

fn quote(bytes: &[u8], more: bool) -> String {
    format!("\"{}\"{}", bytes.escape_ascii(), if more { "..." } else { "" })
}

/// The memory of a stopped process.
struct Memory<'a> {
    tracer: &'a mut Tracer,
    stop: &'a Stopped,
    /// How many bytes an address has.
    width: usize,
}

impl Memory<'_> {
    /// As many bytes as there are, up to `length`; `None` for a bad address.
    fn bytes(&mut self, addr: u64, length: usize) -> Option<Vec<u8>> {
        let mut bytes = vec![0; length];
        let read = self.tracer.read_memory(self.stop, addr, &mut bytes).ok()?;
        bytes.truncate(read);
        Some(bytes)
    }

    fn string(&mut self, addr: u64) -> String {
        let Some(bytes) = self.bytes(addr, LONGEST + 1) else {
            return format!("{addr:#x}");
        };
        match bytes.iter().position(|&byte| byte == 0) {
            Some(end) => quote(&bytes[..end], false),
            None => quote(&bytes[..bytes.len().min(LONGEST)], true),
        }
    }

    fn strings(&mut self, addr: u64) -> String {
        let Some(words) = self.bytes(addr, self.width * (MOST + 1)) else {
            return format!("{addr:#x}");
        };
        let mut shown = Vec::new();
        for word in words.chunks_exact(self.width) {
            let wide = word.try_into().map(u64::from_ne_bytes);
            let addr = wide.or_else(|_| word.try_into().map(u32::from_ne_bytes).map(u64::from));
            match addr {
                Ok(0) | Err(_) => return format!("[{}]", shown.join(", ")),
                Ok(addr) => shown.push(self.string(addr)),
            }
        }
        shown.truncate(MOST);
        format!("[{}, ...]", shown.join(", "))
    }
}
