//! createdomain to destroydomain.

use hypercall_abi::arch_x86::X86EmulationFlags;

use super::*;
use crate::machine::Frames as _;
use crate::num::VcpuId;

fn wish() -> DomctlCreatedomain {
    let mut arg = DomctlCreatedomain::new_zeroed();
    arg.handle = [9; 16];
    arg.ssidref = 12;
    (arg.max_vcpus, arg.max_evtchn_port) = (2, 1023);
    (arg.max_grant_frames, arg.max_maptrack_frames) = (64, -1);
    arg.grant_opts = 1;
    arg
}

fn create(hv: &World, dom0: &mut PvGuest, id: u16, arg: DomctlCreatedomain) -> Result<u16, Errno> {
    let u = DomctlU::from_createdomain(arg);
    call(hv, dom0, &op(DomctlCmd::CREATEDOMAIN, id, u))?;
    let answered = dom0.load(hv, dom0.va(ARG) + 8).expect("mapped");
    Ok(answered as u16)
}

fn max_vcpus(hv: &World, dom0: &mut PvGuest, id: u16, max: u32) -> Result<u64, Errno> {
    let u = DomctlU::from_max_vcpus(DomctlMaxVcpus { max });
    call(hv, dom0, &op(DomctlCmd::MAX_VCPUS, id, u))
}

#[test]
fn a_domain_comes_and_goes() {
    let hv = world();
    let mut dom0 = PvGuest::dom0(&hv, 64);
    let free = hv.mem.free_pages();
    assert_eq!(create(&hv, &mut dom0, 0, wish()), Ok(1));
    assert_eq!(create(&hv, &mut dom0, 0xffff, wish()), Ok(2));
    assert_eq!(create(&hv, &mut dom0, 7, wish()), Ok(7));
    assert_eq!(create(&hv, &mut dom0, 7, wish()), Err(Errno::EEXIST));
    let get = plain(DomctlCmd::GETDOMAININFO, 1);
    assert_eq!(call(&hv, &mut dom0, &get), Ok(0));
    let info = answer(&hv, &dom0).as_getdomaininfo();
    assert_eq!((info.handle, info.ssidref), ([9; 16], 12));
    assert_eq!(info.flags, Dominf::PAUSED.bits() | 0xffff_0000);
    assert_eq!((info.max_vcpu_id, info.tot_pages), (u32::MAX, 0));

    assert_eq!(max_vcpus(&hv, &mut dom0, 1, 1), Err(Errno::EINVAL));
    assert_eq!(max_vcpus(&hv, &mut dom0, 0, 4), Err(Errno::EINVAL));
    hv.machine.yield_after(Some(1));
    assert_eq!(max_vcpus(&hv, &mut dom0, 1, 2), Ok(0));
    hv.machine.yield_after(None);
    assert_eq!(max_vcpus(&hv, &mut dom0, 1, 2), Ok(0));
    let domain = hv.domains.get(DomId(1)).expect("created");
    for id in [0, 1].map(VcpuId) {
        let flags = domain.vcpu(id).expect("created").flags();
        assert!(flags.contains(VcpuFlags::DOWN | VcpuFlags::PAUSED));
    }
    drop(domain);
    let unpause = plain(DomctlCmd::UNPAUSEDOMAIN, 1);
    assert_eq!(call(&hv, &mut dom0, &unpause), Ok(0));

    let destroy = |id| plain(DomctlCmd::DESTROYDOMAIN, id);
    assert_eq!(call(&hv, &mut dom0, &destroy(0)), Err(Errno::EINVAL));
    for id in [1, 2, 7] {
        assert_eq!(call(&hv, &mut dom0, &destroy(id)), Ok(0));
        assert_eq!(call(&hv, &mut dom0, &destroy(id)), Err(Errno::ESRCH));
    }
    assert_eq!(call(&hv, &mut dom0, &get), Err(Errno::ESRCH));
    assert_eq!(hv.mem.free_pages(), free);
    // The next number is a new one.
    assert_eq!(create(&hv, &mut dom0, 0x7ff4, wish()), Ok(3));
}

#[test]
fn a_dead_domain_that_is_still_in_use_is_dying() {
    let hv = world();
    let mut dom0 = PvGuest::dom0(&hv, 64);
    assert_eq!(create(&hv, &mut dom0, 5, wish()), Ok(5));
    let kept = hv.domains.get(DomId(5));
    assert_eq!(
        call(&hv, &mut dom0, &plain(DomctlCmd::DESTROYDOMAIN, 5)),
        Ok(0)
    );
    let get = plain(DomctlCmd::GETDOMAININFO, 5);
    assert_eq!(call(&hv, &mut dom0, &get), Ok(0));
    let flags = answer(&hv, &dom0).as_getdomaininfo().flags;
    assert_ne!(flags & Dominf::DYING.bits(), 0);
    assert_eq!(create(&hv, &mut dom0, 5, wish()), Err(Errno::EEXIST));
    assert_eq!(
        call(&hv, &mut dom0, &plain(DomctlCmd::DESTROYDOMAIN, 5)),
        Ok(0)
    );
    drop(kept);
    assert_eq!(call(&hv, &mut dom0, &get), Err(Errno::ESRCH));
}

