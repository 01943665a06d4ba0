//! `cargo xtask bench NAME`: what can be counted, ours beside Debian's Xen on the same emulated machine, and the bound
//! that ours must keep. Counts, not times: they are equal from run to run and on any host.

use crate::build;
use anyhow::{Context, Result, bail};
use object::{Object, ObjectSegment};
use regex::Regex;
use std::path::{Path, PathBuf};
use xenolith_tests::artifacts::{self, Linux};
use xenolith_tests::runner::{Bench as Machines, XEN_CPU};
use xenolith_tests::scenario::{End, Scenario};

/// Options of `cargo xtask bench`.
#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    /// What to count; all rows if none is named
    #[arg(value_enum)]
    pub rows: Vec<Row>,
}

/// What is counted.
#[derive(clap::ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Row {
    /// Instructions from power-on to dom0's init: at most 0.9 of Xen's
    Boot,
    /// Memory that the hypervisor keeps for itself on a machine of 2 GiB: at most 1.2 % and 8 MiB
    Memory,
    /// The hypervisor's image in memory: at most 2 MiB
    Image,
}

const ALL: [Row; 3] = [Row::Boot, Row::Memory, Row::Image];
const MIB: f64 = (1 << 20) as f64;
/// Counting needs one processor, whose clock ticks once per instruction and stands still for nothing else.
const COUNTING: [&str; 2] = ["-icount", "shift=0,sleep=off"];

/// One figure beside its bound.
struct Figure {
    what: &'static str,
    unit: &'static str,
    ours: f64,
    theirs: Option<f64>,
    bound: f64,
}

/// Counts the rows; fails if one is above its bound.
pub fn bench(options: &Options) -> Result<()> {
    let rows = if options.rows.is_empty() {
        &ALL[..]
    } else {
        &options.rows[..]
    };
    let ours = build::build(&build::Options { release: true })?;
    let mut above = 0;
    for row in rows {
        let figure = match row {
            Row::Boot => boot(&ours)?,
            Row::Memory => memory(&ours)?,
            Row::Image => image(&ours)?,
        };
        let fine = figure.ours <= figure.bound;
        above += u32::from(!fine);
        let theirs = figure
            .theirs
            .map_or_else(String::new, |theirs| format!(", Debian's Xen {theirs:.3}"));
        println!(
            "{}: {:.3} {}{theirs}, bound {:.3}: {}",
            figure.what,
            figure.ours,
            figure.unit,
            figure.bound,
            if fine { "kept" } else { "BROKEN" }
        );
    }
    if above > 0 {
        bail!("{above} above their bounds");
    }
    Ok(())
}

/// Boots dom0 to its init and has it run `check`; returns the number that `pattern` finds in what it prints. `prepare` adds to the machine.
fn number_in_dom0(
    file: &Path,
    is_xen: bool,
    name: &'static str,
    check: &str,
    prepare: fn(Scenario) -> Scenario,
    pattern: &str,
) -> Result<f64> {
    let cpu = if is_xen {
        "max".to_owned()
    } else {
        format!("max{XEN_CPU}")
    };
    let scenario = Scenario::linux(name, "dom0 tells a number")
        .cpu(&cpu)
        .memory("2G")
        .dom0_append(&format!("checks={check} then=poweroff"))
        .check(check)
        .end(End::PowerOff);
    let scenario = prepare(scenario);
    let bench = Machines::new(
        file.to_owned(),
        is_xen,
        Linux::debian()?,
        std::slice::from_ref(&scenario),
    )?;
    let verdict = bench.run(&scenario);
    let transcript = bench.transcript(&scenario);
    if !verdict.is_success() {
        bail!("{verdict}; transcript: {}", transcript.display());
    }
    let text =
        std::fs::read(&transcript).with_context(|| format!("read {}", transcript.display()))?;
    Regex::new(pattern)?
        .captures(&String::from_utf8_lossy(&text))
        .and_then(|found| found[1].parse().ok())
        .with_context(|| format!("no {pattern:?} in {}", transcript.display()))
}

fn both(ours: &Path) -> Result<[(PathBuf, bool); 2]> {
    Ok([(ours.to_owned(), false), (artifacts::debian_xen()?, true)])
}

fn boot(ours: &Path) -> Result<Figure> {
    let [ours, theirs] = both(ours)?.map(|(file, is_xen)| {
        number_in_dom0(
            &file,
            is_xen,
            "bench-boot",
            "ticks",
            |scenario| scenario.qemu(&COUNTING),
            r"TICKS (\d+) END",
        )
    });
    let (ours, theirs) = (ours? / 1e9, theirs? / 1e9);
    Ok(Figure {
        what: "instructions from power-on to dom0's init",
        unit: "thousand million",
        ours,
        theirs: Some(theirs),
        bound: 0.9 * theirs,
    })
}

/// What neither guests have nor is free. The firmware's share counts as the hypervisor's, for both.
fn memory(ours: &Path) -> Result<Figure> {
    let [ours, theirs] = both(ours)?.map(|(file, is_xen)| {
        number_in_dom0(
            &file,
            is_xen,
            "bench-memory",
            "memory",
            Scenario::toolstack,
            r"HYPERVISOR (\d+) MiB",
        )
    });
    Ok(Figure {
        what: "memory of the hypervisor at 2 GiB",
        unit: "MiB",
        ours: ours?,
        theirs: Some(theirs?),
        bound: 2048.0 * 0.012 + 8.0,
    })
}

fn image(ours: &Path) -> Result<Figure> {
    let size = |file: &Path| -> Result<f64> {
        let data = std::fs::read(file).with_context(|| format!("read {}", file.display()))?;
        let elf = object::File::parse(&*data).with_context(|| file.display().to_string())?;
        let ends = elf
            .segments()
            .map(|segment| segment.address() + segment.size());
        let starts = elf.segments().map(|segment| segment.address());
        let (Some(end), Some(start)) = (ends.max(), starts.min()) else {
            bail!("{} has no segments", file.display());
        };
        Ok((end - start) as f64 / MIB)
    };
    Ok(Figure {
        what: "image in memory",
        unit: "MiB",
        ours: size(ours)?,
        theirs: size(&artifacts::debian_xen()?).ok(),
        bound: 2.0,
    })
}
