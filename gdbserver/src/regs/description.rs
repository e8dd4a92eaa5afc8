//! The target description: tells a client which registers there are (gdb's manual, "Target
//! Description Format").

use std::fmt::Write;

use super::{Layout, types};
use crate::system;

/// Types that registers have, and that gdb does not know by itself.
pub(super) struct Types {
    /// Before the registers of this feature.
    pub(super) feature: &'static str,
    /// Bits with names.
    pub(super) flags: &'static [(&'static str, &'static [(&'static str, u32)])],
    /// Ways to look at a vector of 16 bytes: the name of the whole, and for each way its name, the
    /// type of an element, how many.
    pub(super) views: Option<(&'static str, Views)>,
}

pub(super) type Views = &'static [(&'static str, &'static str, u32)];

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