#[test]
fn what_cannot_be_made_is_refused() {
    let hv = world();
    let mut dom0 = PvGuest::dom0(&hv, 64);
    let free = hv.mem.free_pages();
    let mut refused = |change: &dyn Fn(&mut DomctlCreatedomain), errno| {
        let mut arg = wish();
        change(&mut arg);
        assert_eq!(create(&hv, &mut dom0, 0, arg), Err(errno), "{arg:?}");
    };
    for flags in [
        DomctlCdf::HVM,
        DomctlCdf::HAP,
        DomctlCdf::IOMMU,
        DomctlCdf::VPMU,
    ] {
        refused(&|arg| arg.flags = flags.bits(), Errno::EINVAL);
    }
    refused(&|arg| arg.flags = 1 << 8, Errno::EINVAL);
    refused(&|arg| arg.iommu_opts = 1, Errno::EINVAL);
    refused(&|arg| arg.vmtrace_size = 4096, Errno::EINVAL);
    refused(&|arg| arg.max_vcpus = 0, Errno::EINVAL);
    refused(&|arg| arg.max_vcpus = 8193, Errno::EINVAL);
    for options in [0, 2, 0x11] {
        refused(&|arg| arg.grant_opts = options, Errno::EINVAL);
    }
    for frames in [0, 65] {
        refused(&|arg| arg.max_grant_frames = frames, Errno::EINVAL);
    }
    refused(&|arg| arg.max_maptrack_frames = 1025, Errno::EINVAL);
    refused(&|arg| arg.cpupool_id = 1, Errno::ENOENT);
    refused(&|arg| arg.arch.misc_flags = 2, Errno::EINVAL);
    refused(&|arg| arg.arch.emulation_flags = 1 << 11, Errno::EINVAL);
    let lapic = X86EmulationFlags::LAPIC.bits();
    refused(&|arg| arg.arch.emulation_flags = lapic, Errno::EOPNOTSUPP);
    assert_eq!(hv.mem.free_pages(), free);
    let mut arg = wish();
    arg.flags = (DomctlCdf::XS_DOMAIN | DomctlCdf::OOS_OFF).bits();
    arg.arch.emulation_flags = X86EmulationFlags::PIT.bits();
    arg.arch.misc_flags = 1;
    assert_eq!(create(&hv, &mut dom0, 0, arg), Ok(1));
    let domain = hv.domains.get(DomId(1)).expect("created");
    assert!(domain.cpu_policy().msr_relaxed());
    let get = plain(DomctlCmd::GETDOMAININFO, 1);
    assert_eq!(call(&hv, &mut dom0, &get), Ok(0));
    let flags = answer(&hv, &dom0).as_getdomaininfo().flags;
    assert_ne!(flags & Dominf::XS_DOMAIN.bits(), 0);
}

#[test]
fn a_domain_that_serves_xenstore_may_ask_who_exists() {
    let hv = world();
    let privileges = Privileges {
        xenstore: true,
        ..Privileges::default()
    };
    let mut store = PvGuest::new(&hv, DomId(3), privileges, 64);
    assert_eq!(
        call(&hv, &mut store, &plain(DomctlCmd::GETDOMAININFO, 0)),
        Ok(0)
    );
    for cmd in [DomctlCmd::PAUSEDOMAIN, DomctlCmd::GETVCPUINFO] {
        assert_eq!(call(&hv, &mut store, &plain(cmd, 3)), Err(Errno::EPERM));
    }
}

#[test]
fn a_suspended_domain_goes_on() {
    let hv = world();
    let mut dom0 = PvGuest::dom0(&hv, 64);
    let domain = PvGuest::unprivileged(&hv, 1, 64).park(&hv);
    let resume = |id| plain(DomctlCmd::RESUMEDOMAIN, id);
    assert_eq!(call(&hv, &mut dom0, &resume(0)), Err(Errno::EINVAL));
    hv.shut_down(&domain, 2);
    let vcpu = domain.vcpu(VcpuId(0)).expect("built");
    assert!(vcpu.flags().contains(VcpuFlags::SHUTDOWN));
    assert_eq!(call(&hv, &mut dom0, &resume(1)), Ok(0));
    assert!(!vcpu.flags().contains(VcpuFlags::SHUTDOWN));
    assert_eq!(
        call(&hv, &mut dom0, &plain(DomctlCmd::GETDOMAININFO, 1)),
        Ok(0)
    );
    let flags = answer(&hv, &dom0).as_getdomaininfo().flags;
    assert_eq!(flags & Dominf::SHUTDOWN.bits(), 0);
    assert_eq!(flags >> DOMINF_SHUTDOWNSHIFT, 0xffff);
}

#[test]
fn the_toolstack_can_be_told_of_a_suspension_by_a_port_of_its_own() {
    let hv = world();
    let mut dom0 = PvGuest::dom0(&hv, 64);
    let domain = PvGuest::unprivileged(&hv, 1, 64).park(&hv);
    let exc = hv
        .bind_virq(&dom0.domain, hypercall_abi::xen::Virq::DOM_EXC, VcpuId(0))
        .expect("free");
    let theirs = hv.alloc_unbound(&domain, DomId(0)).expect("free");
    let ours = hv
        .bind_interdomain(&dom0.domain, &domain, theirs)
        .expect("waits");
    let u = DomctlU::from_subscribe(DomctlSubscribe { port: theirs.0 });
    let subscribe = op(DomctlCmd::SUBSCRIBE, 1, u);
    // Connecting has raised it once.
    let domain0 = dom0.domain.clone();
    let events = &hv.machine.words(domain0.shared_info)[256];
    events.store(0, core::sync::atomic::Ordering::SeqCst);
    assert_eq!(call(&hv, &mut dom0, &subscribe), Ok(0));
    hv.shut_down(&domain, 2);
    assert!(hv.event_pending_for_poll(&domain0, ours));
    assert!(!hv.event_pending_for_poll(&domain0, exc));
    assert_eq!(
        call(&hv, &mut dom0, &plain(DomctlCmd::RESUMEDOMAIN, 1)),
        Ok(0)
    );
    hv.shut_down(&domain, 1);
    assert!(hv.event_pending_for_poll(&domain0, exc));
}
