//! A tracee's memory by hand on FreeBSD. The unsafe code of this file is PT_IO, which reads and
//! writes slices by their lengths; the tracee is stopped.

pub type Read = fn(i32, u64, &mut [u8]);
pub type Write = fn(i32, u64, &[u8]);

pub const READ: &[(&str, Read)] = &[("pt_io", read)];
pub const WRITE: &[(&str, Write)] = &[("pt_io", write)];

fn read(pid: i32, addr: u64, buf: &mut [u8]) {
    io(pid, libc::PIOD_READ_D, addr, buf.as_mut_ptr(), buf.len());
}

fn write(pid: i32, addr: u64, data: &[u8]) {
    io(pid, libc::PIOD_WRITE_D, addr, data.as_ptr().cast_mut(), data.len());
}

fn io(pid: i32, op: i32, addr: u64, data: *mut u8, len: usize) {
    let mut request = libc::ptrace_io_desc {
        piod_op: op,
        piod_offs: std::ptr::without_provenance_mut(addr as usize),
        piod_addr: data.cast(),
        piod_len: len,
    };
    // SAFETY: moves at most `len` bytes from or to `data`, which both callers have.
    let done = unsafe { libc::ptrace(libc::PT_IO, pid, (&raw mut request).cast(), 0) };
    assert!(done == 0 && request.piod_len == len);
}
