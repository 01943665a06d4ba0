//! `docs/hypercall-coverage.toml`: what the code does not say.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;

/// The file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Notes {
    /// By name of the hypercall.
    #[serde(default)]
    pub hypercall: BTreeMap<String, Hypercall>,
    /// By C name of the number.
    #[serde(default)]
    pub number: BTreeMap<String, Number>,
}

/// A hypercall.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hypercall {
    /// Types of the numbers that it takes.
    #[serde(default)]
    pub types: Vec<String>,
    /// C names that Debian's kernel uses before its first program runs; the hypercall's own name stands for a hypercall without numbers.
    #[serde(default)]
    pub dom0_boot: Vec<String>,
    /// A remark.
    pub note: Option<String>,
    /// A test of all its numbers that have none of their own.
    pub test: Option<String>,
}

/// A number.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Number {
    /// Its state, where the match arm does not show it.
    pub state: Option<String>,
    /// Why it is refused, or what is peculiar.
    pub note: Option<String>,
    /// A test that the code does not connect with it.
    pub test: Option<String>,
}

/// Reads the file.
pub fn read(root: &Path) -> Result<Notes> {
    let path = root.join("docs/hypercall-coverage.toml");
    let text =
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    toml::from_str(&text).with_context(|| format!("in {}", path.display()))
}
