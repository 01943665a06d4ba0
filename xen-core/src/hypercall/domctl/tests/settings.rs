//! Properties that are set before a domain runs.

use hypercall_abi::arch_x86::CpuidLeaf as WireLeaf;
use hypercall_abi::xen::Virq;

use super::*;
use crate::cpu_policy::Feature;
use crate::machine::Frames;
use crate::num::VcpuId;

#[test]
fn addresses_are_64_bits_wide() {
    let hv = world();
    let mut dom0 = PvGuest::dom0(&hv, 64);
    let _ = PvGuest::unprivileged(&hv, 1, 64);
    let mut set = |size| {
        let u = DomctlU::from_address_size(DomctlAddressSize { size });
        call(&hv, &mut dom0, &op(DomctlCmd::SET_ADDRESS_SIZE, 1, u))
    };
    assert_eq!(set(64), Ok(0));
    assert_eq!(set(32), Err(Errno::EOPNOTSUPP));
    assert_eq!(set(16), Err(Errno::EINVAL));
}

#[test]
fn a_hypercall_page_is_filled_where_the_guest_could_write() {
    let hv = world();
    let mut dom0 = PvGuest::dom0(&hv, 64);
    let guest = PvGuest::unprivileged(&hv, 1, 64);
    let mut init = |gmfn| {
        let u = DomctlU::from_hypercall_init(DomctlHypercallInit { gmfn });
        call(&hv, &mut dom0, &op(DomctlCmd::HYPERCALL_INIT, 1, u))
    };
    let page = guest.mfn(Pfn(5));
    assert_eq!(init(page.0), Ok(0));
    assert_ne!(
        hv.machine.words(page)[0].load(core::sync::atomic::Ordering::SeqCst),
        0
    );
    assert_eq!(init(guest.mfn(guest.l4).0), Err(Errno::EPERM));
    assert_eq!(init(1), Err(Errno::EINVAL));
    crate::sim::audit(&hv, &[&dom0, &guest]);
}

#[test]
fn the_clock_is_set_off() {
    let hv = world();
    let mut dom0 = PvGuest::dom0(&hv, 64);
    let guest = PvGuest::unprivileged(&hv, 1, 64);
    let seconds = || {
        let words = hv.machine.words(guest.domain.shared_info);
        // struct shared_info: wc_version, wc_sec, wc_nsec, wc_sec_hi behind the event masks.
        let at = core::mem::offset_of!(hypercall_abi::xen::SharedInfo, wc_version) / 8;
        let load = |i: usize| words[at + i].load(core::sync::atomic::Ordering::SeqCst);
        load(0) >> 32 | load(1) >> 32 << 32
    };
    let before = seconds();
    let u = DomctlU::from_settimeoffset(DomctlSettimeoffset {
        time_offset_seconds: -3600,
    });
    assert_eq!(
        call(&hv, &mut dom0, &op(DomctlCmd::SETTIMEOFFSET, 1, u)),
        Ok(0)
    );
    assert_eq!(seconds(), before.wrapping_sub(3600));
}

#[test]
fn triggers_and_nodes() {
    let hv = world();
    let mut dom0 = PvGuest::dom0(&hv, 64);
    let guest = PvGuest::unprivileged(&hv, 1, 64);
    let mut send = |trigger, vcpu| {
        let u = DomctlU::from_sendtrigger(DomctlSendtrigger { trigger, vcpu });
        call(&hv, &mut dom0, &op(DomctlCmd::SENDTRIGGER, 1, u))
    };
    assert_eq!(send(0, 0), Ok(0));
    assert!(guest.vcpu.flags().contains(VcpuFlags::NMI_PENDING));
    assert_eq!(send(0, 1), Err(Errno::ESRCH));
    assert_eq!(send(3, 0), Err(Errno::EINVAL));
    assert_eq!(send(1, 0), Err(Errno::ENOSYS));
    let mut nodes = |bits: u64, nr_bits| {
        dom0.put(&hv, BUFFER, &bits);
        let nodemap = bitmap(&dom0, BUFFER, nr_bits);
        let u = DomctlU::from_nodeaffinity(DomctlNodeaffinity { nodemap });
        call(&hv, &mut dom0, &op(DomctlCmd::SETNODEAFFINITY, 1, u))
    };
    assert_eq!(nodes(1, 64), Ok(0));
    assert_eq!(nodes(2, 64), Err(Errno::EINVAL));
    assert_eq!(nodes(1, 0), Err(Errno::EINVAL));
}

