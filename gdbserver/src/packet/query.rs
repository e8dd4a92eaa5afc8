//! Packets that begin with `q` and `Q`.

use super::fields::{Fields, from_hex, hex, id, number, pair};
use super::{Malformed, Packet, ThreadId};

/// A question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Query {
    /// `qSupported`: what the client can do.
    Supported(Vec<Vec<u8>>),
    /// `qC`
    CurrentThread,
    /// `qfThreadInfo`
    FirstThreads,
    /// `qsThreadInfo`
    MoreThreads,
    /// `qAttached`
    Attached(Option<i32>),
    /// `qThreadExtraInfo`
    ThreadInfo(ThreadId),
    /// `qXfer:OBJECT:read:ANNEX:OFFSET,LENGTH`
    Read {
        /// What.
        object: Vec<u8>,
        /// Which one.
        annex: Vec<u8>,
        /// From where.
        offset: u64,
        /// How much.
        len: u64,
    },
    /// `qXfer:OBJECT:write:ANNEX:OFFSET:DATA`
    Write {
        /// What.
        object: Vec<u8>,
        /// Which one.
        annex: Vec<u8>,
        /// To where.
        offset: u64,
        /// This.
        data: Vec<u8>,
    },
    /// `qSymbol`: the client is ready to look up symbols, or has looked one up.
    Symbol {
        /// Its name; empty for an offer.
        name: Vec<u8>,
        /// Its value, if there is such a symbol.
        value: Option<u64>,
    },
    /// `qGetTLSAddr`
    ThreadLocal {
        /// Whose.
        thread: ThreadId,
        /// Where in the module's data.
        offset: u64,
        /// The module, by its link map.
        module: u64,
    },
    /// `qSearch:memory`
    Search {
        /// From here.
        addr: u64,
        /// So many bytes.
        len: u64,
        /// For this.
        pattern: Vec<u8>,
    },
    /// `qCRC`
    Checksum {
        /// From here.
        addr: u64,
        /// So many bytes.
        len: u64,
    },
    /// `qRcmd`: a command for the server.
    Monitor(Vec<u8>),
    /// `qTStatus`
    TraceStatus,
    /// `qOffsets`
    Offsets,
}

/// What is set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Setting {
    /// `QStartNoAckMode`
    NoAcknowledgements,
    /// `QNonStop`
    NonStop(bool),
    /// `QThreadEvents`
    ThreadEvents(bool),
    /// `QPassSignals`, by gdb's numbers
    PassSignals(Vec<u8>),
    /// `QProgramSignals`
    ProgramSignals(Vec<u8>),
    /// `QCatchSyscalls`: `None` to catch none, no numbers for all.
    CatchSyscalls(Option<Vec<u64>>),
    /// `QStartupWithShell`
    StartupWithShell(bool),
    /// `QDisableRandomization`
    DisableRandomization(bool),
    /// `QEnvironmentHexEncoded` and `QEnvironment`
    SetVariable(Vec<u8>),
    /// `QEnvironmentUnset`
    UnsetVariable(Vec<u8>),
    /// `QEnvironmentReset`
    ResetVariables,
    /// `QSetWorkingDir`
    WorkingDirectory(Vec<u8>),
    /// `QAgent`
    Agent,
}

/// What only lldb asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LldbRequest {
    /// `qHostInfo`
    HostInfo,
    /// `qProcessInfo`
    ProcessInfo,
    /// `qProcessInfoPID`
    ProcessInfoOf(i32),
    /// `qGetWorkingDir`
    WorkingDirectory,
    /// `qGetPid`
    ServerPid,
    /// `qRegisterInfo`
    RegisterInfo(usize),
    /// `qMemoryRegionInfo`; without an address, whether it is known
    MemoryRegion(Option<u64>),
    /// `qThreadStopInfo`
    ThreadStop(ThreadId),
    /// `qWatchpointSupportInfo`
    Watchpoints,
    /// `qShlibInfoAddr`
    LibraryList,
    /// `qVAttachOrWaitSupported`, `qEcho` and the like: what is sent back as it is
    Echo(Vec<u8>),
    /// `jThreadsInfo`
    ThreadsInfo,
    /// `QThreadSuffixSupported`
    ThreadSuffix,
    /// `QListThreadsInStopReply`
    ListThreads,
    /// `QSetDetachOnError`
    DetachOnError(bool),
    /// `QEnableErrorStrings`
    ErrorStrings,
    /// `qLaunchSuccess`
    LaunchSuccess,
    /// `_M` and `_m`, which are done by calls of `mmap` in the program instead
    Allocation,
}

