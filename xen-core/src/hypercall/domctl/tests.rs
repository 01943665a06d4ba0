//! The errnos and answers of domctl, on a simulated machine.

use hypercall_abi::domctl::*;
use hypercall_abi::errno::Errno;
use hypercall_abi::guest_handle::GuestHandle;
use hypercall_abi::xen::{DomId, HypercallNr, XenctlBitmap};
use zerocopy::FromZeros;

use crate::cpu_policy::{CpuPolicies, MAX_LEAVES, MAX_MSRS};
use crate::domain::{Privileges, VcpuFlags};
use crate::hypervisor::Hypervisor;
use crate::machine::{Clock, CpuidLeaf, PvCpu};
use crate::num::{CpuId, Pfn};
use crate::sim::{PvGuest, SimConfig, SimMachine, world, world_with};

type World = Hypervisor<SimMachine>;

mod context;
mod lifecycle;
mod scheduling;
mod settings;

/// A machine whose processor has XSAVE, FSGSBASE and RDTSCP.
fn rich_world() -> World {
    let mut hv = world();
    let change = |leaf, subleaf, add: CpuidLeaf| {
        let has = hv.machine.cpuid(leaf, subleaf);
        let leaf_with = CpuidLeaf {
            a: has.a.max(add.a),
            b: has.b | add.b,
            c: has.c | add.c,
            d: has.d | add.d,
        };
        hv.machine.set_cpuid(leaf, subleaf, leaf_with);
    };
    let leaf = |a, b, c, d| CpuidLeaf { a, b, c, d };
    change(0, 0, leaf(0xd, 0, 0, 0));
    change(1, 0, leaf(0, 0, 1 << 26, 0));
    change(7, 0, leaf(0, 1, 0, 0));
    change(0xd, 0, leaf(3, 576, 576, 0));
    change(0x8000_0001, 0, leaf(0, 0, 0, 1 << 27));
    hv.policies = CpuPolicies::detect(&hv.machine);
    hv
}

const ARG: Pfn = Pfn(1);
const BUFFER: Pfn = Pfn(2);
const SECOND: Pfn = Pfn(4);

fn op(cmd: DomctlCmd, domain: u16, u: DomctlU) -> Domctl {
    Domctl {
        cmd,
        interface_version: DOMCTL_INTERFACE_VERSION,
        domain: DomId(domain),
        _pad: [0; 3],
        u,
    }
}

fn plain(cmd: DomctlCmd, domain: u16) -> Domctl {
    op(cmd, domain, DomctlU::new_zeroed())
}

fn call(hv: &World, guest: &mut PvGuest, op: &Domctl) -> Result<u64, Errno> {
    let addr = guest.put(hv, ARG, op);
    let returned = guest.hypercall(hv, HypercallNr::DOMCTL, [addr, 0, 0, 0, 0, 0]);
    u64::try_from(returned).map_err(|_| {
        i32::try_from(-returned)
            .ok()
            .and_then(Errno::from_raw)
            .expect("an errno of the contract")
    })
}

/// The union after a call.
fn answer(hv: &World, guest: &PvGuest) -> DomctlU {
    let mut u = DomctlU::new_zeroed();
    for (i, word) in (0..).zip(&mut u.0) {
        *word = guest.load(hv, guest.va(ARG) + 16 + i * 8).expect("mapped");
    }
    u
}

fn word(hv: &World, guest: &PvGuest, pfn: Pfn) -> u64 {
    guest.load(hv, guest.va(pfn)).expect("mapped")
}

fn bitmap(guest: &PvGuest, pfn: Pfn, nr_bits: u32) -> XenctlBitmap {
    XenctlBitmap {
        bitmap: GuestHandle::from_addr(guest.va(pfn)),
        nr_bits,
        _pad: [0; 4],
    }
}

