//! The back end over a model kernel.

use std::fmt::Debug;
use std::hash::{Hash, Hasher};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustc_hash::FxHasher;

use trapline_core::Result;
use trapline_core::backend::Wake;

use crate::kernel::Kernel;
use crate::model::Model;
use crate::report::Report;
use crate::rules::Rules;
use crate::script::Call;

/// A [`Backend`](trapline_core::Backend) over a [`Kernel`]. Dropping it is the end of the tracer: what is still traced is
/// killed or detached, as its setup says.
#[derive(Debug)]
pub struct Fake<R: Rules> {
    pub(crate) kernel: Kernel<R>,
    pub(crate) woken: Arc<Flag>,
    /// What the next wait finds, if a look has had that chosen and it was not what it looked for.
    pub(crate) chosen: Option<Report>,
    /// The other end of what an event loop has.
    pub(crate) kept_open: Option<UnixStream>,
}

/// A waker's word.
#[derive(Debug, Default)]
pub(crate) struct Flag(pub(crate) AtomicBool);

impl Wake for Flag {
    fn wake(&self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

impl<R: Rules> Fake<R> {
    pub(crate) fn new(kernel: Kernel<R>) -> Self {
        Fake { kernel, woken: Arc::default(), chosen: None, kept_open: None }
    }

    /// A request: counted, after the test has had its chance to make something happen just before.
    pub(crate) fn call<T: Debug + Hash>(
        &mut self,
        name: &'static str,
        id: i32,
        answer: impl FnOnce(&mut Model) -> Result<T>,
    ) -> Result<T> {
        let number = {
            let mut model = self.kernel.model();
            model.records.requests += 1;
            // A tracer that does nothing but look may be spinning.
            if !matches!(name, "wait" | "is_uninterruptible" | "is_unkillable") {
                model.records.quiet = 0;
            }
            model.records.requests
        };
        let call = Call { name, id, number };
        self.kernel.before(call);
        let fails = self.kernel.fails(call);
        let mut model = self.kernel.model();
        let answer = match fails {
            true => model.fails(name, id, answer),
            false => answer(&mut model),
        };
        let digest = (name, id, answer.as_ref().map_err(std::mem::discriminant));
        note(&mut model, digest, || format!("{name} {id} {answer:?}"));
        answer
    }

    /// Something that is known without a request.
    pub(crate) fn view<T>(&self, look: impl FnOnce(&Model) -> T) -> T {
        look(&self.kernel.model())
    }
}

/// Adds to the digest of what passed, and to the log if one is kept.
pub(crate) fn note(model: &mut Model, what: impl Hash, tell: impl FnOnce() -> String) {
    let mut digest = FxHasher::default();
    (model.records.talk, what).hash(&mut digest);
    model.records.talk = digest.finish();
    if let Some(log) = &mut model.records.log {
        log.push(tell());
    }
}

impl<R: Rules> Drop for Fake<R> {
    fn drop(&mut self) {
        self.kernel.model().tracer_ends();
    }
}