/// What is behind a `q`.
pub(super) fn question(text: &[u8]) -> Result<Packet, Malformed> {
    let name_end = text.iter().position(|byte| b":,;".contains(byte)).unwrap_or(text.len());
    let (name, rest) = text.split_at_checked(name_end).ok_or(Malformed)?;
    let rest = rest.get(1..).unwrap_or_default();
    let query = match name {
        b"Supported" => {
            let features = rest.split(|&byte| byte == b';').filter(|feature| !feature.is_empty());
            Query::Supported(features.map(<[u8]>::to_vec).collect())
        }
        b"C" if rest.is_empty() => Query::CurrentThread,
        b"fThreadInfo" => Query::FirstThreads,
        b"sThreadInfo" => Query::MoreThreads,
        b"Attached" if rest.is_empty() => Query::Attached(None),
        b"Attached" => Query::Attached(Some(id(rest)?)),
        b"ThreadExtraInfo" => Query::ThreadInfo(ThreadId::parse(rest)?),
        b"Xfer" => return transfer(rest).map(Packet::Query),
        b"Symbol" => {
            let mut fields = Fields(rest);
            let value = match fields.until(b':') {
                b"" => None,
                digits => Some(number(digits)?),
            };
            Query::Symbol { name: from_hex(fields.0).ok_or(Malformed)?, value }
        }
        b"GetTLSAddr" => {
            let mut fields = Fields(rest);
            let thread = ThreadId::parse(fields.before(b',')?)?;
            let (offset, module) = pair(fields.0)?;
            Query::ThreadLocal { thread, offset, module }
        }
        b"Search" => {
            let mut fields = Fields(rest.strip_prefix(b"memory:").ok_or(Malformed)?);
            let addr = number(fields.before(b';')?)?;
            let len = number(fields.before(b';')?)?;
            Query::Search { addr, len, pattern: fields.0.to_vec() }
        }
        b"CRC" => {
            let (addr, len) = pair(rest)?;
            Query::Checksum { addr, len }
        }
        b"Rcmd" => Query::Monitor(from_hex(rest).ok_or(Malformed)?),
        b"TStatus" => Query::TraceStatus,
        b"Offsets" => Query::Offsets,
        _ => return lldb_question(text, name, rest),
    };
    Ok(Packet::Query(query))
}

fn lldb_question(text: &[u8], name: &[u8], rest: &[u8]) -> Result<Packet, Malformed> {
    let request = match name {
        b"HostInfo" => LldbRequest::HostInfo,
        b"ProcessInfo" => LldbRequest::ProcessInfo,
        b"ProcessInfoPID" => LldbRequest::ProcessInfoOf(decimal(rest)?),
        b"GetWorkingDir" => LldbRequest::WorkingDirectory,
        b"GetPid" => LldbRequest::ServerPid,
        b"MemoryRegionInfo" if rest.is_empty() => LldbRequest::MemoryRegion(None),
        b"MemoryRegionInfo" => LldbRequest::MemoryRegion(Some(number(rest)?)),
        b"WatchpointSupportInfo" => LldbRequest::Watchpoints,
        b"ShlibInfoAddr" => LldbRequest::LibraryList,
        b"LaunchSuccess" => LldbRequest::LaunchSuccess,
        b"Echo" => LldbRequest::Echo([b"qEcho:", rest].concat()),
        _ => {
            if let Some(digits) = text.strip_prefix(b"RegisterInfo") {
                let number = usize::try_from(number(digits)?).map_err(|_| Malformed)?;
                LldbRequest::RegisterInfo(number)
            } else if let Some(thread) = text.strip_prefix(b"ThreadStopInfo") {
                LldbRequest::ThreadStop(ThreadId::parse(thread)?)
            } else {
                return Ok(Packet::Unknown);
            }
        }
    };
    Ok(Packet::Lldb(request))
}

