//! The types of registers that gdb does not know by itself.

use super::Layout;
use crate::regs::description::{Types, Views};

pub(in crate::regs) fn architecture(layout: Layout) -> &'static str {
    if layout.narrow { "i386" } else { "i386:x86-64" }
}

pub(in crate::regs) const TYPES: &[Types] = &[
    Types { feature: "org.gnu.gdb.i386.core", flags: &[("i386_eflags", EFLAGS)], views: None },
    Types {
        feature: "org.gnu.gdb.i386.sse",
        flags: &[("i386_mxcsr", MXCSR)],
        views: Some(("vec128", VIEWS)),
    },
];

const EFLAGS: &[(&str, u32)] = &[
    ("CF", 0),
    ("", 1),
    ("PF", 2),
    ("AF", 4),
    ("ZF", 6),
    ("SF", 7),
    ("TF", 8),
    ("IF", 9),
    ("DF", 10),
    ("OF", 11),
    ("NT", 14),
    ("RF", 16),
    ("VM", 17),
    ("AC", 18),
    ("VIF", 19),
    ("VIP", 20),
    ("ID", 21),
];
const MXCSR: &[(&str, u32)] = &[
    ("IE", 0),
    ("DE", 1),
    ("ZE", 2),
    ("OE", 3),
    ("UE", 4),
    ("PE", 5),
    ("DAZ", 6),
    ("IM", 7),
    ("DM", 8),
    ("ZM", 9),
    ("OM", 10),
    ("UM", 11),
    ("PM", 12),
    ("FZ", 15),
];
const VIEWS: Views = &[
    ("v8_bfloat16", "bfloat16", 8),
    ("v4_float", "ieee_single", 4),
    ("v2_double", "ieee_double", 2),
    ("v16_int8", "int8", 16),
    ("v8_int16", "int16", 8),
    ("v4_int32", "int32", 4),
    ("v2_int64", "int64", 2),
];
