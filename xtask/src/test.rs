//! `cargo xtask test`: everything that must hold, from formatting to booting Linux.

use crate::build;
use crate::compare_boot;
use crate::layout::{self, LayoutArgs};
use crate::machine::Hypervisor;
use crate::{book, coverage, layers, long};
use anyhow::{Result, bail};
use std::path::PathBuf;
use std::time::Instant;
use xenolith_tests::artifacts::{self, Linux, rust};
use xenolith_tests::runner::{self, Bench};
use xenolith_tests::scenario::Scenario;
use xenolith_tests::scenarios;

/// Options of `cargo xtask test`.
#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    /// Only boot tests whose name contains one of these, and none of the host's checks
    filter: Vec<String>,
    /// Also the tests that take long, Miri among them
    #[arg(long)]
    long: bool,
    /// Only list the boot tests
    #[arg(long)]
    list: bool,
    /// Only the checks that need no QEMU
    #[arg(long, conflicts_with = "filter")]
    host: bool,
    /// How many machines run at a time
    #[arg(long, value_name = "N", default_value_t = 2)]
    jobs: usize,
    /// Boot a build without optimisations
    #[arg(long)]
    debug: bool,
    /// A kernel for dom0 instead of Debian's
    #[arg(long, value_name = "FILE")]
    linux: Option<PathBuf>,
    #[arg(long, hide = true, value_enum, default_value_t)]
    hypervisor: Hypervisor,
}

/// Run the tests.
pub fn test(options: &Options) -> Result<()> {
    if options.hypervisor == Hypervisor::None {
        bail!("the tests are about a hypervisor");
    }
    let scenarios = select(options);
    if options.list {
        for scenario in &scenarios {
            println!("{:24} {}", scenario.name, scenario.about);
        }
        return Ok(());
    }
    let start = Instant::now();
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    if options.filter.is_empty() && options.hypervisor == Hypervisor::Xenolith {
        (passed, failed) = host_checks();
        if options.long {
            let long = long::checks();
            passed += long.passed;
            failed += long.failed;
            skipped = long.skipped;
        }
    }
    if !options.host {
        if scenarios.is_empty() {
            bail!(
                "no boot test is called {}; see cargo xtask test --list",
                options.filter.join(" or ")
            );
        }
        match bench(options, &scenarios) {
            Ok(bench) => {
                let (well, badly) = runner::run_all(&bench, &scenarios, options.jobs.clamp(1, 2));
                passed += well;
                failed += badly;
            }
            Err(error) => {
                println!("boot tests ... could not run: {error:#}");
                failed += scenarios.len();
            }
        }
    }
    if options.filter.is_empty() && !options.host && options.hypervisor == Hypervisor::Xenolith {
        println!("check cargo xtask compare-boot");
        match compare_boot(options) {
            Ok(()) => passed += 1,
            Err(error) => {
                println!("check cargo xtask compare-boot ... FAILED: {error:#}");
                failed += 1;
            }
        }
    }
    println!("took {} s", start.elapsed().as_secs());
    let skipped = if skipped > 0 {
        format!(", {skipped} skipped")
    } else {
        String::new()
    };
    println!("{passed} passed, {failed} failed{skipped}");
    if failed > 0 {
        bail!("{failed} failed");
    }
    Ok(())
}

/// The log of Linux is compared with that on Debian's Xen; only warnings and worse count.
fn compare_boot(options: &Options) -> Result<()> {
    compare_boot::compare_boot(&compare_boot::Options {
        release: !options.debug,
        warnings: true,
        linux: options.linux.clone(),
        ..compare_boot::Options::default()
    })
}

fn select(options: &Options) -> Vec<Scenario> {
    let is_xen = options.hypervisor == Hypervisor::DebianXen;
    let named = |scenario: &Scenario| {
        options.filter.is_empty()
            || options
                .filter
                .iter()
                .any(|word| scenario.name.contains(word.as_str()))
    };
    scenarios::all()
        .into_iter()
        .filter(|scenario| {
            named(scenario) && (options.long || !scenario.long || !options.filter.is_empty())
        })
        .filter(|scenario| match scenario.not_on_xen {
            Some(reason) if is_xen => {
                println!(
                    "boot {} ... left out on Debian's Xen: {reason}",
                    scenario.name
                );
                false
            }
            _ => true,
        })
        .collect()
}

fn bench(options: &Options, scenarios: &[Scenario]) -> Result<Bench> {
    let is_xen = options.hypervisor == Hypervisor::DebianXen;
    let hypervisor = if is_xen {
        artifacts::debian_xen()?
    } else {
        build::build(&build::Options {
            release: !options.debug,
        })?
    };
    let linux = match &options.linux {
        Some(kernel) => Linux {
            kernel: kernel.clone(),
            modules: None,
        },
        None => Linux::debian()?,
    };
    Bench::new(hypervisor, is_xen, linux, scenarios)
}

/// What needs no QEMU; how many of these checks passed and failed.
fn host_checks() -> (usize, usize) {
    let cargo = |name: &'static str, arguments: &[&str], flags: Option<&str>| {
        let mut command = rust::cargo(arguments);
        command.envs(flags.map(|flags| ("RUSTDOCFLAGS", flags)));
        (
            name,
            Box::new(move || rust::run(&mut command, name)) as Check,
        )
    };
    let clippy = [
        "clippy",
        "--quiet",
        "--workspace",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ];
    let doc = [
        "doc",
        "--quiet",
        "--workspace",
        "--no-deps",
        "--document-private-items",
    ];
    let layout = || {
        layout::run(LayoutArgs {
            headers: None,
            check: true,
        })
    };
    let checks = [
        cargo("cargo fmt", &["fmt", "--all", "--check"], None),
        ("cargo xtask layout", Box::new(layout) as Check),
        (
            "cargo xtask coverage",
            Box::new(|| coverage::run(coverage::Options { check: true })),
        ),
        ("cargo xtask book", Box::new(book::check)),
        ("cargo xtask layers", Box::new(layers::check)),
        cargo("cargo test", &["test", "--workspace"], None),
        cargo("cargo clippy", &clippy, None),
        (
            "cargo clippy of the hypervisor",
            Box::new(clippy_metal) as Check,
        ),
        cargo("cargo doc", &doc, Some("-D warnings")),
    ];
    let (mut passed, mut failed) = (0, 0);
    for (name, mut check) in checks {
        println!("check {name}");
        match check() {
            Ok(()) => passed += 1,
            Err(error) => {
                println!("check {name} ... FAILED: {error:#}");
                failed += 1;
            }
        }
    }
    (passed, failed)
}

type Check = Box<dyn FnMut() -> Result<()>>;

/// The machine side is compiled for its own target only.
fn clippy_metal() -> Result<()> {
    rust::ensure_target(rust::BARE_METAL)?;
    let mut command = rust::cargo(&["clippy", "--quiet", "--package", "xen-core"]);
    command.args(["--target", rust::BARE_METAL, "--", "-D", "warnings"]);
    rust::run(&mut command, "cargo clippy of the hypervisor")
}
