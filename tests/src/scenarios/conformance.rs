//! The contract as a kernel sees it: kernels of `tests/guests` that check it call by call, and that break it fatally.

use crate::scenario::Scenario;

/// The areas of the `conformance` kernel.
const AREAS: [(&str, &str, &str); 18] = [
    (
        "conformance-start-of-day",
        "start_of_day",
        "registers, start_info and tables at a kernel's start",
    ),
    (
        "conformance-version",
        "version",
        "xen_version, and hypercalls that do not exist",
    ),
    (
        "conformance-calls",
        "calls",
        "console_io, vm_assist and multicall",
    ),
    (
        "conformance-exceptions",
        "exceptions",
        "exceptions of kernel mode and their frames",
    ),
    (
        "conformance-callbacks",
        "callbacks",
        "entry points, NMIs, stacks and segment bases",
    ),
    (
        "conformance-emulation",
        "emulation",
        "privileged instructions of kernel mode",
    ),
    (
        "conformance-user",
        "user",
        "user mode, system calls and 32-bit code",
    ),
    (
        "conformance-descriptors",
        "descriptors",
        "GDT, LDT and hostile descriptors",
    ),
    (
        "conformance-debug",
        "debug",
        "debug registers and breakpoints",
    ),
    ("conformance-mmu", "mmu", "page tables"),
    (
        "conformance-memory",
        "memory",
        "memory reservations and exchanges",
    ),
    (
        "conformance-control",
        "control",
        "the first domain's own calls, and what they refuse",
    ),
    (
        "conformance-foreign",
        "foreign",
        "a second domain, and its memory, grants and ports from outside",
    ),
    (
        "conformance-running",
        "running",
        "a second domain that runs: what it is told, and its end with mappings both ways",
    ),
    (
        "conformance-grants",
        "grants",
        "grants with oneself as the other side",
    ),
    (
        "conformance-events",
        "events",
        "event channels, bitmaps and queues",
    ),
    ("conformance-timers", "timers", "clock, timers and runstate"),
    (
        "conformance-vcpu-info",
        "vcpu_info",
        "a vCPU's part of the shared page moves",
    ),
];

/// What crashes the domain in the `fatal` kernel.
const CRASHES: [(&str, &str, &str); 9] = [
    (
        "fatal-no-handler",
        "no-handler",
        "an exception without a handler",
    ),
    (
        "fatal-no-event-callback",
        "no-event-callback",
        "an event without a callback",
    ),
    (
        "fatal-user-without-table",
        "user-without-table",
        "user mode without a page table",
    ),
    (
        "fatal-iret-without-frame",
        "iret-without-frame",
        "iret from a stack without a mapping",
    ),
    (
        "fatal-stack-in-hypervisor",
        "stack-in-hypervisor",
        "an exception on a stack in the hypervisor",
    ),
    (
        "fatal-stack-behind-hypervisor",
        "stack-behind-hypervisor",
        "an exception whose frame reaches into the hypervisor",
    ),
    (
        "fatal-stack-unmapped",
        "stack-unmapped",
        "an exception on a stack without a mapping",
    ),
    (
        "fatal-stack-non-canonical",
        "stack-non-canonical",
        "an exception on a stack at no address",
    ),
    (
        "fatal-handler-unmapped",
        "handler-unmapped",
        "a handler of page faults without a mapping",
    ),
];

/// The scenarios of this subject.
pub fn scenarios() -> Vec<Scenario> {
    let areas = AREAS.map(|(name, area, about)| {
        Scenario::guest(name, about, "conformance")
            .dom0_append(area)
            .expect(&format!("area {area}"))
            .expect(r"conformance: \d+ passed, 0 failed")
            .expect("Hardware Dom0 halted")
    });
    let crashes = CRASHES.map(|(name, way, about)| {
        Scenario::guest(name, about, "fatal")
            .dom0_append(way)
            .append("noreboot")
            .expect(&format!("fatal: {way}"))
            .expect("Hardware Dom0 crashed")
    });
    let others = [
        Scenario::guest(
            "conformance-smp",
            "a second vCPU on one processor, and switches between the two",
            "conformance",
        )
        .dom0_append("smp")
        .append("dom0_max_vcpus=2")
        .expect("ok failsafe: vector")
        .expect(r"conformance: \d+ passed, 0 failed")
        .expect("Hardware Dom0 halted"),
        Scenario::guest(
            "conformance-running-smp",
            "two domains that run on two processors",
            "conformance",
        )
        .smp(2)
        .dom0_append("running")
        .append("dom0_max_vcpus=1")
        .expect("ok events there and back")
        .expect(r"conformance: \d+ passed, 0 failed")
        .expect("Hardware Dom0 halted"),
        Scenario::guest(
            "conformance",
            "all areas in one kernel's life",
            "conformance",
        )
        .expect(r"conformance: \d+ passed, 0 failed")
        .expect("Hardware Dom0 halted"),
        Scenario::guest(
            "conformance-smp-bochs",
            "two vCPUs keep their AVX-512 registers apart",
            "conformance",
        )
        .bochs("corei7_skylake_x")
        .dom0_append("smp")
        .append("dom0_max_vcpus=2")
        .expect("ok zmm and mask registers across switches")
        .expect(r"conformance: \d+ passed, 0 failed")
        .expect("Hardware Dom0 halted"),
        Scenario::guest(
            "conformance-bochs",
            "all areas with SMAP, x2APIC, exact stack faults and MOV SS, which QEMU's emulation lacks",
            "conformance",
        )
        .bochs("corei7_skylake_x")
        .expect(r"conformance: \d+ passed, 0 failed")
        .expect("Hardware Dom0 halted"),
        Scenario::guest(
            "fatal-watchdog",
            "a watchdog that has no time left",
            "fatal",
        )
        .dom0_append("watchdog")
        .expect("Watchdog timer fired for domain 0")
        .expect("Hardware Dom0 shutdown"),
        Scenario::guest("fatal-last-vcpu-down", "the last vCPU goes down", "fatal")
            .dom0_append("last-vcpu-down")
            .expect("Hardware Dom0 halted"),
        Scenario::guest(
            "fatal-unknown-shutdown",
            "a shutdown for a reason without a name",
            "fatal",
        )
        .dom0_append("shutdown-7")
        .append("noreboot")
        .expect(r"Hardware Dom0 shutdown \(unknown reason 7\)"),
    ];
    [&areas[..], &crashes, &others].concat()
}
