//! The errnos and answers of sysctl, on a simulated machine.

use hypercall_abi::domctl::SchedulerId;
use hypercall_abi::errno::Errno;
use hypercall_abi::guest_handle::GuestHandle;
use hypercall_abi::sysctl::*;
use hypercall_abi::xen::{DomId, HypercallNr, XenctlBitmap};
use zerocopy::FromZeros;

use crate::boot::e820::{E820Entry, Kind};
use crate::cpu_policy::{MAX_LEAVES, MAX_MSRS};
use crate::hypervisor::Hypervisor;
use crate::machine::Clock;
use crate::num::{CpuId, Pfn};
use crate::sim::{PvGuest, SimConfig, SimMachine, world, world_with};

type World = Hypervisor<SimMachine>;

const ARG: Pfn = Pfn(1);
const BUFFER: Pfn = Pfn(2);
const SECOND: Pfn = Pfn(4);

fn op(cmd: SysctlCmd, u: SysctlU) -> Sysctl {
    Sysctl {
        cmd,
        interface_version: SYSCTL_INTERFACE_VERSION,
        u,
    }
}

fn call(hv: &World, guest: &mut PvGuest, op: &Sysctl) -> Result<u64, Errno> {
    let addr = guest.put(hv, ARG, op);
    let returned = guest.hypercall(hv, HypercallNr::SYSCTL, [addr, 0, 0, 0, 0, 0]);
    u64::try_from(returned).map_err(|_| {
        i32::try_from(-returned)
            .ok()
            .and_then(Errno::from_raw)
            .expect("an errno of the contract")
    })
}

/// The union after a call.
fn answer(hv: &World, guest: &PvGuest) -> SysctlU {
    let mut u = SysctlU::new_zeroed();
    for (i, word) in (0..).zip(&mut u.0) {
        *word = guest.load(hv, guest.va(ARG) + 8 + i * 8).expect("mapped");
    }
    u
}

fn buffer<T>(guest: &PvGuest, pfn: Pfn) -> GuestHandle<T> {
    GuestHandle::from_addr(guest.va(pfn))
}

fn word(hv: &World, guest: &PvGuest, pfn: Pfn, i: u64) -> u64 {
    guest.load(hv, guest.va(pfn) + i * 8).expect("mapped")
}

#[test]
fn checks_come_in_the_documented_order() {
    let hv = world();
    let mut dom0 = PvGuest::dom0(&hv, 64);
    let mut guest = PvGuest::unprivileged(&hv, 1, 64);
    let fault = guest.hypercall(&hv, HypercallNr::SYSCTL, [0x1000, 0, 0, 0, 0, 0]);
    assert_eq!(fault, Errno::EFAULT.to_ret());
    let mut unknown = op(SysctlCmd(999), SysctlU::new_zeroed());
    assert_eq!(call(&hv, &mut dom0, &unknown), Err(Errno::ENOSYS));
    unknown.interface_version += 1;
    assert_eq!(call(&hv, &mut guest, &unknown), Err(Errno::EACCES));
    assert_eq!(call(&hv, &mut dom0, &unknown), Err(Errno::EACCES));
    for cmd in 0..32 {
        let op = op(SysctlCmd(cmd), SysctlU::new_zeroed());
        assert_eq!(call(&hv, &mut guest, &op), Err(Errno::EPERM), "{cmd}");
    }
}

#[test]
fn what_is_not_offered_says_so() {
    let hv = world();
    let mut dom0 = PvGuest::dom0(&hv, 64);
    for cmd in [2, 5, 10, 11, 12, 14, 15, 20, 21, 22, 23] {
        let op = op(SysctlCmd(cmd), SysctlU::new_zeroed());
        assert_eq!(call(&hv, &mut dom0, &op), Err(Errno::ENOSYS), "{cmd}");
    }
    let livepatch = op(SysctlCmd::LIVEPATCH_OP, SysctlU::new_zeroed());
    assert_eq!(call(&hv, &mut dom0, &livepatch), Err(Errno::EOPNOTSUPP));
}

