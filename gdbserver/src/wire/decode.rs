//! From bytes to packets.

use super::LONGEST;

/// What has been received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Received {
    /// A packet with a good checksum (or without one that counts), its escapes undone.
    Packet(Vec<u8>),
    /// A packet with a wrong checksum, or one that is too long: it is asked for again, or refused.
    Damaged {
        /// It was longer than [`LONGEST`]: to send it again would not help.
        too_long: bool,
    },
    /// The last packet that was sent has arrived.
    Acknowledged,
    /// The last packet that was sent has to be sent again.
    Refused,
    /// Ctrl-C, between two packets.
    Interrupt,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Between,
    Body,
    /// Behind a `}`.
    Escape,
    /// Both digits of the checksum are to come, then one.
    Sum,
    SumEnd(u8),
}

/// Takes bytes apart, however they come.
#[derive(Debug)]
pub struct Decoder {
    state: State,
    body: Vec<u8>,
    sum: u8,
    too_long: bool,
}

impl Default for Decoder {
    fn default() -> Self {
        Decoder { state: State::Between, body: Vec::new(), sum: 0, too_long: false }
    }
}

impl Decoder {
    /// Takes one byte; what it completes. Bytes between packets that mean nothing are ignored.
    pub fn push(&mut self, byte: u8) -> Option<Received> {
        match (self.state, byte) {
            (State::Between, b'+') => return Some(Received::Acknowledged),
            (State::Between, b'-') => return Some(Received::Refused),
            (State::Between, 3) => return Some(Received::Interrupt),
            (State::Between, b'$') => self.begin(),
            (State::Between, _) => {}
            // A packet that was broken off: the next one begins.
            (State::Body, b'$') => self.begin(),
            (State::Body, b'#') => self.state = State::Sum,
            (State::Body, b'}') => {
                self.count(byte);
                self.state = State::Escape;
            }
            (State::Body, _) => {
                self.count(byte);
                self.keep(byte);
            }
            (State::Escape, _) => {
                self.count(byte);
                self.keep(byte ^ 0x20);
                self.state = State::Body;
            }
            (State::Sum, _) => self.state = State::SumEnd(byte),
            (State::SumEnd(high), low) => {
                self.state = State::Between;
                return Some(self.end(high, low));
            }
        }
        None
    }

    fn begin(&mut self) {
        self.body.clear();
        self.sum = 0;
        self.too_long = false;
        self.state = State::Body;
    }

    fn count(&mut self, byte: u8) {
        self.sum = self.sum.wrapping_add(byte);
    }

    fn keep(&mut self, byte: u8) {
        match self.body.len() < LONGEST {
            true => self.body.push(byte),
            false => self.too_long = true,
        }
    }

    fn end(&mut self, high: u8, low: u8) -> Received {
        let digit = |byte: u8| char::from(byte).to_digit(16);
        let sum = digit(high).zip(digit(low)).map(|(high, low)| high * 16 + low);
        match self.too_long || sum != Some(self.sum.into()) {
            true => Received::Damaged { too_long: self.too_long },
            false => Received::Packet(std::mem::take(&mut self.body)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{escape, frame};
    use super::*;

    fn all(bytes: &[u8]) -> Vec<Received> {
        let mut decoder = Decoder::default();
        bytes.iter().filter_map(|&byte| decoder.push(byte)).collect()
    }

    #[test]
    fn packets_acknowledgements_and_interrupts() {
        let packet = |text: &str| Received::Packet(text.into());
        assert_eq!(
            all(b"+$qC#b4-\x03$?#3f"),
            [
                Received::Acknowledged,
                packet("qC"),
                Received::Refused,
                Received::Interrupt,
                packet("?")
            ]
        );
    }

    #[test]
    fn a_wrong_sum_is_damage() {
        assert_eq!(all(b"$qC#b5"), [Received::Damaged { too_long: false }]);
        assert_eq!(all(b"$qC#zz"), [Received::Damaged { too_long: false }]);
        assert_eq!(all(b"$qC$?#3f"), [Received::Packet(b"?".to_vec())], "one was broken off");
    }

    #[test]
    fn what_is_escaped_comes_back() {
        let bytes: Vec<u8> = (0..=255).collect();
        assert_eq!(all(&frame(&escape(&bytes))), [Received::Packet(bytes)]);
    }

    #[test]
    fn what_is_too_long_is_not_kept() {
        let mut decoder = Decoder::default();
        let long = frame(&vec![b'a'; 3 * LONGEST]);
        let received: Vec<Received> = long.iter().filter_map(|&byte| decoder.push(byte)).collect();
        assert_eq!(received, [Received::Damaged { too_long: true }]);
        assert!(decoder.body.len() <= LONGEST);
        assert_eq!(all(b"$?#3f").len(), 1);
    }

    #[test]
    fn an_interrupt_within_a_packet_is_a_byte_of_it() {
        assert_eq!(all(b"$X\x03#5b"), [Received::Packet(b"X\x03".to_vec())]);
    }
}