fn decimal(digits: &[u8]) -> Result<i32, Malformed> {
    std::str::from_utf8(digits).ok().and_then(|text| text.parse().ok()).ok_or(Malformed)
}

fn transfer(text: &[u8]) -> Result<Query, Malformed> {
    let mut fields = Fields(text);
    let object = fields.before(b':')?.to_vec();
    let operation = fields.before(b':')?;
    let annex = fields.before(b':')?.to_vec();
    match operation {
        b"read" => {
            let (offset, len) = pair(fields.0)?;
            Ok(Query::Read { object, annex, offset, len })
        }
        b"write" => {
            let offset = number(fields.before(b':')?)?;
            Ok(Query::Write { object, annex, offset, data: fields.0.to_vec() })
        }
        _ => Err(Malformed),
    }
}

/// What is behind a `Q`.
pub(super) fn setting(text: &[u8]) -> Result<Packet, Malformed> {
    let mut fields = Fields(text);
    let name = fields.until(b':');
    let rest = fields.0;
    let flag = || match number(rest)? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(Malformed),
    };
    let text = |rest: &[u8]| from_hex(rest).filter(|text| !text.contains(&0)).ok_or(Malformed);
    let setting = match name {
        b"StartNoAckMode" => Setting::NoAcknowledgements,
        b"NonStop" => Setting::NonStop(flag()?),
        b"ThreadEvents" => Setting::ThreadEvents(flag()?),
        b"PassSignals" => Setting::PassSignals(signals(rest)?),
        b"ProgramSignals" => Setting::ProgramSignals(signals(rest)?),
        b"CatchSyscalls" => Setting::CatchSyscalls(syscalls(rest)?),
        b"StartupWithShell" => Setting::StartupWithShell(flag()?),
        b"DisableRandomization" => Setting::DisableRandomization(flag()?),
        b"EnvironmentHexEncoded" => Setting::SetVariable(text(rest)?),
        b"Environment" => Setting::SetVariable(text(hex(rest).as_bytes())?),
        b"EnvironmentUnset" => Setting::UnsetVariable(text(rest)?),
        b"EnvironmentReset" => Setting::ResetVariables,
        b"SetWorkingDir" => Setting::WorkingDirectory(text(rest)?),
        b"Agent" => Setting::Agent,
        b"ThreadSuffixSupported" => return Ok(Packet::Lldb(LldbRequest::ThreadSuffix)),
        b"ListThreadsInStopReply" => return Ok(Packet::Lldb(LldbRequest::ListThreads)),
        b"EnableErrorStrings" => return Ok(Packet::Lldb(LldbRequest::ErrorStrings)),
        b"SetDetachOnError" => return Ok(Packet::Lldb(LldbRequest::DetachOnError(flag()?))),
        _ => return Ok(Packet::Unknown),
    };
    Ok(Packet::Set(setting))
}

fn signals(text: &[u8]) -> Result<Vec<u8>, Malformed> {
    let numbers = text.split(|&byte| byte == b';').filter(|digits| !digits.is_empty());
    numbers.map(|digits| u8::try_from(number(digits)?).map_err(|_| Malformed)).collect()
}

fn syscalls(text: &[u8]) -> Result<Option<Vec<u64>>, Malformed> {
    let mut fields = Fields(text);
    match fields.until(b';') {
        b"0" => Ok(None),
        b"1" => {
            let numbers = fields.0.split(|&byte| byte == b';').filter(|digits| !digits.is_empty());
            numbers.map(number).collect::<Result<_, _>>().map(Some)
        }
        _ => Err(Malformed),
    }
}

/// What is behind a `j`.
pub(super) fn json(text: &[u8]) -> Result<Packet, Malformed> {
    Ok(match text {
        b"ThreadsInfo" => Packet::Lldb(LldbRequest::ThreadsInfo),
        _ => Packet::Unknown,
    })
}
