//! Process and thread ids.

use std::fmt;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(i32);

        impl $name {
            /// The id with this raw number, as the kernel counts it in the tracer's namespace.
            pub const fn from_raw(raw: i32) -> Self {
                Self(raw)
            }

            /// The raw number.
            pub const fn as_raw(self) -> i32 {
                self.0
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
    /// A process: what `fork` makes and what `waitpid` ends.
    Pid
}

id! {
    /// A thread: a Linux task or a FreeBSD LWP.
    ///
    /// # Platform notes
    ///
    /// On Linux a process's first thread has the number of the process; on FreeBSD LWP ids are
    /// counted apart (from 100,000), so a `Tid` is never made of a [`Pid`].
    Tid
}
