//! Kernels other than Linux as first domain.

use crate::scenario::{Kernel, Scenario, hello};

/// The scenarios of this subject.
pub fn scenarios() -> Vec<Scenario> {
    let greeting = "Hello from a small PV kernel";
    vec![
        Scenario::kernel(
            "pv-hello",
            "a raw ELF kernel prints through console_io",
            Kernel::Made(hello),
        )
        .expect(greeting)
        .expect("Hardware Dom0 halted")
        .stays_on(),
        Scenario::kernel(
            "pv-hello-grub",
            "a raw ELF kernel starts through GRUB",
            Kernel::Made(hello),
        )
        .grub()
        .expect(greeting)
        .expect("Hardware Dom0 halted")
        .stays_on(),
        Scenario::kernel(
            "pv-hello-smp",
            "the first domain starts on a machine of four processors",
            Kernel::Made(hello),
        )
        .smp(4)
        .expect(greeting)
        .expect("Hardware Dom0 halted")
        .stays_on(),
        Scenario::kernel(
            "pv-hello-bochs",
            "x2APIC, TSC deadline, PCID and SMAP, which QEMU's emulation lacks",
            Kernel::Made(hello),
        )
        .bochs("corei7_skylake_x")
        .expect(greeting)
        .expect("Hardware Dom0 halted")
        .stays_on(),
        Scenario::guest(
            "guest-hello",
            "the shim's smallest guest says hello",
            "hello",
        )
        .expect("hello from a PV guest with \\d+ pages")
        .expect("Hardware Dom0 halted")
        .stays_on(),
        Scenario::guest(
            "guest-paging",
            "code written to the x86_64 crate's paging traits maps, flushes and cleans up; ballooning",
            "paging",
        )
        .expect("one frame, two places: 0x1111")
        .expect("invlpg is answered")
        .expect(r"refused: Some\(EBUSY\)")
        .expect(r"wrote to \d+ frames")
        .expect(r"balloon: \d+ frames before and after")
        .expect("Hardware Dom0 halted")
        .stays_on(),
    ]
}
