//! Project tasks: build, run, test.

mod layout;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

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
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Layout(args) => layout::run(args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
