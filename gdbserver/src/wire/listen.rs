//! Where a client comes from: TCP, a Unix socket, or standard input and output.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream, ToSocketAddrs};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;

/// Where to listen, as the command line says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Address {
    /// A host, or none for this machine alone, and a port.
    Tcp { host: Option<String>, port: u16, family: Family },
    /// A socket in the file system.
    Unix(PathBuf),
    /// Standard input and output.
    Stdio,
}

/// Which protocol a host's address is to be of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    Any,
    V4,
    V6,
}

impl Address {
    /// `HOST:PORT`, `:PORT`, `[HOST]:PORT`, with `tcp:`, `tcp4:` or `tcp6:` before it or not;
    /// `unix:PATH`, or a path; `stdio` or `-`.
    pub(crate) fn parse(text: &str) -> Option<Address> {
        if matches!(text, "-" | "stdio") {
            return Some(Address::Stdio);
        }
        if let Some(path) = text.strip_prefix("unix:") {
            return (!path.is_empty()).then(|| Address::Unix(path.into()));
        }
        let (family, rest) = match text.split_once(':') {
            Some(("tcp", rest)) if rest.contains(':') => (Family::Any, rest),
            Some(("tcp4", rest)) => (Family::V4, rest),
            Some(("tcp6", rest)) => (Family::V6, rest),
            _ => (Family::Any, text),
        };
        if rest.starts_with('/') {
            return Some(Address::Unix(rest.into()));
        }
        let (host, port) = rest.rsplit_once(':')?;
        let port = port.parse().ok()?;
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let host = (!host.is_empty()).then(|| host.to_string());
        Some(Address::Tcp { host, port, family })
    }
}

/// A place to listen at.
#[derive(Debug)]
pub(crate) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener, PathBuf),
    /// The one connection of standard input and output, until it was taken.
    Stdio(bool),
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Listener::Unix(_, path) = self {
            let _ = fs::remove_file(path); // it may be gone already
        }
    }
}

impl Listener {
    /// Listens, or says why it cannot. Scripts that try one port after the other look for these words
    /// of gdb's server.
    pub(crate) fn bind(address: &Address) -> Result<Listener, String> {
        let without_number = |error: io::Error| {
            let text = error.to_string();
            text.split(" (os error").next().unwrap_or_default().to_string()
        };
        if let Address::Tcp { host: Some(host), port, .. } = address {
            if host != "*" {
                let resolved = (host.as_str(), *port).to_socket_addrs();
                resolved.map_err(|error| {
                    format!("{host}:{port}: cannot resolve name: {}", without_number(error))
                })?;
            }
        }
        let listener = Listener::listen(address);
        listener.map_err(|error| format!("Can't bind address: {}.", without_number(error)))
    }

    fn listen(address: &Address) -> io::Result<Listener> {
        match address {
            Address::Stdio => Ok(Listener::Stdio(true)),
            Address::Unix(path) => {
                // One that nobody listens at any more is in the way; anything else is kept.
                let is_socket =
                    fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket());
                if is_socket && UnixStream::connect(path).is_err() {
                    fs::remove_file(path)?;
                }
                Ok(Listener::Unix(UnixListener::bind(path)?, path.clone()))
            }
            Address::Tcp { host, port, family } => {
                let local = if *family == Family::V6 { "::1" } else { "127.0.0.1" };
                let host = match host.as_deref() {
                    None => local,
                    Some("*") if *family == Family::V6 => "::",
                    Some("*") => "0.0.0.0",
                    Some(host) => host,
                };
                let addresses = (host, *port).to_socket_addrs()?.filter(|found| match family {
                    Family::Any => true,
                    Family::V4 => found.is_ipv4(),
                    Family::V6 => found.is_ipv6(),
                });
                let addresses: Vec<_> = addresses.collect();
                Ok(Listener::Tcp(TcpListener::bind(addresses.as_slice())?))
            }
        }
    }

    /// Says where it listens, as gdb's server does; programs look for this line.
    pub(crate) fn describe(&self) -> Option<String> {
        match self {
            Listener::Stdio(_) => None,
            Listener::Unix(_, path) => Some(format!("Listening on {}", path.display())),
            Listener::Tcp(listener) => {
                let port = listener.local_addr().map(|address| address.port()).ok()?;
                Some(format!("Listening on port {port}"))
            }
        }
    }

    /// Who beyond this machine can connect, if anybody can.
    pub(crate) fn warning(&self) -> Option<String> {
        let Listener::Tcp(listener) = self else { return None };
        let address = listener.local_addr().ok().filter(|at| !at.ip().is_loopback())?;
        Some(format!(
            "Whoever can reach {address} can run programs as this user: there is no password"
        ))
    }

    /// The next client; `None` if there will be none.
    pub(crate) fn accept(&mut self) -> io::Result<Option<(Stream, String)>> {
        match self {
            Listener::Stdio(there) => {
                let first = std::mem::take(there);
                Ok(first.then(|| (Stream::Stdio, "standard input".to_string())))
            }
            Listener::Unix(listener, path) => {
                let (stream, _) = listener.accept()?;
                Ok(Some((Stream::Unix(stream), path.display().to_string())))
            }
            Listener::Tcp(listener) => {
                let (stream, peer) = listener.accept()?;
                stream.set_nodelay(true)?;
                let peer = format!("host {}, port {}", peer.ip(), peer.port());
                Ok(Some((Stream::Tcp(stream), peer)))
            }
        }
    }
}

