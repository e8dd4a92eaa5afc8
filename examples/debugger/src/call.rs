//! Calls of the program's functions.

use std::io::Write;

use trapline::{CallOutcome, Event, StopReason, Stopped};

use crate::Outcome;
use crate::events::{Debugger, QUIET};
use crate::expression::number;
use crate::lines::resolve;

impl<W: Write> Debugger<W> {
    /// Has the chosen thread call `FUNCTION(ARGUMENT, ...)`, while the others rest. What comes inside ends
    /// the call.
    pub(crate) fn call(&mut self, text: &str) -> Outcome<()> {
        let call = text.strip_suffix(')').and_then(|text| text.split_once('('));
        let (name, args) = call.ok_or("call FUNCTION(ARGUMENT, ...)")?;
        let (function, args) = self.in_frame(|scope| {
            let inside = resolve(scope.modules, name.trim()).into_iter().next();
            let function = inside.and_then(|at| scope.modules.function(at)).map(|(_, at)| at);
            let args = args.split(',').filter(|arg| !arg.trim().is_empty());
            let args = args.map(|arg| number(scope, arg)).collect::<Outcome<Vec<u64>>>()?;
            Ok((function.ok_or_else(|| format!("there is no function {name}"))?, args))
        })?;
        let focus = self.focus.as_mut().ok_or("nothing is stopped")?;
        let at = focus.halted.threads.iter().position(|stop| stop.tid() == focus.tid);
        let stop = focus.halted.threads.remove(at.ok_or("there is no such thread")?);
        let mut outcome = self.tracer.call_function(stop, function, args);
        while let Ok(CallOutcome::Interrupted { event: Event::Stopped(stop), call }) = outcome {
            let is_quiet = matches!(stop.reason(), StopReason::Signal(s) if QUIET.contains(&s));
            if !is_quiet {
                let why = stop.reason();
                let stop = self.tracer.abandon_call(stop, call)?;
                self.say(format_args!("the call has ended before the function did: {why:?}"))?;
                self.hold(stop);
                return Ok(());
            }
            outcome = self.tracer.continue_call(stop, call);
        }
        match outcome {
            Ok(CallOutcome::Returned { stop, value }) => {
                self.hold(stop);
                self.say_returned(function, value)
            }
            Ok(CallOutcome::Interrupted { event, .. }) => self.take(event).map(drop),
            Ok(_) => Ok(()),
            Err(error) => {
                self.focus = None; // its stop is given again, and the others with it
                Err(error.into())
            }
        }
    }

    fn hold(&mut self, stop: Stopped) {
        if let Some(focus) = &mut self.focus {
            focus.halted.threads.push(stop);
        }
    }
}
