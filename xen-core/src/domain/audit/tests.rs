//! The auditor finds what is wrong: each kind of book is falsified by hand, and set right again.

extern crate std;

use core::sync::atomic::Ordering;
use std::string::String;
use std::vec::Vec;

use hypercall_abi::grant_table::GntmapFlags;
use hypercall_abi::xen::DomId;

use crate::evtchn::Binding;
use crate::hypervisor::{CpuLocal, Hypervisor};
use crate::machine::Frames;
use crate::mm::PageType;
use crate::num::{CpuId, Mfn, Pfn, Port, VcpuId};
use crate::pv::mm::entry::{PRESENT, RW, USER};
use crate::sim::{PvGuest, SimMachine, world};

#[test]
fn the_recount_knows_every_holder_and_finds_a_reference_too_many() {
    let hv = world();
    let back = PvGuest::dom0(&hv, 64);
    let front = PvGuest::unprivileged(&hv, 5, 64);
    let page = |pfn| front.mfn(Pfn(pfn));
    // A grant mapped for a device, event queues, and vCPU contexts that run.
    let table = front.domain.grants.frames()[0];
    hv.machine.words(table)[8].store(page(3).0 << 32 | 1, Ordering::SeqCst);
    let mut op =
        <hypercall_abi::grant_table::GnttabMapGrantRef as zerocopy::FromZeros>::new_zeroed();
    (op.dom, op.r#ref, op.flags) = (DomId(5), 8, GntmapFlags::DEVICE_MAP.bits());
    hv.map_grant(&back.domain, None, &mut op);
    assert_eq!(op.status, hypercall_abi::grant_table::GntStatus::OKAY);
    hv.init_control(&front.domain, VcpuId(0), page(4), 64)
        .expect("control block");
    hv.expand_array(&front.domain, page(5)).expect("array");
    assert_eq!(hv.audit_in_motion(), Vec::<String>::new());
    hv.debug_key(b'O');
    hv.audit_if_due(&CpuLocal::new(CpuId(0)));
    let (log, _) = hv.console.read_ring(None, false, usize::MAX);
    let log = String::from_utf8(log).expect("text");
    assert!(
        log.contains("Page references: 2 domains, 128 pages, 0 differences"),
        "{log}"
    );
    // One general reference, one type reference, and more roots than a running vCPU has.
    let leaked = hv.mem.get_page(page(6), DomId(5)).expect("page").into_raw();
    assert_eq!(hv.audit_in_motion().len(), 1);
    drop(hv.mem.adopt_page(leaked));
    let leaked = hv
        .mem
        .get_writable(page(6), DomId(5))
        .expect("page")
        .into_raw();
    assert_eq!(hv.audit_in_motion().len(), 1);
    drop(hv.mem.adopt_writable(leaked));
    let root = front.mfn(front.l4);
    for roots in 2..4 {
        let more = hv.mem.get_page(root, DomId(5)).expect("root").into_raw();
        assert!(hv.mem.get_valid_type(more, PageType::L4));
        let expected = usize::from(roots > 2);
        assert_eq!(hv.audit_in_motion().len(), expected, "{roots} roots");
    }
}

/// What the auditor says of guests whose contexts are at hand.
fn audit(hv: &Hypervisor<SimMachine>, guests: &[&PvGuest]) -> Vec<String> {
    let mut all = hv.holders();
    all.running.clear();
    for guest in guests {
        guest.ctx.enter_holds(&mut all);
    }
    hv.audit(&all)
}

/// Exactly one fault, with this in it.
fn finds(hv: &Hypervisor<SimMachine>, guests: &[&PvGuest], what: &str) {
    let faults = audit(hv, guests);
    assert!(
        !faults.is_empty() && faults.iter().any(|fault| fault.contains(what)),
        "{what}: {faults:#?}"
    );
}

#[test]
fn an_m2p_entry_of_a_free_frame_is_found() {
    let hv = world();
    let guest = PvGuest::unprivileged(&hv, 5, 64);
    assert!(audit(&hv, &[&guest]).is_empty());
    let free = (16..2048)
        .map(Mfn)
        .find(|&mfn| hv.mem.owner(mfn).is_none())
        .expect("a free frame");
    let entry = hv.machine.m2p(free).expect("entry");
    let was = entry.swap(7, Ordering::SeqCst);
    finds(&hv, &[&guest], "M2P entry 0x7");
    entry.store(was, Ordering::SeqCst);
    assert!(audit(&hv, &[&guest]).is_empty());
}

#[test]
fn the_hypervisors_part_of_a_table_is_compared() {
    let hv = world();
    let guest = PvGuest::unprivileged(&hv, 5, 64);
    let slot = &hv.machine.words(guest.mfn(guest.l4))[260];
    let was = slot.swap(
        guest.mfn(Pfn(3)).addr() | PRESENT | RW | USER,
        Ordering::SeqCst,
    );
    finds(&hv, &[&guest], "not the hypervisor's");
    slot.store(was, Ordering::SeqCst);
    assert!(audit(&hv, &[&guest]).is_empty());
}

#[test]
fn a_descriptor_that_no_guest_may_have_is_found() {
    let hv = world();
    let mut guest = PvGuest::unprivileged(&hv, 5, 64);
    let page = guest.mfn(Pfn(3));
    assert_eq!(guest.remap(&hv, Pfn(3), false, true), 0);
    let list = guest.put(&hv, Pfn(0), &page.0);
    let set = hypercall_abi::xen::HypercallNr::SET_GDT;
    assert_eq!(guest.hypercall(&hv, set, [list, 16, 0, 0, 0, 0]), 0);
    assert!(audit(&hv, &[&guest]).is_empty());
    // A ring-0 code segment, and an interrupt gate.
    for descriptor in [0x00af_9a00_0000_ffff, 0x0000_8e00_0008_0000] {
        hv.machine.words(page)[9].store(descriptor, Ordering::SeqCst);
        finds(&hv, &[&guest], "has descriptor 9");
        hv.machine.words(page)[9].store(0, Ordering::SeqCst);
    }
}

#[test]
fn a_writable_mapping_of_a_table_or_of_nobodys_page_is_found() {
    let hv = world();
    let guest = PvGuest::unprivileged(&hv, 5, 64);
    let at = guest.pte_addr(Pfn(3));
    let word = &hv.machine.words(Mfn::from_addr(at))[(at & 0xfff) as usize / 8];
    let was = word.load(Ordering::SeqCst);
    for target in [guest.mfn(guest.l4), Mfn(3)] {
        word.store(target.addr() | PRESENT | RW | USER, Ordering::SeqCst);
        assert!(!audit(&hv, &[&guest]).is_empty(), "{target:?}");
    }
    word.store(was, Ordering::SeqCst);
    assert!(audit(&hv, &[&guest]).is_empty());
}

#[test]
fn a_mapping_that_nobody_granted_is_found_although_it_is_counted() {
    let hv = world();
    let dom0 = PvGuest::dom0(&hv, 64);
    let one = PvGuest::unprivileged(&hv, 5, 64);
    let other = PvGuest::unprivileged(&hv, 6, 64);
    for (mapper, found) in [(&one, true), (&dom0, false)] {
        let page = other.mfn(Pfn(3));
        crate::pv::mm::write_l1(
            &hv,
            &mapper.domain,
            mapper.pte_addr(Pfn(9)),
            page.addr() | PRESENT | RW,
            DomId(6),
            false,
        )
        .expect("mapped past the door");
        let faults = audit(&hv, &[&dom0, &one, &other]);
        assert_eq!(!faults.is_empty(), found, "{faults:#?}");
        crate::pv::mm::write_l1(
            &hv,
            &mapper.domain,
            mapper.pte_addr(Pfn(9)),
            0,
            DomId(6),
            false,
        )
        .expect("unmapped");
    }
    assert!(audit(&hv, &[&dom0, &one, &other]).is_empty());
}

#[test]
fn a_channel_with_one_end_is_found() {
    let hv = world();
    let one = PvGuest::unprivileged(&hv, 5, 64);
    let other = PvGuest::unprivileged(&hv, 6, 64);
    let listening = hv.alloc_unbound(&one.domain, DomId(6)).expect("port");
    let calling = hv
        .bind_interdomain(&other.domain, &one.domain, listening)
        .expect("port");
    assert!(audit(&hv, &[&one, &other]).is_empty());
    let slot = one.domain.events.slot(listening).expect("slot");
    let was = core::mem::replace(
        &mut slot.lock().binding,
        Binding::Unbound { remote: DomId(6) },
    );
    finds(&hv, &[&one, &other], "is connected to");
    slot.lock().binding = was;
    let slot = other.domain.events.slot(calling).expect("slot");
    let was = core::mem::replace(&mut slot.lock().binding, Binding::Free);
    finds(&hv, &[&one, &other], "marked used");
    slot.lock().binding = was;
    other.domain.events.prepare_vcpus(1);
    other.domain.events.set_virq_port(
        VcpuId(0),
        hypercall_abi::xen::Virq::TIMER,
        Some(Port(calling.0)),
    );
    finds(&hv, &[&one, &other], "has another binding");
}

#[test]
fn a_stop_of_all_processors_lets_the_leader_see_every_context() {
    let hv = crate::sim::world_with(crate::sim::SimConfig {
        cpus: 2,
        ..crate::sim::SimConfig::default()
    });
    let guests = [5u16, 6].map(|id| PvGuest::unprivileged(&hv, id, 64));
    // A reference too many on a root: let pass while the vCPU runs, found when it is stopped.
    let root = guests[1].mfn(guests[1].l4);
    let more = hv.mem.get_page(root, DomId(6)).expect("root").into_raw();
    assert!(hv.mem.get_valid_type(more, PageType::L4));
    assert!(hv.audit_in_motion().is_empty());
    hv.request_audit();
    std::thread::scope(|scope| {
        for (guest, cpu) in guests.into_iter().zip(0u32..) {
            let hv = &hv;
            scope.spawn(move || {
                crate::sim::on_cpu(CpuId(cpu), || {
                    let local = CpuLocal {
                        current: Some(crate::hypervisor::Running {
                            domain: guest.domain,
                            vcpu: guest.vcpu,
                            ctx: guest.ctx,
                        }),
                        ..CpuLocal::new(CpuId(cpu))
                    };
                    hv.audit_if_due(&local);
                });
            });
        }
    });
    assert_eq!(hv.audits.failures(), 1);
}
