//! What waits find.

use std::sync::atomic::Ordering;

use trapline_core::backend::{Patience, RawKind, RawStop, StopScope, Thread, Waited};
use trapline_core::{Error, Result};

use crate::report::Report;
use crate::rules::Rules;
use crate::system::{Fake, note};

/// How many waits in a row may find nothing, before that counts as a tracer that spins.
const SPINS: u32 = 20_000;

impl<R: Rules> Fake<R> {
    /// What the next wait finds.
    pub(crate) fn wait_for(&mut self, patience: Patience) -> Result<Waited> {
        self.call("wait", -1, |_| Ok(()))?;
        loop {
            if self.woken.0.swap(false, Ordering::SeqCst) {
                return Ok(Waited::Woken);
            }
            if let Some(raw) = self.take_report() {
                note(&mut self.kernel.model(), raw, || format!("{raw:?}"));
                return Ok(Waited::Stop(raw));
            }
            if !self.kernel.next_idle_step() {
                break;
            }
        }
        if !self.traced() {
            return Ok(Waited::NoTracees);
        }
        if let Patience::Until(deadline) = patience {
            // Nothing happens by itself, so the time passes at once.
            std::thread::sleep(deadline.saturating_duration_since(std::time::Instant::now()));
        }
        if patience == Patience::Block {
            // A real one would wait for ever; this one lets the test see that.
            self.kernel.model().records.blocked += 1;
            return Ok(Waited::Woken);
        }
        let mut model = self.kernel.model();
        model.records.quiet += 1;
        if model.records.quiet > SPINS {
            model.records.quiet = 0;
            model.violation("the tracer spins".to_string());
            let source = std::io::ErrorKind::Deadlock.into();
            return Err(Error::os("wait", -1, source));
        }
        Ok(Waited::Nothing)
    }

    /// A look at one thread, or its process.
    ///
    /// What is there may be found by the next wait only, as if it had happened in between: so
    /// what a [chooser](Kernel::choose) has found holds.
    pub(crate) fn look_at(&mut self, thread: Thread) -> Result<Option<RawStop>> {
        if self.chosen.is_some() || self.woken.0.load(Ordering::SeqCst) {
            return Ok(None);
        }
        let reports = {
            let mut model = self.kernel.model();
            if !model.slow_deaths {
                model.die_all();
            }
            model.reports()
        };
        let there = |report: &Report| match R::RULES.scope {
            StopScope::Thread => report.tid == thread.tid,
            StopScope::Process => {
                report.pid == thread.pid && matches!(report.kind, RawKind::Stop(_))
            }
        };
        if !reports.iter().any(there) {
            return Ok(None);
        }
        let Some(chosen) = self.kernel.choose_among(&reports) else { return Ok(None) };
        self.chosen = Some(chosen);
        if !there(&chosen) {
            return Ok(None);
        }
        self.call("wait", -1, |_| Ok(()))?;
        let raw = self.take_report();
        if let Some(raw) = raw {
            note(&mut self.kernel.model(), raw, || format!("{raw:?}"));
        }
        Ok(raw)
    }

    /// The report that the next wait takes, if there is one.
    fn take_report(&mut self) -> Option<RawStop> {
        loop {
            {
                let mut model = self.kernel.model();
                if !model.slow_deaths || model.reports().is_empty() {
                    model.die_all();
                }
                if model.reports().is_empty() {
                    model.land_all();
                }
            }
            let reports = self.kernel.model().reports();
            let chosen = match self.chosen.take().filter(|chosen| reports.contains(chosen)) {
                Some(chosen) => chosen,
                None => self.kernel.choose_among(&reports)?,
            };
            let mut model = self.kernel.model();
            model.records.quiet = 0;
            if let Some(raw) = model.report_or_lose(chosen) {
                return Some(raw);
            }
        }
    }

    fn traced(&self) -> bool {
        self.view(|model| model.tasks.values().any(|task| task.setup.is_some()))
    }

    /// What a spawn or an attach comes across.
    pub(crate) fn meanwhile(&mut self) -> Vec<RawStop> {
        let many = self.kernel.take_meanwhile();
        (0..many).map_while(|_| self.take_report()).collect()
    }
}
