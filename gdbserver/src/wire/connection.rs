//! One client's connection. What it sends is read by a thread of its own, which wakes the tracer: a
//! wait for the programs is a wait for the client as well.

use std::io::{self, Read, Write};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use trapline::Waker;

use super::listen::Stream;
use super::{Decoder, LONGEST, Received, frame, notification, run_lengths};

/// How many pieces of what a client sends are kept while nobody looks.
const BACKLOG: usize = 64;

/// How long an answer is sent again and again that a client does not acknowledge.
const PATIENCE: Duration = Duration::from_secs(10);

/// Both directions of a connection.
pub(crate) struct Connection {
    stream: Stream,
    bytes: Receiver<Vec<u8>>,
    decoder: Decoder,
    /// What has come and was not looked at, the next one first.
    taken: std::collections::VecDeque<Received>,
    reader: Option<JoinHandle<()>>,
    /// Packets are acknowledged, and so are answers.
    acknowledges: bool,
    /// The last answer, for when it has to be sent again.
    last: Vec<u8>,
    /// Print what goes over the line.
    pub(crate) trace: bool,
}

/// What comes from a client.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Input {
    Packet(Vec<u8>),
    /// A packet that was too long.
    TooLong,
    Interrupt,
    /// There is nothing now.
    Nothing,
    /// There will be nothing any more.
    Closed,
}

impl Connection {
    pub(crate) fn new(stream: Stream, waker: Waker, trace: bool) -> io::Result<Connection> {
        let (sender, bytes) = sync_channel(BACKLOG);
        let from = stream.try_clone()?;
        let reader = std::thread::Builder::new()
            .name("client".to_string())
            .spawn(move || read_all(from, sender, &waker))?;
        Ok(Connection {
            stream,
            bytes,
            decoder: Decoder::default(),
            taken: Default::default(),
            reader: Some(reader),
            acknowledges: true,
            last: Vec::new(),
            trace,
        })
    }

    /// What has come, if anything has.
    pub(crate) fn poll(&mut self) -> io::Result<Input> {
        loop {
            if let Some(received) = self.taken.pop_front() {
                if let Some(input) = self.look_at(received)? {
                    return Ok(input);
                }
                continue;
            }
            match self.bytes.try_recv() {
                Ok(bytes) => self.take(&bytes),
                Err(TryRecvError::Empty) => return Ok(Input::Nothing),
                Err(TryRecvError::Disconnected) => return Ok(Input::Closed),
            }
        }
    }

    /// The same, as long as it takes.
    pub(crate) fn wait(&mut self) -> io::Result<Input> {
        loop {
            match self.poll()? {
                Input::Nothing => match self.bytes.recv() {
                    Ok(bytes) => self.take(&bytes),
                    Err(_) => return Ok(Input::Closed),
                },
                input => return Ok(input),
            }
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        let decoder = &mut self.decoder;
        self.taken.extend(bytes.iter().filter_map(|&byte| decoder.push(byte)));
    }

    fn look_at(&mut self, received: Received) -> io::Result<Option<Input>> {
        match received {
            Received::Packet(body) => {
                if self.acknowledges {
                    self.write(b"+")?;
                }
                self.print("<-", &body);
                Ok(Some(Input::Packet(body)))
            }
            Received::Damaged { too_long: true } => {
                if self.acknowledges {
                    self.write(b"+")?;
                }
                Ok(Some(Input::TooLong))
            }
            Received::Damaged { too_long: false } => {
                if self.acknowledges {
                    self.write(b"-")?;
                }
                Ok(None)
            }
            Received::Refused if self.acknowledges => {
                let last = std::mem::take(&mut self.last);
                let sent = self.write(&last);
                self.last = last;
                sent.map(|()| None)
            }
            Received::Acknowledged | Received::Refused => Ok(None),
            Received::Interrupt => {
                self.print("<-", b"Ctrl-C");
                Ok(Some(Input::Interrupt))
            }
        }
    }

    /// Sends an answer, and waits until it was acknowledged, where that is done.
    pub(crate) fn answer(&mut self, body: &[u8]) -> io::Result<()> {
        self.print("->", body);
        self.last = frame(&run_lengths(body));
        let last = std::mem::take(&mut self.last);
        let sent = self.write(&last);
        self.last = last;
        sent?;
        if self.acknowledges { self.await_acknowledgement() } else { Ok(()) }
    }

    fn await_acknowledgement(&mut self) -> io::Result<()> {
        let until = Instant::now() + PATIENCE;
        let mut at = 0;
        while Instant::now() < until {
            match self.taken.get(at) {
                Some(Received::Acknowledged) => {
                    self.taken.remove(at);
                    return Ok(());
                }
                Some(Received::Refused) => {
                    self.taken.remove(at);
                    let last = self.last.clone();
                    self.write(&last)?;
                }
                // A client that goes on has got the answer.
                Some(Received::Packet(_)) => return Ok(()),
                Some(_) => at += 1,
                None => match self.bytes.recv_timeout(PATIENCE) {
                    Ok(bytes) => self.take(&bytes),
                    Err(_) => return Ok(()), // what is wrong shows at the next packet
                },
            }
        }
        Ok(())
    }

    /// Sends a notification.
    pub(crate) fn notify(&mut self, body: &[u8]) -> io::Result<()> {
        self.print("->", &[b"%", body].concat());
        self.write(&notification(&run_lengths(body)))
    }

    /// From the next packet on nothing is acknowledged.
    pub(crate) fn stop_acknowledging(&mut self) {
        self.acknowledges = false;
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)?;
        self.stream.flush()
    }

    fn print(&self, direction: &str, body: &[u8]) {
        if self.trace {
            let shown = body.get(..body.len().min(512)).unwrap_or_default();
            crate::say(format_args!("{direction} {}", shown.escape_ascii()));
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // Ends the reader, which has nobody to tell; that of standard input ends with the process.
        while self.bytes.try_recv().is_ok() {}
        if self.stream.shut_down() {
            drop(std::mem::replace(&mut self.bytes, sync_channel(0).1));
            if let Some(reader) = self.reader.take() {
                let _ = reader.join();
            }
        }
    }
}

fn read_all(mut from: Stream, sender: SyncSender<Vec<u8>>, waker: &Waker) {
    let mut buf = vec![0; LONGEST.min(0x4000)];
    loop {
        match from.read(&mut buf) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Ok(0) | Err(_) => break,
            Ok(read) => {
                let bytes = buf.get(..read).unwrap_or_default().to_vec();
                if sender.send(bytes).is_err() {
                    return;
                }
                waker.wake();
            }
        }
    }
    drop(sender); // so that whoever is woken finds the end
    waker.wake();
}
