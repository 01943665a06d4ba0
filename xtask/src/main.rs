//! `cargo xtask`: build, run, test. One file per command; each says in its first line what it does.

mod bench;
mod book;
mod build;
mod compare_boot;
mod container;
mod coverage;
mod doctor;
mod fetch;
mod gdb;
mod iso;
mod layers;
mod layout;
mod long;
mod machine;
mod run;
mod sources;
mod symbols;
mod test;
mod tokens;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Build, run and test Xenolith.
#[derive(Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    disable_help_subcommand = true
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Derive hypercall-abi/tests/layout.golden from Xen's headers, or check it
    Layout(layout::LayoutArgs),
    /// Write docs/hypercall-coverage.md from the code, or check it
    Coverage(coverage::Options),
    /// Check the book: links, options, the lock order
    Book,
    /// Check which modules of the logic use which, and the sizes of files
    Layers,
    /// Build the hypervisor into one bootable file, target/xenolith.elf
    Build(build::Options),
    /// Boot the hypervisor and Linux in QEMU, with a root shell on this terminal
    Run(run::Options),
    /// Download what boots and tests need from Debian
    Fetch(fetch::Options),
    /// Check that this machine has what the other commands need
    Doctor,
    /// Run the checks, the host tests and the boot tests
    Test(test::Options),
    /// Boot Linux on Debian's Xen and on ours and compare what it logs
    CompareBoot(compare_boot::Options),
    /// Count instructions and memory beside Debian's Xen; fails above a bound
    Bench(bench::Options),
    /// Attach gdb to a machine that `run --gdb` started
    Gdb(gdb::Options),
    /// Make a GRUB boot CD, target/xenolith.iso
    Iso(iso::Options),
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Layout(args) => layout::run(args),
        Command::Coverage(options) => coverage::run(options),
        Command::Book => book::check(),
        Command::Layers => layers::check(),
        Command::Build(options) => build::build(&options).map(|_| ()),
        Command::Run(options) => run::run(&options),
        Command::Test(options) => test::test(&options),
        Command::CompareBoot(options) => compare_boot::compare_boot(&options),
        Command::Bench(options) => bench::bench(&options),
        Command::Fetch(options) => fetch::fetch(&options),
        Command::Doctor => doctor::doctor(),
        Command::Gdb(options) => gdb::gdb(&options),
        Command::Iso(options) => iso::iso(&options),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
