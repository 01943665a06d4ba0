//! `xeno-xenconsoled`: serves the consoles of guests.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use dom0_tools::console::daemon::{Options, serve};

/// Serve the consoles of guests.
#[derive(Parser, Debug)]
#[command(name = "xeno-xenconsoled", version, about)]
struct Cli {
    /// Which logs to write: guest, hv, all or none
    #[arg(long, default_value = "guest")]
    log: String,
    /// Where logs go
    #[arg(long, default_value = "/var/log/xen/console")]
    log_dir: PathBuf,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let (guests, hypervisor) = match cli.log.as_str() {
        "guest" => (true, false),
        "hv" => (false, true),
        "all" => (true, true),
        "none" => (false, false),
        other => {
            eprintln!("xeno-xenconsoled: --log {other}: expected guest, hv, all or none");
            return ExitCode::from(2);
        }
    };
    let options = Options {
        logs: (guests || hypervisor).then_some(cli.log_dir),
        log_hypervisor: hypervisor,
    };
    match serve(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xeno-xenconsoled: {error}");
            ExitCode::FAILURE
        }
    }
}
