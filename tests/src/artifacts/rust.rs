//! Programs of this workspace for other targets: built by cargo when a boot needs them.

use super::{host, target_dir, workspace};
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The target of the hypervisor and of guests.
pub const BARE_METAL: &str = "x86_64-unknown-none";

/// The target of static Linux programs.
pub const LINUX_STATIC: &str = "x86_64-unknown-linux-musl";

/// A cargo command in the workspace, by the cargo that runs this very program.
pub fn cargo(arguments: &[&str]) -> Command {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    command.args(arguments).current_dir(workspace());
    command
}

/// Run `command`; `what` names it in the error if it fails.
pub fn run(command: &mut Command, what: &str) -> Result<()> {
    let status = command.status().with_context(|| format!("start {what}"))?;
    if !status.success() {
        bail!("{what} failed");
    }
    Ok(())
}

/// Install a compilation target when it is not there yet.
pub fn ensure_target(target: &str) -> Result<()> {
    let mut rustc = Command::new("rustc");
    let sysroot = rustc
        .args(["--print", "sysroot"])
        .current_dir(workspace())
        .output();
    let sysroot = sysroot.context("start rustc")?;
    let sysroot = String::from_utf8_lossy(&sysroot.stdout).trim().to_owned();
    if Path::new(&sysroot)
        .join("lib/rustlib")
        .join(target)
        .join("lib")
        .is_dir()
    {
        return Ok(());
    }
    if !host::has("rustup") {
        bail!("the Rust target {target} is missing and there is no rustup to install it with");
    }
    let mut rustup = Command::new("rustup");
    rustup
        .args(["target", "add", target])
        .current_dir(workspace());
    run(&mut rustup, &format!("rustup target add {target}"))
}

/// The programs that dom0's checks run, as static Linux executables: the path of `program`.
pub fn dom0_program(program: &str) -> Result<PathBuf> {
    ensure_target(LINUX_STATIC)?;
    let mut command = cargo(&[
        "build",
        "--quiet",
        "--release",
        "--package",
        "dom0-programs",
    ]);
    command
        .args(["--target", LINUX_STATIC])
        .arg("--target-dir")
        .arg(target_dir());
    run(&mut command, "cargo build of dom0's programs")?;
    Ok(target_dir()
        .join(LINUX_STATIC)
        .join("release")
        .join(program))
}

/// The folder with the toolstack's programs, built now as static Linux executables.
pub fn toolstack() -> Result<PathBuf> {
    ensure_target(LINUX_STATIC)?;
    let mut command = cargo(&["build", "--quiet", "--release", "--package", "dom0-tools"]);
    command
        .args(["--target", LINUX_STATIC])
        .arg("--target-dir")
        .arg(target_dir());
    run(&mut command, "cargo build of the toolstack")?;
    Ok(target_dir().join(LINUX_STATIC).join("release"))
}

/// The folder with the PV guests of `tests/guests`, built now.
pub fn guests() -> Result<PathBuf> {
    ensure_target(BARE_METAL)?;
    let mut command = cargo(&[
        "build",
        "--release",
        "--package",
        "xenolith-test-guests",
        "--bins",
    ]);
    command
        .args(["--target", BARE_METAL])
        .arg("--target-dir")
        .arg(target_dir());
    run(&mut command, "cargo build of the guests")?;
    Ok(target_dir().join(BARE_METAL).join("release"))
}
