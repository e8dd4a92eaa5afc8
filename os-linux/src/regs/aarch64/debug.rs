//! Debug registers.

use trapline_core::backend::{DebugSlots, DebugStatus, NO_SLOTS};
use trapline_core::{Error, Result, Tid};

use crate::sys::Kernel;

/// Has a thread watch `to`; see `Backend::set_watched`.
pub(crate) fn watch(_: &Kernel, _: Tid, _: Option<&DebugSlots>, to: &DebugSlots) -> Result<()> {
    if *to == NO_SLOTS {
        return Ok(());
    }
    Err(Error::Unsupported { what: "a hardware breakpoint", on: "Linux on aarch64" })
}

/// What has happened.
pub(crate) fn take_status(_: &Kernel, _: Tid) -> Result<DebugStatus> {
    Ok(DebugStatus::default())
}
