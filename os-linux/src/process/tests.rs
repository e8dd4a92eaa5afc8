//! The parsers, on text as the kernel writes it.

use super::*;

const STATUS: &[u8] = b"Name:\ta) b\nUmask:\t0022\nState:\tt (tracing stop)\nTgid:\t12\n\
    Ngid:\t0\nPid:\t13\nPPid:\t1\nTracerPid:\t99\nUid:\t1000\t1001\t0\t0\n\
    CapEff:\t000001ffffffffff\nThreads:\t2\nSigPnd:\t0000000000000010\n\
    SigIgn:\t0000000000001000\nSigCgt:\t0000000000000200\nSeccomp:\t2\n";

#[test]
fn a_status_file_is_read_by_names() {
    let status = Status::parse(STATUS).unwrap();
    let expected = Status {
        state: b't',
        tgid: 12,
        ppid: 1,
        tracer: 99,
        threads: 2,
        user: 1001,
        capabilities: 0x1ff_ffff_ffff,
        pending: 0x10,
        ignored: 0x1000,
        caught: 0x200,
        seccomp: Some(2),
    };
    assert_eq!(status, expected);
    for (signal, does) in [
        (Signal::USR1, Disposition::Caught),
        (Signal::PIPE, Disposition::Ignored),
        (Signal::CHLD, Disposition::Ignored),
        (Signal::STOP, Disposition::Ignored),
        (Signal::TERM, Disposition::Ends),
    ] {
        assert_eq!(status.disposition(signal), does, "{signal}");
    }
    assert!(!status.has_ended());
    assert!(status.has_pending(Signal::TRAP) && !status.has_pending(Signal::ILL));
}

#[test]
fn what_is_no_status_file_is_refused() {
    assert_eq!(Status::parse(b""), None);
    for cut in 0..STATUS.len() - 12 {
        // Any answer will do that is not a panic.
        let _ = Status::parse(&STATUS[..cut]);
    }
    assert_eq!(Status::parse(b"State:\nTgid:\nPPid:\nTracerPid:\nUid:\n"), None);
}

#[test]
fn a_name_with_brackets_does_not_confuse() {
    assert_eq!(after_name(b"7 (a) R (b) S 1 2"), Some(&b"S 1 2"[..]));
    assert_eq!(after_name(b"7 (a"), None);
    assert_eq!(after_name(b"7 (a)"), None);
}

#[test]
fn processes_are_listed_with_their_parents_and_images() {
    let kernel = Kernel::open();
    let own = std::process::id() as i32;
    let parent = std::os::unix::process::parent_id() as i32;
    let mut child = std::process::Command::new("sleep").arg("10").spawn().unwrap();
    // It is spawned as soon as its exec can no longer fail, which is before it has its image.
    let until = std::time::Instant::now() + std::time::Duration::from_secs(10);
    loop {
        let all = all(&kernel).unwrap();
        let find = |pid| all.iter().find(|process| process.pid.as_raw() == pid).unwrap();
        let (ours, theirs) = (find(own), find(child.id() as i32));
        assert_eq!((ours.parent.as_raw(), theirs.parent.as_raw()), (parent, own));
        assert!(ours.image.is_some());
        if theirs.image.is_some() && ours.image != theirs.image {
            break;
        }
        assert!(std::time::Instant::now() < until, "it has no image of its own");
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(parent_in(b"7 (a) b) Z 3 4"), None, "it has ended");
    assert_eq!(parent_in(b"7 (a) b) S 0 4"), None, "somewhere else");
    assert_eq!(parent_in(b"7 (a) b) S 3 4"), Some(3));
    assert_eq!(image(b"7 (a) S 1 2"), None);
}

#[test]
fn arguments_are_split_at_their_ends() {
    assert_eq!(split_arguments(b""), Vec::<OsString>::new());
    assert_eq!(split_arguments(b"sh\0-c\0\0"), ["sh", "-c", ""]);
    // A program that has overwritten them may leave no end.
    assert_eq!(split_arguments(b"postgres: idle"), ["postgres: idle"]);
    assert_eq!(split_arguments(b"\0"), [""]);
}

#[test]
fn this_process_is_found() {
    let kernel = Kernel::open();
    let pid = Pid::this();
    let status = status(&kernel, pid.as_raw()).unwrap().unwrap();
    assert_eq!(status.tgid, pid.as_raw());
    assert_eq!(executable(&kernel, pid).unwrap(), std::env::current_exe().unwrap());
    let arguments = arguments(&kernel, pid).unwrap();
    assert_eq!(arguments, std::env::args_os().collect::<Vec<_>>());
    let own = Tid::from_raw(crate::sys::own_tid());
    assert!(threads(&kernel, pid).unwrap().contains(&own));
    assert_eq!(state(&kernel, own).unwrap(), Some(b'R'));
    assert!(!is_kernel_thread(&kernel, pid.as_raw()));
    assert!(kernel.requests() > 10);
}

/// As a kernel without a fitting `/proc` has it.
#[test]
fn threads_are_found_without_a_list() {
    let kernel = Kernel::default();
    let pid = Pid::this();
    let (announce, tid) = std::sync::mpsc::channel();
    let (end, ended) = std::sync::mpsc::channel::<()>();
    let other = std::thread::spawn(move || {
        announce.send(crate::sys::own_tid()).unwrap();
        let _ = ended.recv();
    });
    let tids = [crate::sys::own_tid(), tid.recv().unwrap()].map(Tid::from_raw);
    let found = threads(&kernel, pid).unwrap();
    assert!(tids.iter().all(|tid| found.contains(tid)), "{found:?}");
    let parent = Tid::from_raw(std::os::unix::process::parent_id() as i32);
    assert!(!found.contains(&parent));
    drop(end);
    other.join().unwrap();
    assert!(executable(&kernel, pid).is_err_and(|error| !error.is_gone()));
    assert!(status(&kernel, pid.as_raw()).unwrap().is_none());
}

#[test]
fn a_parent_in_another_namespace_is_none() {
    assert_eq!(parent(0), None);
    assert_eq!(parent(7), Some(Pid::from_raw(7)));
}

#[test]
fn what_does_not_exist_is_gone() {
    let kernel = Kernel::open();
    for raw in [i32::MAX, 0, -1] {
        assert!(status(&kernel, raw).unwrap_err().is_gone());
        assert!(threads(&kernel, Pid::from_raw(raw)).unwrap_err().is_gone());
        assert!(executable(&kernel, Pid::from_raw(raw)).unwrap_err().is_gone());
        assert!(arguments(&kernel, Pid::from_raw(raw)).unwrap_err().is_gone());
    }
}
