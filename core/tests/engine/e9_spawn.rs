//! E9, the engine's part: the exec of a spawned program comes first, whatever the flags; a failed
//! one is an error, and one that was killed on the way is its end alone.

use std::io::ErrorKind;
use std::process::Command;

use trapline_core::{Error, Event, EventFlags, Signal, StopReason};
use trapline_fake::Rules;

use crate::common::*;

both![
    the_first_event_is_the_exec,
    a_program_that_is_not_there,
    killed_on_the_way,
    what_others_report_meanwhile_is_not_lost,
    is_not_attached_to_twice,
];

fn the_first_event_is_the_exec<R: Rules>() {
    for flags in [EventFlags::empty(), EventFlags::PROCESS] {
        let mut world = World::<R>::new(flags);
        let pid = world.tracer().spawn(Command::new("program")).unwrap().pid;
        let stop = world.stop_for(StopReason::Execed { former_tid: None });
        assert_eq!(stop.pid(), pid);
        let us = std::process::id() as i32;
        let info = world.tracer().process_info(pid).unwrap();
        assert_eq!(info.real_parent.map(|parent| parent.as_raw()), Some(us));
        assert_eq!(info.executable.as_deref(), Some("program".as_ref()));
        world.go(stop);
        // Later ones are as the flags say.
        world.kernel.exec(world.main(pid), "another");
        assert_eq!(world.run_all().len(), usize::from(!flags.is_empty()));
        world.idle();
    }
}

fn a_program_that_is_not_there<R: Rules>() {
    let mut world = World::<R>::new(EventFlags::PROCESS);
    world.kernel.fail_spawn(ErrorKind::NotFound);
    let error = world.tracer().spawn(Command::new("nothing")).unwrap_err();
    assert!(matches!(&error, Error::Spawn(why) if why.kind() == ErrorKind::NotFound), "{error}");
    world.over();
}

fn killed_on_the_way<R: Rules>() {
    let mut world = World::<R>::new(EventFlags::PROCESS);
    world.kernel.kill_spawn();
    let pid = world.tracer().spawn(Command::new("program")).unwrap().pid;
    assert_eq!(world.run_all(), [format!("{pid} killed by SIGKILL")]);
    world.over();
}

fn what_others_report_meanwhile_is_not_lost<R: Rules>() {
    let (mut world, one) = World::<R>::with_process(EventFlags::PROCESS);
    let two = world.attach();
    world.kernel.signal(one, Signal::USR1);
    world.kernel.kill(two);
    world.kernel.meanwhile(2);
    let pid = world.tracer().spawn(Command::new("program")).unwrap().pid;
    let mut told = world.run_all();
    told.sort();
    let signal = format!("{} Signal(SIGUSR1)", world.main(one));
    let exec = format!("{} Execed {{ former_tid: None }}", world.main(pid));
    let mut expected = [signal, format!("{two} killed by SIGKILL"), exec];
    expected.sort();
    assert_eq!(told, expected);
    assert_eq!(world.kernel.delivered(one, Signal::USR1), 1);
    world.idle();
}

fn is_not_attached_to_twice<R: Rules>() {
    let (mut world, pid) = World::<R>::with_process(EventFlags::PROCESS);
    assert!(matches!(world.tracer().attach(pid), Err(Error::NotPermitted { .. })));
    let nobody = trapline_core::Pid::from_raw(99_999);
    assert!(world.tracer().attach(nobody).unwrap_err().is_gone());
    let event = world.poll();
    assert!(event.is_none(), "{event:?}");
    let _: Option<Event> = event;
    world.idle();
}
