//! The types of registers that gdb does not know by itself.

use super::Layout;
use crate::regs::description::{Types, Views};

pub(in crate::regs) fn architecture(_: Layout) -> &'static str {
    "aarch64"
}

pub(in crate::regs) const TYPES: &[Types] = &[
    Types { feature: "org.gnu.gdb.aarch64.core", flags: &[("cpsr_flags", CPSR)], views: None },
    Types { feature: "org.gnu.gdb.aarch64.fpu", flags: &[], views: Some(("aarch64v", VIEWS)) },
];

const CPSR: &[(&str, u32)] = &[
    ("SP", 0),
    ("nRW", 4),
    ("F", 6),
    ("I", 7),
    ("A", 8),
    ("D", 9),
    ("IL", 20),
    ("SS", 21),
    ("V", 28),
    ("C", 29),
    ("Z", 30),
    ("N", 31),
];
const VIEWS: Views = &[
    ("v2d", "ieee_double", 2),
    ("v4f", "ieee_single", 4),
    ("v16i8", "int8", 16),
    ("v8i16", "int16", 8),
    ("v4i32", "int32", 4),
    ("v2i64", "int64", 2),
];
