//! A child under ptrace that executes what it is told to, with memory that this process shares.

use std::io;

use libc::{c_int, c_long, c_void, pid_t};
use trapline_arch_x86_64::Registers;

/// Where the child has its code, and how much of it.
pub(crate) const PLACE: u64 = 0x2000_0000;
pub(crate) const PLACE_LEN: u64 = 2 * PAGE;
/// Where slots are that reach what the code reaches.
pub(crate) const NEAR: u64 = 0x2800_0000;
/// Where slots are that do not.
pub(crate) const FAR: u64 = 0x6000_0000_0000;
/// Where the data is, and the stack.
pub(crate) const DATA: u64 = 0x3000_0000;
pub(crate) const DATA_LEN: u64 = 8 * PAGE;
const PAGE: u64 = 0x1000;

/// Address, length, offset in the shared memory, whether it is code.
const REGIONS: [(u64, u64, u64, bool); 4] = [
    (PLACE, PLACE_LEN, 0, true),
    (NEAR, PAGE, 2 * PAGE, true),
    (FAR, PAGE, 3 * PAGE, true),
    (DATA, DATA_LEN, 4 * PAGE, false),
];
const SHARED_LEN: usize = 0xc000;

/// After so many seconds a child has hung.
fn limit() -> u32 {
    if crate::at_length() { 7200 } else { 600 }
}

const NT_X86_XSTATE: usize = 0x202;

/// How the child goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Go {
    Continue,
    Step,
}

/// The child. It belongs to the thread that made it, and ends with it.
pub(crate) struct Cpu {
    pid: pid_t,
    shared: *mut u8,
}

impl Cpu {
    pub(crate) fn start() -> Self {
        // SAFETY: the name is a C string.
        let fd = unsafe { libc::memfd_create(c"relocation".as_ptr(), libc::MFD_CLOEXEC) };
        check(fd.into());
        // SAFETY: `fd` is the descriptor that was just made.
        check(unsafe { libc::ftruncate(fd, SHARED_LEN as libc::off_t) }.into());
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice; nothing else has it.
        let shared = unsafe {
            libc::mmap(std::ptr::null_mut(), SHARED_LEN, protection, libc::MAP_SHARED, fd, 0)
        };
        assert_ne!(shared, libc::MAP_FAILED, "{}", io::Error::last_os_error());
        let limit = limit();
        // SAFETY: the child makes system calls only, and never returns.
        let pid = unsafe { libc::fork() };
        check(pid.into());
        if pid == 0 {
            child(fd, limit);
        }
        // SAFETY: `fd` is not used any more.
        unsafe { libc::close(fd) };
        let cpu = Self { pid, shared: shared.cast() };
        assert_eq!(cpu.wait(), libc::SIGSTOP, "it stops itself");
        cpu.request(libc::PTRACE_SETOPTIONS as _, 0, libc::PTRACE_O_EXITKILL as usize);
        cpu
    }

    pub(crate) fn registers(&self) -> Registers {
        // SAFETY: plain integers.
        let mut raw: libc::user_regs_struct = unsafe { std::mem::zeroed() };
        self.request(libc::PTRACE_GETREGS as _, 0, (&raw mut raw).addr());
        each_register(&raw)
    }

    pub(crate) fn set_registers(&self, registers: &Registers) {
        let raw = each_field(registers);
        self.request(libc::PTRACE_SETREGS as _, 0, (&raw const raw).addr());
    }

    /// The extended state, in the standard form.
    pub(crate) fn state(&self) -> Vec<u8> {
        let mut state = vec![0; 0x4000];
        let mut part = libc::iovec { iov_base: state.as_mut_ptr().cast(), iov_len: state.len() };
        self.request(libc::PTRACE_GETREGSET as _, NT_X86_XSTATE, (&raw mut part).addr());
        state.truncate(part.iov_len);
        state
    }

    pub(crate) fn set_state(&self, state: &[u8]) {
        let base = state.as_ptr().cast_mut().cast::<c_void>();
        let part = libc::iovec { iov_base: base, iov_len: state.len() };
        self.request(libc::PTRACE_SETREGSET as _, NT_X86_XSTATE, (&raw const part).addr());
    }

    /// Goes on until the next stop, and says by which signal that is.
    pub(crate) fn go(&self, how: Go) -> c_int {
        let request = match how {
            Go::Continue => libc::PTRACE_CONT,
            Go::Step => libc::PTRACE_SINGLESTEP,
        };
        self.request(request as _, 0, 0);
        let signal = self.wait();
        assert_ne!(signal, libc::SIGALRM, "it hangs");
        signal
    }

