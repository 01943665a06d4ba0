//! Programs of the host: whether they are there, and how they come there.

use anyhow::{Context, Result, bail};
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// The emulator.
pub const QEMU: &str = "qemu-system-x86_64";

/// The path of `program`, searched as a shell does.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = search_path().ok()?;
    std::env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}

/// Where programs are looked for: `PATH`, and the system's folders that are not on every user's.
pub fn search_path() -> Result<OsString> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    Ok(std::env::join_paths(
        std::env::split_paths(&path).chain(system),
    )?)
}

/// Whether `program` can be called by name.
pub fn has(program: &str) -> bool {
    find(program).is_some()
}

/// Whether this process is root's.
pub fn is_root() -> bool {
    succeeds(Command::new("sh").args(["-c", "test $(id -u) = 0"]))
}

/// How packages can be installed here without asking anybody.
fn installer() -> Option<Vec<&'static str>> {
    if !has("apt-get") {
        return None;
    }
    if is_root() {
        return Some(vec!["apt-get"]);
    }
    let sudo = has("sudo") && succeeds(Command::new("sudo").args(["-n", "true"]));
    sudo.then(|| vec!["sudo", "-n", "apt-get"])
}

fn succeeds(command: &mut Command) -> bool {
    let quiet = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    quiet.status().is_ok_and(|status| status.success())
}

/// QEMU's program, installed first through apt where root or passwordless sudo allows.
pub fn qemu() -> Result<PathBuf> {
    ensure(QEMU, "qemu-system-x86")
}

/// `program` of the Debian packages `packages`, installed first where that is possible.
pub fn ensure(program: &str, packages: &str) -> Result<PathBuf> {
    if let Some(found) = find(program) {
        return Ok(found);
    }
    let Some(apt) = installer() else {
        bail!("{program} is missing: sudo apt-get install --no-install-recommends {packages}");
    };
    eprintln!("install {packages}");
    let call = |arguments: &[&str]| {
        let mut command = Command::new(apt[0]);
        command
            .args(&apt[1..])
            .args(arguments)
            .env("DEBIAN_FRONTEND", "noninteractive");
        succeeds(&mut command)
    };
    let mut install = vec!["install", "-y", "--no-install-recommends"];
    install.extend(packages.split_whitespace());
    let installed = call(&install) || (call(&["update"]) && call(&install));
    if !installed {
        bail!(
            "{} {} failed; run it by hand to see why",
            apt.join(" "),
            install.join(" ")
        );
    }
    find(program).with_context(|| format!("{packages} is installed but holds no {program}"))
}
