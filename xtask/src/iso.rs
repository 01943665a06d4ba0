//! `cargo xtask iso`: a CD that boots the hypervisor and dom0 through GRUB on any PC with a BIOS or, with `--uefi`, with UEFI.

use crate::machine::Dom0;
use anyhow::Result;
use xenolith_tests::iso::Firmware;

/// Options of `cargo xtask iso`.
#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    #[command(flatten)]
    dom0: Dom0,
    /// For UEFI instead of a BIOS
    #[arg(long)]
    uefi: bool,
}

/// Make the image.
pub fn iso(options: &Options) -> Result<()> {
    let files = options.dom0.prepare()?;
    let firmware = if options.uefi {
        Firmware::Uefi
    } else {
        Firmware::Bios
    };
    println!("{}", files.iso(firmware)?.display());
    Ok(())
}
