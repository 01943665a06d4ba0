//! `xeno save` and `xeno restore`.

use std::fs::File;
use std::io::{BufReader, IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;

use super::{output, usage};
use crate::config::{GuestConfig, parse};
use crate::console::attach;
use crate::domain::{
    self, AfterSave, Code, Start, ToolError, Toolstack, ensure_supervisor, find, parse_libxl_config,
};
use crate::migration;

/// Save a guest to a file.
#[derive(Args, Debug)]
pub struct Save {
    /// Let the guest go on
    #[arg(short = 'c')]
    go_on: bool,
    /// Leave the guest paused
    #[arg(short = 'p', conflicts_with = "go_on")]
    paused: bool,
    /// The guest's name or id
    domain: String,
    /// The file to write
    file: PathBuf,
}

impl Save {
    pub fn run(&self, tools: &Toolstack) -> Result<(), ToolError> {
        let domain = find(tools, &self.domain)?.domain.0;
        if domain == 0 {
            return Err(usage("domain 0 is this system: it cannot be saved"));
        }
        let after = match (self.go_on, self.paused) {
            (true, _) => AfterSave::Continue,
            (_, true) => AfterSave::Pause,
            _ => AfterSave::Destroy,
        };
        let mut progress = Progress::new("saving");
        domain::save(tools, domain, &self.file, after, &mut |done, of| {
            progress.show(done, of);
        })
    }
}

/// Make a guest from a file that save has written.
#[derive(Args, Debug)]
pub struct Restore {
    /// Leave the guest paused
    #[arg(short = 'p')]
    paused: bool,
    /// Connect to the guest's console
    #[arg(short = 'c')]
    console: bool,
    /// Do not act when the guest ends
    #[arg(short = 'e')]
    exit: bool,
    /// Accepted for compatibility
    #[arg(short = 'd', hide = true)]
    debug: bool,
    /// The file, after a configuration file that replaces the one in it
    #[arg(value_name = "[CONFIG] FILE", num_args = 1..=2, required = true)]
    files: Vec<PathBuf>,
}

impl Restore {
    pub fn run(&self, tools: &Toolstack, json: bool) -> Result<(), ToolError> {
        let (replacement, path) = match &self.files[..] {
            [config, file] => (Some(config), file),
            [file] => (None, file),
            _ => return Err(usage("which file? xeno restore [CONFIG] FILE")),
        };
        let named = |error: ToolError| error.context(path.display());
        let file = File::open(path).map_err(|error| {
            let code = match error.kind() {
                std::io::ErrorKind::NotFound => Code::NotFound,
                _ => Code::Other,
            };
            ToolError::new(code, format!("{} cannot be read: {error}", path.display()))
        })?;
        let mut file = BufReader::with_capacity(1 << 20, file);
        let saved = migration::file::read_header(&mut file).map_err(|error| named(error.into()))?;
        let config = match replacement {
            None => parse_libxl_config(&saved).map_err(named)?,
            Some(config) => {
                let name = config.display().to_string();
                let text = std::fs::read_to_string(config)?;
                GuestConfig::new(&name, &parse(&name, &text)?)?
            }
        };
        if !self.exit {
            ensure_supervisor()?;
        }
        let mut progress = Progress::new("restoring");
        let created = domain::restore(tools, &config, &mut file, &mut |done, of| {
            progress.show(done, of);
        })
        .map_err(named)?;
        let domain = created.domain;
        let console = self.console.then(|| attach::open(tools, domain));
        if json {
            output::json(&serde_json::json!({
                "domid": domain,
                "name": config.name,
                "uuid": created.uuid.to_string(),
            }))?;
        }
        created.start(
            tools,
            Start {
                paused: self.paused,
                foreground: false,
            },
        )?;
        match console {
            Some(console) => attach::attach(tools, domain, console?, attach::ESCAPE),
            None => Ok(()),
        }
    }
}

/// A line on the terminal about something that takes longer than a second.
struct Progress {
    doing: &'static str,
    start: Instant,
    shown: Option<u64>,
}

impl Progress {
    fn new(doing: &'static str) -> Self {
        Self {
            doing,
            start: Instant::now(),
            shown: None,
        }
    }

    fn show(&mut self, done: u64, of: u64) {
        let percent = done * 100 / of.max(1);
        let mut terminal = std::io::stderr();
        if !terminal.is_terminal()
            || self.start.elapsed() < Duration::from_secs(1)
            || self.shown == Some(percent)
        {
            return;
        }
        self.shown = Some(percent);
        let _ = write!(terminal, "\r{} {percent}%", self.doing);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown.is_some() {
            eprintln!();
        }
    }
}
