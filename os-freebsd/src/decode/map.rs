//! `struct kinfo_vmentry` of `sys/user.h`: entries of different lengths, each of which says its own.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use trapline_core::MemoryRegion;

/// Where the fields are.
const TYPE: usize = 4;
const START: usize = 8;
const END: usize = 16;
const OFFSET: usize = 24;
const FILE: usize = 32;
const FLAGS: usize = 44;
const PROTECTION: usize = 56;
const DEVICE: usize = 88;
const PATH: usize = 136;

/// `kve_type`: a file.
const VNODE: u32 = 2;
/// `kve_flags`: the program has copies of the pages, or will have.
const COPIES: u32 = 0x1 | 0x2;
/// `kve_flags`: shared memory of either kind.
const SHARED_MEMORY: u32 = 0x80 | 0x100;

/// What is in the answer of `kern.proc.vmmap`.
pub(crate) fn regions(entries: &[u8]) -> Vec<MemoryRegion> {
    let mut regions = Vec::new();
    let mut rest = entries;
    while let Some(length) = word(rest, 0).and_then(|length| usize::try_from(length).ok()) {
        let Some((entry, behind)) = rest.split_at_checked(length).filter(|_| length > PATH) else {
            break;
        };
        regions.extend(region(entry));
        rest = behind;
    }
    regions
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes)
}

fn long(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..at + 8)?.try_into().ok().map(u64::from_ne_bytes)
}

fn region(entry: &[u8]) -> Option<MemoryRegion> {
    let (flags, protection) = (word(entry, FLAGS)?, word(entry, PROTECTION)?);
    let file = word(entry, TYPE)? == VNODE;
    let mut region = MemoryRegion::default();
    (region.start, region.end) = (long(entry, START)?, long(entry, END)?);
    region.offset = long(entry, OFFSET)?;
    (region.read, region.write) = (protection & 1 != 0, protection & 2 != 0);
    region.execute = protection & 4 != 0;
    region.shared = flags & SHARED_MEMORY != 0 || file && flags & COPIES == 0;
    if file {
        (region.device, region.inode) = (long(entry, DEVICE)?, long(entry, FILE)?);
    }
    let path = entry.get(PATH..)?.split(|&byte| byte == 0).next()?;
    if !path.is_empty() {
        region.path = Some(PathBuf::from(OsString::from_vec(path.to_vec())));
    }
    Some(region)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(kind: u32, flags: u32, path: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; PATH];
        bytes.extend(path);
        bytes.resize((PATH + path.len() + 8) & !7, 0);
        let length = bytes.len() as u32;
        let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
        put(0, &length.to_ne_bytes());
        put(TYPE, &kind.to_ne_bytes());
        put(FLAGS, &flags.to_ne_bytes());
        put(PROTECTION, &5_u32.to_ne_bytes());
        for (at, value) in [(START, 0x1000), (END, 0x3000), (OFFSET, 0x200), (FILE, 7), (DEVICE, 9)]
        {
            put(at, &u64::to_ne_bytes(value));
        }
        bytes
    }

    #[test]
    fn entries_follow_each_other() {
        let text = entry(VNODE, 0, b"/bin/sh");
        let copied = entry(VNODE, 1, b"/lib/libc.so.7");
        let nameless = entry(1, 0, b"");
        let regions = regions(&[text, copied, nameless].concat());
        let [text, copied, nameless] = &regions[..] else { panic!("{regions:?}") };
        assert_eq!((text.start, text.end, text.offset), (0x1000, 0x3000, 0x200));
        assert!(text.read && !text.write && text.execute && text.shared);
        assert_eq!((text.device, text.inode), (9, 7));
        assert_eq!(text.path, Some(PathBuf::from("/bin/sh")));
        assert!(!copied.shared);
        assert_eq!((nameless.shared, nameless.inode, &nameless.path), (false, 0, &None));
    }

    #[test]
    fn what_is_cut_short_is_no_entry() {
        let whole = entry(VNODE, 0, b"/bin/sh");
        for length in 0..whole.len() {
            assert_eq!(regions(&whole[..length]), []);
        }
        assert_eq!(regions(&[0; 400]), []);
    }
}
