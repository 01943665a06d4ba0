//! `cargo xtask fetch`: download what boots and tests need, so that they later run without a network.

use anyhow::Result;
use xenolith_tests::artifacts::{self, Linux, host};
use xenolith_tests::devices;
use xenolith_tests::iso::{self, Firmware};

/// Options of `cargo xtask fetch`.
#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    /// Also what only the tests need: Debian's Xen, GRUB and its tools, UEFI, a Debian root file system
    #[arg(long)]
    pub all: bool,
}

/// Fetch.
pub fn fetch(options: &Options) -> Result<()> {
    println!("{}", host::qemu()?.display());
    println!("{}", artifacts::busybox()?.display());
    let linux = Linux::debian()?;
    println!("{}", linux.kernel.display());
    if options.all {
        println!("{}", artifacts::debian_xen()?.display());
        for firmware in [Firmware::Bios, Firmware::Uefi] {
            for folder in iso::packages(firmware)? {
                println!("{}", folder.display());
            }
        }
        for folder in artifacts::toolstack::packages()? {
            println!("{}", folder.display());
        }
        println!("{}", devices::firmware()?.display());
        println!("{}", devices::debian_disk()?.display());
    }
    Ok(())
}
