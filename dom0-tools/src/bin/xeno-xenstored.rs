//! The daemon that keeps the store (`xenstored`).

use std::process::ExitCode;

use clap::Parser;
use dom0_tools::xenstored::host::Host;
use dom0_tools::xenstored::options::Options;
use dom0_tools::xenstored::platform::{Nothing, Platform};
use dom0_tools::xenstored::start;

fn main() -> ExitCode {
    let options = Options::parse();
    let platform = || -> Result<Box<dyn Platform>, String> {
        match Host::open() {
            Ok(host) => Ok(Box::new(host)),
            // A store for sockets only, on a machine without Xen.
            Err(_) if options.no_domain_init => Ok(Box::new(Nothing)),
            Err(error) => Err(error),
        }
    };
    match start::run(&options, platform) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xeno-xenstored: {error}");
            ExitCode::FAILURE
        }
    }
}
