//! Where text goes: standard error, or a file.

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::Duration;

/// How long a line may stay in memory, so that who watches a build that hangs sees its last line.
const FLUSH_AFTER: Duration = Duration::from_millis(200);

/// A place for text. Lines for standard error go there at once, between those of the program;
/// lines for files are buffered.
pub(crate) enum Output {
    Stderr,
    File(Arc<Mutex<Buffered>>),
}

/// A file that is written to in large pieces.
pub(crate) struct Buffered {
    path: PathBuf,
    writer: BufWriter<File>,
    terminal: bool,
    /// It could not be written to. That is said once, and tracing goes on.
    failed: bool,
}

impl Output {
    /// Creates a file, or empties it.
    pub(crate) fn create(path: &Path) -> io::Result<Output> {
        let file = File::create(path)?;
        let terminal = file.is_terminal();
        let writer = BufWriter::with_capacity(64 << 10, file);
        let buffered = Buffered { path: path.into(), writer, terminal, failed: false };
        let shared = Arc::new(Mutex::new(buffered));
        if !terminal {
            let weak = Arc::downgrade(&shared);
            // Without the thread the last lines come late, and no harm is done.
            let _ = thread::Builder::new().name("flush".into()).spawn(|| flush_often(weak));
        }
        Ok(Output::File(shared))
    }

    /// Whether a person looks at it.
    pub(crate) fn is_terminal(&self) -> bool {
        match self {
            Output::Stderr => io::stderr().is_terminal(),
            Output::File(file) => lock(file).terminal,
        }
    }

    /// Writes whole lines.
    pub(crate) fn write(&self, text: &[u8]) {
        match self {
            // One write for a line. There is nobody to tell if nobody listens.
            Output::Stderr => drop(io::stderr().write_all(text)),
            Output::File(file) => {
                let mut file = lock(file);
                file.attempt(|writer| writer.write_all(text));
                if file.terminal {
                    file.attempt(BufWriter::flush);
                }
            }
        }
    }
}

impl Buffered {
    fn attempt(&mut self, write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>) {
        if self.failed {
            return;
        }
        if let Err(error) = write(&mut self.writer) {
            self.failed = true;
            let path = self.path.display();
            let text = format!("trace: cannot write to {path}: {error}; the rest is left out\n");
            let _ = io::stderr().write_all(text.as_bytes());
        }
    }
}

impl Drop for Buffered {
    fn drop(&mut self) {
        self.attempt(BufWriter::flush);
    }
}

/// Flushes now and then, for as long as somebody writes.
fn flush_often(file: Weak<Mutex<Buffered>>) {
    loop {
        thread::sleep(FLUSH_AFTER);
        let Some(file) = file.upgrade() else { return };
        lock(&file).attempt(BufWriter::flush);
    }
}

fn lock(file: &Mutex<Buffered>) -> MutexGuard<'_, Buffered> {
    file.lock().unwrap_or_else(PoisonError::into_inner)
}
