//! The command line.

use std::ffi::OsString;
use std::str::FromStr;

use clap::Parser;
use trapline::HardwareKind;

/// Show each write to a variable of a program: by whom, from where, the value before and after.
///
/// Exits as the program does, or with 128+N if signal N killed it.
#[derive(Debug, Parser)]
#[command(name = "watch")]
pub(crate) struct Options {
    /// Show reads, too.
    #[arg(long, conflicts_with = "change")]
    rw: bool,

    /// Show only writes that change the value.
    #[arg(long)]
    change: bool,

    /// Follow the processes that the program makes, which have their own copies of the variable.
    #[arg(long)]
    pub(crate) follow: bool,

    /// The variable: SYMBOL of the program or of one of its shared libraries, or ADDR[:LEN].
    #[arg(value_name = "SYMBOL | ADDR[:LEN]")]
    pub(crate) what: What,

    /// The program to run, and its arguments.
    #[arg(value_name = "PROGRAM", last = true, required = true)]
    pub(crate) program: Vec<OsString>,
}

impl Options {
    pub(crate) fn kind(&self) -> HardwareKind {
        match (self.rw, self.change) {
            (true, _) => HardwareKind::ReadWrite,
            (_, true) => HardwareKind::Change,
            _ => HardwareKind::Write,
        }
    }
}

/// What to watch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum What {
    Symbol(String),
    Place { addr: u64, len: u64 },
}

/// How many bytes an address without a length stands for.
const LEN: u64 = 8;

impl FromStr for What {
    type Err = String;

    /// What begins with a digit is an address: decimal, or hexadecimal after `0x`.
    fn from_str(text: &str) -> Result<Self, String> {
        if !text.starts_with(|c: char| c.is_ascii_digit()) {
            return Ok(What::Symbol(text.to_string()));
        }
        let (addr, len) = match text.split_once(':') {
            Some((addr, len)) => (addr, number(len).ok_or("the length is no number")?),
            None => (text, LEN),
        };
        Ok(What::Place { addr: number(addr).ok_or("the address is no number")?, len })
    }
}

fn number(text: &str) -> Option<u64> {
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}
