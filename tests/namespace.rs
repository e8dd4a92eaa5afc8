//! Linux: processes in a pid namespace of their own, with the pids that the tracer sees.

use trapline::{Event, EventFlags, Half};

use crate::common::*;

crate::tests! {
    fn e2_a_program_in_a_pid_namespace() {
        if !cfg!(target_os = "linux") {
            skip("only Linux has pid namespaces");
        }
        let script = "for i in 1 2 3; do /bin/true; done; (exit 4); exit 6";
        let unshare = |script: &str| {
            let mut command = std::process::Command::new("unshare");
            command.args(["--pid", "--fork", "sh", "-c", script]);
            command
        };
        match unshare(":").stderr(std::process::Stdio::null()).status() {
            Ok(status) if status.success() => {}
            _ => skip("a pid namespace cannot be made here"),
        }
        let mut tracer = tracer(EventFlags::PROCESS);
        tracer.spawn(unshare(script)).unwrap();
        let log = run_with(&mut tracer, |tracer, event| {
            if let Event::Forked(fork) = &event {
                // Both halves, and the ids are those that this process can name.
                let (Half::Stopped(_), Half::Stopped(child)) = (&fork.parent, &fork.child) else {
                    panic!("{fork:?}");
                };
                let info = tracer.process(child.pid()).unwrap();
                assert_eq!(info.real_parent, fork.parent_pid);
            }
            Some(event)
        });
        let map = log.by_process();
        let ours = |p: &str| -> Vec<_> {
            map[p].iter().filter(|e| !e.starts_with("signal")).copied().collect()
        };
        assert_eq!(*ours("P1").last().unwrap(), "exit 6 of us");
        assert_eq!(*ours("P2").last().unwrap(), "exit 6 of P1");
        assert_eq!(log.count("exit 4 of P2"), 1);
        assert_eq!(log.count("exec"), 5);
        assert_eq!(log.count("exit"), 6);
    }
}
