//! The debug registers: four addresses (DR0 to DR3), what happened (DR6) and what to watch (DR7).
//!
//! SDM vol. 3, the sections "Debug Registers" and "Debug Exceptions". Everything here is checked
//! before a kernel sees it, because kernels differ: Linux refuses a misaligned address, FreeBSD
//! takes one that will never be hit.
//!
//! ```
//! use trapline_arch_x86_64::debug::{Dr6, Dr7, Kind, Slot};
//! let slots = [Some(Slot::execute(0x401000)?), Some(Slot::new(0x7000, 8, Kind::Write)?), None, None];
//! let dr7 = Dr7::of(&slots);
//! assert_eq!(dr7.as_raw(), 0x0090_0005);
//!
//! // The step on which the watched bytes were written; DR2 matches as well, but is not enabled.
//! let causes = Dr6::from_raw(0xffff4ff6).causes(dr7);
//! assert!(causes.single_step);
//! assert_eq!(causes.hits.iter().collect::<Vec<_>>(), [1]);
//! # Ok::<(), trapline_arch_x86_64::debug::SlotError>(())
//! ```

mod dr6;
mod dr7;
mod portable;
mod probe;
mod slot;

pub use dr6::{Causes, Dr6};
pub use dr7::Dr7;
pub(crate) use probe::probe;
pub use slot::{Kind, SLOTS, Slot, SlotError, SlotSet, USER_END, USER_END_LA57};
