//! `cargo xtask run`: banner, Linux, root shell, all on this terminal.

use crate::machine::{Computer, Dom0};
use anyhow::{Context, Result, bail};
use std::os::unix::process::CommandExt;
use std::process::Command;
use xenolith_tests::artifacts::host;
use xenolith_tests::devices::{debian_disk, free_port};
use xenolith_tests::qemu;

/// Options of `cargo xtask run`.
#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    #[command(flatten)]
    computer: Computer,
    #[command(flatten)]
    dom0: Dom0,
    /// Wait for gdb on port 1234 before the first instruction (see `cargo xtask gdb`)
    #[arg(long)]
    gdb: bool,
}

/// Boot; QEMU takes this process's place.
pub fn run(options: &Options) -> Result<()> {
    if options.computer.kvm && !std::path::Path::new("/dev/kvm").exists() {
        bail!("there is no /dev/kvm on this machine: leave --kvm out to emulate");
    }
    let program = host::qemu()?;
    let files = options.dom0.prepare()?;
    let mut machine = options.computer.machine(options.dom0.hypervisor);
    let devices = options.computer.devices();
    if options.dom0.root.is_some() {
        let disk = debian_disk()?;
        let port = free_port()?;
        machine.extra = devices.arguments(&disk, false, port)?;
        eprintln!(
            "ssh -p {port} -o StrictHostKeyChecking=no root@localhost, once it is up; what it writes to its disk is lost in the end."
        );
    } else {
        machine.extra = devices.board()?;
    }
    let mut command = Command::new(program);
    // Ctrl-A belongs to the hypervisor's console, so QEMU's own escape is Ctrl-].
    command
        .args(qemu::arguments(
            &machine,
            &files.boot(options.computer.uefi)?,
        ))
        .args(["-nographic", "-no-reboot", "-echr", "0x1d"]);
    if options.gdb {
        command.args(["-s", "-S"]);
        eprintln!("The machine waits for `cargo xtask gdb` in another terminal.");
    }
    eprintln!("Ctrl-A three times: talk to the hypervisor and back. Ctrl-] x: leave QEMU.");
    Err(command.exec()).context("start QEMU")
}
