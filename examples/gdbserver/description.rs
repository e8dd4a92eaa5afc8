//! The target description: tells gdb which registers there are (the features are those of gdb's
//! manual, "i386 Features").

use std::fmt::Write;

use super::amd64::{HAS_ORIG_RAX, Layout};

const GENERAL: &[&str] = &[
    "rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp", "r8", "r9", "r10", "r11", "r12", "r13",
    "r14", "r15",
];
const NARROW_GENERAL: &[&str] = &["eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi"];
const SEGMENTS: &[&str] = &["cs", "ss", "ds", "es", "fs", "gs"];
const X87: &[&str] = &["fctrl", "fstat", "ftag", "fiseg", "fioff", "foseg", "fooff", "fop"];
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
/// The ways to look at an XMM register: name, type of an element, how many.
const VIEWS: &[(&str, &str, u32)] = &[
    ("v8_bfloat16", "bfloat16", 8),
    ("v4_float", "ieee_single", 4),
    ("v2_double", "ieee_double", 2),
    ("v16_int8", "int8", 16),
    ("v8_int16", "int16", 8),
    ("v4_int32", "int32", 4),
    ("v2_int64", "int64", 2),
];

/// One register after the other, in the order of [`Frame`](super::amd64::Frame).
#[derive(Default)]
struct Text(String);

impl Text {
    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.0, "{line}");
    }

    fn feature(&mut self, name: &str, registers: impl FnOnce(&mut Self)) {
        self.line(format_args!("<feature name=\"org.gnu.gdb.i386.{name}\">"));
        registers(self);
        self.line(format_args!("</feature>"));
    }

    fn flags(&mut self, id: &str, fields: &[(&str, u32)]) {
        self.line(format_args!("<flags id=\"{id}\" size=\"4\">"));
        for (name, bit) in fields {
            self.line(format_args!("<field name=\"{name}\" start=\"{bit}\" end=\"{bit}\"/>"));
        }
        self.line(format_args!("</flags>"));
    }

    fn register(&mut self, name: &str, bits: u32, kind: &str) {
        self.line(format_args!("<reg name=\"{name}\" bitsize=\"{bits}\" type=\"{kind}\"/>"));
    }

    fn grouped(&mut self, name: &str, bits: u32, kind: &str, group: &str) {
        self.line(format_args!(
            "<reg name=\"{name}\" bitsize=\"{bits}\" type=\"{kind}\" group=\"{group}\"/>"
        ));
    }
}

/// The description, for a program of either width on a CPU with or without AVX.
pub(crate) fn xml(layout: Layout, avx: bool) -> String {
    let narrow = layout == Layout::I386;
    let mut text = Text::default();
    text.line(format_args!("<?xml version=\"1.0\"?>"));
    text.line(format_args!("<!DOCTYPE target SYSTEM \"gdb-target.dtd\">"));
    text.line(format_args!("<target>"));
    let architecture = if narrow { "i386" } else { "i386:x86-64" };
    text.line(format_args!("<architecture>{architecture}</architecture>"));
    text.line(format_args!(
        "<osabi>{}</osabi>",
        if HAS_ORIG_RAX { "GNU/Linux" } else { "FreeBSD" }
    ));
    text.feature("core", |text| core(text, narrow));
    let vectors = if narrow { 8 } else { 16 };
    text.feature("sse", |text| sse(text, vectors));
    if !narrow {
        text.feature("segments", |text| {
            text.register("fs_base", 64, "int");
            text.register("gs_base", 64, "int");
        });
    }
    if HAS_ORIG_RAX {
        let (name, bits) = if narrow { ("orig_eax", 32) } else { ("orig_rax", 64) };
        text.feature("linux", |text| text.grouped(name, bits, "int", "system"));
    }
    if avx {
        text.feature("avx", |text| {
            (0..vectors).for_each(|i| text.register(&format!("ymm{i}h"), 128, "uint128"));
        });
    }
    text.line(format_args!("</target>"));
    text.0
}

fn core(text: &mut Text, narrow: bool) {
    text.flags("i386_eflags", EFLAGS);
    let (general, counter, bits) =
        if narrow { (NARROW_GENERAL, "eip", 32) } else { (GENERAL, "rip", 64) };
    for name in general {
        let pointer = matches!(*name, "rbp" | "rsp" | "ebp" | "esp");
        let kind = if narrow { "int32" } else { "int64" };
        text.register(name, bits, if pointer { "data_ptr" } else { kind });
    }
    text.register(counter, bits, "code_ptr");
    text.register("eflags", 32, "i386_eflags");
    SEGMENTS.iter().for_each(|name| text.register(name, 32, "int32"));
    (0..8).for_each(|i| text.register(&format!("st{i}"), 80, "i387_ext"));
    X87.iter().for_each(|name| text.grouped(name, 32, "int", "float"));
}

fn sse(text: &mut Text, count: u32) {
    for (id, kind, count) in VIEWS {
        text.line(format_args!("<vector id=\"{id}\" type=\"{kind}\" count=\"{count}\"/>"));
    }
    text.line(format_args!("<union id=\"vec128\">"));
    for (id, ..) in VIEWS {
        text.line(format_args!("<field name=\"{id}\" type=\"{id}\"/>"));
    }
    text.line(format_args!("<field name=\"uint128\" type=\"uint128\"/>"));
    text.line(format_args!("</union>"));
    text.flags("i386_mxcsr", MXCSR);
    (0..count).for_each(|i| text.register(&format!("xmm{i}"), 128, "vec128"));
    text.grouped("mxcsr", 32, "i386_mxcsr", "vector");
}
