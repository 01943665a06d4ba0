//! Errors in the banks of the simulated machine.

extern crate std;

use hypercall_abi::arch_x86::xen_mca::{
    MCA_INTERFACE_VERSION, Mc, McCmd, McFetch, McFetchFlags, McFetchStatus, McFlags, McInfo, McU,
    McinfoBank, McinfoGlobal,
};
use hypercall_abi::guest_handle::GuestHandle;
use hypercall_abi::xen::{HypercallNr, Virq};
use zerocopy::{FromBytes, FromZeros, IntoBytes};

use super::*;
use crate::machine::PvCpu;
use crate::num::{Pfn, VcpuId};
use crate::sim::{PvGuest, SimMachine, world};

const MCG_CAP: u32 = 0x179;
const BANK1_STATUS: u32 = 0x405;
const CORRECTED: u64 = 1 << 63 | 1 << 60 | 1 << 58 | 0x9c;
const ARG: Pfn = Pfn(1);
const DATA: Pfn = Pfn(2);

fn machine_with_error(status: u64) -> Hypervisor<SimMachine> {
    let hv = world();
    hv.machine.set_msr(MCG_CAP, 10);
    for bank in 0..10 {
        hv.machine.set_msr(0x401 + bank * 4, 0);
    }
    hv.machine.set_msr(BANK1_STATUS, status);
    hv.machine.set_msr(BANK1_STATUS + 1, 0x1234_5000);
    hv
}

/// `XEN_MC_fetch`; the flags and number that came back.
fn fetch(
    hv: &Hypervisor<SimMachine>,
    dom0: &mut PvGuest,
    flags: McFetchFlags,
    id: u64,
) -> (u32, u64) {
    let mut arg = Mc::new_zeroed();
    arg.cmd = McCmd::FETCH;
    arg.interface_version = MCA_INTERFACE_VERSION;
    arg.u = McU::from_mc_fetch(McFetch {
        flags: flags.bits(),
        _pad0: 0,
        fetch_id: id,
        data: GuestHandle::from_addr(dom0.va(DATA)),
    });
    let addr = dom0.put(hv, ARG, &arg);
    assert_eq!(
        dom0.hypercall(hv, HypercallNr::ARCH_0, [addr, 0, 0, 0, 0, 0]),
        0
    );
    let flags = dom0.load(hv, addr + 8).unwrap() as u32;
    (flags, dom0.load(hv, addr + 16).unwrap())
}

#[test]
fn a_corrected_error_is_found_by_looking_and_reaches_the_control_domain_once() {
    let hv = machine_with_error(CORRECTED);
    let mut dom0 = PvGuest::dom0(&hv, 64);
    let port = hv.bind_virq(&dom0.domain, Virq::ARCH_0, VcpuId(0)).unwrap();
    hv.poll_machine_checks(CpuId(0));
    assert!(hv.event_pending_for_poll(&dom0.domain, port));
    assert_eq!(
        hv.machine.read_msr(BANK1_STATUS),
        Some(0),
        "the bank is empty"
    );
    let nonurgent = McFetchFlags::NONURGENT;
    assert_eq!(
        fetch(&hv, &mut dom0, McFetchFlags::URGENT, 0).0,
        McFetchStatus::NODATA.0
    );
    let (status, id) = fetch(&hv, &mut dom0, nonurgent, 0);
    assert_eq!(status, McFetchStatus::OK.0);
    let words: std::vec::Vec<u64> = (0..size_of::<McInfo>() as u64 / 8)
        .map(|word| dom0.load(&hv, dom0.va(DATA) + word * 8).unwrap())
        .collect();
    let info = McInfo::read_from_bytes(words.as_bytes()).unwrap();
    assert_eq!(info.mi_nentries, 2);
    let data = info.mi_data.as_bytes();
    let (global, rest) = McinfoGlobal::read_from_prefix(data).unwrap();
    let flags = McFlags::POLLED | McFlags::CORRECTABLE;
    assert_eq!(global.mc_flags, flags.bits());
    let (bank, _) = McinfoBank::read_from_prefix(rest).unwrap();
    assert_eq!((bank.mc_bank, bank.mc_status), (1, CORRECTED));
    assert_eq!(bank.mc_addr, 0x1234_5000);
    // Fetched is not done: it is not handed out again, and goes with the acknowledgement.
    assert_eq!(
        fetch(&hv, &mut dom0, nonurgent, 0).0,
        McFetchStatus::NODATA.0
    );
    let ack = nonurgent | McFetchFlags::ACK;
    assert_eq!(fetch(&hv, &mut dom0, ack, id).0, McFetchStatus::OK.0);
    hv.poll_machine_checks(CpuId(0));
    assert_eq!(
        fetch(&hv, &mut dom0, nonurgent, 0).0,
        McFetchStatus::NODATA.0
    );
}

#[test]
fn looking_goes_on_and_a_machine_without_banks_is_left_alone() {
    let hv = machine_with_error(0);
    hv.start_polling_machine_checks();
    assert_eq!(hv.timers.armed_on(CpuId(0)), 1);
    hv.machine.advance_ns(POLL_NS);
    hv.machine.set_msr(BANK1_STATUS, CORRECTED);
    hv.run_timers(CpuId(0));
    assert!(hv.machine_checks.fetch(Urgency::Polled).is_some());
    assert_eq!(hv.timers.armed_on(CpuId(0)), 1);

    let bare = world();
    bare.start_polling_machine_checks();
    assert_eq!(bare.timers.armed_on(CpuId(0)), 0);
}

#[test]
fn a_raised_error_says_whether_the_program_may_go_on() {
    let optional = 1 << 63 | 1 << 61 | 1 << 56;
    let hv = machine_with_error(optional);
    assert!(!hv.collect_machine_checks(CpuId(0), Urgency::Raised));
    hv.machine.set_msr(BANK1_STATUS, optional | 1 << 55);
    assert!(hv.collect_machine_checks(CpuId(0), Urgency::Raised));
    assert!(hv.machine_checks.fetch(Urgency::Polled).is_none());
    assert!(hv.machine_checks.fetch(Urgency::Raised).is_some());
}

#[test]
fn records_that_nobody_fetches_do_not_pile_up() {
    let telemetry = Telemetry::default();
    let bank = Bank {
        number: 3,
        status: CORRECTED,
        address: 0,
        misc: 0,
    };
    let many = [bank; 20];
    let info = telemetry::record(&many, Urgency::Polled, 0, 7, 0);
    assert_eq!((info.mi_nentries, info.flags), (16, 1), "as many as fit");
    let kept = (0..100)
        .filter(|_| telemetry.keep(Urgency::Polled, info))
        .count();
    assert_eq!(kept, 32);
    telemetry.acknowledge(Urgency::Polled, 1);
    assert_eq!(
        telemetry.fetch(Urgency::Polled).unwrap().0,
        1,
        "not fetched yet"
    );
    telemetry.acknowledge(Urgency::Polled, 1);
    assert!(telemetry.keep(Urgency::Polled, info));
}