#[test]
fn a_global_virq_can_be_somebody_elses() {
    let hv = world();
    let mut dom0 = PvGuest::dom0(&hv, 64);
    let store = PvGuest::unprivileged(&hv, 3, 64);
    let port = hv
        .bind_virq(&store.domain, Virq::DOM_EXC, VcpuId(0))
        .expect("free");
    let own = hv
        .bind_virq(&dom0.domain, Virq::DOM_EXC, VcpuId(0))
        .expect("free");
    let mut set = |virq| {
        let u = DomctlU::from_set_virq_handler(DomctlSetVirqHandler { virq });
        call(&hv, &mut dom0, &op(DomctlCmd::SET_VIRQ_HANDLER, 3, u))
    };
    assert_eq!(set(Virq::TIMER), Err(Errno::EINVAL));
    assert_eq!(set(Virq(24)), Err(Errno::EINVAL));
    assert_eq!(set(Virq::DOM_EXC), Ok(0));
    hv.send_global_virq(Virq::DOM_EXC);
    assert!(hv.event_pending_for_poll(&store.domain, port));
    assert!(!hv.event_pending_for_poll(&dom0.domain, own));
    // Its end is dom0's business again.
    let domain = store.park(&hv);
    while hv.destroy(&domain).is_err() {}
    assert!(hv.event_pending_for_poll(&dom0.domain, own));
}

#[test]
fn a_policy_can_be_narrowed_until_the_domain_has_run() {
    let hv = rich_world();
    let mut dom0 = PvGuest::dom0(&hv, 64);
    let u = {
        let mut arg = DomctlCreatedomain::new_zeroed();
        (arg.max_vcpus, arg.max_grant_frames, arg.grant_opts) = (1, 1, 1);
        DomctlU::from_createdomain(arg)
    };
    assert_eq!(
        call(&hv, &mut dom0, &op(DomctlCmd::CREATEDOMAIN, 1, u)),
        Ok(0)
    );
    let domain = hv.domains.get(DomId(1)).expect("created");
    assert!(domain.cpu_policy().has(Feature::FSGSBASE));
    let set = |dom0: &mut PvGuest, leaf: WireLeaf, nr_leaves| {
        dom0.put(&hv, BUFFER, &leaf);
        let mut arg = DomctlCpuPolicy::new_zeroed();
        arg.leaves = GuestHandle::from_addr(dom0.va(BUFFER));
        arg.nr_leaves = nr_leaves;
        let u = DomctlU::from_cpu_policy(arg);
        let result = call(&hv, dom0, &op(DomctlCmd::SET_CPU_POLICY, 1, u));
        (result, answer(&hv, dom0).as_cpu_policy())
    };
    let mut narrow = WireLeaf::new_zeroed();
    (narrow.leaf, narrow.subleaf) = (7, 0);
    assert_eq!(set(&mut dom0, narrow, 1).0, Ok(0));
    assert!(!domain.cpu_policy().has(Feature::FSGSBASE));
    // More leaves than the processor has.
    let mut beyond = WireLeaf::new_zeroed();
    (beyond.leaf, beyond.subleaf, beyond.a) = (0, u32::MAX, 0x7fff_ffff);
    let (result, arg) = set(&mut dom0, beyond, 1);
    assert_eq!(result, Err(Errno::EINVAL));
    assert_eq!((arg.err_leaf, arg.err_subleaf), (0, u32::MAX));
    let (result, arg) = set(&mut dom0, narrow, 10_000);
    assert_eq!(result, Err(Errno::E2BIG));
    assert_eq!((arg.err_leaf, arg.err_msr), (u32::MAX, u32::MAX));
    let unpause = plain(DomctlCmd::UNPAUSEDOMAIN, 1);
    assert_eq!(call(&hv, &mut dom0, &unpause), Ok(0));
    assert_eq!(set(&mut dom0, narrow, 1).0, Err(Errno::EEXIST));
    let own = plain(DomctlCmd::SET_CPU_POLICY, 0);
    assert_eq!(call(&hv, &mut dom0, &own), Err(Errno::EINVAL));
}