#[test]
fn the_log_is_read_in_parts_and_forgotten_on_demand() {
    let hv = world();
    let mut dom0 = PvGuest::dom0(&hv, 64);
    hv.print(format_args!("abcdefgh"));
    let read = |clear, incremental, index, count| {
        let arg = SysctlReadconsole {
            clear,
            incremental,
            index,
            count,
            buffer: buffer(&dom0, BUFFER),
            ..SysctlReadconsole::new_zeroed()
        };
        op(SysctlCmd::READCONSOLE, SysctlU::from_readconsole(arg))
    };
    let (first, all) = (read(0, 0, 0, 8), read(1, 0, 0, 4096));
    let (rest, none) = (read(0, 1, 8, 6), read(0, 0, 0, 4096));
    let mut bad = all;
    let mut arg = bad.u.as_readconsole();
    arg.buffer = GuestHandle::from_addr(0x1000);
    bad.u.set_readconsole(arg);
    assert_eq!(call(&hv, &mut dom0, &bad), Err(Errno::EFAULT));
    assert_eq!(call(&hv, &mut dom0, &first), Ok(0));
    let got = answer(&hv, &dom0).as_readconsole();
    assert_eq!((got.count, got.index), (8, 8));
    assert_eq!(word(&hv, &dom0, BUFFER, 0).to_le_bytes(), *b"(XEN) ab");
    assert_eq!(call(&hv, &mut dom0, &rest), Ok(0));
    assert_eq!(answer(&hv, &dom0).as_readconsole().index, 14);
    assert_eq!(&word(&hv, &dom0, BUFFER, 0).to_le_bytes()[..6], b"cdefgh");
    assert_eq!(call(&hv, &mut dom0, &all), Ok(0));
    assert_eq!(answer(&hv, &dom0).as_readconsole().count, 15);
    assert_eq!(call(&hv, &mut dom0, &none), Ok(0));
    assert_eq!(answer(&hv, &dom0).as_readconsole().count, 0);
}

#[test]
fn debug_keys_are_pressed_in_order_and_give_way() {
    let hv = world();
    let mut dom0 = PvGuest::dom0(&hv, 64);
    dom0.put(&hv, BUFFER, b"hq\0");
    let arg = SysctlDebugKeys {
        keys: buffer(&dom0, BUFFER),
        nr_keys: 3,
        _pad: [0; 4],
    };
    let keys = op(SysctlCmd::DEBUG_KEYS, SysctlU::from_debug_keys(arg));
    hv.machine.yield_after(Some(1));
    assert_eq!(call(&hv, &mut dom0, &keys), Ok(0));
    let (log, _) = hv.console.read_ring(None, true, usize::MAX);
    let log = std::string::String::from_utf8_lossy(&log).into_owned();
    let help = log.find("'h' pressed").expect("help");
    assert!(help < log.find("'q' pressed").expect("domains"));
    let bad = SysctlDebugKeys {
        keys: GuestHandle::from_addr(0x1000),
        ..arg
    };
    let bad = op(SysctlCmd::DEBUG_KEYS, SysctlU::from_debug_keys(bad));
    assert_eq!(call(&hv, &mut dom0, &bad), Err(Errno::EFAULT));
}

