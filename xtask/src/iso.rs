//! `cargo xtask iso`: a CD that boots the hypervisor and dom0 through GRUB on any PC with a BIOS.

use crate::machine::Dom0;
use anyhow::Result;
use xenolith_tests::artifacts::target_dir;
use xenolith_tests::iso;

/// Options of `cargo xtask iso`.
#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    #[command(flatten)]
    dom0: Dom0,
}

/// Make the image.
pub fn iso(options: &Options) -> Result<()> {
    let files = options.dom0.prepare()?;
    let image = target_dir().join("xenolith.iso");
    iso::write(&files.hypervisor, &files.append, &files.modules, &image)?;
    println!("{}", image.display());
    Ok(())
}
