//! Checks the PV contract from inside: what a kernel sees at its start, every hypercall with good and bad arguments, traps,
//! page tables, events, timers and grants. One line per check, and at the end `conformance: N passed, M failed`.
//!
//! The words of the command line name the areas to run; none means all. Every check passes on Xen 4.17.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![allow(
    clippy::result_large_err,
    reason = "there is no heap to keep a trap in"
)]

#[cfg(target_os = "none")]
mod areas;
#[cfg(target_os = "none")]
mod call;
#[cfg(target_os = "none")]
mod pages;
#[cfg(target_os = "none")]
mod report;

#[cfg(target_os = "none")]
mod guest {
    use pv_guest_shim::hypercall_abi::sched::ShutdownReason;
    use pv_guest_shim::hypercall_abi::xen::StartInfo;
    use pv_guest_shim::{println, sched, start};

    use crate::{areas, report};

    pv_guest_shim::entry!(main);

    fn main(start_info: &'static StartInfo) -> ! {
        let mapped = start::init(start_info);
        report::number("map_shared_info", mapped, 0);
        let end = start_info.cmd_line.iter().position(|&byte| byte == 0);
        let line = start_info.cmd_line.get(..end.unwrap_or(0)).unwrap_or(&[]);
        let line = core::str::from_utf8(line).unwrap_or("");
        let chosen = |name: &str| line.split_whitespace().any(|word| word == name);
        let all = !areas::AREAS.iter().any(|(name, _)| chosen(name));
        for (name, run) in areas::AREAS {
            if all || chosen(name) {
                println!("area {name}");
                run(start_info);
            }
        }
        let (passed, failed) = report::totals();
        println!("conformance: {passed} passed, {failed} failed");
        sched::shutdown(ShutdownReason::POWEROFF)
    }
}

#[cfg(not(target_os = "none"))]
fn main() {
    println!("a PV guest: build it with --target x86_64-unknown-none");
}
