//! The command line: 4.17's, as far as it makes sense here.

use std::path::PathBuf;

use clap::{ArgAction, Parser};

use super::daemon::Daemon;
use super::quota::Limit;

/// Keeps the store.
#[derive(Debug, Parser)]
#[command(
    name = "xeno-xenstored",
    disable_version_flag = true,
    disable_help_flag = true
)]
pub struct Options {
    /// Do not connect with the kernel of dom0
    #[arg(short = 'D', long)]
    pub no_domain_init: bool,
    /// Write the process id into this file
    #[arg(short = 'F', long, value_name = "FILE")]
    pub pid_file: Option<PathBuf>,
    /// Print this
    #[arg(short = 'H', long, action = ArgAction::Help)]
    help: Option<bool>,
    /// Stay in the foreground
    #[arg(short = 'N', long)]
    pub no_fork: bool,
    /// Print the process id
    #[arg(short = 'P', long)]
    pub output_pid: bool,
    /// Trace all messages into this file
    #[arg(short = 'T', long, value_name = "FILE")]
    pub trace_file: Option<PathBuf>,
    /// Nodes per domain
    #[arg(short = 'E', long, value_name = "NB")]
    entry_nb: Option<usize>,
    /// Bytes per node
    #[arg(short = 'S', long, value_name = "SIZE")]
    entry_size: Option<usize>,
    /// Watches per domain
    #[arg(short = 'W', long, value_name = "NB")]
    watch_nb: Option<usize>,
    /// Transactions per domain
    #[arg(short = 't', long, value_name = "NB")]
    transaction: Option<usize>,
    /// Permissions per node
    #[arg(short = 'A', long, value_name = "NB")]
    perm_nb: Option<usize>,
    /// Length of a path
    #[arg(short = 'M', long, value_name = "CHARS")]
    path_max: Option<usize>,
    /// Set a limit: transaction-nodes, memory, outstanding, or one that `CONTROL quota` shows
    #[arg(short = 'Q', long, value_name = "WHAT=NB", value_parser = assignment)]
    quota: Vec<(String, usize)>,
    /// Set a level from which on a warning is logged: memory
    #[arg(short = 'q', long, value_name = "WHAT=NB", value_parser = assignment)]
    quota_soft: Vec<(String, usize)>,
    /// Set a time: watch-event, after which a domain that does not take its events is not served any more
    #[arg(short = 'w', long, value_name = "WHAT=SECONDS", value_parser = assignment)]
    timeout: Vec<(String, usize)>,
    /// Accepted for Xen's scripts: the store is checked when it is read
    #[arg(short = 'R', long)]
    no_recovery: bool,
    /// Accepted for Xen's scripts: the store is in memory always
    #[arg(short = 'I', long, value_name = "ON|OFF", num_args = 0..=1)]
    internal_db: Option<Option<String>>,
    /// Nodes of a domain that is gone go to dom0 instead of away
    #[arg(short = 'K', long)]
    keep_orphans: bool,
    /// Print all messages
    #[arg(short = 'V', long)]
    pub verbose: bool,
    /// Keep the state in this file, so that a restarted daemon has it again [default: state.journal in the run directory]
    #[arg(long, value_name = "FILE")]
    pub journal: Option<PathBuf>,
    /// Start with an empty store, whatever the journal says
    #[arg(long)]
    pub fresh: bool,
}

fn assignment(text: &str) -> Result<(String, usize), String> {
    let (name, value) = text.split_once('=').ok_or("must be given as <what>=<nb>")?;
    let value = value
        .parse()
        .map_err(|_| format!("invalid value \"{value}\""))?;
    Ok((name.to_owned(), value))
}

impl Options {
    /// Sets what the options say.
    ///
    /// # Errors
    /// An unknown name, as a text for people.
    pub fn apply(&self, daemon: &mut Daemon) -> Result<(), String> {
        for (value, limit) in [
            (self.entry_nb, Limit::Nodes),
            (self.entry_size, Limit::NodeSize),
            (self.watch_nb, Limit::Watches),
            (self.transaction, Limit::Transactions),
            (self.perm_nb, Limit::Permissions),
            (self.path_max, Limit::PathMax),
        ] {
            if let Some(value) = value {
                daemon.quotas.set(limit, value);
            }
        }
        for (name, value) in &self.quota {
            if !daemon.quotas.set_named(name, *value) {
                return Err(format!("unknown quota \"{name}\""));
            }
        }
        for (name, value) in &self.quota_soft {
            if !daemon.quotas.set_soft_named(name, *value) {
                return Err(format!("unknown soft quota \"{name}\""));
            }
        }
        for (name, value) in &self.timeout {
            if name != "watch-event" {
                return Err(format!("unknown timeout \"{name}\""));
            }
            daemon.watch_event_timeout = (*value as u64).saturating_mul(1000);
        }
        daemon.keep_orphans = self.keep_orphans;
        daemon.trace.verbose = self.verbose;
        Ok(())
    }
}
