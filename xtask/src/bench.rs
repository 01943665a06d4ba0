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
    /// Instructions of creating a Linux guest of 128 MiB: at most 0.3 of xl's on Debian's Xen; and what goes with it
    Create,
    /// Instructions of destroying it: at most 0.3 of xl's on Debian's Xen
    Destroy,
}

const ALL: [Row; 5] = [
    Row::Boot,
    Row::Memory,
    Row::Image,
    Row::Create,
    Row::Destroy,
];
const MIB: f64 = (1 << 20) as f64;
/// What a guest's shared page, grant table and event channels take at least, in KiB.
const TABLES_KIB: f64 = 24.0;
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
    let mut figures = Vec::new();
    for row in rows {
        match row {
            Row::Boot => figures.push(boot(&ours)?),
            Row::Memory => figures.push(memory(&ours)?),
            Row::Image => figures.push(image(&ours)?),
            Row::Create | Row::Destroy => {}
        }
    }
    if rows.contains(&Row::Create) || rows.contains(&Row::Destroy) {
        let figures_of_lives = lives(&ours)?;
        let wanted = figures_of_lives
            .into_iter()
            .filter(|(row, _)| rows.contains(row));
        figures.extend(wanted.map(|(_, figure)| figure));
    }
    let mut above = 0;
    for figure in figures {
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

/// Boots dom0 to its init and has it run `check`; what was printed. `prepare` adds to the machine.
fn transcript_of(
    file: &Path,
    is_xen: bool,
    name: &'static str,
    check: &str,
    prepare: fn(Scenario) -> Scenario,
) -> Result<String> {
    let cpu = if is_xen {
        "max".to_owned()
    } else {
        format!("max{XEN_CPU}")
    };
    let scenario = Scenario::linux(name, "dom0 tells numbers")
        .cpu(&cpu)
        .memory("2G")
        .dom0_append(&format!("checks={check} then=poweroff"))
        .check(check.split(' ').next().unwrap_or(check))
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
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// The number that `pattern` finds in `text`.
fn number_in(text: &str, pattern: &str) -> Result<f64> {
    Regex::new(pattern)?
        .captures(text)
        .and_then(|found| found[1].parse().ok())
        .with_context(|| format!("no {pattern:?} in what dom0 printed"))
}

/// [`number_in`] what [`transcript_of`] has.
fn number_in_dom0(
    file: &Path,
    is_xen: bool,
    name: &'static str,
    check: &str,
    prepare: fn(Scenario) -> Scenario,
    pattern: &str,
) -> Result<f64> {
    number_in(&transcript_of(file, is_xen, name, check, prepare)?, pattern)
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

/// Guests made and destroyed, by our toolstack on our hypervisor and by `xl` on Debian's Xen.
fn lives(ours: &Path) -> Result<Vec<(Row, Figure)>> {
    let prepare = |scenario: Scenario| {
        let patience = std::time::Duration::from_secs(1200);
        Scenario {
            patience,
            ..scenario
                .stock_xl()
                .toolstack()
                .append("dom0_mem=1024M,max:1024M")
                .qemu(&COUNTING)
        }
    };
    let xen = artifacts::debian_xen()?;
    let theirs = transcript_of(
        &xen,
        true,
        "bench-xl",
        "benchlife toolstack=other tool=xl",
        prepare,
    )?;
    let ours = transcript_of(ours, false, "bench-xeno", "benchlife", prepare)?;
    let of = |text: &str, name: &str| number_in(text, &format!(r"BENCH {name} (-?\d+) END"));
    let millions = |text: &str, name: &str| Ok::<f64, anyhow::Error>(of(text, name)? / 1e6);
    let beside = |what, name: &str| -> Result<Figure> {
        let theirs = millions(&theirs, name)?;
        Ok(Figure {
            what,
            unit: "million",
            ours: millions(&ours, name)?,
            theirs: Some(theirs),
            bound: 0.3 * theirs,
        })
    };
    // Against another of our own: a second time, a fiftieth domain.
    let against = |what, name: &str, other: &str| -> Result<Figure> {
        Ok(Figure {
            what,
            unit: "million",
            ours: millions(&ours, name)?,
            theirs: None,
            bound: 1.1 * millions(&ours, other)?,
        })
    };
    Ok(vec![
        (
            Row::Create,
            beside("instructions to create a guest", r"create\.2")?,
        ),
        (
            Row::Create,
            against(
                "instructions to create a guest from a bzImage again",
                r"bzimage\.2",
                r"create\.2",
            )?,
        ),
        (
            Row::Create,
            against(
                "instructions to create the fiftieth guest",
                "fiftieth",
                r"create\.2",
            )?,
        ),
        (
            Row::Create,
            Figure {
                what: "memory that the hypervisor and its tables take for each small guest",
                unit: "KiB",
                ours: of(&ours, "domains")?,
                theirs: None,
                bound: 64.0 + TABLES_KIB,
            },
        ),
        (
            Row::Destroy,
            beside("instructions to destroy a guest", r"destroy\.2")?,
        ),
    ])
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