#[test]
fn the_machine_is_described() {
    let mut hv = world_with(SimConfig {
        cpus: 2,
        ..SimConfig::default()
    });
    hv.e820.push(E820Entry {
        addr: 0,
        size: 0x80_0000,
        kind: Kind::RAM.0,
    });
    let mut dom0 = PvGuest::dom0(&hv, 64);
    let physinfo = op(SysctlCmd::PHYSINFO, SysctlU::new_zeroed());
    assert_eq!(call(&hv, &mut dom0, &physinfo), Ok(0));
    let info = answer(&hv, &dom0).as_physinfo();
    assert_eq!((info.nr_cpus, info.max_cpu_id, info.nr_nodes), (2, 1, 1));
    assert!(info.threads_per_core >= 1 && info.cores_per_socket >= 1);
    assert_eq!(info.capabilities, 0x102);
    assert_eq!(u64::from(info.cpu_khz), hv.machine.tsc_khz());
    assert_eq!((info.total_pages, info.max_mfn), (2048, 2047));
    assert_eq!(info.free_pages, hv.mem.free_pages());
    assert_eq!(info.hw_cap, hv.policies.host.feature_set().0[..8]);
    let sched = op(SysctlCmd::SCHED_ID, SysctlU::new_zeroed());
    assert_eq!(call(&hv, &mut dom0, &sched), Ok(0));
    let sched = answer(&hv, &dom0).as_sched_id().sched_id;
    assert_eq!(sched, SchedulerId::CREDIT2);
    let caps = SysctlCpuLevellingCaps { caps: 77 };
    let caps = op(
        SysctlCmd::GET_CPU_LEVELLING_CAPS,
        SysctlU::from_cpu_levelling_caps(caps),
    );
    assert_eq!(call(&hv, &mut dom0, &caps), Ok(0));
    assert_eq!(answer(&hv, &dom0).as_cpu_levelling_caps().caps, 0);
}

#[test]
fn domains_are_listed_by_number() {
    let hv = world();
    let mut dom0 = PvGuest::dom0(&hv, 64);
    for id in [7, 3] {
        let _ = PvGuest::unprivileged(&hv, id, 64);
    }
    let list = |first, max_domains| {
        let arg = SysctlGetdomaininfolist {
            first_domain: DomId(first),
            max_domains,
            buffer: buffer(&dom0, BUFFER),
            ..SysctlGetdomaininfolist::new_zeroed()
        };
        let u = SysctlU::from_getdomaininfolist(arg);
        op(SysctlCmd::GETDOMAININFOLIST, u)
    };
    let (two, rest, none) = (list(1, 2), list(4, 9), list(8, 9));
    assert_eq!(call(&hv, &mut dom0, &two), Ok(0));
    assert_eq!(answer(&hv, &dom0).as_getdomaininfolist().num_domains, 2);
    assert_eq!(word(&hv, &dom0, BUFFER, 0) & 0xffff, 3);
    assert_eq!(word(&hv, &dom0, BUFFER, 14) & 0xffff, 7);
    // tot_pages of domain 3.
    assert_eq!(word(&hv, &dom0, BUFFER, 1), 64);
    assert_eq!(call(&hv, &mut dom0, &rest), Ok(0));
    assert_eq!(answer(&hv, &dom0).as_getdomaininfolist().num_domains, 1);
    assert_eq!(call(&hv, &mut dom0, &none), Ok(0));
    assert_eq!(answer(&hv, &dom0).as_getdomaininfolist().num_domains, 0);
}

#[test]
fn idle_time_is_what_processors_were_halted() {
    let hv = world_with(SimConfig {
        cpus: 2,
        ..SimConfig::default()
    });
    let mut dom0 = PvGuest::dom0(&hv, 64);
    hv.sched.idle.begin(CpuId(1), hv.machine.now_ns());
    hv.machine.advance_ns(500);
    let arg = SysctlGetcpuinfo {
        max_cpus: 100,
        info: buffer(&dom0, BUFFER),
        ..SysctlGetcpuinfo::new_zeroed()
    };
    let get = op(SysctlCmd::GETCPUINFO, SysctlU::from_getcpuinfo(arg));
    assert_eq!(call(&hv, &mut dom0, &get), Ok(0));
    assert_eq!(answer(&hv, &dom0).as_getcpuinfo().nr_cpus, 2);
    assert_eq!(word(&hv, &dom0, BUFFER, 0), 0);
    assert_eq!(word(&hv, &dom0, BUFFER, 1), 500);
}