#[test]
fn what_xen_without_shadow_paging_answers() {
    let hv = world();
    let mut dom0 = PvGuest::dom0(&hv, 64);
    let _ = PvGuest::unprivileged(&hv, 1, 64);
    let mut shadow = |id, op_, mode| {
        let mut arg = DomctlShadowOp::new_zeroed();
        (arg.op, arg.mode) = (op_, mode);
        let u = DomctlU::from_shadow_op(arg);
        call(&hv, &mut dom0, &op(DomctlCmd::SHADOW_OP, id, u))
    };
    assert_eq!(shadow(1, 0, 0), Err(Errno::EINVAL));
    assert_eq!(shadow(1, 2, 0), Err(Errno::EOPNOTSUPP));
    assert_eq!(shadow(1, 32, 4), Err(Errno::EOPNOTSUPP));
    assert_eq!(shadow(1, 11, 2), Err(Errno::EINVAL));
    assert_eq!(shadow(0, 0, 0), Err(Errno::EINVAL));
}

#[test]
fn ports_and_frames_of_devices_are_given_and_taken() {
    let hv = world();
    let mut dom0 = PvGuest::dom0(&hv, 64);
    let guest = PvGuest::unprivileged(&hv, 1, 64);
    let ports = |dom0: &mut PvGuest, first_port, nr_ports, allow_access| {
        let mut arg = DomctlIoportPermission::new_zeroed();
        (arg.first_port, arg.nr_ports, arg.allow_access) = (first_port, nr_ports, allow_access);
        let u = DomctlU::from_ioport_permission(arg);
        call(&hv, dom0, &op(DomctlCmd::IOPORT_PERMISSION, 1, u))
    };
    let reaches = |port| crate::pv::emulate::port_permitted(&hv, &guest.domain, port);
    assert!(!reaches(0x300));
    assert_eq!(ports(&mut dom0, 0x300, 8, 1), Ok(0));
    assert!(reaches(0x300) && reaches(0x307) && !reaches(0x308));
    assert_eq!(ports(&mut dom0, 0x300, 1, 0), Ok(0));
    assert!(!reaches(0x300) && reaches(0x301));
    // What dom0 does not have it cannot give.
    assert_eq!(ports(&mut dom0, 0x1f, 2, 1), Err(Errno::EPERM));
    assert_eq!(ports(&mut dom0, 0x300, 0, 1), Err(Errno::EINVAL));
    assert_eq!(ports(&mut dom0, 0xffff, 2, 1), Err(Errno::EINVAL));
    let frames = |dom0: &mut PvGuest, first_mfn, nr_mfns, allow_access| {
        let mut arg = DomctlIomemPermission::new_zeroed();
        (arg.first_mfn, arg.nr_mfns, arg.allow_access) = (first_mfn, nr_mfns, allow_access);
        let u = DomctlU::from_iomem_permission(arg);
        call(&hv, dom0, &op(DomctlCmd::IOMEM_PERMISSION, 1, u))
    };
    assert_eq!(frames(&mut dom0, 0xfeb00, 16, 1), Ok(0));
    let has = |frame| {
        guest
            .domain
            .rights
            .lock()
            .frames
            .contains(&(frame..frame + 1))
    };
    assert!(has(0xfeb0f) && !has(0xfeb10));
    assert_eq!(frames(&mut dom0, 0xfeb00, 16, 0), Ok(0));
    assert!(!has(0xfeb00));
    // The local APIC is nobody's.
    assert_eq!(frames(&mut dom0, 0xfedff, 1, 1), Ok(0));
    assert_eq!(frames(&mut dom0, 0xfee00, 1, 1), Err(Errno::EPERM));
    assert_eq!(frames(&mut dom0, 0xf0000, 0x20000, 1), Err(Errno::EPERM));
    assert_eq!(frames(&mut dom0, u64::MAX, 2, 1), Err(Errno::EINVAL));
    assert_eq!(frames(&mut dom0, 0, 0, 1), Err(Errno::EINVAL));
    let irq = |dom0: &mut PvGuest, pirq| {
        let mut arg = DomctlIrqPermission::new_zeroed();
        (arg.pirq, arg.allow_access) = (pirq, 1);
        let u = DomctlU::from_irq_permission(arg);
        call(&hv, dom0, &op(DomctlCmd::IRQ_PERMISSION, 1, u))
    };
    // Not mapped by dom0, and not there at all.
    assert_eq!(irq(&mut dom0, 5), Err(Errno::EPERM));
    assert_eq!(irq(&mut dom0, 100_000), Err(Errno::EINVAL));
}
