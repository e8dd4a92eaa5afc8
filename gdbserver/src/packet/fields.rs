//! Numbers and bytes in packets.

use super::Malformed;

/// Reads one field after the other.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Fields<'a> {
    /// What comes before a separator; the separator is gone then. All the rest, if there is none.
    pub(super) fn until(&mut self, separator: u8) -> &'a [u8] {
        let at = self.0.iter().position(|&byte| byte == separator);
        let (field, rest) = match at {
            Some(at) => (self.0.get(..at), self.0.get(at + 1..)),
            None => (Some(self.0), None),
        };
        self.0 = rest.unwrap_or_default();
        field.unwrap_or_default()
    }

    /// The same, where the separator must be there.
    pub(super) fn before(&mut self, separator: u8) -> Result<&'a [u8], Malformed> {
        match self.0.contains(&separator) {
            true => Ok(self.until(separator)),
            false => Err(Malformed),
        }
    }

    /// A prefix, if it is there.
    pub(super) fn skip(&mut self, prefix: &[u8]) -> bool {
        match self.0.strip_prefix(prefix) {
            Some(rest) => {
                self.0 = rest;
                true
            }
            None => false,
        }
    }

    pub(super) fn take(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or(Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn is_empty(self) -> bool {
        self.0.is_empty()
    }
}

/// A hexadecimal number, and nothing else.
pub(super) fn number(digits: &[u8]) -> Result<u64, Malformed> {
    let text = std::str::from_utf8(digits).map_err(|_| Malformed)?;
    if text.is_empty() || !digits.iter().all(u8::is_ascii_hexdigit) {
        return Err(Malformed);
    }
    u64::from_str_radix(text, 16).map_err(|_| Malformed)
}

/// The same, of a process or thread, which may be negative.
pub(super) fn id(digits: &[u8]) -> Result<i32, Malformed> {
    match digits.strip_prefix(b"-") {
        Some(digits) => i32::try_from(number(digits)?).map(|id| -id).map_err(|_| Malformed),
        None => i32::try_from(number(digits)?).map_err(|_| Malformed),
    }
}

/// Two numbers with a comma between.
pub(super) fn pair(text: &[u8]) -> Result<(u64, u64), Malformed> {
    let mut fields = Fields(text);
    Ok((number(fields.before(b',')?)?, number(fields.0)?))
}

/// Bytes, as two digits each.
pub fn from_hex(digits: &[u8]) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let pairs = digits.chunks(2).map(|pair| match *pair {
        [high, low] => u8::try_from(digit(high)? * 16 + digit(low)?).ok(),
        _ => None,
    });
    pairs.collect()
}

/// The digits of bytes.
pub fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        for digit in [byte >> 4, byte & 15] {
            text.extend(char::from_digit(digit.into(), 16));
        }
    }
    text
}