#[test]
fn free_memory_is_counted_by_width_and_node() {
    let hv = world();
    let mut dom0 = PvGuest::dom0(&hv, 64);
    let mut ask = |min_bitwidth, max_bitwidth, node| {
        let arg = SysctlAvailheap {
            min_bitwidth,
            max_bitwidth,
            node,
            ..SysctlAvailheap::new_zeroed()
        };
        let op = op(SysctlCmd::AVAILHEAP, SysctlU::from_availheap(arg));
        assert_eq!(call(&hv, &mut dom0, &op), Ok(0));
        answer(&hv, &dom0).as_availheap().avail_bytes >> 12
    };
    let free = hv.mem.free_pages();
    assert_eq!(ask(0, 0, -1), free);
    assert_eq!(ask(0, 0, 0), free);
    assert_eq!(ask(0, 0, 1), 0);
    let low = ask(0, 22, -1);
    // 4 MiB and more: the upper half of 8 MiB.
    assert_eq!(low + ask(23, 0, -1), free);
    assert_eq!(ask(24, 0, -1), 0);
}

#[test]
fn topology_and_nodes_answer_counts_and_lists() {
    let hv = world_with(SimConfig {
        cpus: 2,
        ..SimConfig::default()
    });
    let mut dom0 = PvGuest::dom0(&hv, 64);
    let topology = |num_cpus, cputopo| {
        let arg = SysctlCputopoinfo {
            num_cpus,
            cputopo,
            _pad: [0; 4],
        };
        op(SysctlCmd::CPUTOPOINFO, SysctlU::from_cputopoinfo(arg))
    };
    let list = buffer(&dom0, BUFFER);
    for (room, to, result) in [
        (0, GuestHandle::null(), Ok(0)),
        (1, list, Err(Errno::ENOBUFS)),
        (2, list, Ok(0)),
    ] {
        assert_eq!(call(&hv, &mut dom0, &topology(room, to)), result);
        assert_eq!(answer(&hv, &dom0).as_cputopoinfo().num_cpus, 2);
    }
    // Node of the first, and of the second.
    assert_eq!(word(&hv, &dom0, BUFFER, 1) & 0xffff_ffff, 0);
    assert_eq!(word(&hv, &dom0, BUFFER, 2) >> 32, 0);
    let nodes = |num_nodes, meminfo, distance| {
        let arg = SysctlNumainfo {
            num_nodes,
            meminfo,
            distance,
            _pad: [0; 4],
        };
        op(SysctlCmd::NUMAINFO, SysctlU::from_numainfo(arg))
    };
    let (memory, distance) = (buffer(&dom0, BUFFER), buffer(&dom0, SECOND));
    let nothing = nodes(0, GuestHandle::null(), GuestHandle::null());
    assert_eq!(call(&hv, &mut dom0, &nothing), Ok(0));
    let short = nodes(0, memory, distance);
    assert_eq!(call(&hv, &mut dom0, &short), Err(Errno::ENOBUFS));
    assert_eq!(call(&hv, &mut dom0, &nodes(1, memory, distance)), Ok(0));
    assert_eq!(answer(&hv, &dom0).as_numainfo().num_nodes, 1);
    assert_eq!(word(&hv, &dom0, BUFFER, 1), hv.mem.free_pages() << 12);
    assert_eq!(word(&hv, &dom0, SECOND, 0) & 0xffff_ffff, 10);
}

