//! The target description: tells a client which registers there are (gdb's manual, "Target
//! Description Format").

use std::fmt::Write;

use super::Layout;
use crate::system;

/// Types that registers have, and that gdb does not know by itself.
struct Types {
    /// Before the registers of this feature.
    feature: &'static str,
    /// Bits with names.
    flags: &'static [(&'static str, &'static [(&'static str, u32)])],
    /// Ways to look at a vector of 16 bytes: the name of the whole, and for each way its name, the
    /// type of an element, how many.
    views: Option<(&'static str, Views)>,
}

type Views = &'static [(&'static str, &'static str, u32)];

#[cfg(target_arch = "x86_64")]
mod types {
    use super::{Layout, Types};

    pub(super) fn architecture(layout: Layout) -> &'static str {
        if layout.narrow { "i386" } else { "i386:x86-64" }
    }

    pub(super) const TYPES: &[Types] = &[
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
    const VIEWS: super::Views = &[
        ("v8_bfloat16", "bfloat16", 8),
        ("v4_float", "ieee_single", 4),
        ("v2_double", "ieee_double", 2),
        ("v16_int8", "int8", 16),
        ("v8_int16", "int16", 8),
        ("v4_int32", "int32", 4),
        ("v2_int64", "int64", 2),
    ];
}

#[cfg(target_arch = "aarch64")]
mod types {
    use super::{Layout, Types};

    pub(super) fn architecture(_: Layout) -> &'static str {
        "aarch64"
    }

    pub(super) const TYPES: &[Types] = &[
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
    const VIEWS: super::Views = &[
        ("v2d", "ieee_double", 2),
        ("v4f", "ieee_single", 4),
        ("v16i8", "int8", 16),
        ("v8i16", "int16", 8),
        ("v4i32", "int32", 4),
        ("v2i64", "int64", 2),
    ];
}

/// The description.
pub(crate) fn xml(layout: Layout) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = write(&mut text, layout);
    text
}

fn write(text: &mut String, layout: Layout) -> std::fmt::Result {
    writeln!(text, "<?xml version=\"1.0\"?>")?;
    writeln!(text, "<!DOCTYPE target SYSTEM \"gdb-target.dtd\">")?;
    writeln!(text, "<target>")?;
    writeln!(text, "<architecture>{}</architecture>", types::architecture(layout))?;
    writeln!(text, "<osabi>{}</osabi>", system::OS_ABI)?;
    let mut feature = "";
    for register in layout.registers() {
        if register.feature != feature {
            if !feature.is_empty() {
                writeln!(text, "</feature>")?;
            }
            feature = register.feature;
            writeln!(text, "<feature name=\"{feature}\">")?;
            let types = types::TYPES.iter().filter(|types| types.feature == feature);
            types.into_iter().try_for_each(|types| write_types(text, types))?;
        }
        let bits = register.len() * 8;
        let (name, kind) = (&register.name, register.kind);
        write!(text, "<reg name=\"{name}\" bitsize=\"{bits}\" type=\"{kind}\"")?;
        if let Some(group) = register.group {
            write!(text, " group=\"{group}\"")?;
        }
        writeln!(text, "/>")?;
    }
    writeln!(text, "</feature>")?;
    writeln!(text, "</target>")
}

fn write_types(text: &mut String, types: &Types) -> std::fmt::Result {
    for (id, fields) in types.flags {
        writeln!(text, "<flags id=\"{id}\" size=\"4\">")?;
        for (name, bit) in *fields {
            writeln!(text, "<field name=\"{name}\" start=\"{bit}\" end=\"{bit}\"/>")?;
        }
        writeln!(text, "</flags>")?;
    }
    let Some((whole, views)) = types.views else { return Ok(()) };
    for (id, kind, count) in views {
        writeln!(text, "<vector id=\"{id}\" type=\"{kind}\" count=\"{count}\"/>")?;
    }
    writeln!(text, "<union id=\"{whole}\">")?;
    for (id, ..) in views {
        writeln!(text, "<field name=\"{id}\" type=\"{id}\"/>")?;
    }
    writeln!(text, "<field name=\"uint128\" type=\"uint128\"/>")?;
    writeln!(text, "</union>")
}
