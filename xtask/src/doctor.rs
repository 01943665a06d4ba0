//! `cargo xtask doctor`: what this machine has of what the other commands need.

use anyhow::{Result, bail};
use std::path::Path;
use std::process::Command;
use xenolith_tests::artifacts::{deb, debian_root, host, workspace};

/// Print one line for each need; fail if something that `run` needs is missing and cannot be installed.
pub fn doctor() -> Result<()> {
    let mut missing = 0;
    let mut report = |fine: bool, what: &str, advice: &str| {
        println!(
            "{:4} {what}{}",
            if fine { "ok" } else { "--" },
            if fine {
                String::new()
            } else {
                format!(": {advice}")
            }
        );
        missing += u32::from(!fine);
    };
    report(
        cfg!(all(target_arch = "x86_64", target_os = "linux")),
        "x86-64 Linux",
        "other hosts are not supported",
    );
    let cc = "sudo apt-get install --no-install-recommends gcc libc6-dev";
    report(host::has("cc"), "C compiler and linker", cc);
    let targets = installed_targets();
    for target in ["x86_64-unknown-none", "x86_64-unknown-linux-musl"] {
        let advice = format!("rustup target add {target} (done when first needed)");
        report(
            targets.lines().any(|line| line == target),
            &format!("Rust target {target}"),
            &advice,
        );
    }
    let qemu = "sudo apt-get install --no-install-recommends qemu-system-x86 (done when first needed, as root)";
    report(host::has(host::QEMU), "QEMU", qemu);
    let packages = host::has("apt-get") && host::has("apt-cache") && host::has("dpkg-deb");
    report(
        packages,
        "apt-get, apt-cache, dpkg-deb",
        "use run --linux FILE --initrd FILE",
    );
    for (program, package) in debian_root::TOOLS {
        let advice = format!(
            "sudo apt-get install --no-install-recommends {package} (done when first needed, as root)"
        );
        report(
            host::has(program),
            &format!("{program}, for --root debian"),
            &advice,
        );
    }
    println!("     packages are kept in {}", deb::cache_dir().display());
    let kvm = Path::new("/dev/kvm").exists();
    println!(
        "     KVM: {}",
        if kvm {
            "there (run --kvm uses it)"
        } else {
            "not there, emulation is used"
        }
    );
    if missing > 0 {
        bail!("{missing} of the above missing");
    }
    Ok(())
}

fn installed_targets() -> String {
    let rustup = Command::new("rustup")
        .args(["target", "list", "--installed"])
        .current_dir(workspace())
        .output();
    rustup
        .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
        .unwrap_or_default()
}