    /// What is in one of the regions from this address on.
    pub(crate) fn memory(&self, addr: u64, len: usize) -> &[u8] {
        let offset = offset(addr, len);
        // SAFETY: `offset` has checked that it lies within the mapping, which lives as long as
        // `self`. The child, which could write to it, runs only in `go`, and `write` and `go` are
        // not called with this borrowed: the callers compare or copy at once.
        unsafe { std::slice::from_raw_parts(self.shared.add(offset), len) }
    }

    pub(crate) fn write(&mut self, addr: u64, data: &[u8]) {
        let offset = offset(addr, data.len());
        // SAFETY: as in `memory`; `data` is not in the mapping, since that is only lent with `self`.
        unsafe {
            std::ptr::copy_nonoverlapping(data.as_ptr(), self.shared.add(offset), data.len());
        }
    }

    fn wait(&self) -> c_int {
        let mut status = 0;
        // SAFETY: `status` is written to during the call only.
        let waited = unsafe { libc::waitpid(self.pid, &raw mut status, libc::__WALL) };
        check(waited.into());
        assert!(libc::WIFSTOPPED(status), "the child has ended: {status:#x}");
        libc::WSTOPSIG(status)
    }

    fn request(&self, request: u32, addr: usize, data: usize) {
        // SAFETY: the child is stopped and traced by this thread; where `data` is an address, it is
        // that of a value of the caller's that has the type of the request.
        let result: c_long = unsafe { libc::ptrace(request as _, self.pid, addr, data) };
        check(result);
    }
}

impl Drop for Cpu {
    fn drop(&mut self) {
        // SAFETY: the child has not been waited for, so the number is its own; the mapping is not
        // used any more.
        unsafe {
            libc::kill(self.pid, libc::SIGKILL);
            libc::waitpid(self.pid, std::ptr::null_mut(), libc::__WALL);
            libc::munmap(self.shared.cast(), SHARED_LEN);
        }
    }
}

/// The child: maps the regions, and stops. What it does then is up to its tracer.
fn child(fd: c_int, limit: u32) -> ! {
    for (addr, len, offset, is_code) in REGIONS {
        let extra = if is_code { libc::PROT_EXEC } else { libc::PROT_WRITE };
        let flags = libc::MAP_SHARED | libc::MAP_FIXED_NOREPLACE;
        // SAFETY: nothing is replaced.
        let mapped = unsafe {
            libc::mmap(
                std::ptr::without_provenance_mut(addr as usize),
                len as usize,
                libc::PROT_READ | extra,
                flags,
                fd,
                offset as libc::off_t,
            )
        };
        if mapped.addr() != addr as usize {
            // SAFETY: it ends.
            unsafe { libc::_exit(1) }
        }
    }
    // SAFETY: no memory is involved.
    unsafe {
        libc::alarm(limit);
        libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0);
        libc::kill(libc::getpid(), libc::SIGSTOP);
        libc::_exit(1)
    }
}

/// Where that is in the shared memory.
fn offset(addr: u64, len: usize) -> usize {
    let region = REGIONS
        .iter()
        .find(|(start, size, ..)| addr >= *start && addr + len as u64 <= start + size);
    let (start, _, offset, _) = region.unwrap_or_else(|| panic!("{addr:x} is in no region"));
    (addr - start + offset) as usize
}

fn check(result: c_long) {
    assert_ne!(result, -1, "{}", io::Error::last_os_error());
}

macro_rules! same_fields {
    ($($name:ident)*) => {
        fn each_register(raw: &libc::user_regs_struct) -> Registers {
            Registers { rflags: raw.eflags, $($name: raw.$name,)* }
        }

        fn each_field(registers: &Registers) -> libc::user_regs_struct {
            libc::user_regs_struct { eflags: registers.rflags, $($name: registers.$name,)* }
        }
    };
}

same_fields!(
    r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi orig_rax rip cs rsp ss
    fs_base gs_base ds es fs gs
);

/// Where the parts of the extended state stand that have vector registers: offsets and lengths.
pub(crate) fn vector_parts() -> Vec<(usize, usize)> {
    // AVX; opmask, ZMM_Hi256, Hi16_ZMM
    let parts = [2, 5, 6, 7].map(|part| {
        #[allow(unused_unsafe, reason = "it needs none since Rust 1.92")]
        // SAFETY: each CPU of 64 bits has the instruction.
        let leaf = unsafe { std::arch::x86_64::__cpuid_count(0xd, part) };
        (leaf.ebx as usize, leaf.eax as usize)
    });
    parts.into_iter().filter(|(_, len)| *len != 0).collect()
}
