//! CONTROL: commands for the daemon itself, for the privileged only.
//!
//! Commands and their answers are those of 4.17. A live update is refused: a new daemon takes over the state of one that ended by
//! itself (`docs/xenstored.md`).

use std::fmt::Write;
use std::path::PathBuf;

use hypercall_abi::{DomId, Errno};

use super::daemon::Daemon;
use crate::xenstore::wire;

const HELP: &str = "check\t
log\ton|off
live-update\t[-c <cmdline>] [-F] [-t <timeout>] <file>
    Default timeout is 60 seconds.
logfile\t<file>
memreport\t[<file>]
print\t<string>
quota\t[set <name> <val>|<domid>]
quota-soft\t[set <name> <val>]
help\t
";

impl Daemon {
    pub(super) fn control(&mut self, payload: &[u8]) -> Result<Vec<u8>, Errno> {
        let arguments = wire::strings(payload)
            .map(wire::text)
            .collect::<Result<Vec<_>, _>>()?;
        let (command, arguments) = arguments.split_first().ok_or(Errno::EINVAL)?;
        let answer = match (*command, arguments) {
            ("check", []) => {
                for problem in self.database.check() {
                    self.trace.report(&format!("check_store: {problem}"));
                }
                "OK".to_owned()
            }
            ("log", ["on"]) => {
                self.trace.reopen();
                "OK".to_owned()
            }
            ("log", ["off"]) => {
                self.trace.close();
                "OK".to_owned()
            }
            ("logfile", [path]) => {
                self.trace.open(PathBuf::from(path));
                "OK".to_owned()
            }
            ("memreport", [] | [_]) => self.memory_report(arguments.first().copied())?,
            ("print", [text]) => {
                self.trace.report(&format!("control: {text}"));
                "OK".to_owned()
            }
            ("quota", []) => self.quotas.listing(),
            ("quota", ["set", name, value]) => {
                let value = quota_value(value)?;
                if !self.quotas.set_named(name, value) {
                    return Err(Errno::EINVAL);
                }
                "OK".to_owned()
            }
            ("quota", [domain]) => self.domain_report(domain)?,
            ("quota-soft", []) => self.quotas.soft_listing(),
            ("quota-soft", ["set", name, value]) => {
                let value = quota_value(value)?;
                if !self.quotas.set_soft_named(name, value) {
                    return Err(Errno::EINVAL);
                }
                "OK".to_owned()
            }
            ("live-update", ["-s", ..]) => "Not in live-update session.".to_owned(),
            ("live-update", ["-a"]) => "No live-update session active.".to_owned(),
            ("live-update", ["-f" | "-c", ..]) => {
                "Live update is not supported: restart the daemon, it keeps its state.".to_owned()
            }
            ("help", []) => HELP.to_owned(),
            _ => return Err(Errno::EINVAL),
        };
        Ok([answer.as_bytes(), b"\0"].concat())
    }

    fn domain_report(&self, domain: &str) -> Result<String, Errno> {
        let number: u16 = domain.parse().map_err(|_| Errno::EINVAL)?;
        let known = self.domains.get(&DomId(number)).ok_or(Errno::ENOENT)?;
        let owned = self.database.owned(DomId(number));
        let id = known.link.as_ref().map(|link| link.connection);
        let connection = id.and_then(|id| Some((id, self.connections.get(&id)?)));
        let watches = id.map_or(0, |id| self.watches.of(id).count());
        let transactions = connection.map_or(0, |(_, connection)| connection.transactions.len());
        let outstanding = connection.map_or(0, |(_, connection)| connection.outstanding);
        let memory = connection.map_or(owned.bytes, |(id, connection)| {
            self.memory_of(id, connection)
        });
        let mut text = format!("Domain {number}:\n");
        for (name, value) in [
            ("nodes", owned.nodes),
            ("watches", watches),
            ("transactions", transactions),
            ("outstanding", outstanding),
            ("memory", memory),
        ] {
            let _ = writeln!(text, "{name:<16}: {value:8}");
        }
        Ok(text)
    }

    /// What every domain has, into a file or the trace.
    fn memory_report(&mut self, path: Option<&str>) -> Result<String, Errno> {
        let mut text = String::new();
        for domain in self.domains.keys() {
            text += &self.domain_report(&domain.0.to_string())?;
        }
        match path {
            Some(path) => std::fs::write(path, text).map_err(|_| Errno::EBADF)?,
            None => self.trace.report(&text),
        }
        Ok("OK".to_owned())
    }
}

fn quota_value(text: &str) -> Result<usize, Errno> {
    text.parse().map_err(|_| Errno::EINVAL)
}
