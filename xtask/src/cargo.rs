//! Runs cargo and rustup, the way this very command was run.

use anyhow::{Context, Result, bail};
use std::process::Command;
use xenolith_tests::artifacts::{host, workspace};

/// The target of the hypervisor and of guests.
pub const BARE_METAL: &str = "x86_64-unknown-none";

/// A cargo command in the workspace.
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
    let sysroot = Command::new("rustc")
        .args(["--print", "sysroot"])
        .current_dir(workspace())
        .output();
    let sysroot = sysroot.context("start rustc")?;
    let sysroot = String::from_utf8_lossy(&sysroot.stdout).trim().to_owned();
    if std::path::Path::new(&sysroot)
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