#[test]
fn checks_come_in_the_documented_order() {
    let hv = world();
    let mut dom0 = PvGuest::dom0(&hv, 64);
    let mut guest = PvGuest::unprivileged(&hv, 1, 64);
    let fault = guest.hypercall(&hv, HypercallNr::DOMCTL, [0x1000, 0, 0, 0, 0, 0]);
    assert_eq!(fault, Errno::EFAULT.to_ret());
    let mut unknown = plain(DomctlCmd(999), 9);
    assert_eq!(call(&hv, &mut guest, &unknown), Err(Errno::ESRCH));
    assert_eq!(call(&hv, &mut dom0, &unknown), Err(Errno::ESRCH));
    unknown.domain = DomId(1);
    assert_eq!(call(&hv, &mut guest, &unknown), Err(Errno::EPERM));
    assert_eq!(call(&hv, &mut dom0, &unknown), Err(Errno::ENOSYS));
    // The number of a new domain is nobody's yet.
    let create = plain(DomctlCmd::CREATEDOMAIN, 9);
    assert_eq!(call(&hv, &mut guest, &create), Err(Errno::EPERM));
    assert_eq!(call(&hv, &mut dom0, &create), Err(Errno::EINVAL));
    unknown.domain = DomId::SELF;
    assert_eq!(call(&hv, &mut dom0, &unknown), Err(Errno::ESRCH));
    unknown.interface_version += 1;
    assert_eq!(call(&hv, &mut guest, &unknown), Err(Errno::EACCES));
    for cmd in 0..87 {
        let op = plain(DomctlCmd(cmd), 1);
        assert_eq!(call(&hv, &mut guest, &op), Err(Errno::EPERM), "{cmd}");
    }
}

#[test]
fn what_is_not_offered_says_so() {
    let hv = world();
    let mut dom0 = PvGuest::dom0(&hv, 64);
    let _ = PvGuest::unprivileged(&hv, 1, 64);
    for cmd in [26, 44, 54, 71, 79, 84, 1000] {
        let op = plain(DomctlCmd(cmd), 1);
        assert_eq!(call(&hv, &mut dom0, &op), Err(Errno::ENOSYS), "{cmd}");
    }
}

#[test]
fn the_next_domain_is_described() {
    let hv = world();
    let mut dom0 = PvGuest::dom0(&hv, 64);
    let guest = PvGuest::unprivileged(&hv, 5, 64);
    guest.vcpu.clear_flags(VcpuFlags::DOWN);
    let get = |id| plain(DomctlCmd::GETDOMAININFO, id);
    assert_eq!(call(&hv, &mut dom0, &get(1)), Ok(0));
    let info = answer(&hv, &dom0).as_getdomaininfo();
    assert_eq!(info.domain, DomId(5));
    let named = dom0.load(&hv, dom0.va(ARG) + 8).expect("mapped") & 0xffff;
    assert_eq!(named, 5);
    assert_eq!((info.tot_pages, info.max_vcpu_id), (64, 0));
    assert_eq!((info.nr_online_vcpus, info.cpupool), (1, 0));
    assert_eq!(info.shared_info_frame, guest.domain.shared_info.0);
    assert_eq!(info.flags, Dominf::RUNNING.bits() | 0xffff_0000);
    guest.vcpu.set_flags(VcpuFlags::BLOCKED);
    hv.shut_down(&guest.domain, 2);
    // Not until the last vCPU has stopped.
    assert_eq!(call(&hv, &mut dom0, &get(5)), Ok(0));
    assert_eq!(answer(&hv, &dom0).as_getdomaininfo().flags & 4, 0);
    guest.vcpu.set_running(None);
    hv.note_stopped(&guest.domain);
    assert_eq!(call(&hv, &mut dom0, &get(5)), Ok(0));
    let flags = answer(&hv, &dom0).as_getdomaininfo().flags;
    assert_eq!(
        flags,
        (Dominf::BLOCKED | Dominf::SHUTDOWN).bits() | 2 << DOMINF_SHUTDOWNSHIFT
    );
    // Not dying until everything is given back.
    guest.domain.ending.lock().dying = true;
    assert_eq!(call(&hv, &mut dom0, &get(5)), Ok(0));
    assert_eq!(answer(&hv, &dom0).as_getdomaininfo().flags & 1, 0);
    assert_eq!(call(&hv, &mut dom0, &get(6)), Err(Errno::ESRCH));
    assert_eq!(call(&hv, &mut dom0, &get(0x7ff0)), Err(Errno::EINVAL));
}

