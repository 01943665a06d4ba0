//! Shares of domains and affinities of vCPUs.

use super::*;
use crate::sched::{Policy, Scheduler, Settings};

#[test]
fn affinity_is_cut_to_the_processors_there_are() {
    let hv = world_with(SimConfig {
        cpus: 3,
        ..SimConfig::default()
    });
    let mut dom0 = PvGuest::dom0(&hv, 64);
    dom0.put(&hv, BUFFER, &u64::MAX);
    dom0.put(&hv, SECOND, &u64::MAX);
    let arg = DomctlVcpuaffinity {
        vcpu: 0,
        flags: 3,
        cpumap_hard: bitmap(&dom0, BUFFER, 16),
        cpumap_soft: bitmap(&dom0, SECOND, 8),
    };
    let get = |arg| {
        let u = DomctlU::from_vcpuaffinity(arg);
        op(DomctlCmd::GETVCPUAFFINITY, 0, u)
    };
    assert_eq!(call(&hv, &mut dom0, &get(arg)), Ok(0));
    assert_eq!(word(&hv, &dom0, BUFFER), 0xffff_ffff_ffff_0007);
    assert_eq!(word(&hv, &dom0, SECOND), 0xffff_ffff_ffff_ff07);
    let none = DomctlVcpuaffinity { flags: 0, ..arg };
    assert_eq!(call(&hv, &mut dom0, &get(none)), Err(Errno::EINVAL));
    let bad = DomctlVcpuaffinity { vcpu: 4, ..arg };
    assert_eq!(call(&hv, &mut dom0, &get(bad)), Err(Errno::EINVAL));
}

/// A machine of three processors with dom0 and domain 1.
struct Scene {
    hv: World,
    dom0: PvGuest,
    guest: PvGuest,
}

impl Scene {
    fn new() -> Self {
        let hv = world_with(SimConfig {
            cpus: 3,
            ..SimConfig::default()
        });
        let dom0 = PvGuest::dom0(&hv, 64);
        let guest = PvGuest::unprivileged(&hv, 1, 64);
        Self { hv, dom0, guest }
    }

    /// Sets affinities; returns what is in effect.
    fn set(&mut self, flags: u32, hard: u64, soft: u64) -> Result<(u64, u64), Errno> {
        let Self { hv, dom0, .. } = self;
        dom0.put(hv, BUFFER, &hard);
        dom0.put(hv, SECOND, &soft);
        let arg = DomctlVcpuaffinity {
            vcpu: 0,
            flags,
            cpumap_hard: bitmap(dom0, BUFFER, 64),
            cpumap_soft: bitmap(dom0, SECOND, 64),
        };
        let u = DomctlU::from_vcpuaffinity(arg);
        call(hv, dom0, &op(DomctlCmd::SETVCPUAFFINITY, 1, u))?;
        Ok((word(hv, dom0, BUFFER), word(hv, dom0, SECOND)))
    }

    fn share(
        &mut self,
        sched_id: u32,
        cmd: u32,
        weight: u16,
        cap: u16,
    ) -> Result<(u16, u16), Errno> {
        let Self { hv, dom0, .. } = self;
        let mut arg = DomctlSchedulerOp::new_zeroed();
        (arg.sched_id, arg.cmd) = (sched_id, cmd);
        arg.u.set_credit2(DomctlSchedCredit2 { weight, cap });
        let u = DomctlU::from_scheduler_op(arg);
        call(hv, dom0, &op(DomctlCmd::SCHEDULER_OP, 1, u)).map(|_| {
            let got = answer(hv, dom0).as_scheduler_op().u.as_credit2();
            (got.weight, got.cap)
        })
    }
}

#[test]
fn affinities_are_set_and_the_effective_ones_come_back() {
    let mut scene = Scene::new();
    let words = |mask: crate::machine::CpuMask| mask.words()[0];
    assert_eq!(scene.set(1, 0xe, 0x55), Ok((6, 0x55)));
    let sched = &scene.guest.vcpu.clone().sched;
    assert_eq!(words(sched.hard_affinity()), 6);
    assert_eq!(words(sched.soft_affinity()), u64::MAX);
    assert_eq!(scene.set(2, 0, 3), Ok((0, 2)));
    assert_eq!(words(sched.soft_affinity()), 3);
    assert_eq!(scene.set(3, 5, 6), Ok((5, 4)));
    // Nothing of it is there.
    assert_eq!(scene.set(1, 0xf8, 0), Err(Errno::EINVAL));
    assert_eq!(scene.set(1, 0, 0), Err(Errno::EINVAL));
    assert_eq!(scene.set(0, 7, 7), Err(Errno::EINVAL));
    assert_eq!(words(sched.hard_affinity()), 5);
}

