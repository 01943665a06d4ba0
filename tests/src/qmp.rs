//! QEMU's control socket (QMP): one JSON object a line.

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// How a machine came to its end, as QEMU's SHUTDOWN event tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The guest switched the power off (ACPI S5).
    PowerOff,
    /// The guest reset the machine; a triple fault looks the same here.
    Reset,
    /// QEMU ended for a reason of its own, or was told to.
    Other,
}

/// A connection to the control socket.
pub struct Qmp {
    stream: UnixStream,
    messages: Receiver<Value>,
    end: Option<End>,
}

const PATIENCE: Duration = Duration::from_secs(30);

impl Qmp {
    /// Connect to `socket`, which QEMU is about to make, as long as `alive` says that it may still do so.
    pub fn connect(socket: &Path, mut alive: impl FnMut() -> bool) -> Result<Self> {
        let deadline = Instant::now() + PATIENCE;
        let stream = loop {
            match UnixStream::connect(socket) {
                Ok(stream) => break stream,
                Err(_) if alive() && Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(20));
                }
                Err(_) => bail!("QEMU did not start"),
            }
        };
        let lines = BufReader::new(stream.try_clone()?).lines();
        let (sender, messages) = channel();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let Ok(message) = serde_json::from_str(&line) else {
                    continue;
                };
                if sender.send(message).is_err() {
                    return;
                }
            }
        });
        let mut qmp = Self {
            stream,
            messages,
            end: None,
        };
        qmp.command("qmp_capabilities")?;
        Ok(qmp)
    }

    /// Carry out a command without arguments, such as `cont`, `quit`, `inject-nmi`, `system_powerdown`.
    pub fn command(&mut self, name: &str) -> Result<Value> {
        self.command_with(name, json!({}))
    }

    /// Carry out a command.
    pub fn command_with(&mut self, name: &str, arguments: Value) -> Result<Value> {
        let request = json!({ "execute": name, "arguments": arguments });
        writeln!(self.stream, "{request}").with_context(|| format!("tell QEMU to {name}"))?;
        loop {
            let message = self
                .messages
                .recv_timeout(PATIENCE)
                .with_context(|| format!("QEMU does not answer {name}"))?;
            self.note(&message);
            if let Some(answer) = message.get("return") {
                return Ok(answer.clone());
            }
            if let Some(error) = message.get("error") {
                bail!(
                    "QEMU refuses {name}: {}",
                    error["desc"].as_str().unwrap_or("no reason")
                );
            }
        }
    }

    /// Carry out a command of the monitor for humans, which answers only if something is wrong.
    pub fn monitor(&mut self, line: &str) -> Result<()> {
        let arguments = json!({ "command-line": line });
        let answer = self.command_with("human-monitor-command", arguments)?;
        match answer.as_str() {
            None | Some("") => Ok(()),
            Some(text) => bail!("QEMU's monitor on {line}: {text}"),
        }
    }

    /// Wait for the machine's end, at most `patience`.
    pub fn wait_for_end(&mut self, patience: Duration) -> Option<End> {
        let deadline = Instant::now() + patience;
        while self.end.is_none() {
            match self
                .messages
                .recv_timeout(deadline.saturating_duration_since(Instant::now()))
            {
                Ok(message) => self.note(&message),
                Err(RecvTimeoutError::Timeout) => return None,
                Err(RecvTimeoutError::Disconnected) => return Some(End::Other),
            }
        }
        self.end
    }

    fn note(&mut self, message: &Value) {
        if message["event"] == "SHUTDOWN" {
            self.end = Some(match message["data"]["reason"].as_str() {
                Some("guest-shutdown") => End::PowerOff,
                Some("guest-reset") => End::Reset,
                _ => End::Other,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    /// A stand-in for QEMU: greets, answers one command after an event, then hangs up.
    fn serve(listener: &UnixListener) {
        let (mut stream, _) = listener.accept().unwrap();
        let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
        writeln!(stream, "{}", json!({"QMP": {}})).unwrap();
        lines.next();
        writeln!(stream, "{}", json!({"return": {}})).unwrap();
        lines.next();
        let event = json!({"event": "SHUTDOWN", "data": {"guest": true, "reason": "guest-reset"}});
        writeln!(
            stream,
            "{event}\n{}",
            json!({"error": {"desc": "too late"}})
        )
        .unwrap();
    }

    #[test]
    fn events_between_answers_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("qmp");
        let listener = UnixListener::bind(&socket).unwrap();
        let server = std::thread::spawn(move || serve(&listener));
        let mut qmp = Qmp::connect(&socket, || true).unwrap();
        let refusal = qmp.command("inject-nmi").unwrap_err().to_string();
        assert_eq!(refusal, "QEMU refuses inject-nmi: too late");
        assert_eq!(qmp.wait_for_end(Duration::from_secs(5)), Some(End::Reset));
        server.join().unwrap();
    }
}
