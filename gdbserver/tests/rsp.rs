//! A client of the remote protocol (gdb's manual, appendix "Remote Protocol"), as bare as it gets.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use crate::session::At;

pub struct Client {
    stream: Box<dyn Line>,
}

/// A connection of any kind.
trait Line: Read + Write {}

impl<T: Read + Write> Line for T {}

impl Client {
    /// Connects, and agrees on what gdb does.
    pub fn connect(at: &At) -> Client {
        Client::with(at, "swbreak+;hwbreak+;vContSupported+")
    }

    /// The same, with these features.
    pub fn with(at: &At, features: &str) -> Client {
        let limit = Some(Duration::from_secs(60));
        let stream: Box<dyn Line> = match at {
            At::Port(port) => {
                let stream = TcpStream::connect(("127.0.0.1", *port)).unwrap();
                stream.set_nodelay(true).unwrap();
                stream.set_read_timeout(limit).unwrap();
                Box::new(stream)
            }
            At::Path(path) => {
                let stream = UnixStream::connect(path).unwrap();
                stream.set_read_timeout(limit).unwrap();
                Box::new(stream)
            }
        };
        let mut client = Client { stream };
        let features = client.ask(&format!("qSupported:multiprocess+;{features}"));
        assert!(features.contains("multiprocess+"), "{features}");
        assert_eq!(client.ask("QStartNoAckMode"), "OK");
        client
    }

    /// Sends a packet.
    pub fn send(&mut self, packet: &str) {
        let sum = packet.bytes().fold(0_u8, |sum, byte| sum.wrapping_add(byte));
        write!(self.stream, "${packet}#{sum:02x}").unwrap();
    }

    /// Sends bytes as they are.
    pub fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// Sends a packet of any bytes, and returns the answer.
    pub fn ask_bytes(&mut self, packet: &[u8]) -> String {
        let mut body = Vec::new();
        for &byte in packet {
            match byte {
                b'#' | b'$' | b'}' | b'*' => body.extend([b'}', byte ^ 0x20]),
                _ => body.push(byte),
            }
        }
        let sum = body.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
        let bytes = [b"$", body.as_slice(), format!("#{sum:02x}").as_bytes()].concat();
        self.send_bytes(&bytes);
        self.receive()
    }

    /// Whether the server closes the connection, which is all that it says.
    pub fn is_closed(&mut self) -> bool {
        let mut rest = Vec::new();
        let read = self.stream.read_to_end(&mut rest);
        read.is_ok() && rest.iter().all(|byte| *byte == b'+')
    }

    /// The next notification, without its start.
    pub fn notification(&mut self) -> String {
        while self.byte() != b'%' {}
        let mut body = Vec::new();
        loop {
            match self.byte() {
                b'#' => break,
                byte => body.push(byte),
            }
        }
        for _ in 0..2 {
            self.byte();
        }
        let text: String = expanded(&body).into_iter().map(char::from).collect();
        text.strip_prefix("Stop:").expect("a stop").to_string()
    }

    /// Sends what gdb sends for Ctrl-C.
    pub fn interrupt(&mut self) {
        self.stream.write_all(&[3]).unwrap();
    }

    /// The next packet.
    pub fn receive(&mut self) -> String {
        let mut body = Vec::new();
        while self.byte() != b'$' {} // acknowledgements
        loop {
            match self.byte() {
                b'#' => break,
                b'}' => {
                    let byte = self.byte() ^ 0x20;
                    body.push(byte);
                }
                b'*' => {
                    let times = self.byte() - 29;
                    let last = *body.last().unwrap();
                    body.extend(std::iter::repeat_n(last, times.into()));
                }
                byte => body.push(byte),
            }
        }
        for _ in 0..2 {
            self.byte(); // the checksum: TCP keeps its own
        }
        self.stream.write_all(b"+").unwrap();
        body.into_iter().map(char::from).collect()
    }

    fn byte(&mut self) -> u8 {
        let mut byte = [0];
        self.stream.read_exact(&mut byte).unwrap();
        byte[0]
    }

    /// Sends a packet; returns the answer.
    pub fn ask(&mut self, packet: &str) -> String {
        self.send(packet);
        self.receive()
    }

    /// Reads something that comes in pieces.
    pub fn transfer(&mut self, object: &str) -> String {
        let mut whole = String::new();
        loop {
            let piece = self.ask(&format!("qXfer:{object}:{:x},400", whole.chars().count()));
            whole += &piece[1..];
            match piece.as_bytes()[0] {
                b'l' => return whole,
                b'm' => {}
                _ => panic!("{object}: {piece}"),
            }
        }
    }

    /// One register of a thread, a number.
    pub fn register(&mut self, thread: &str, number: u32) -> u64 {
        assert_eq!(self.ask(&format!("Hg{thread}")), "OK");
        let value = self.ask(&format!("p{number:x}"));
        u64::from_str_radix(&value, 16).map(u64::swap_bytes).unwrap_or_else(|_| panic!("{value}"))
    }

    /// The process that is debugged, and its threads, as gdb names them.
    pub fn threads(&mut self) -> (u32, Vec<String>) {
        let list = self.ask("qfThreadInfo");
        let threads: Vec<String> =
            list.trim_start_matches('m').split(',').map(str::to_string).collect();
        assert_eq!(self.ask("qsThreadInfo"), "l");
        let pid = threads[0].trim_start_matches('p').split('.').next().unwrap();
        (u32::from_str_radix(pid, 16).unwrap(), threads)
    }
}

/// One field of a stop reply: `thread:p1.2;` and the like.
pub fn field<'r>(reply: &'r str, name: &str) -> Option<&'r str> {
    let fields = reply.get(3..)?.split(';');
    fields.filter_map(|field| field.split_once(':')).find(|(key, _)| *key == name).map(|(_, v)| v)
}

/// A body with its runs written out.
fn expanded(body: &[u8]) -> Vec<u8> {
    let mut out: Vec<u8> = Vec::new();
    let mut bytes = body.iter();
    while let Some(&byte) = bytes.next() {
        match (byte, out.last()) {
            (b'*', Some(&last)) => {
                let times = bytes.next().expect("a count") - 29;
                out.extend(std::iter::repeat_n(last, times.into()));
            }
            _ => out.push(byte),
        }
    }
    out
}
