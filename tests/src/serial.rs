//! The serial line of a machine: everything it prints is kept, written to a transcript, and can be waited for.

use anyhow::{Context, Result};
use regex::bytes::{Regex, RegexSet};
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// The part of its patience after which a silent machine is given up: a boot prints all the time, a hang nothing.
const SILENCE: f64 = 0.4;

/// What came of waiting for a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It came; the text that matched.
    Found(String),
    /// A line came that means all is lost.
    Fatal(String),
    /// The line was closed first.
    Closed,
    /// It did not come in time, or nothing at all was printed for too long.
    TimedOut,
}

/// What was printed so far, shared with the thread that reads it.
#[derive(Default)]
struct State {
    text: Vec<u8>,
    closed: bool,
}

/// The receiving and sending ends of a serial line.
pub struct Serial {
    shared: Arc<(Mutex<State>, Condvar)>,
    input: Box<dyn Write + Send>,
    /// Where the next search starts.
    cursor: usize,
}

impl Serial {
    /// Read `output` to its end in the background, copying it to `transcript`.
    pub fn new(
        mut output: impl Read + Send + 'static,
        input: impl Write + Send + 'static,
        transcript: &Path,
    ) -> Result<Self> {
        let mut copy =
            File::create(transcript).with_context(|| format!("create {}", transcript.display()))?;
        let shared = Arc::new((Mutex::new(State::default()), Condvar::new()));
        let writer = Arc::clone(&shared);
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = output.read(&mut buffer) {
                let received = buffer[..count].iter().filter(|byte| **byte != b'\r');
                let received: Vec<u8> = received.copied().collect();
                // A full disk costs the transcript, not the test.
                let _ = copy.write_all(&received);
                lock(&writer.0).text.extend_from_slice(&received);
                writer.1.notify_all();
            }
            lock(&writer.0).closed = true;
            writer.1.notify_all();
        });
        Ok(Self {
            shared,
            input: Box::new(input),
            cursor: 0,
        })
    }

    /// Wait until `wanted` is printed after what was waited for before. A match of `fatal` ends the wait early, and so
    /// does silence for `SILENCE` of the patience.
    pub fn expect(&mut self, wanted: &Regex, fatal: &RegexSet, patience: Duration) -> Outcome {
        let deadline = Instant::now() + patience;
        let quiet = patience.mul_f64(SILENCE);
        let mut heard = (0, Instant::now());
        let (mutex, changed) = &*self.shared;
        let mut state = lock(mutex);
        loop {
            let fresh = &state.text[self.cursor..];
            let found = wanted.find(fresh);
            let passed_over = found.map_or(fresh, |found| &fresh[..found.start()]);
            if let Some(line) = first_fatal(passed_over, fatal) {
                return Outcome::Fatal(line);
            }
            if let Some(found) = found {
                let text = String::from_utf8_lossy(found.as_bytes()).into_owned();
                self.cursor += found.end();
                return Outcome::Found(text);
            }
            if state.closed {
                return Outcome::Closed;
            }
            let now = Instant::now();
            if state.text.len() != heard.0 {
                heard = (state.text.len(), now);
            }
            let limit = deadline.min(heard.1 + quiet);
            if now >= limit {
                return Outcome::TimedOut;
            }
            state = changed
                .wait_timeout(state, limit - now)
                .map_or_else(|poisoned| poisoned.into_inner().0, |(state, _)| state);
        }
    }

    /// Type `text`.
    pub fn send(&mut self, text: &str) -> Result<()> {
        self.input
            .write_all(text.as_bytes())
            .context("type at the serial line")?;
        self.input.flush().context("type at the serial line")
    }

    /// Everything that was printed.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&lock(&self.shared.0).text).into_owned()
    }

    /// The last line with anything on it.
    pub fn last_line(&self) -> String {
        let text = self.text();
        text.lines()
            .rev()
            .find(|line| !line.trim().is_empty())
            .unwrap_or("nothing")
            .to_owned()
    }

    /// The first line, from the last match on, that `fatal` matches.
    pub fn fatal(&self, fatal: &RegexSet) -> Option<String> {
        first_fatal(&lock(&self.shared.0).text[self.cursor..], fatal)
    }
}

fn lock(mutex: &Mutex<State>) -> MutexGuard<'_, State> {
    mutex
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
}

fn first_fatal(text: &[u8], fatal: &RegexSet) -> Option<String> {
    if !fatal.is_match(text) {
        return None;
    }
    let line = text
        .split(|byte| *byte == b'\n')
        .find(|line| fatal.is_match(line))?;
    Some(String::from_utf8_lossy(line).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    fn serial(text: &'static str) -> (Serial, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let transcript = folder.path().join("log");
        (
            Serial::new(Cursor::new(text), std::io::sink(), &transcript).unwrap(),
            folder,
        )
    }

    fn wait(serial: &mut Serial, wanted: &str, fatal: &[&str]) -> Outcome {
        let fatal = RegexSet::new(fatal).unwrap();
        serial.expect(&Regex::new(wanted).unwrap(), &fatal, Duration::from_secs(5))
    }

    #[test]
    fn matches_are_found_in_order() {
        let (mut serial, _folder) = serial("one\r\ntwo\r\nthree\r\n");
        assert_eq!(
            wait(&mut serial, "t.o\n", &[]),
            Outcome::Found("two\n".into())
        );
        assert_eq!(wait(&mut serial, "one", &[]), Outcome::Closed);
        assert_eq!(
            wait(&mut serial, "three", &[]),
            Outcome::Found("three".into())
        );
        assert_eq!(serial.last_line(), "three");
    }

    #[test]
    fn a_fatal_line_ends_the_wait() {
        let (mut serial, _folder) = serial("fine\nPanic on CPU 0:\nmore\n");
        let outcome = wait(&mut serial, "never", &["^Panic", "(?m)^Panic"]);
        assert_eq!(outcome, Outcome::Fatal("Panic on CPU 0:".into()));
    }

    #[test]
    fn silence_times_out() {
        let (reader, _writer) = std::io::pipe().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let mut serial = Serial::new(reader, std::io::sink(), &folder.path().join("log")).unwrap();
        let nothing = RegexSet::empty();
        let outcome = serial.expect(
            &Regex::new("x").unwrap(),
            &nothing,
            Duration::from_millis(20),
        );
        assert_eq!(outcome, Outcome::TimedOut);
    }
}
