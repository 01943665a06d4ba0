//! Ways for dom0 to end, and what the machine does then.

use crate::pv_kernel::{PvKernel, Shutdown};
use crate::scenario::{End, Kernel, Scenario};

fn halts() -> Vec<u8> {
    PvKernel {
        shutdown: Shutdown::PowerOff,
        ..PvKernel::default()
    }
    .file()
}

fn reboots() -> Vec<u8> {
    PvKernel {
        shutdown: Shutdown::Reboot,
        ..PvKernel::default()
    }
    .file()
}

fn crashes() -> Vec<u8> {
    PvKernel {
        shutdown: Shutdown::Crash,
        ..PvKernel::default()
    }
    .file()
}

fn faults() -> Vec<u8> {
    PvKernel {
        shutdown: Shutdown::Fault,
        ..PvKernel::default()
    }
    .file()
}

/// The scenarios of this subject.
pub fn scenarios() -> Vec<Scenario> {
    vec![
        Scenario::kernel(
            "shutdown-halt",
            "SHUTDOWN_poweroff halts the machine",
            Kernel::Made(halts),
        )
        .expect("Hardware Dom0 halted")
        .stays_on(),
        Scenario::kernel(
            "shutdown-reboot",
            "SHUTDOWN_reboot resets the machine",
            Kernel::Made(reboots),
        )
        .expect("Hardware Dom0 shutdown")
        .end(End::Reset),
        Scenario::kernel(
            "shutdown-reboot-asked",
            "noreboot is about crashes, not about a reboot that dom0 asks for",
            Kernel::Made(reboots),
        )
        .append("noreboot")
        .expect("Hardware Dom0 shutdown")
        .end(End::Reset),
        Scenario::kernel(
            "shutdown-crash",
            "SHUTDOWN_crash resets the machine",
            Kernel::Made(crashes),
        )
        .expect("Hardware Dom0 crashed")
        .end(End::Reset),
        Scenario::kernel(
            "shutdown-crash-noreboot",
            "with noreboot a crash halts",
            Kernel::Made(crashes),
        )
        .append("noreboot")
        .expect("Hardware Dom0 crashed")
        .stays_on(),
        Scenario::kernel(
            "dom0-fault",
            "a fault that dom0 has no handler for is reported with its registers",
            Kernel::Made(faults),
        )
        .expect("(?i)domain 0 .*crashed")
        .expect("(?i)RIP: +e033:")
        .expect("rax: [0-9a-f]{16}")
        .expect("Hardware Dom0 crashed")
        .end(End::Reset),
        Scenario::linux("dom0-reboot", "reboot in dom0 resets the machine")
            .dom0_append("then=reboot")
            .expect("INIT reboot")
            .expect("Hardware Dom0 shutdown")
            .end(End::Reset),
        Scenario::linux("dom0-halt", "halt in dom0 halts the machine")
            .dom0_append("then=halt")
            .expect("INIT halt")
            .expect("Hardware Dom0 halted")
            .stays_on(),
        Scenario::linux(
            "dom0-crash",
            "a panic of dom0's kernel is reported and resets the machine",
        )
        .dom0_append("then=crash")
        .tolerate("Kernel panic")
        .expect("INIT crash")
        .expect("Kernel panic - not syncing: sysrq triggered crash")
        .expect("Hardware Dom0 crashed")
        .end(End::Reset),
    ]
}
