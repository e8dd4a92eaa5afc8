//! Command lines for people: quoted as a shell would take them, and shortened.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt;

/// The mark of what was left out.
const CUT: char = '…';

/// A command line of about `width` characters at most.
pub(crate) fn command<'a, A>(args: impl IntoIterator<Item = &'a A>, width: usize) -> String
where
    A: AsRef<OsStr> + ?Sized + 'a,
{
    let mut text = String::new();
    let mut left = width;
    for arg in args {
        if !text.is_empty() {
            text.push(' ');
            left = left.saturating_sub(1);
        }
        // Every byte becomes at least one character, unless it is part of one.
        let bytes = arg.as_ref().as_bytes();
        let quoted = quote(&bytes[..bytes.len().min(left.saturating_add(1).saturating_mul(4))]);
        let length = quoted.chars().count();
        if length > left {
            text.extend(quoted.chars().take(left));
            text.push(CUT);
            break;
        }
        text += &quoted;
        left -= length;
    }
    text
}

/// A text of at most `width` characters.
pub(crate) fn shorten(text: &str, width: usize) -> String {
    match text.char_indices().nth(width) {
        None => text.into(),
        Some(_) => text.chars().take(width.saturating_sub(1)).chain([CUT]).collect(),
    }
}

/// A word as a shell would take it: bare, in quotes, or as `$'...'`.
fn quote(word: &[u8]) -> String {
    let text = std::str::from_utf8(word);
    match text {
        Ok(text) if !text.is_empty() && text.chars().all(is_plain) => text.into(),
        Ok(text) if !text.chars().any(char::is_control) => {
            format!("'{}'", text.replace('\'', r"'\''"))
        }
        _ => escape(word),
    }
}

fn is_plain(c: char) -> bool {
    c.is_alphanumeric() || "_-./=:,@%+^".contains(c)
}

/// `$'...'`, which can hold any byte.
fn escape(word: &[u8]) -> String {
    let mut text = String::from("$'");
    for chunk in word.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\n' => text += r"\n",
                '\t' => text += r"\t",
                '\r' => text += r"\r",
                '\\' | '\'' => text.extend(['\\', c]),
                c if c.is_control() => {
                    for byte in c.encode_utf8(&mut [0; 4]).bytes() {
                        hex(&mut text, byte);
                    }
                }
                c => text.push(c),
            }
        }
        for &byte in chunk.invalid() {
            hex(&mut text, byte);
        }
    }
    text.push('\'');
    text
}

fn hex(text: &mut String, byte: u8) {
    // Writing to a `String` cannot fail.
    let _ = write!(text, "\\x{byte:02x}");
}
