//! A whole Debian as dom0: board, firmware, disk controller and network card in pairs, memory, load.
//!
//! They run when asked for, because each boots a whole distribution and makes its disk first. Each scenario logs in at the
//! console, so the list of what systemd could not start is part of every one of them.

use crate::devices::{Chipset, Devices, Disk, Nic};
use crate::scenario::{End, Scenario};

/// Machines in which every two choices of board, firmware, disk and network card meet once.
const MATRIX: [(&str, &str, Devices); 6] = [
    (
        "debian-pc-virtio",
        "debian-long-pc-virtio",
        devices(Chipset::Pc, false, Disk::Virtio, Nic::Virtio),
    ),
    (
        "debian-q35-uefi-virtio-e1000e",
        "debian-long-q35-uefi-virtio-e1000e",
        devices(Chipset::Q35, true, Disk::Virtio, Nic::E1000e),
    ),
    (
        "debian-q35-nvme-virtio",
        "debian-long-q35-nvme-virtio",
        devices(Chipset::Q35, false, Disk::Nvme, Nic::Virtio),
    ),
    (
        "debian-pc-uefi-nvme-e1000e",
        "debian-long-pc-uefi-nvme-e1000e",
        devices(Chipset::Pc, true, Disk::Nvme, Nic::E1000e),
    ),
    (
        "debian-pc-uefi-ahci-virtio",
        "debian-long-pc-uefi-ahci-virtio",
        devices(Chipset::Pc, true, Disk::Ahci, Nic::Virtio),
    ),
    (
        "debian-q35-ahci-e1000e",
        "debian-long-q35-ahci-e1000e",
        devices(Chipset::Q35, false, Disk::Ahci, Nic::E1000e),
    ),
];

const fn devices(chipset: Chipset, uefi: bool, disk: Disk, nic: Nic) -> Devices {
    Devices {
        chipset,
        uefi,
        disk,
        nic,
    }
}

/// The scenarios of this subject.
pub fn scenarios() -> Vec<Scenario> {
    let power_off = |scenario: Scenario| scenario.enter("poweroff\n").end(End::PowerOff);
    let short = MATRIX.iter().map(|(name, _, devices)| {
        let about = "Debian to login; its disk and network carry data";
        power_off(
            Scenario::debian(name, about, *devices)
                .smp(if devices.uefi { 2 } else { 1 })
                .debian_checks("system disk:10 network:10"),
        )
    });
    let long = MATRIX.iter().map(|(_, name, devices)| {
        let about = "what Debian wrote to its disk is there after a reset; 100 MB each way";
        power_off(
            Scenario::debian(name, about, *devices)
                .reboots()
                .smp(2)
                .debian_checks("system disk:100 network:100")
                .enter("reboot\n")
                .login()
                .debian_checks("disk-again network:100"),
        )
    });
    let usual = Devices::default();
    let others = [
        power_off(
            Scenario::debian(
                "debian-reset",
                "what was written before a reset without warning is on the disk; ssh lets root in",
                usual,
            )
            .reboots()
            .debian_checks("disk:10")
            .ssh("cat /etc/hostname /sys/hypervisor/type", "dom0\nxen")
            .enter("echo b > /proc/sysrq-trigger\n")
            .login()
            .debian_checks("disk-again"),
        ),
        power_off(
            Scenario::debian(
                "debian-load",
                "two processors: ballooning, swap, verified stress, clocks, vCPUs that leave and come back",
                usual,
            )
            .smp(2)
            .debian_checks("balloon swap:5 stress:15 clock:10 hotplug"),
        ),
        power_off(
            Scenario::debian(
                "debian-long-load",
                "minutes of verified stress on four processors, with swap and ballooning",
                Devices {
                    chipset: Chipset::Q35,
                    ..usual
                },
            )
            .smp(4)
            .memory("2G")
            .patience(3600)
            .debian_checks("balloon swap:60 stress:240 clock:180 hotplug hotplug"),
        ),
    ];
    let all = short.chain(long).chain(others);
    all.map(Scenario::long).collect()
}
