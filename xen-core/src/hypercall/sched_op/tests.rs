//! What one domain does to another, or to the processor it runs on, on a simulated machine.

use hypercall_abi::errno::Errno;
use hypercall_abi::sched::{
    SchedOp, SchedPinOverride, SchedRemoteShutdown, SchedShutdown, ShutdownReason,
};
use hypercall_abi::vcpu::VcpuOp;
use hypercall_abi::xen::{DomId, HypercallNr};
use zerocopy::{FromZeros, Immutable, IntoBytes};

use crate::domain::VcpuFlags;
use crate::hypervisor::Hypervisor;
use crate::num::Pfn;
use crate::sim::{PvGuest, SimMachine, world};

/// Where arguments are put.
const ARG: Pfn = Pfn(1);
const PAGES: u64 = 64;

fn sched<T: IntoBytes + Immutable>(
    hv: &Hypervisor<SimMachine>,
    guest: &mut PvGuest,
    op: SchedOp,
    arg: &T,
) -> i64 {
    let at = guest.put(hv, ARG, arg);
    guest.hypercall(hv, HypercallNr::SCHED_OP, [op.0.into(), at, 0, 0, 0, 0])
}

fn remote(id: u16) -> SchedRemoteShutdown {
    let mut arg = SchedRemoteShutdown::new_zeroed();
    arg.domain_id = DomId(id);
    arg.reason = ShutdownReason::CRASH;
    arg
}

#[test]
fn only_the_control_domain_shuts_others_down_and_never_itself() {
    let hv = world();
    let mut dom0 = PvGuest::dom0(&hv, PAGES);
    let mut guest = PvGuest::unprivileged(&hv, 1, PAGES);
    let op = SchedOp::REMOTE_SHUTDOWN;
    assert_eq!(
        sched(&hv, &mut guest, op, &remote(0)),
        Errno::EPERM.to_ret()
    );
    assert_eq!(sched(&hv, &mut dom0, op, &remote(0)), Errno::ESRCH.to_ret());
    assert_eq!(sched(&hv, &mut dom0, op, &remote(7)), Errno::ESRCH.to_ret());
    assert!(guest.domain.ending.lock().shutdown.is_none());
    assert_eq!(sched(&hv, &mut dom0, op, &remote(1)), 0);
    let reason = guest.domain.ending.lock().shutdown;
    assert_eq!(reason, Some(ShutdownReason::CRASH.0));
}

#[test]
fn the_first_shutdown_code_counts() {
    let hv = world();
    let mut guest = PvGuest::unprivileged(&hv, 1, PAGES);
    let mut arg = SchedShutdown::new_zeroed();
    for reason in [ShutdownReason::REBOOT, ShutdownReason::CRASH] {
        arg.reason = reason;
        assert_eq!(sched(&hv, &mut guest, SchedOp::SHUTDOWN_CODE, &arg), 0);
    }
    arg.reason = ShutdownReason::POWEROFF;
    assert_eq!(sched(&hv, &mut guest, SchedOp::SHUTDOWN, &arg), 0);
    let reason = guest.domain.ending.lock().shutdown;
    assert_eq!(reason, Some(ShutdownReason::REBOOT.0));
}

#[test]
fn the_hardware_domain_pins_itself_once_and_lets_go() {
    let hv = world();
    let mut dom0 = PvGuest::dom0(&hv, PAGES);
    let mut guest = PvGuest::unprivileged(&hv, 1, PAGES);
    let op = SchedOp::PIN_OVERRIDE;
    let to = |pcpu| SchedPinOverride { pcpu };
    assert_eq!(sched(&hv, &mut guest, op, &to(0)), Errno::EPERM.to_ret());
    assert_eq!(sched(&hv, &mut dom0, op, &to(-1)), Errno::EINVAL.to_ret());
    assert_eq!(sched(&hv, &mut dom0, op, &to(4000)), Errno::EINVAL.to_ret());
    assert_eq!(sched(&hv, &mut dom0, op, &to(0)), 0);
    assert_eq!(sched(&hv, &mut dom0, op, &to(0)), Errno::EBUSY.to_ret());
    assert_eq!(sched(&hv, &mut dom0, op, &to(-1)), 0);
}

#[test]
fn a_domain_whose_last_vcpu_goes_down_is_powered_off() {
    let hv = world();
    let mut guest = PvGuest::unprivileged(&hv, 1, PAGES);
    let down = [VcpuOp::DOWN.0.into(), 0, 0, 0, 0, 0];
    assert_eq!(guest.hypercall(&hv, HypercallNr::VCPU_OP, down), 0);
    assert!(guest.vcpu.flags().contains(VcpuFlags::DOWN));
    let reason = guest.domain.ending.lock().shutdown;
    assert_eq!(reason, Some(ShutdownReason::POWEROFF.0));
}
