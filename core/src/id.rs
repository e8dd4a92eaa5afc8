//! Process and thread ids.

use std::fmt;
use std::str::FromStr;

/// A number, or a text, that is no id of a process or thread: those are positive.
///
/// ```
/// use trapline::{InvalidId, Pid};
///
/// let result: Result<Pid, InvalidId> = "-1".parse();
/// assert_eq!(result.unwrap_err().to_string(), "an id of a process or thread is a positive number");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct InvalidId;

impl fmt::Display for InvalidId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an id of a process or thread is a positive number")
    }
}

impl std::error::Error for InvalidId {}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(i32);

        impl $name {
            /// The id with this number; `None` for 0 and negative numbers, which name groups of
            /// processes, or all of them, where the system takes them at all.
            ///
            /// ```
            #[doc = concat!("use trapline::", stringify!($name), ";")]
            ///
            #[doc = concat!("assert_eq!(", stringify!($name), "::new(7).unwrap().to_string(), \"7\");")]
            #[doc = concat!("assert_eq!(", stringify!($name), "::new(0), None);")]
            #[doc = concat!("assert_eq!(", stringify!($name), "::new(-1), None);")]
            /// ```
            pub const fn new(raw: i32) -> Option<Self> {
                if raw > 0 { Some(Self(raw)) } else { None }
            }

            /// The id with a number that the kernel has given: for back ends.
            #[doc(hidden)]
            pub const fn from_raw(raw: i32) -> Self {
                Self(raw)
            }

            /// The number, as the kernel counts in the tracer's pid namespace.
            ///
            /// ```
            #[doc = concat!("use trapline::", stringify!($name), ";")]
            ///
            #[doc = concat!("assert_eq!(", stringify!($name), "::new(7).unwrap().as_raw(), 7);")]
            /// ```
            pub const fn as_raw(self) -> i32 {
                self.0
            }
        }

        impl TryFrom<i32> for $name {
            type Error = InvalidId;

            fn try_from(raw: i32) -> Result<Self, InvalidId> {
                Self::new(raw).ok_or(InvalidId)
            }
        }

        /// For [`std::process::id`] and [`std::process::Child::id`].
        impl TryFrom<u32> for $name {
            type Error = InvalidId;

            fn try_from(raw: u32) -> Result<Self, InvalidId> {
                i32::try_from(raw).ok().and_then(Self::new).ok_or(InvalidId)
            }
        }

        impl From<$name> for i32 {
            fn from(id: $name) -> i32 {
                id.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                text.parse().ok().and_then(Self::new).ok_or(InvalidId)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id! {
    /// A process: what `fork` makes and what `waitpid` ends. It is a positive number.
    ///
    /// ```
    /// use trapline::Pid;
    ///
    /// let init: Pid = "1".parse()?;
    /// assert_eq!(init, Pid::try_from(1)?);
    /// # Ok::<(), trapline::InvalidId>(())
    /// ```
    Pid
}

id! {
    /// A thread: a Linux task or a FreeBSD LWP. It is a positive number.
    ///
    /// ```
    /// use trapline::Tid;
    ///
    /// let thread: Tid = "100123".parse()?;
    /// assert_eq!(thread.as_raw(), 100_123);
    /// # Ok::<(), trapline::InvalidId>(())
    /// ```
    ///
    /// # Platform notes
    ///
    /// On Linux the first thread of a process has the number of the process. FreeBSD counts LWPs
    /// apart, from 100,000 on, so a `Tid` cannot be made of a [`Pid`].
    Tid
}

impl Pid {
    /// This process.
    ///
    /// ```
    /// use trapline::Pid;
    ///
    /// assert_eq!(Pid::this().as_raw() as u32, std::process::id());
    /// ```
    pub fn this() -> Pid {
        Pid(std::process::id() as i32) // what `getpid` returns
    }
}

/// The process of a child of this program.
impl From<&std::process::Child> for Pid {
    fn from(child: &std::process::Child) -> Pid {
        Pid(child.id() as i32) // what `fork` has returned
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_positive() {
        for raw in [0, -1, i32::MIN] {
            assert_eq!(Pid::new(raw), None);
            assert_eq!(Pid::try_from(raw), Err(InvalidId));
            assert_eq!(raw.to_string().parse::<Tid>(), Err(InvalidId));
        }
        for raw in [0, 1 << 31, u32::MAX] {
            assert_eq!(Tid::try_from(raw), Err(InvalidId));
        }
        assert_eq!("".parse::<Pid>(), Err(InvalidId));
        assert_eq!("7x".parse::<Pid>(), Err(InvalidId));
        assert_eq!(Pid::try_from(i32::MAX).map(i32::from), Ok(i32::MAX));
    }
}
