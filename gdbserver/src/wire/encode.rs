//! From answers to bytes.

/// Binary data as it may be within a packet.
pub fn escape(data: &[u8]) -> Vec<u8> {
    let mut escaped = Vec::with_capacity(data.len());
    for &byte in data {
        match byte {
            b'#' | b'$' | b'}' | b'*' => escaped.extend([b'}', byte ^ 0x20]),
            _ => escaped.push(byte),
        }
    }
    escaped
}

/// How many of one byte one run can stand for: the count is a printable character.
const LONGEST_RUN: usize = 97;

/// Shortens runs of the same byte: `0* ` is four zeros.
pub fn run_lengths(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len());
    let mut rest = body;
    while let Some(&byte) = rest.first() {
        let mut run = rest.iter().take_while(|&&other| other == byte).count().min(LONGEST_RUN + 1);
        // What is behind a `}` is one byte with it.
        let escaped = byte == b'}' || out.last() == Some(&b'}');
        if escaped || run < 4 {
            run = 1;
        }
        // Counts that would look like the end of the packet, or its start, are made smaller.
        while run > 3 && matches!(count(run), b'#' | b'$' | b'+' | b'-' | b'*' | b'}') {
            run -= 1;
        }
        out.push(byte);
        if run > 3 {
            out.extend([b'*', count(run)]);
        } else {
            run = 1;
        }
        rest = rest.get(run..).unwrap_or_default();
    }
    out
}

/// The character that stands for all but the first of a run.
fn count(run: usize) -> u8 {
    u8::try_from(run - 1 + 29).unwrap_or(b' ')
}

/// A packet: its body, which is escaped, with its start and its checksum.
pub fn frame(body: &[u8]) -> Vec<u8> {
    framed(b'$', body)
}

/// The same for a notification, which is not acknowledged.
pub fn notification(body: &[u8]) -> Vec<u8> {
    framed(b'%', body)
}

fn framed(start: u8, body: &[u8]) -> Vec<u8> {
    let sum = body.iter().fold(0_u8, |sum, &byte| sum.wrapping_add(byte));
    let mut packet = Vec::with_capacity(body.len() + 4);
    packet.push(start);
    packet.extend_from_slice(body);
    packet.extend(format!("#{sum:02x}").bytes());
    packet
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a client makes of it.
    fn expand(body: &[u8]) -> Vec<u8> {
        let mut out: Vec<u8> = Vec::new();
        let mut bytes = body.iter();
        while let Some(&byte) = bytes.next() {
            match byte {
                b'}' => out.push(bytes.next().unwrap() ^ 0x20),
                b'*' => {
                    let (last, more) = (*out.last().unwrap(), bytes.next().unwrap() - 29);
                    out.extend(std::iter::repeat_n(last, more.into()));
                }
                _ => out.push(byte),
            }
        }
        out
    }

    #[test]
    fn frames_have_the_sum_of_their_bytes() {
        assert_eq!(frame(b"OK"), b"$OK#9a");
        assert_eq!(notification(b""), b"%#00");
    }

    #[test]
    fn runs_of_every_length_come_back() {
        for byte in [b'0', b'x', b'}', b'#', b'*', 0] {
            for length in 0..300 {
                let data = vec![byte; length];
                let body = run_lengths(&escape(&data));
                assert_eq!(expand(&body), data, "{length} times {byte:#x}");
                let counted = body.windows(2).filter(|pair| pair[0] == b'*').map(|pair| pair[1]);
                let bad = |count: u8| !(32..127).contains(&count) || b"#$+-".contains(&count);
                assert!(!counted.into_iter().any(bad), "{length} times {byte:#x}: {body:?}");
            }
        }
    }

    #[test]
    fn runs_are_shorter() {
        assert_eq!(run_lengths(b"0000"), b"0* ");
        assert_eq!(run_lengths(b"000"), b"000");
        assert!(run_lengths(&[b'0'; 256]).len() < 16);
    }
}
