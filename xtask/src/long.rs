//! The checks of `cargo xtask test --long` that need no QEMU: Miri, and properties with many more cases.
//!
//! They may need more than the stable toolchain. What is missing is installed where rustup can; otherwise the check is
//! skipped, with the reason, and counted as skipped.

use anyhow::Result;
use std::process::Command;
use xenolith_tests::artifacts::{host, rust, workspace};

/// The toolchain that has Miri.
const NIGHTLY: &str = "nightly";
/// What Miri needs of it: the sources are for Miri's own standard library.
const COMPONENTS: [&str; 2] = ["miri", "rust-src"];
/// Modules of xen-core that Miri runs, as filters of test names; `mm` is also `pv::mm`, `emulate` also `pv::emulate`.
const MIRI_MODULES: [&str; 5] = ["mm", "evtchn", "grant", "emulate", "dom0"];
/// What these contain that only moves much data, which an interpreter takes hours for.
const MIRI_SKIPPED: [&str; 1] = ["dom0::decompress"];
/// proptest looks for its files and reads its environment; a simulated machine lives as long as the test; and iced-x86
/// does not keep to the experimental aliasing rules and has casts of integers to pointers.
const MIRI_FLAGS: &str = "-Zmiri-disable-isolation -Zmiri-ignore-leaks -Zmiri-disable-stacked-borrows \
    -Zmiri-permissive-provenance";
/// Cases of each property under Miri.
const MIRI_CASES: &str = "4";
/// The sequences of page-type changes, and with how many cases they run here.
const SEQUENCES: &str = "pv::mm::tests::random";
const SEQUENCE_CASES: &str = "2000";

/// How many checks ended how.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// Ran and found nothing.
    pub passed: usize,
    /// Ran and found something, or could not run although everything is there.
    pub failed: usize,
    /// Something that they need cannot be had.
    pub skipped: usize,
}

/// Run them all.
pub fn checks() -> Tally {
    let mut tally = Tally::default();
    let mut check = |name: &str, missing: Option<String>, run: &dyn Fn() -> Result<()>| {
        println!("check {name}");
        if let Some(reason) = missing {
            println!("check {name} ... skipped: {reason}");
            tally.skipped += 1;
            return;
        }
        match run() {
            Ok(()) => tally.passed += 1,
            Err(error) => {
                println!("check {name} ... FAILED: {error:#}");
                tally.failed += 1;
            }
        }
    };
    check("page-type sequences", None, &sequences);
    let missing = missing_of_miri();
    check("Miri of hypercall-abi", missing.clone(), &miri_abi);
    check("Miri of xen-core", missing, &miri_core);
    tally
}

fn sequences() -> Result<()> {
    let mut command = rust::cargo(&["test", "--package", "xen-core", "--lib", SEQUENCES]);
    command.env("PROPTEST_CASES", SEQUENCE_CASES);
    rust::run(&mut command, "the page-type sequences")
}

/// Only the library: `tests/layout.rs` compares texts of megabytes, without a line of code under test.
fn miri_abi() -> Result<()> {
    rust::run(
        &mut miri(&["--package", "hypercall-abi", "--lib"]),
        "Miri of hypercall-abi",
    )
}

fn miri_core() -> Result<()> {
    let mut command = miri(&["--package", "xen-core", "--lib", "--"]);
    command.args(MIRI_MODULES.map(|module| format!("{module}::")));
    for skipped in MIRI_SKIPPED {
        command.args(["--skip", skipped]);
    }
    rust::run(&mut command, "Miri of xen-core")
}

/// `cargo miri test` with `arguments`.
fn miri(arguments: &[&str]) -> Command {
    // The cargo that runs this program is not rustup's: it knows no `+nightly`.
    let mut command = Command::new("rustup");
    command
        .args(["run", NIGHTLY, "cargo", "miri", "test"])
        .args(arguments)
        .current_dir(workspace())
        .env("PROPTEST_CASES", MIRI_CASES)
        .env("MIRIFLAGS", MIRI_FLAGS);
    command
}

/// Why Miri cannot run here; None if it can, installed now if need be.
fn missing_of_miri() -> Option<String> {
    if !host::has("rustup") {
        return Some("Miri needs a nightly toolchain and there is no rustup".into());
    }
    let Some(installed) = rustup(&["component", "list", "--installed", "--toolchain", NIGHTLY])
    else {
        return Some(format!(
            "there is no nightly toolchain; rustup toolchain install {NIGHTLY} --component {}",
            COMPONENTS.join(",")
        ));
    };
    let lacking = lacking(&installed);
    if lacking.is_empty() {
        return None;
    }
    let add = [&["component", "add", "--toolchain", NIGHTLY], &lacking[..]].concat();
    rustup(&add)
        .is_none()
        .then(|| format!("rustup {} failed", add.join(" ")))
}

/// Which components are not in rustup's list of those that are installed.
fn lacking(installed: &str) -> Vec<&'static str> {
    COMPONENTS
        .into_iter()
        .filter(|component| !installed.lines().any(|line| line.starts_with(component)))
        .collect()
}

/// What rustup prints; None if it fails.
fn rustup(arguments: &[&str]) -> Option<String> {
    let output = Command::new("rustup").args(arguments).output().ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_filter_names_a_module() {
        let source = workspace().join("xen-core/src");
        for module in MIRI_MODULES.iter().chain(&MIRI_SKIPPED).chain([&SEQUENCES]) {
            let path = source.join(module.replace("::", "/"));
            let file = path.with_extension("rs");
            assert!(path.is_dir() || file.is_file(), "there is no {module}");
        }
    }

    #[test]
    fn components_are_listed_with_their_host() {
        let list = "cargo-x86_64-unknown-linux-gnu\nmiri-x86_64-unknown-linux-gnu\n";
        assert_eq!(lacking(list), ["rust-src"]);
        assert_eq!(lacking(""), COMPONENTS);
        assert!(lacking("miri-x86_64-unknown-linux-gnu\nrust-src\n").is_empty());
    }
}
