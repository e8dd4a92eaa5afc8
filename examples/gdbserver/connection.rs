//! The line to gdb. What it says is read by a thread of its own, which wakes the tracer: so a
//! wait for the program is a wait for gdb as well.

use std::io::{self, Read};
use std::net::{Shutdown, TcpStream};
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::thread::JoinHandle;

use gdbstub::conn::Connection;
use trapline::Waker;

/// What is written to gdb; one packet at a time.
pub(crate) struct Line {
    stream: TcpStream,
    packet: Vec<u8>,
}

impl Connection for Line {
    type Error = io::Error;

    fn write(&mut self, byte: u8) -> io::Result<()> {
        self.packet.push(byte);
        Ok(())
    }

    fn write_all(&mut self, buf: &[u8]) -> io::Result<()> {
        self.packet.extend_from_slice(buf);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        let sent = io::Write::write_all(&mut self.stream, &self.packet);
        self.packet.clear();
        sent
    }
}

/// What gdb says.
pub(crate) struct Incoming {
    stream: TcpStream,
    bytes: Receiver<Vec<u8>>,
    /// What has come and was not taken, the next byte last.
    taken: Vec<u8>,
    reader: Option<JoinHandle<()>>,
}

/// The next byte.
pub(crate) enum Next {
    Byte(u8),
    /// There is none now.
    Nothing,
    /// There will be none any more.
    Closed,
}

/// Both directions of a connection.
pub(crate) fn open(stream: TcpStream, waker: Waker) -> io::Result<(Line, Incoming)> {
    stream.set_nodelay(true)?;
    let (mut from, line) = (stream.try_clone()?, stream.try_clone()?);
    let (sender, bytes) = channel();
    let reader = std::thread::spawn(move || {
        let mut buf = [0; 4096];
        loop {
            match from.read(&mut buf) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(0) | Err(_) => break,
                Ok(read) => {
                    if sender.send(buf[..read].to_vec()).is_err() {
                        return;
                    }
                    waker.wake();
                }
            }
        }
        drop(sender);
        waker.wake();
    });
    let incoming = Incoming { stream, bytes, taken: Vec::new(), reader: Some(reader) };
    Ok((Line { stream: line, packet: Vec::new() }, incoming))
}

impl Incoming {
    /// The next byte, if one is there.
    pub(crate) fn poll(&mut self) -> Next {
        if self.taken.is_empty() {
            match self.bytes.try_recv() {
                Ok(bytes) => self.keep(bytes),
                Err(TryRecvError::Empty) => return Next::Nothing,
                Err(TryRecvError::Disconnected) => return Next::Closed,
            }
        }
        self.taken.pop().map_or(Next::Nothing, Next::Byte)
    }

    /// The next byte, as long as it takes; `None` if there will be none.
    pub(crate) fn wait(&mut self) -> Option<u8> {
        while self.taken.is_empty() {
            let bytes = self.bytes.recv().ok()?;
            self.keep(bytes);
        }
        self.taken.pop()
    }

    fn keep(&mut self, mut bytes: Vec<u8>) {
        bytes.reverse();
        self.taken = bytes;
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        // Ends the reader, which has nobody to tell. gdb may have gone first.
        let _ = self.stream.shutdown(Shutdown::Both);
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}
