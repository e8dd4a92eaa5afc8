//! One connection of gdb, from its first packet to its last.

use gdbstub::stub::state_machine::GdbStubStateMachine as State;
use gdbstub::stub::{DisconnectReason, GdbStub, GdbStubBuilder, MultiThreadStopReason};
use trapline::{ExitStatus, Result, Waker};

use super::amd64::Register;
use super::connection::{self, Line, Next};
use super::debuggee::Debuggee;
use super::running::{Report, Waited};
use super::say;
use super::signals;

/// The longest packet.
const PACKET: usize = 0x4000;

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Close {
    /// gdb has let the process go, or it has ended.
    Done,
    /// The line broke.
    Lost,
}

type Failure = gdbstub::stub::GdbStubError<trapline::Error, std::io::Error>;

/// Answers gdb until it goes.
pub(crate) fn serve(
    debuggee: &mut Debuggee,
    stream: std::net::TcpStream,
    waker: Waker,
) -> Result<Close, String> {
    let (line, mut incoming) = connection::open(stream, waker).map_err(|e| e.to_string())?;
    let stub: GdbStub<'_, Debuggee, Line> = GdbStubBuilder::new(line)
        .packet_buffer_size(PACKET)
        .build()
        .map_err(|error| error.to_string())?;
    let closed =
        stub.run_state_machine(debuggee).and_then(|state| converse(debuggee, state, &mut incoming));
    let close = match closed {
        Ok(close) => close,
        // gdb has gone away in the middle of an answer.
        Err(error) if error.is_connection_error() => Close::Lost,
        Err(error) => return Err(error.to_string()),
    };
    if close == Close::Lost {
        debuggee.stand_still().map_err(|error| error.to_string())?;
    }
    Ok(close)
}

fn converse(
    debuggee: &mut Debuggee,
    mut state: State<'_, Debuggee, Line>,
    incoming: &mut connection::Incoming,
) -> Result<Close, Failure> {
    loop {
        state = match state {
            State::Idle(stub) => match incoming.wait() {
                Some(byte) => stub.incoming_data(debuggee, byte)?,
                None => return Ok(Close::Lost),
            },
            State::Running(stub) => match incoming.poll() {
                Next::Byte(byte) => stub.incoming_data(debuggee, byte)?,
                Next::Closed => return Ok(Close::Lost),
                Next::Nothing => match debuggee.wait() {
                    Ok(Waited::Woken) => stub.into(),
                    Ok(Waited::Stopped(report)) => {
                        let registers = expedited(debuggee, report);
                        let mut registers = registers.iter().map(|(id, value)| (*id, &value[..]));
                        stub.report_stop_with_regs(debuggee, report, &mut registers)?
                    }
                    Ok(Waited::Ended(pid, status)) => {
                        stub.report_stop(debuggee, ended(pid, status))?
                    }
                    Err(error) => {
                        say(format_args!("gdbserver: {error}"));
                        return Ok(Close::Lost);
                    }
                },
            },
            State::CtrlCInterrupt(stub) => {
                // If it does not run, its stop is on the way to gdb.
                if let Err(error) = debuggee.interrupt() {
                    say(format_args!("gdbserver: {error}"));
                }
                stub.interrupt_handled(debuggee, None::<MultiThreadStopReason<u64>>)?
            }
            State::Disconnected(stub) => {
                if stub.get_reason() == DisconnectReason::Disconnect {
                    if let Some(inferior) = &debuggee.inferior {
                        say(format_args!("Detaching from process {}", inferior.pid));
                    }
                    if let Err(error) = debuggee.detach() {
                        say(format_args!("gdbserver: {error}"));
                    }
                }
                if !debuggee.multi {
                    return Ok(Close::Done);
                }
                stub.return_to_idle()
            }
        };
    }
}

/// The registers that gdb wants first at every stop.
fn expedited(debuggee: &mut Debuggee, report: Report) -> Vec<(Register, Vec<u8>)> {
    let tid = match report {
        Report::SwBreak(tid) | Report::HwBreak(tid) => tid,
        Report::SignalWithThread { tid, .. } | Report::Watch { tid, .. } => tid,
        _ => return Vec::new(),
    };
    // Without them gdb asks.
    let Ok(frame) = debuggee.frame(tid) else { return Vec::new() };
    let bytes = frame.bytes();
    let value =
        |register: Register| Some((register, bytes.get(register.place(frame.layout)?)?.to_vec()));
    Register::first_asked(frame.layout).into_iter().filter_map(value).collect()
}

/// The end of the process, in gdb's words and in ours.
fn ended(pid: trapline::Pid, status: ExitStatus) -> Report {
    match status {
        ExitStatus::Code(code) => {
            say(format_args!("\nChild exited with status {code}"));
            Report::Exited(code as u8)
        }
        ExitStatus::Killed { signal, .. } => {
            let gdb = signals::to_gdb(signal);
            say(format_args!("\nChild terminated with signal = {:#x} ({signal})", gdb.0));
            let _ = pid;
            Report::Terminated(gdb)
        }
    }
}
