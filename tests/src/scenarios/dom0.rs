//! Debian's Linux as dom0: memory sizes, CPU models, loaders, the console, 32-bit programs, vector registers.

use crate::scenario::{End, Scenario};

/// The scenarios of this subject.
pub fn scenarios() -> Vec<Scenario> {
    let to_shell = |name, about| {
        Scenario::linux(name, about)
            .dom0_append("checks=shell then=poweroff")
            .check("shell")
            .end(End::PowerOff)
    };
    vec![
        to_shell("dom0-512m", "Linux reaches its shell with 512 MiB").memory("512M"),
        to_shell("dom0-1g", "Linux reaches its shell with 1 GiB"),
        to_shell(
            "dom0-4g",
            "Linux reaches its shell with 4 GiB, some of it above the PCI hole",
        )
        .memory("4G"),
        // The emulator needs memory for what is written only: the frame table and what dom0 uses.
        to_shell(
            "dom0-64g",
            "Linux reaches its shell on a machine of 64 GiB, where frame numbers need more than 20 bits",
        )
        .memory("64G")
        .append("dom0_mem=512M")
        .qemu(&[
            "-object",
            "memory-backend-ram,id=ram,size=64G,reserve=off",
            "-machine",
            "memory-backend=ram",
        ]),
        to_shell("dom0-intel", "Linux reaches its shell on an Intel model").cpu("Skylake-Client"),
        to_shell("dom0-amd", "Linux reaches its shell on an AMD model").cpu("EPYC"),
        to_shell(
            "dom0-qemu64",
            "Linux reaches its shell on the plainest model",
        )
        .cpu("qemu64"),
        to_shell(
            "dom0-grub",
            "GRUB loads hypervisor and Linux by multiboot 2",
        )
        .grub(),
        to_shell(
            "dom0-q35",
            "Linux reaches its shell on a PCI Express machine",
        )
        .qemu(&["-machine", "q35"]),
        // Linux takes sysenter from 32-bit programs on Intel's processors only, syscall on AMD's only.
        Scenario::linux(
            "dom0-programs32-amd",
            "32-bit programs enter Linux by int 0x80 and syscall",
        )
        .dom0_append("checks=int80,syscall32 then=poweroff")
        .check("int80")
        .check("syscall32")
        .end(End::PowerOff),
        Scenario::linux(
            "dom0-programs32-intel",
            "32-bit programs enter Linux by int 0x80 and sysenter",
        )
        .cpu("Skylake-Client")
        .dom0_append("checks=int80,sysenter then=poweroff")
        .check("int80")
        .check("sysenter")
        .end(End::PowerOff),
        Scenario::linux(
            "dom0-vectors",
            "two processes keep their vector registers apart",
        )
        .dom0_append("checks=fpu then=poweroff")
        .check("fpu")
        .end(End::PowerOff),
        Scenario::linux(
            "dom0-smp2",
            "two processors under load keep memory, time and processes right",
        )
        .smp(2)
        .dom0_append("checks=shell,stress then=poweroff")
        .check("shell")
        .check("stress")
        .end(End::PowerOff),
        Scenario::linux(
            "dom0-smp4",
            "four processors under load, which leave and come back",
        )
        .smp(4)
        .dom0_append("checks=stress,hotplug,fpu then=reboot")
        .check("stress")
        .check("hotplug")
        .check("fpu")
        .end(End::Reset),
        Scenario::linux("dom0-maxcpus", "option maxcpus leaves processors out")
            .smp(4)
            .append("maxcpus=3")
            .dom0_append("checks=shell then=poweroff")
            .expect("Brought up 3 CPUs")
            .expect("smp: Brought up 1 node, 3 CPUs")
            .check("shell")
            .end(End::PowerOff),
        Scenario::linux(
            "dom0-console",
            "commands typed at the serial line reach the shell",
        )
        .expect("Root shell of dom0")
        .expect("dom0 # ")
        .enter("echo $((6 * 7)) answers; cat /sys/hypervisor/type\n")
        .expect("^42 answers\n.*xen")
        .enter("poweroff\n")
        .end(End::PowerOff),
        Scenario::linux("dom0-nmi", "an NMI without a cause is passed to Linux")
            .expect("dom0 # ")
            .qmp("inject-nmi")
            .expect("NMI received for unknown reason")
            .enter("echo $((6 * 7)) answers; poweroff\n")
            .expect("^42 answers")
            .end(End::PowerOff),
        Scenario::linux(
            "dom0-recount",
            "the records of all pages agree with what Linux's page tables refer to",
        )
        .smp(2)
        .expect("dom0 # ")
        .enter("\x01\x01\x01")
        .expect("Serial input to Xen")
        .enter("O")
        .expect(r"Page references: 1 domains, \d+ pages, 0 differences")
        .expect(r"Audit clean: \d+ grant mappings, \d+ ports")
        .enter("\x01\x01\x01")
        .expect("Serial input to DOM0")
        .enter("poweroff\n")
        .end(End::PowerOff)
        .not_on_xen("the key is this hypervisor's own"),
        Scenario::linux(
            "console-switch",
            "Ctrl-A three times leads to the hypervisor's keys and back",
        )
        .expect("dom0 # ")
        .enter("\x01\x01\x01")
        .expect("Serial input to Xen")
        .enter("h")
        .expect("'h' pressed")
        .expect("reboot machine")
        .enter("\x01\x01\x01")
        .expect("Serial input to DOM0")
        .enter("echo $((6 * 7)) answers\n")
        .expect("^42 answers")
        .enter("\x01\x01\x01")
        .expect("Serial input to Xen")
        .enter("R")
        .expect("'R' pressed")
        .end(End::Reset),
        Scenario::linux(
            "dom0-disk-ide",
            "Linux reads and writes a disk by port I/O and an edge interrupt",
        )
        .disk()
        .dom0_append("checks=disk then=poweroff")
        .check("disk")
        .end(End::PowerOff),
        Scenario::linux(
            "dom0-disk-ahci",
            "Linux reads and writes a disk by MMIO and MSI or a level interrupt",
        )
        .qemu(&["-machine", "q35"])
        .disk()
        .dom0_append("checks=disk then=poweroff")
        .check("disk")
        .end(End::PowerOff),
        Scenario::linux(
            "dom0-power-button",
            "the power button reaches Linux by ACPI's interrupt",
        )
        .dom0_append("checks=button then=poweroff")
        .expect("press the power button")
        .qmp("system_powerdown")
        .check("button")
        .end(End::PowerOff),
        to_shell("dom0-bochs", "Linux reaches its shell in Bochs")
            .bochs("corei7_skylake_x")
            .long(),
    ]
}