#[test]
fn a_vcpu_is_described() {
    let hv = world_with(SimConfig {
        cpus: 2,
        ..SimConfig::default()
    });
    let mut dom0 = PvGuest::dom0(&hv, 64);
    let mut guest = PvGuest::unprivileged(&hv, 1, 64);
    guest.run_on(&hv, CpuId(1));
    guest.vcpu.clear_flags(VcpuFlags::DOWN);
    guest.vcpu.enter_runstate(0, hv.machine.now_ns());
    hv.machine.advance_ns(700);
    let get = |vcpu| {
        let mut arg = DomctlGetvcpuinfo::new_zeroed();
        arg.vcpu = vcpu;
        op(DomctlCmd::GETVCPUINFO, 1, DomctlU::from_getvcpuinfo(arg))
    };
    assert_eq!(call(&hv, &mut dom0, &get(0)), Ok(0));
    let info = answer(&hv, &dom0).as_getvcpuinfo();
    assert_eq!((info.online, info.blocked, info.running), (1, 0, 1));
    assert_eq!((info.cpu_time, info.cpu), (700, 1));
    // Kept loaded, but waiting.
    guest.vcpu.set_flags(VcpuFlags::BLOCKED);
    assert_eq!(call(&hv, &mut dom0, &get(0)), Ok(0));
    let info = answer(&hv, &dom0).as_getvcpuinfo();
    assert_eq!((info.online, info.blocked, info.running), (1, 1, 0));
    assert_eq!(call(&hv, &mut dom0, &get(1)), Err(Errno::ESRCH));
    assert_eq!(call(&hv, &mut dom0, &get(4)), Err(Errno::EINVAL));
}

#[test]
fn the_counter_is_the_machines() {
    let hv = world();
    let mut dom0 = PvGuest::dom0(&hv, 64);
    let _ = PvGuest::unprivileged(&hv, 1, 64);
    let mut manager = PvGuest::new(
        &hv,
        DomId(2),
        Privileges {
            control: true,
            hardware: false,
            xenstore: false,
        },
        64,
    );
    let (get, set) = (DomctlCmd::GETTSCINFO, DomctlCmd::SETTSCINFO);
    assert_eq!(call(&hv, &mut dom0, &plain(get, 1)), Ok(0));
    let info = answer(&hv, &dom0).as_tsc_info();
    assert_eq!((info.tsc_mode, info.incarnation), (0, 0));
    assert_eq!(u64::from(info.gtsc_khz), hv.machine.tsc_khz());
    let (scale, tsc) = (hv.machine.tsc_scale(), u128::from(hv.machine.tsc()));
    let ticks = if scale.shift < 0 {
        tsc >> -scale.shift
    } else {
        tsc << scale.shift
    };
    let elapsed = (ticks * u128::from(scale.mul)) >> 32;
    assert_eq!(u128::from(info.elapsed_nsec), elapsed);
    for cmd in [get, set] {
        assert_eq!(call(&hv, &mut dom0, &plain(cmd, 0)), Err(Errno::EINVAL));
    }
    assert_eq!(call(&hv, &mut manager, &plain(set, 0)), Ok(0));
    assert_eq!(call(&hv, &mut dom0, &plain(set, 1)), Ok(0));
    let mut ask = |tsc_mode| {
        let mut arg = DomctlTscInfo::new_zeroed();
        (arg.tsc_mode, arg.incarnation) = (tsc_mode, 6);
        let u = DomctlU::from_tsc_info(arg);
        call(&hv, &mut dom0, &op(set, 1, u))
    };
    assert_eq!(ask(1), Err(Errno::EOPNOTSUPP));
    assert_eq!(ask(3), Err(Errno::EINVAL));
    assert_eq!(ask(2), Ok(0));
    assert_eq!(call(&hv, &mut dom0, &plain(get, 1)), Ok(0));
    let info = answer(&hv, &dom0).as_tsc_info();
    assert_eq!((info.tsc_mode, info.incarnation), (2, 7));
    assert_eq!((info.gtsc_khz, info.elapsed_nsec), (0, 0));
}

#[test]
fn small_facts_of_a_domain() {
    let hv = world();
    let mut dom0 = PvGuest::dom0(&hv, 64);
    let size = plain(DomctlCmd::GET_ADDRESS_SIZE, 0);
    assert_eq!(call(&hv, &mut dom0, &size), Ok(0));
    assert_eq!(answer(&hv, &dom0).as_address_size().size, 64);
    let handle = DomctlSetdomainhandle { handle: [7; 16] };
    let u = DomctlU::from_setdomainhandle(handle);
    let set = op(DomctlCmd::SETDOMAINHANDLE, 0, u);
    assert_eq!(call(&hv, &mut dom0, &set), Ok(0));
    assert_eq!(*dom0.domain.handle.lock(), [7; 16]);
    let limit = |max_memkb| {
        let u = DomctlU::from_max_mem(DomctlMaxMem { max_memkb });
        op(DomctlCmd::MAX_MEM, 0, u)
    };
    // Less than it has.
    assert_eq!(call(&hv, &mut dom0, &limit(43)), Ok(0));
    assert_eq!(dom0.domain.pages.max_pages(), 10);
    assert_eq!(call(&hv, &mut dom0, &limit(u64::MAX)), Ok(0));
    assert_eq!(dom0.domain.pages.max_pages(), 0xffff_fffe);
    dom0.put(&hv, BUFFER, &u64::MAX);
    let nodemap = bitmap(&dom0, BUFFER, 64);
    let u = DomctlU::from_nodeaffinity(DomctlNodeaffinity { nodemap });
    let nodes = op(DomctlCmd::GETNODEAFFINITY, 0, u);
    assert_eq!(call(&hv, &mut dom0, &nodes), Ok(0));
    assert_eq!(word(&hv, &dom0, BUFFER), 1);
}

