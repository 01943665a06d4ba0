//! `cargo xtask gdb`: a debugger with the hypervisor's symbols on a machine that `run --gdb` started.

use anyhow::{Context, Result, bail};
use std::os::unix::process::CommandExt;
use std::process::Command;
use xenolith_tests::artifacts::{host, target_dir};

/// Options of `cargo xtask gdb`.
#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    /// Only print the command
    #[arg(long)]
    print: bool,
}

/// Start gdb in this process's place.
pub fn gdb(options: &Options) -> Result<()> {
    let symbols = target_dir().join("xenolith.debug");
    if !symbols.exists() {
        bail!("{} is missing: cargo xtask build", symbols.display());
    }
    let arguments = [
        "-ex",
        "set architecture i386:x86-64",
        "-ex",
        "target remote localhost:1234",
    ];
    if options.print {
        let quoted: Vec<String> = arguments.iter().map(|word| format!("'{word}'")).collect();
        println!(
            "gdb {} {}",
            symbols.display(),
            quoted.join(" ").replace("'-ex'", "-ex")
        );
        return Ok(());
    }
    let program = host::ensure("gdb", "gdb")?;
    Err(Command::new(program).arg(symbols).args(arguments).exec()).context("start gdb")
}
