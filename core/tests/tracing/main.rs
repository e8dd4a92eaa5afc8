//! The feature `tracing`: each raw stop and each request is an event.

use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event as Told, Level, Metadata, Subscriber};
use trapline_core::{Event, Resume, Signal, StopReason, Tracer};
use trapline_fake::{Kernel, LinuxRules};

/// Keeps the messages of events at a level.
struct Listener {
    level: Level,
    heard: Arc<Mutex<Vec<String>>>,
}

struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}

impl Subscriber for Listener {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= self.level
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Told<'_>) {
        assert_eq!(
            (event.metadata().target(), *event.metadata().level()),
            ("trapline", Level::TRACE)
        );
        let mut message = Message(String::new());
        event.record(&mut message);
        self.heard.lock().unwrap().push(message.0);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// What a tracer that sees one signal has told.
fn heard_at(level: Level) -> Vec<String> {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let listener = Listener { level, heard: Arc::clone(&heard) };
    tracing::subscriber::with_default(listener, || {
        let kernel = Kernel::<LinuxRules>::new();
        let mut tracer = Tracer::builder().build_on(kernel.backend());
        let pid = kernel.start();
        tracer.attach(pid).unwrap();
        let started = tracer.wait().unwrap().expect("its first stop");
        tracer.resume(started, Resume::Continue).unwrap();
        kernel.signal(pid, Signal::USR1);
        let Some(Event::Stopped(stop)) = tracer.wait().unwrap() else { panic!() };
        assert_eq!(stop.reason(), StopReason::Signal(Signal::USR1));
        tracer.registers(&stop).unwrap();
        tracer.resume(stop, Resume::Continue).unwrap();
    });
    let heard = heard.lock().unwrap();
    heard.clone()
}

#[test]
fn each_raw_stop_and_each_request_is_told() {
    let heard = heard_at(Level::TRACE);
    let told = |start: &str, part: &str| {
        heard.iter().any(|line| line.starts_with(start) && line.contains(part))
    };
    assert!(told("attach(Pid(", "Ok(RawAttach"), "{heard:#?}");
    assert!(told("", "Signal { signal: SIGUSR1"), "the raw stop: {heard:#?}");
    assert!(told("registers(Thread", "Ok("), "{heard:#?}");
    assert!(told("resume(Thread", "Some(SIGUSR1)) = Ok(())"), "{heard:#?}");
}

#[test]
fn nothing_is_told_at_other_levels() {
    assert_eq!(heard_at(Level::DEBUG), [""; 0]);
}