/// A connection.
#[derive(Debug)]
pub(crate) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
    Stdio,
}

impl Stream {
    pub(super) fn try_clone(&self) -> io::Result<Stream> {
        Ok(match self {
            Stream::Tcp(stream) => Stream::Tcp(stream.try_clone()?),
            Stream::Unix(stream) => Stream::Unix(stream.try_clone()?),
            Stream::Stdio => Stream::Stdio,
        })
    }

    /// Has a read that waits end, where that can be.
    pub(super) fn shut_down(&self) -> bool {
        match self {
            Stream::Tcp(stream) => stream.shutdown(Shutdown::Both).is_ok(),
            Stream::Unix(stream) => stream.shutdown(Shutdown::Both).is_ok(),
            Stream::Stdio => false,
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.read(buf),
            Stream::Unix(stream) => stream.read(buf),
            Stream::Stdio => io::stdin().read(buf),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.write(buf),
            Stream::Unix(stream) => stream.write(buf),
            Stream::Stdio => io::stdout().write(buf),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Stream::Tcp(stream) => stream.flush(),
            Stream::Unix(stream) => stream.flush(),
            Stream::Stdio => io::stdout().flush(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(host: Option<&str>, port: u16, family: Family) -> Option<Address> {
        Some(Address::Tcp { host: host.map(str::to_string), port, family })
    }

    #[test]
    fn addresses() {
        assert_eq!(Address::parse(":2345"), tcp(None, 2345, Family::Any));
        assert_eq!(Address::parse("localhost:1"), tcp(Some("localhost"), 1, Family::Any));
        assert_eq!(Address::parse("[::1]:1"), tcp(Some("::1"), 1, Family::Any));
        assert_eq!(Address::parse("::1:1"), tcp(Some("::1"), 1, Family::Any));
        assert_eq!(Address::parse("tcp4::1"), tcp(None, 1, Family::V4));
        assert_eq!(Address::parse("tcp6:*:1"), tcp(Some("*"), 1, Family::V6));
        assert_eq!(Address::parse("/tmp/it"), Some(Address::Unix("/tmp/it".into())));
        assert_eq!(Address::parse("unix:it"), Some(Address::Unix("it".into())));
        assert_eq!(Address::parse("-"), Some(Address::Stdio));
        for wrong in ["", "2345", "host", "host:", ":65536", "unix:", "tcp4:7x"] {
            assert_eq!(Address::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn without_a_host_it_is_this_machine_alone() {
        let listener = Listener::bind(&Address::parse(":0").unwrap()).unwrap();
        assert!(listener.warning().is_none());
        assert!(listener.describe().unwrap().starts_with("Listening on port "));
        let open = Listener::bind(&Address::parse("*:0").unwrap()).unwrap();
        assert!(open.warning().is_some());
    }
}
