//! Questions about a stop need no more than a shared tracer.

use trapline_core::{Error, EventFlags, Reader, Signal, StopReason};
use trapline_fake::{Fake, Rules};

use crate::common::*;

both![a_reader_is_copied_and_shares_the_tracer, what_is_not_there_is_named];

const TEXT: u64 = 0x7f80;

/// As an unwinder would take it, twice.
fn sum<R: Rules>(one: Reader<'_, Fake<R>>, other: Reader<'_, Fake<R>>) -> u64 {
    let value = |reader: Reader<'_, Fake<R>>| {
        u64::from(reader.read_value::<u32>(TEXT).unwrap()) + reader.registers().unwrap().pc
    };
    value(one) + value(other)
}

fn a_reader_is_copied_and_shares_the_tracer<R: Rules>() {
    let mut world = World::<R>::new(EventFlags::PROCESS);
    let pids = [(); 2].map(|()| world.attach());
    let mut text = vec![b'a'; 0x200];
    text.push(0);
    for pid in pids {
        world.kernel.map(pid, TEXT, &text);
        world.kernel.signal(pid, Signal::USR1);
    }
    let stops = [world.stop(), world.stop()];
    let [one, other] = stops.each_ref();
    let tracer = &*world.tracer();
    let (one, other) = (tracer.at(one), tracer.at(other));
    let expected = 2 * u64::from(u32::from_ne_bytes([b'a'; 4]));
    let pcs = one.registers().unwrap().pc + other.registers().unwrap().pc;
    assert_eq!(sum(one, other), expected + pcs);
    // Over several pages' ends, and cut.
    assert_eq!(one.read_c_string(TEXT, 0x1000).unwrap().as_bytes(), &text[..0x200]);
    assert_eq!(one.read_c_string(TEXT, 300).unwrap().as_bytes(), &text[..300]);
    assert_eq!(one.read_c_string(TEXT + 0x200, 8).unwrap().as_bytes(), b"");
    let (mut first, mut second) = ([0; 4], [0; 4]);
    let read = one.read_each(&mut [(TEXT, &mut first), (1, &mut second)]);
    assert!(matches!(read[..], [Ok(4), Err(Error::BadAddress { addr: 1, .. })]), "{read:?}");
    assert_eq!(first, *b"aaaa");
    assert_eq!(one.signal_info().unwrap().signal, Signal::USR1);
    let any = tracer.at_any(one.pid()).unwrap();
    assert_eq!((any.pid(), any.read_value::<[u8; 3]>(TEXT).unwrap()), (one.pid(), *b"aaa"));
    for stop in stops {
        assert_eq!(stop.reason(), StopReason::Signal(Signal::USR1));
        world.go(stop);
    }
    assert!(matches!(world.tracer().at_any(pids[0]), Err(Error::NotStopped { .. })));
    world.idle();
}

fn what_is_not_there_is_named<R: Rules>() {
    let (mut world, pid) = World::<R>::with_process(EventFlags::PROCESS);
    world.kernel.map(pid, TEXT, b"abc");
    world.kernel.signal(pid, Signal::USR1);
    let stop = world.stop();
    let reader = world.tracer().at(&stop);
    let end = TEXT + 3;
    let value = reader.read_value::<u64>(TEXT);
    assert!(matches!(value, Err(Error::BadAddress { addr, .. }) if addr == end), "{value:?}");
    let string = reader.read_c_string(TEXT, 100);
    assert!(matches!(string, Err(Error::BadAddress { addr, .. }) if addr == end), "{string:?}");
    assert_eq!(reader.read_c_string(TEXT, 3).unwrap().as_bytes(), b"abc");
    world.go(stop);
    world.idle();
}
