//! A tracee's memory by hand on Linux. The unsafe code of this file is requests that read and
//! write slices by their lengths; the tracee is stopped.

pub type Read = fn(i32, u64, &mut [u8]);
pub type Write = fn(i32, u64, &[u8]);

pub const READ: &[(&str, Read)] = &[("process_vm_readv", vm_read), ("peek", peek)];
pub const WRITE: &[(&str, Write)] = &[("process_vm_writev", vm_write), ("poke", poke)];

fn vm_read(pid: i32, addr: u64, buf: &mut [u8]) {
    let local = libc::iovec { iov_base: buf.as_mut_ptr().cast(), iov_len: buf.len() };
    let remote = libc::iovec { iov_base: addr as *mut _, iov_len: buf.len() };
    // SAFETY: writes `buf`.
    let n = unsafe { libc::process_vm_readv(pid, &local, 1, &remote, 1, 0) };
    assert_eq!(n, buf.len() as isize);
}

fn vm_write(pid: i32, addr: u64, data: &[u8]) {
    let local = libc::iovec { iov_base: data.as_ptr().cast_mut().cast(), iov_len: data.len() };
    let remote = libc::iovec { iov_base: addr as *mut _, iov_len: data.len() };
    // SAFETY: reads `data`.
    let n = unsafe { libc::process_vm_writev(pid, &local, 1, &remote, 1, 0) };
    assert_eq!(n, data.len() as isize);
}

fn peek(pid: i32, addr: u64, buf: &mut [u8]) {
    for (i, word) in buf.chunks_exact_mut(8).enumerate() {
        // SAFETY: takes numbers.
        let value = unsafe { libc::ptrace(libc::PTRACE_PEEKDATA, pid, addr + i as u64 * 8, 0) };
        word.copy_from_slice(&value.to_ne_bytes());
    }
}

fn poke(pid: i32, addr: u64, data: &[u8]) {
    for (i, word) in data.chunks_exact(8).enumerate() {
        let word = i64::from_ne_bytes(word.try_into().expect("8 bytes"));
        // SAFETY: takes numbers.
        let done = unsafe { libc::ptrace(libc::PTRACE_POKEDATA, pid, addr + i as u64 * 8, word) };
        assert_eq!(done, 0);
    }
}
