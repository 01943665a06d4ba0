//! The way out of the hypervisor, on the simulated machine.

extern crate std;

use std::boxed::Box;

use hypercall_abi::arch_x86::CpuUserRegs;
use zerocopy::FromZeros;

use crate::domain::VcpuFlags;
use crate::hypervisor::{CpuLocal, Running};
use crate::num::CpuId;
use crate::pv::switch::{BLOCKED, RUNNING};
use crate::sim::{PvGuest, world};

const CPU: CpuId = CpuId(0);

/// A processor that runs the guest's vCPU, which has just gone to sleep.
fn asleep(guest: PvGuest) -> (CpuLocal, Box<CpuUserRegs>) {
    guest.vcpu.clear_flags(VcpuFlags::DOWN);
    guest.vcpu.set_flags(VcpuFlags::BLOCKED);
    let PvGuest {
        domain, vcpu, ctx, ..
    } = guest;
    let mut cpu = CpuLocal::new(CPU);
    cpu.current = Some(Running { domain, vcpu, ctx });
    (cpu, Box::new(CpuUserRegs::new_zeroed()))
}

#[test]
fn the_end_of_a_slice_does_not_keep_an_idle_processor_awake() {
    let hv = world();
    let (mut cpu, mut regs) = asleep(PvGuest::unprivileged(&hv, 1, 32));
    let vcpu = cpu.current.as_ref().expect("vCPU").vcpu.clone();
    let other = PvGuest::unprivileged(&hv, 2, 32).vcpu;
    other.set_running(None);
    other.clear_flags(VcpuFlags::DOWN);
    hv.wake(&other);
    hv.sched.start_slice(CPU, &vcpu, 0);
    other.set_flags(VcpuFlags::BLOCKED);
    hv.program_timer(CPU);
    assert!(hv.machine.deadline(CPU).is_some());
    for _ in 0..2 {
        assert!(hv.reschedule(&mut cpu, &mut regs).is_continue());
        assert_eq!(hv.machine.deadline(CPU), None);
    }
}

#[test]
fn who_is_woken_by_a_non_maskable_interrupt_counts_as_running() {
    let hv = world();
    let (mut cpu, mut regs) = asleep(PvGuest::dom0(&hv, 32));
    let vcpu = cpu.current.as_ref().expect("vCPU").vcpu.clone();
    assert!(hv.reschedule(&mut cpu, &mut regs).is_continue());
    assert_eq!(vcpu.runstate.lock().state, BLOCKED);
    hv.machine.raise_nmi(CPU);
    assert!(hv.reschedule(&mut cpu, &mut regs).is_continue());
    assert!(vcpu.is_runnable());
    assert_eq!(vcpu.runstate.lock().state, RUNNING);
}