#[test]
fn there_is_one_pool() {
    let hv = world_with(SimConfig {
        cpus: 2,
        ..SimConfig::default()
    });
    let mut dom0 = PvGuest::dom0(&hv, 64);
    let _ = PvGuest::unprivileged(&hv, 1, 64);
    dom0.put(&hv, BUFFER, &u64::MAX);
    let cpumap = XenctlBitmap {
        bitmap: buffer(&dom0, BUFFER),
        nr_bits: 16,
        _pad: [0; 4],
    };
    let mut ask = |cmd, cpupool_id, domid, cpu| {
        let arg = SysctlCpupoolOp {
            op: cmd,
            cpupool_id,
            sched_id: 0,
            domid,
            cpu,
            n_dom: 0,
            cpumap,
        };
        let op = op(SysctlCmd::CPUPOOL_OP, SysctlU::from_cpupool_op(arg));
        let result = call(&hv, &mut dom0, &op).map(|_| answer(&hv, &dom0).as_cpupool_op());
        let map = word(&hv, &dom0, BUFFER, 0);
        (result, map)
    };
    let (info, map) = ask(CpupoolOpCmd::INFO, 0, 0, 0);
    let info = info.expect("pool 0");
    assert_eq!((info.sched_id, info.n_dom), (6, 2));
    assert_eq!(map, 0xffff_ffff_ffff_0003);
    let (free, map) = ask(CpupoolOpCmd::FREEINFO, 0, 0, 0);
    assert!(free.is_ok());
    assert_eq!(map, 0xffff_ffff_ffff_0000);
    assert!(ask(CpupoolOpCmd::MOVEDOMAIN, 0, 1, 0).0.is_ok());
    for (cmd, pool, domain, cpu, errno) in [
        (CpupoolOpCmd::INFO, 1, 0, 0, Errno::ENOENT),
        (CpupoolOpCmd::MOVEDOMAIN, 1, 1, 0, Errno::ENOENT),
        (CpupoolOpCmd::MOVEDOMAIN, 0, 2, 0, Errno::ESRCH),
        (CpupoolOpCmd::MOVEDOMAIN, 0, 0x1_0001, 0, Errno::ESRCH),
        (CpupoolOpCmd::MOVEDOMAIN, 0, 0, 0, Errno::EPERM),
        (CpupoolOpCmd::CREATE, 1, 0, 0, Errno::EINVAL),
        (CpupoolOpCmd::DESTROY, 0, 0, 0, Errno::EBUSY),
        (CpupoolOpCmd::DESTROY, 1, 0, 0, Errno::ENOENT),
        (CpupoolOpCmd::ADDCPU, 0, 0, 1, Errno::EBUSY),
        (CpupoolOpCmd::ADDCPU, 0, 0, 2, Errno::EINVAL),
        (CpupoolOpCmd::RMCPU, 0, 0, 1, Errno::EBUSY),
        (CpupoolOpCmd::RMCPU, 0, 0, 2, Errno::EINVAL),
        (CpupoolOpCmd(8), 0, 0, 0, Errno::ENOSYS),
    ] {
        assert_eq!(ask(cmd, pool, domain, cpu).0, Err(errno), "{cmd:?} {pool}");
    }
}

#[test]
fn a_bitmap_longer_than_any_machine_is_refused() {
    let hv = world();
    let mut dom0 = PvGuest::dom0(&hv, 64);
    let mut arg = SysctlCpupoolOp::new_zeroed();
    arg.op = CpupoolOpCmd::INFO;
    arg.cpumap.bitmap = buffer(&dom0, BUFFER);
    arg.cpumap.nr_bits = u32::MAX;
    let op = op(SysctlCmd::CPUPOOL_OP, SysctlU::from_cpupool_op(arg));
    assert_eq!(call(&hv, &mut dom0, &op), Err(Errno::EINVAL));
}

#[test]
fn the_rate_limit_is_set_and_read() {
    let hv = world();
    let mut dom0 = PvGuest::dom0(&hv, 64);
    let mut ask = |cpupool_id, sched_id, cmd, ratelimit_us| {
        let mut arg = SysctlSchedulerOp::new_zeroed();
        (arg.cpupool_id, arg.sched_id, arg.cmd) = (cpupool_id, sched_id, cmd);
        arg.u
            .set_sched_credit2(SysctlCredit2Schedule { ratelimit_us });
        let op = op(SysctlCmd::SCHEDULER_OP, SysctlU::from_scheduler_op(arg));
        call(&hv, &mut dom0, &op).map(|_| {
            let arg = answer(&hv, &dom0).as_scheduler_op();
            arg.u.as_sched_credit2().ratelimit_us
        })
    };
    assert_eq!(ask(0, 6, 1, 5), Ok(1000));
    assert_eq!(ask(0, 6, 0, 100), Ok(100));
    assert_eq!(ask(0, 6, 0, 500_000), Ok(500_000));
    assert_eq!(ask(0, 6, 0, 99), Err(Errno::EINVAL));
    assert_eq!(ask(0, 6, 0, 500_001), Err(Errno::EINVAL));
    assert_eq!(ask(0, 6, 1, 0), Ok(500_000));
    assert_eq!(ask(0, 6, 0, 0), Ok(0));
    assert_eq!(ask(0, 6, 2, 0), Err(Errno::EINVAL));
    assert_eq!(ask(0, 5, 1, 0), Err(Errno::EINVAL));
    assert_eq!(ask(1, 6, 1, 0), Err(Errno::ESRCH));
}

