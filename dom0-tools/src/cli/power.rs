//! Ending and pausing domains.

use std::time::Duration;

use clap::Args;
use hypercall_abi::xen::DomId;

use super::usage;
use crate::domain::{self, Ending, ToolError, Toolstack, all, find, shut_down, wait_for_end};

/// Take a domain away at once.
#[derive(Args, Debug)]
pub struct Destroy {
    /// Accepted for compatibility
    #[arg(short, hide = true)]
    force: bool,
    /// The domain's name or id
    domain: String,
}

impl Destroy {
    pub fn run(&self, tools: &Toolstack) -> Result<(), ToolError> {
        let info = find(tools, &self.domain)?;
        domain::destroy(tools, info.domain.0)
    }
}

/// What shutdown and reboot share.
#[derive(Args, Debug)]
pub struct Ask {
    /// All guests
    #[arg(short, long)]
    all: bool,
    /// Wait until they have ended
    #[arg(short, long)]
    wait: bool,
    /// Ask a guest that does not listen, too
    #[arg(short = 'F', long)]
    force: bool,
    /// How many seconds to wait at most
    #[arg(long, value_name = "SECONDS", requires = "wait")]
    timeout: Option<u64>,
    /// The guest's name or id
    domain: Option<String>,
}

impl Ask {
    fn run(&self, tools: &Toolstack, ending: Ending) -> Result<(), ToolError> {
        let domains: Vec<u16> = match (&self.domain, self.all) {
            (Some(domain), false) => vec![find(tools, domain)?.domain.0],
            (None, true) => all(tools)?
                .iter()
                .map(|(info, _)| info.domain.0)
                .filter(|domain| *domain != 0)
                .collect(),
            (Some(_), true) => return Err(usage("either a domain or -a for all, not both")),
            (None, false) => return Err(usage("which domain? Give a name or id, or -a for all")),
        };
        if domains.contains(&0) {
            return Err(usage("domain 0 is this system: reboot or poweroff ends it"));
        }
        for domain in &domains {
            let doing = match ending {
                Ending::Poweroff => "Shutting down",
                Ending::Reboot => "Rebooting",
            };
            eprintln!("{doing} domain {domain}");
            shut_down(tools, *domain, ending, self.force)?;
        }
        if self.wait {
            wait_for_end(tools, &domains, self.timeout.map(Duration::from_secs))?;
        }
        Ok(())
    }
}

/// Ask guests to power off.
#[derive(Args, Debug)]
pub struct Shutdown {
    #[command(flatten)]
    ask: Ask,
}

impl Shutdown {
    pub fn run(&self, tools: &Toolstack) -> Result<(), ToolError> {
        self.ask.run(tools, Ending::Poweroff)
    }
}

/// Ask guests to start again.
#[derive(Args, Debug)]
pub struct Reboot {
    #[command(flatten)]
    ask: Ask,
}

impl Reboot {
    pub fn run(&self, tools: &Toolstack) -> Result<(), ToolError> {
        self.ask.run(tools, Ending::Reboot)
    }
}

/// Stop a domain's processors.
#[derive(Args, Debug)]
pub struct Pause {
    /// The domain's name or id
    domain: String,
}

impl Pause {
    pub fn run(&self, tools: &Toolstack) -> Result<(), ToolError> {
        let domain = find(tools, &self.domain)?.domain;
        if domain == DomId(0) {
            return Err(usage("domain 0 cannot be paused: it is this system"));
        }
        Ok(tools.xen.pause_domain(domain)?)
    }
}

/// Let a paused domain go on.
#[derive(Args, Debug)]
pub struct Unpause {
    /// The domain's name or id
    domain: String,
}

impl Unpause {
    pub fn run(&self, tools: &Toolstack) -> Result<(), ToolError> {
        let domain = find(tools, &self.domain)?.domain;
        Ok(tools.xen.unpause_domain(domain)?)
    }
}