#[test]
fn a_call_that_fails_has_not_changed_the_hard_affinity() {
    let mut scene = Scene::new();
    assert_eq!(scene.set(1, 1, 0), Ok((1, 0)));
    let Scene { hv, dom0, guest } = &mut scene;
    dom0.put(hv, BUFFER, &2u64);
    let mut nowhere = bitmap(dom0, SECOND, 64);
    nowhere.bitmap = GuestHandle::from_addr(0x1000);
    let arg = DomctlVcpuaffinity {
        vcpu: 0,
        flags: 3,
        cpumap_hard: bitmap(dom0, BUFFER, 64),
        cpumap_soft: nowhere,
    };
    let set = op(
        DomctlCmd::SETVCPUAFFINITY,
        1,
        DomctlU::from_vcpuaffinity(arg),
    );
    assert_eq!(call(hv, dom0, &set), Err(Errno::EFAULT));
    assert_eq!(guest.vcpu.sched.hard_affinity().words()[0], 1);
    let null = DomctlVcpuaffinity {
        cpumap_soft: XenctlBitmap::new_zeroed(),
        ..arg
    };
    let set = op(
        DomctlCmd::SETVCPUAFFINITY,
        1,
        DomctlU::from_vcpuaffinity(null),
    );
    assert_eq!(call(hv, dom0, &set), Err(Errno::EINVAL));
}

#[test]
fn a_pinned_vcpu_is_freed_by_force_only() {
    let mut scene = Scene::new();
    assert!(scene.guest.vcpu.sched.pin(CpuId(2)));
    assert_eq!(scene.set(1, 1, 0), Err(Errno::EBUSY));
    assert_eq!(scene.set(2, 0, 1), Err(Errno::EBUSY));
    assert_eq!(scene.set(5, 1, 0), Ok((1, 0)));
    assert_eq!(scene.guest.vcpu.sched.pin_override(), None);
}

#[test]
fn a_vcpu_that_runs_where_it_may_no_longer_is_fetched() {
    let mut scene = Scene::new();
    scene.guest.run_on(&scene.hv, CpuId(2));
    let _ = scene.hv.machine.take_kicked();
    assert_eq!(scene.set(1, 2, 0), Ok((2, 0)));
    assert!(scene.hv.machine.take_kicked().contains(CpuId(2)));
}

#[test]
fn weight_and_cap_are_set_and_read() {
    let mut scene = Scene::new();
    assert_eq!(scene.share(6, 1, 7, 7), Ok((256, 0)));
    assert_eq!(scene.share(6, 0, 512, 50), Ok((512, 50)));
    assert_eq!(scene.share(6, 1, 0, 0), Ok((512, 50)));
    // No weight: it stays. No cap: it is lifted.
    assert_eq!(scene.share(6, 0, 0, 0), Ok((0, 0)));
    assert_eq!(scene.share(6, 1, 0, 0), Ok((512, 0)));
    for cmd in 2..5 {
        assert_eq!(scene.share(6, cmd, 1, 1), Err(Errno::EINVAL));
    }
    assert_eq!(scene.share(5, 1, 0, 0), Err(Errno::EINVAL));
}

#[test]
fn the_null_scheduler_has_no_parameters() {
    let mut scene = Scene::new();
    let settings = Settings {
        policy: Policy::Null,
        ..Settings::default()
    };
    scene.hv.sched = Scheduler::new(settings, 3);
    assert_eq!(scene.share(6, 1, 7, 7), Err(Errno::EINVAL));
    assert_eq!(scene.share(9, 1, 7, 7), Ok((7, 7)));
    assert_eq!(scene.share(9, 0, 7, 7), Ok((7, 7)));
    assert_eq!(scene.guest.domain.sched.weight(), 256);
}