#[test]
fn a_domains_policy_is_counted_then_copied() {
    let hv = world();
    let mut dom0 = PvGuest::dom0(&hv, 64);
    let lists = (
        GuestHandle::from_addr(dom0.va(BUFFER)),
        GuestHandle::from_addr(dom0.va(SECOND)),
    );
    let mut ask = |nr_leaves, leaves, msrs| {
        let mut arg = DomctlCpuPolicy::new_zeroed();
        (arg.nr_leaves, arg.leaves) = (nr_leaves, leaves);
        (arg.nr_msrs, arg.msrs) = (2, msrs);
        let u = DomctlU::from_cpu_policy(arg);
        call(&hv, &mut dom0, &op(DomctlCmd::GET_CPU_POLICY, 0, u)).map(|_| {
            let arg = answer(&hv, &dom0).as_cpu_policy();
            (arg.nr_leaves as usize, arg.nr_msrs as usize)
        })
    };
    let most = (MAX_LEAVES, MAX_MSRS);
    assert_eq!(ask(0, GuestHandle::null(), GuestHandle::null()), Ok(most));
    let have = hv.policies.hardware_domain().leaves().len();
    assert_eq!(ask(200, lists.0, lists.1), Ok((have, MAX_MSRS)));
    assert_eq!(ask(3, lists.0, lists.1), Err(Errno::ENOBUFS));
}

#[test]
fn pauses_count_and_wait_for_the_processor() {
    let hv = world_with(SimConfig {
        cpus: 2,
        ..SimConfig::default()
    });
    let mut dom0 = PvGuest::dom0(&hv, 64);
    let mut guest = PvGuest::unprivileged(&hv, 1, 64);
    guest.run_on(&hv, CpuId(1));
    guest.vcpu.clear_flags(VcpuFlags::DOWN);
    let (pause, unpause) = (
        plain(DomctlCmd::PAUSEDOMAIN, 1),
        plain(DomctlCmd::UNPAUSEDOMAIN, 1),
    );
    assert_eq!(call(&hv, &mut dom0, &unpause), Err(Errno::EINVAL));
    for cmd in [DomctlCmd::PAUSEDOMAIN, DomctlCmd::UNPAUSEDOMAIN] {
        assert_eq!(call(&hv, &mut dom0, &plain(cmd, 0)), Err(Errno::EINVAL));
    }
    let addr = dom0.put(&hv, ARG, &pause);
    let args = [addr, 0, 0, 0, 0, 0];
    let waiting = dom0.hypercall_once(&hv, HypercallNr::DOMCTL, args);
    assert_eq!(waiting, Err(args));
    assert!(guest.vcpu.flags().contains(VcpuFlags::PAUSED));
    guest.vcpu.set_running(None);
    assert_eq!(call(&hv, &mut dom0, &pause), Ok(0));
    assert_eq!(call(&hv, &mut dom0, &pause), Ok(0));
    let get = plain(DomctlCmd::GETDOMAININFO, 1);
    assert_eq!(call(&hv, &mut dom0, &get), Ok(0));
    let flags = answer(&hv, &dom0).as_getdomaininfo().flags;
    assert_ne!(flags & Dominf::PAUSED.bits(), 0);
    assert_eq!(call(&hv, &mut dom0, &unpause), Ok(0));
    assert!(guest.vcpu.flags().contains(VcpuFlags::PAUSED));
    assert_eq!(call(&hv, &mut dom0, &unpause), Ok(0));
    assert!(!guest.vcpu.flags().contains(VcpuFlags::PAUSED));
    assert!(hv.sched.anyone_waits());
    for _ in 0..255 {
        assert_eq!(call(&hv, &mut dom0, &pause), Ok(0));
    }
    assert_eq!(call(&hv, &mut dom0, &pause), Err(Errno::EOVERFLOW));
}
