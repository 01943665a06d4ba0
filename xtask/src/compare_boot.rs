//! `cargo xtask compare-boot`: Linux must log nothing on our hypervisor that it does not log on Debian's Xen.

use crate::build;
use crate::machine::Hypervisor;
use anyhow::{Context, Result, bail};
use std::path::PathBuf;
use xenolith_tests::artifacts::{self, Linux, workspace};
use xenolith_tests::compare::{AllowList, Mask, WARNING, difference, kernel_log, level};
use xenolith_tests::runner::{Bench, XEN_CPU};
use xenolith_tests::scenario::{End, Scenario};

/// Options of `cargo xtask compare-boot`.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct Options {
    /// Build with all optimisations
    #[arg(long)]
    pub release: bool,
    /// Also show the reference's lines that ours does not have
    #[arg(long)]
    pub missing: bool,
    /// Only warnings and worse of ours count
    #[arg(long)]
    pub warnings: bool,
    /// A kernel for dom0 instead of Debian's
    #[arg(long, value_name = "FILE")]
    pub linux: Option<PathBuf>,
    #[arg(long, hide = true, value_enum, default_value_t)]
    pub hypervisor: Hypervisor,
}

/// Boot both, compare.
pub fn compare_boot(options: &Options) -> Result<()> {
    if options.hypervisor == Hypervisor::None {
        bail!("Linux without a hypervisor logs other things");
    }
    let path = workspace().join("tests/compare-boot.allow");
    let text =
        std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let allow = AllowList::parse(&text).with_context(|| path.display().to_string())?;

    let reference = log_of(options, Hypervisor::DebianXen, "compare-reference")?;
    let ours = log_of(options, options.hypervisor, "compare-ours")?;
    let mut found = difference(&ours, &reference, &Mask::new()?, &allow);
    if options.missing {
        for line in &found.missing {
            println!("- {line}");
        }
    }
    if options.warnings {
        found
            .added
            .retain(|line| level(line).is_none_or(|level| level <= WARNING));
    }
    for line in &found.added {
        println!("+ {line}");
    }
    println!(
        "{} lines on Debian's Xen, {} on ours: {} only on Debian's, {} allowed, {} not allowed",
        reference.len(),
        ours.len(),
        found.missing.len(),
        found.allowed.len(),
        found.added.len()
    );
    if !found.added.is_empty() {
        bail!("lines that {} does not name", path.display());
    }
    Ok(())
}

fn log_of(options: &Options, hypervisor: Hypervisor, name: &'static str) -> Result<Vec<String>> {
    let is_xen = hypervisor == Hypervisor::DebianXen;
    let file = if is_xen {
        artifacts::debian_xen()?
    } else {
        build::build(&build::Options {
            release: options.release,
        })?
    };
    let linux = match &options.linux {
        Some(kernel) => Linux {
            kernel: kernel.clone(),
            modules: None,
        },
        None => Linux::debian()?,
    };
    // Both run on the machine that Xen can run on; the bench adds the rest for Xen itself.
    let cpu = if is_xen {
        "max".to_owned()
    } else {
        format!("max{XEN_CPU}")
    };
    let scenario = Scenario::linux(name, "Linux prints its log")
        .cpu(&cpu)
        .dom0_append("checks=dmesg then=poweroff")
        .expect("DMESG END")
        .check("dmesg")
        .end(End::PowerOff);
    let bench = Bench::new(file, is_xen, linux, std::slice::from_ref(&scenario))?;
    eprintln!(
        "boot Linux on {}",
        if is_xen { "Debian's Xen" } else { "Xenolith" }
    );
    let verdict = bench.run(&scenario);
    let transcript = bench.transcript(&scenario);
    if !verdict.is_success() {
        bail!("{verdict}; transcript: {}", transcript.display());
    }
    let text =
        std::fs::read(&transcript).with_context(|| format!("read {}", transcript.display()))?;
    kernel_log(&String::from_utf8_lossy(&text))
}
