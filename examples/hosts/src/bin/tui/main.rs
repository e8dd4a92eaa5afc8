//! A program and all that it starts, in the terminal: which processes there are, what they do, and keys to
//! pause, kill and go on.
//!
//! ```text
//! cargo run -p trapline-hosts --bin tui -- make -j4
//! ```
//!
//! The tracer is on a thread of its own. Its handler lets everything run on that nobody wants to look at,
//! and sends a notice of it; the thread of the user interface draws, and posts closures for the keys.

#![forbid(unsafe_code)]

mod model;
mod view;

use std::process::{Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode};
use trapline::{Builder, Notice, Pid, Resume, Session, StopReason, TracerThread};

use model::{Model, State, Told};

/// How often the screen is drawn, at least.
const TICK: Duration = Duration::from_millis(50);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    trapline_hosts::survive()?;
    let mut command = trapline_hosts::command()?;
    // The terminal is ours.
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let (thread, told) = start(command)?;
    let mut terminal = ratatui::init();
    let result = run(&mut terminal, &thread, &told);
    ratatui::restore();
    thread.finish().map_err(|_| "the tracer's thread has panicked")?; // what still runs is killed
    result
}

/// A tracer that lets everything run on but what was paused.
fn start(command: Command) -> trapline::Result<(TracerThread, Receiver<Told>)> {
    let (sender, told) = mpsc::channel();
    let handler = move |session: &mut Session, notice: trapline::Result<Notice>| {
        let paused = matches!(notice, Ok(Notice::Stopped { reason: StopReason::Interrupted, .. }));
        let mut program = None;
        if let Ok(notice) = &notice {
            if let Notice::Stopped { pid, reason: StopReason::Execed { .. }, .. } = notice {
                program = session.tracer().process_info(*pid).ok().and_then(|p| p.arguments);
            }
            if !paused {
                // What fails gives the stop again.
                let _ = session.resume_all(notice.threads(), Resume::Continue);
            }
        }
        let _ = sender.send(Told { notice, program });
    };
    let thread = TracerThread::start(Builder::new(), handler)?;
    thread.call(|session| session.tracer_mut().spawn(command).map(drop))?;
    Ok((thread, told))
}

fn run(
    terminal: &mut DefaultTerminal,
    thread: &TracerThread,
    told: &Receiver<Told>,
) -> Result<(), Box<dyn std::error::Error>> {
    let mut model = Model::default();
    loop {
        told.try_iter().for_each(|told| model.take(told));
        terminal.draw(|frame| view::draw(frame, &mut model))?;
        if !event::poll(TICK)? {
            continue;
        }
        let Event::Key(key) = event::read()? else { continue };
        match (key.code, model.selected()) {
            (KeyCode::Char('q') | KeyCode::Esc, _) => return Ok(()),
            (KeyCode::Up, _) => model.select(-1),
            (KeyCode::Down, _) => model.select(1),
            (KeyCode::Char(' '), Some((pid, state))) => {
                pause_or_go_on(thread, pid, state)?;
                model.asked(pid);
            }
            (KeyCode::Char('k'), Some((pid, _))) => thread.post(move |session| {
                let _ = session.kill(pid); // its end is told
            })?,
            _ => {}
        }
    }
}

fn pause_or_go_on(thread: &TracerThread, pid: Pid, state: State) -> trapline::Result<()> {
    thread.post(move |session| {
        let done = match state {
            State::Runs => session.tracer_mut().interrupt(pid),
            State::Paused(tid) => session.resume(tid, Resume::Continue),
            State::Ended(_) => Ok(()),
        };
        let _ = done; // it is gone then, which is told as well
    })
}
