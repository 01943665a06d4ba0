//! The hypervisor binary `xenolith`: everything is in `metal`, which exists only for the bare-metal target.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
extern crate alloc;

#[cfg(target_os = "none")]
mod metal;

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("The hypervisor runs on bare metal. Build a bootable file with: cargo xtask build");
    std::process::exit(1);
}
