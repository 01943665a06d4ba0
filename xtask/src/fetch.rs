//! `cargo xtask fetch`: download what boots and tests need, so that they later run without a network.

use anyhow::Result;
use xenolith_tests::artifacts::{self, Linux, host};
use xenolith_tests::iso;

/// Options of `cargo xtask fetch`.
#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    /// Also what only the tests need: Debian's Xen, GRUB and its tools
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
        for folder in iso::packages()? {
            println!("{}", folder.display());
        }
    }
    Ok(())
}
