//! `xeno console`.

use clap::Args;

use super::usage;
use crate::console::attach;
use crate::domain::{ToolError, Toolstack, find};

/// Connect to a guest's console.
#[derive(Args, Debug)]
pub struct Console {
    /// The key that leaves the console: ^ and a letter, or one character
    #[arg(short, long, default_value = "^]", value_name = "KEY")]
    escape: String,
    /// The kind of console: pv is the only one
    #[arg(short = 't', value_name = "TYPE", default_value = "pv")]
    kind: String,
    /// The console's number: 0 is the only one
    #[arg(short, value_name = "NUMBER", default_value_t = 0)]
    num: u32,
    /// The guest's name or id
    domain: String,
}

impl Console {
    pub fn run(&self, tools: &Toolstack) -> Result<(), ToolError> {
        let escape = attach::parse_escape(&self.escape).map_err(usage)?;
        if self.kind != "pv" || self.num != 0 {
            return Err(usage("a PV guest has one console: leave -t and -n out"));
        }
        let domain = find(tools, &self.domain)?.domain.0;
        let console = attach::open(tools, domain)?;
        attach::attach(tools, domain, console, escape)
    }
}
