//! Instructions executed by a guest of the simulated machine.

mod forced;
mod instructions;
mod msrs;
mod ports;
mod ro_fault;

use std::sync::Arc;
use std::vec::Vec;

use super::priv_op::{GpOutcome, general_protection};
use crate::cpu_policy::CpuPolicies;
use crate::domain::PendingException;
use crate::hypervisor::Hypervisor;
use crate::machine::CpuidLeaf;
use crate::num::Pfn;
use crate::sim::{PvGuest, SimMachine, world};

/// Where the instructions lie.
const CODE: Pfn = Pfn(1);
/// A page of data.
const DATA: Pfn = Pfn(3);

/// A hypervisor and the guest whose instructions it emulates.
struct Bench {
    hv: Hypervisor<SimMachine>,
    guest: PvGuest,
}

const fn leaf(a: u32, b: u32, c: u32, d: u32) -> CpuidLeaf {
    CpuidLeaf { a, b, c, d }
}

impl Bench {
    /// dom0 or an unprivileged guest on an Intel processor with XSAVE.
    fn new(dom0: bool) -> Self {
        Self::on(dom0, &[])
    }

    /// The same on an AMD processor with RDTSCP, data breakpoint extensions and IBPB.
    fn amd(dom0: bool) -> Self {
        Self::on(
            dom0,
            &[
                (0, leaf(0xd, 0x6874_7541, 0x444d_4163, 0x6974_6e65)),
                (
                    0x8000_0000,
                    leaf(0x8000_0008, 0x6874_7541, 0x444d_4163, 0x6974_6e65),
                ),
                (0x8000_0001, leaf(0, 0, 1 | 1 << 26, 0x2010_0800 | 1 << 27)),
                (0x8000_0008, leaf(0x3028, 1 << 12, 0, 0)),
            ],
        )
    }

    fn on(dom0: bool, leaves: &[(u32, CpuidLeaf)]) -> Self {
        let mut hv = world();
        hv.machine
            .set_cpuid(1, 0, leaf(0x306c3, 0, 1 << 26, 0x0789_fbff));
        hv.machine.set_cpuid(0xd, 0, leaf(3, 576, 576, 0));
        hv.machine.set_cpuid(7, 0, leaf(0, 1, 0, 0));
        for &(number, values) in leaves {
            hv.machine.set_cpuid(number, 0, values);
        }
        hv.policies = CpuPolicies::detect(&hv.machine);
        let mut guest = if dom0 {
            PvGuest::dom0(&hv, 64)
        } else {
            PvGuest::unprivileged(&hv, 1, 64)
        };
        guest.regs.cs = 0xe033;
        guest.regs.rflags = 0x202;
        Self { hv, guest }
    }

    /// Puts bytes at the start of the code page and points RIP at them.
    fn code(&mut self, bytes: &[u8]) {
        self.guest.regs.rip = self.guest.put(&self.hv, CODE, bytes);
    }

    /// Puts bytes at an address and points RIP at them.
    fn code_at(&mut self, addr: u64, bytes: &[u8]) {
        self.guest.store(&self.hv, addr, bytes).unwrap();
        self.guest.regs.rip = addr;
    }

    fn gp(&mut self, error_code: u32) -> GpOutcome {
        let guest = &mut self.guest;
        general_protection(
            &self.hv,
            &guest.domain,
            &guest.vcpu,
            &mut guest.ctx,
            &mut guest.regs,
            error_code,
        )
    }

    /// Executes one instruction that raised #GP(0).
    fn run(&mut self, bytes: &[u8]) -> GpOutcome {
        self.code(bytes);
        self.gp(0)
    }

    /// Executes one that must work, and be stepped over.
    fn must_run(&mut self, bytes: &[u8]) {
        assert_eq!(self.run(bytes), GpOutcome::Emulated, "{bytes:x?}");
        assert_eq!(
            self.guest.regs.rip,
            self.guest.va(CODE) + bytes.len() as u64
        );
    }

    /// Executes one that must be refused and change nothing.
    fn must_fault(&mut self, bytes: &[u8]) {
        self.code(bytes);
        let before = *self.guest.regs;
        assert_eq!(self.gp(0), GpOutcome::Inject, "{bytes:x?}");
        assert_eq!(
            zerocopy::IntoBytes::as_bytes(&before),
            zerocopy::IntoBytes::as_bytes(&*self.guest.regs)
        );
    }

    /// Goes to guest user mode, as far as emulation cares.
    fn user_mode(&mut self) {
        self.guest.ctx.kernel_mode = false;
        self.guest.ctx.user_root = self.guest.ctx.kernel_root;
    }

    fn pending(&mut self) -> Option<PendingException> {
        self.guest.ctx.pending_exception.take()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        // Roots are references; this one was only borrowed.
        self.guest.ctx.user_root = None;
    }
}

/// Address of the last `count` bytes of a page.
fn end_of(bench: &Bench, page: Pfn, count: u64) -> u64 {
    bench.guest.va(page) + 0x1000 - count
}

/// Every value that fits in a byte, for table tests.
fn all_bytes() -> Vec<u8> {
    (0..=u8::MAX).collect()
}

/// A policy is shared by all domains that use it.
#[test]
fn the_guest_has_the_hosts_policy() {
    let bench = Bench::new(true);
    assert!(Arc::ptr_eq(
        &bench.guest.domain.cpu_policy(),
        &bench.hv.policies.hardware_domain()
    ));
}
