//! What is sent back.

use trapline::Error;

/// An answer to a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// None now; where the packet resumes something, the next stop is it.
    Nothing,
    /// Text without a character that has to be escaped.
    Text(String),
    /// Bytes, their escapes made.
    Bytes(Vec<u8>),
    /// `OK`, and from now on nothing is acknowledged.
    LastAcknowledged,
}

impl Answer {
    pub(super) fn ok() -> Answer {
        Answer::Text("OK".to_string())
    }

    /// The packet is not known.
    pub(super) fn unknown() -> Answer {
        Answer::Text(String::new())
    }

    pub(super) fn error() -> Answer {
        Answer::Text("E01".to_string())
    }
}

impl From<String> for Answer {
    fn from(text: String) -> Self {
        Answer::Text(text)
    }
}

/// Linux's numbers, which clients print: they are but numbers to most of them.
pub(super) fn errno(error: &Error) -> u8 {
    const ESRCH: u8 = 3;
    const EPERM: u8 = 1;
    const EFAULT: u8 = 14;
    const EBUSY: u8 = 16;
    match error {
        Error::Gone { .. } | Error::NotStopped { .. } => ESRCH,
        Error::NotPermitted { .. } => EPERM,
        Error::BadAddress { .. } => EFAULT,
        Error::NoFreeSlot { .. } => EBUSY,
        Error::Os { source, .. } => {
            source.raw_os_error().and_then(|number| u8::try_from(number).ok()).unwrap_or(EPERM)
        }
        Error::Tracee { error, .. } => errno(error),
        _ => EPERM,
    }
}

impl From<trapline::Result<()>> for Answer {
    fn from(result: trapline::Result<()>) -> Self {
        match result {
            Ok(()) => Answer::ok(),
            Err(error) => Answer::from(error),
        }
    }
}

impl From<Error> for Answer {
    fn from(error: Error) -> Self {
        match error {
            Error::Unsupported { .. } => Answer::unknown(),
            error => Answer::Text(format!("E{:02x}", errno(&error))),
        }
    }
}
