//! Memory of running domains.

use clap::Args;

use super::usage;
use crate::domain::{ToolError, Toolstack, find, set_max_memory, set_memory};

/// Reads an amount of memory in MiB: a number with an optional unit.
fn mib(text: &str) -> Result<u64, ToolError> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number: Option<u64> = number.parse().ok();
    let bytes = match unit {
        "b" | "B" => number,
        "k" | "K" => number.and_then(|number| number.checked_mul(1 << 10)),
        "" | "m" | "M" => number.and_then(|number| number.checked_mul(1 << 20)),
        "g" | "G" => number.and_then(|number| number.checked_mul(1 << 30)),
        "t" | "T" => number.and_then(|number| number.checked_mul(1 << 40)),
        _ => None,
    };
    bytes
        .map(|bytes| bytes >> 20)
        .filter(|mib| *mib > 0)
        .ok_or_else(|| {
            usage(format!(
                "\"{text}\" is no amount of memory: expected MiB, or a number with k, m, g or t"
            ))
        })
}

/// Set how much memory a domain has.
#[derive(Args, Debug)]
pub struct MemSet {
    /// The domain's name or id
    domain: String,
    /// How much, in MiB or with a unit
    memory: String,
}

impl MemSet {
    pub fn run(&self, tools: &Toolstack) -> Result<(), ToolError> {
        let memory = mib(&self.memory)?;
        let domain = find(tools, &self.domain)?.domain.0;
        set_memory(tools, domain, memory)
    }
}

/// Set how much memory a domain may have at most.
#[derive(Args, Debug)]
pub struct MemMax {
    /// The domain's name or id
    domain: String,
    /// How much, in MiB or with a unit
    memory: String,
}

impl MemMax {
    pub fn run(&self, tools: &Toolstack) -> Result<(), ToolError> {
        let memory = mib(&self.memory)?;
        let domain = find(tools, &self.domain)?.domain.0;
        set_max_memory(tools, domain, memory)
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn amounts() {
        for (text, amount) in [("512", 512), ("1g", 1024), ("2048k", 2), ("1T", 1 << 20)] {
            assert_eq!(super::mib(text), Ok(amount));
        }
        for text in ["", "x", "1x", "0", "1k"] {
            assert!(super::mib(text).is_err(), "{text}");
        }
    }
}
