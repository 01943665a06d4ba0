//! `xeno create`.

use std::io::Read as _;

use clap::Args;

use super::{output, usage};
use crate::config::{Assignment, ConfigError, GuestConfig, parse};
use crate::console::attach;
use crate::domain::{
    self, Code, Reason, Start, State, ToolError, Toolstack, create, ensure_supervisor,
};

/// Make a guest from a configuration file.
#[derive(Args, Debug)]
pub struct Create {
    /// The configuration file; - for standard input
    #[arg(value_name = "FILE")]
    words: Vec<String>,
    /// The configuration file (the same as FILE)
    #[arg(short = 'f', long = "defconfig", value_name = "FILE")]
    file: Option<String>,
    /// Connect to the guest's console
    #[arg(short = 'c')]
    console: bool,
    /// Leave the guest paused
    #[arg(short = 'p')]
    paused: bool,
    /// Stay in the foreground until the guest ends
    #[arg(short = 'F')]
    foreground: bool,
    /// Do not act when the guest ends
    #[arg(short = 'e')]
    exit: bool,
    /// Only check the configuration and print what it means
    #[arg(short = 'n', long = "dryrun")]
    dry_run: bool,
    /// Print errors only
    #[arg(short = 'q', long)]
    quiet: bool,
    /// Settings that replace or add to those of the file, such as memory=256
    #[arg(short = 'd', long = "debug", hide = true)]
    debug: bool,
}

impl Create {
    pub fn dry_run(&self) -> bool {
        self.dry_run
    }

    /// The configuration from the file and the words behind it.
    fn config(&self) -> Result<GuestConfig, ToolError> {
        let mut words = self.words.iter();
        let file = match &self.file {
            Some(file) => file,
            None => words
                .next()
                .ok_or_else(|| usage("no configuration file: xeno create FILE"))?,
        };
        let text = read(file)?;
        let mut settings = parse(file, &text)?;
        for word in words {
            merge(&mut settings, word)?;
        }
        Ok(GuestConfig::new(file, &settings)?)
    }

    pub fn check(&self, json: bool) -> Result<(), ToolError> {
        let config = self.config()?;
        if !self.quiet || json {
            output::json(&config)?;
        }
        Ok(())
    }

    pub fn run(&self, tools: &Toolstack, json: bool) -> Result<(), ToolError> {
        if !self.quiet && !json {
            let file = self.file.as_ref().or(self.words.first());
            eprintln!("Parsing config from {}", file.map_or("", String::as_str));
        }
        let config = self.config()?;
        if !self.foreground && !self.exit {
            // Before the guest: from now on somebody undoes what this process leaves if it is killed.
            ensure_supervisor()?;
        }
        let created = create(tools, &config)?;
        let domain = created.domain;
        let console = if self.console {
            Some(attach::open(tools, domain))
        } else {
            None
        };
        let start = Start {
            paused: self.paused,
            foreground: self.foreground,
        };
        if json {
            output::json(&serde_json::json!({
                "domid": domain,
                "name": config.name,
                "uuid": created.uuid.to_string(),
            }))?;
        }
        let running = created.start(tools, start)?;
        if !self.foreground {
            drop(running);
            return match console {
                Some(console) => attach::attach(tools, domain, console?, attach::ESCAPE),
                None => Ok(()),
            };
        }
        if let Some(console) = console {
            attach::attach(tools, domain, console?, attach::ESCAPE)?;
        }
        self.watch(tools, &config, domain)
    }

    /// Waits for the guest's end and acts as the configuration says, until it does not start again.
    fn watch(&self, tools: &Toolstack, config: &GuestConfig, domain: u16) -> Result<(), ToolError> {
        domain::wait_for_end(tools, &[domain], None)?;
        let info = tools.xen.domain_info(hypercall_abi::xen::DomId(domain))?;
        let reason = info.and_then(|info| State::of(&info).shutdown);
        if !self.quiet {
            eprintln!(
                "domain {domain} ({}) {}",
                config.name,
                reason.map_or("is gone", Reason::describe)
            );
        }
        domain::destroy(tools, domain)?;
        match reason {
            None | Some(Reason::Poweroff) => Ok(()),
            Some(Reason::Reboot) => {
                let again = create(tools, config)?;
                let next = again.domain;
                let _running = again.start(
                    tools,
                    Start {
                        paused: false,
                        foreground: true,
                    },
                )?;
                self.watch(tools, config, next)
            }
            Some(reason) => Err(ToolError::new(
                Code::GuestRefused,
                format!("domain {domain} ({}) {}", config.name, reason.describe()),
            )),
        }
    }
}

fn read(file: &str) -> Result<String, ToolError> {
    let result = if file == "-" {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).map(|_| text)
    } else {
        std::fs::read_to_string(file)
    };
    result.map_err(|error| {
        let code = match error.kind() {
            std::io::ErrorKind::NotFound => Code::NotFound,
            _ => Code::Other,
        };
        let what = match error.kind() {
            std::io::ErrorKind::NotFound => "does not exist".to_owned(),
            std::io::ErrorKind::InvalidData => "is not text".to_owned(),
            _ => format!("cannot be read: {error}"),
        };
        ToolError::new(code, format!("the configuration file {file} {what}"))
    })
}

/// Adds a `key=value` of the command line to the settings, replacing an earlier one. The quotes of a string may be left out.
fn merge(settings: &mut Vec<Assignment>, word: &str) -> Result<(), ConfigError> {
    const FILE: &str = "command line";
    let (key, value) = word.split_once('=').ok_or_else(|| {
        ConfigError::new(
            FILE,
            1,
            format!("\"{word}\": expected key=value, such as memory=256"),
        )
    })?;
    let bare = value
        .trim()
        .starts_with(|char: char| !matches!(char, '"' | '\'' | '[') && !char.is_ascii_digit());
    let text = if bare || value.is_empty() {
        let escaped = value.replace('\\', "\\\\").replace('"', "\\\"");
        format!("{key}=\"{escaped}\"")
    } else {
        word.to_owned()
    };
    for setting in parse(FILE, &text)? {
        settings.retain(|other| other.name != setting.name);
        settings.push(setting);
    }
    Ok(())
}