#[test]
fn features_are_copied_as_far_as_there_is_room() {
    let hv = world();
    let mut dom0 = PvGuest::dom0(&hv, 64);
    let list = buffer(&dom0, BUFFER);
    let mut ask = |index, nr_features, features| {
        let arg = SysctlCpuFeatureset {
            index,
            nr_features,
            features,
        };
        let u = SysctlU::from_cpu_featureset(arg);
        let result = call(&hv, &mut dom0, &op(SysctlCmd::GET_CPU_FEATURESET, u));
        let count = answer(&hv, &dom0).as_cpu_featureset().nr_features;
        (result, count, word(&hv, &dom0, BUFFER, 1))
    };
    let host = hv.policies.host.feature_set().0;
    let words = u32::try_from(host.len()).expect("few");
    let null = GuestHandle::null();
    assert_eq!(ask(1, 0, null).1, words);
    let (short, count, _) = ask(1, 2, list);
    assert_eq!((short, count), (Err(Errno::ENOBUFS), 2));
    let (full, count, second) = ask(1, 100, list);
    assert_eq!((full, count), (Ok(0), words));
    assert_eq!(second, u64::from(host[2]) | u64::from(host[3]) << 32);
    for index in [3, 5, 6, u32::MAX] {
        assert_eq!(ask(index, 100, list).0, Err(Errno::EINVAL), "{index}");
    }
}

#[test]
fn policies_are_counted_then_copied() {
    let hv = world();
    let mut dom0 = PvGuest::dom0(&hv, 64);
    let lists = (buffer(&dom0, BUFFER), buffer(&dom0, SECOND));
    let mut ask = |index, nr_leaves, leaves, nr_msrs, msrs| {
        let arg = SysctlCpuPolicy {
            index,
            nr_leaves,
            nr_msrs,
            _rsvd: 0,
            leaves,
            msrs,
        };
        let u = SysctlU::from_cpu_policy(arg);
        call(&hv, &mut dom0, &op(SysctlCmd::GET_CPU_POLICY, u)).map(|_| {
            let arg = answer(&hv, &dom0).as_cpu_policy();
            (arg.nr_leaves as usize, arg.nr_msrs as usize)
        })
    };
    let (no_leaves, no_msrs) = (GuestHandle::null(), GuestHandle::null());
    let most = (MAX_LEAVES, MAX_MSRS);
    assert_eq!(ask(1, 0, no_leaves, 0, no_msrs), Ok(most));
    let have = hv.policies.host.leaves().len();
    assert_eq!(ask(1, 200, lists.0, 2, lists.1), Ok((have, MAX_MSRS)));
    assert_eq!(ask(1, 1, lists.0, 2, lists.1), Err(Errno::ENOBUFS));
    assert_eq!(ask(1, 200, lists.0, 1, lists.1), Err(Errno::ENOBUFS));
    assert_eq!(ask(3, 200, lists.0, 2, lists.1), Ok((0, 0)));
    assert_eq!(ask(6, 200, lists.0, 2, lists.1), Err(Errno::EINVAL));
    assert_eq!(ask(0, 200, lists.0, 2, lists.1).map(|_| ()), Ok(()));
    let first = hv.policies.raw.leaves()[0];
    let values = u64::from(first.a) | u64::from(first.b) << 32;
    assert_eq!(word(&hv, &dom0, BUFFER, 1), values);
}
