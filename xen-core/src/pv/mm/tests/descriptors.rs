//! GDT and LDT pages.

use hypercall_abi::arch_x86::CpuUserRegs;
use hypercall_abi::errno::Errno;
use hypercall_abi::xen::{HypercallNr, MmuextCmd as C};
use zerocopy::FromZeros;

use super::super::{drop_ldt_shadow, fill_ldt_slot};
use super::{FREE, err};
use crate::hypervisor::CpuLocal;
use crate::mm::PageType;
use crate::num::{CpuId, Pfn};
use crate::sim::{PvGuest, on_cpu, world};

const DATA: u64 = 0x00cf_9200_0000_ffff;
const DATA_RING3: u64 = 0x00cf_f200_0000_ffff;
const TSS: u64 = 0x0000_8900_0000_0067;

#[test]
fn a_gdt_page_has_no_writable_mapping_and_no_privilege() {
    let hv = world();
    let mut guest = PvGuest::unprivileged(&hv, 1, 64);
    let pfn = Pfn(FREE);
    let mfn = guest.mfn(pfn);
    guest
        .store(&hv, guest.va(pfn) + 8, &DATA.to_le_bytes())
        .unwrap();
    let list = guest.put(&hv, Pfn(FREE + 1), &mfn.0);
    let set = |guest: &mut PvGuest, at, entries| {
        guest.hypercall(&hv, HypercallNr::SET_GDT, [at, entries, 0, 0, 0, 0])
    };
    assert_eq!(set(&mut guest, list, 16), err(Errno::EINVAL));
    assert_eq!(guest.remap(&hv, pfn, false, true), 0);
    assert_eq!(set(&mut guest, list, 7169), err(Errno::EINVAL));
    assert_eq!(set(&mut guest, 0x1000, 16), err(Errno::EFAULT));
    assert_eq!(set(&mut guest, list, 16), 0);
    assert_eq!(hv.machine.gdt_window(CpuId(0))[0], Some(mfn));
    assert_eq!(guest.load(&hv, guest.va(pfn) + 8), Ok(DATA_RING3));
    assert_eq!(guest.remap(&hv, pfn, true, true), err(Errno::EBUSY));
    guest.audit(&hv);
    // One descriptor at a time.
    let desc = |guest: &mut PvGuest, addr, value| {
        guest.hypercall(
            &hv,
            HypercallNr::UPDATE_DESCRIPTOR,
            [addr, value, 0, 0, 0, 0],
        )
    };
    assert_eq!(desc(&mut guest, mfn.addr() + 16, DATA), 0);
    assert_eq!(guest.load(&hv, guest.va(pfn) + 16), Ok(DATA_RING3));
    assert_eq!(desc(&mut guest, mfn.addr() + 16, TSS), err(Errno::EINVAL));
    assert_eq!(desc(&mut guest, mfn.addr() + 17, DATA), err(Errno::EINVAL));
    let table = guest.mfn(guest.l4).addr();
    assert_eq!(desc(&mut guest, table, 0), err(Errno::EINVAL));
    let plain = guest.mfn(Pfn(20)).addr();
    assert_eq!(desc(&mut guest, plain, DATA), 0);
    // mmu_update does not write descriptors.
    assert_eq!(guest.update(&hv, mfn.addr(), 0), err(Errno::EINVAL));
    guest.audit(&hv);
    assert_eq!(set(&mut guest, list, 0), 0);
    assert_eq!(hv.machine.gdt_window(CpuId(0))[0], None);
    assert_eq!(guest.remap(&hv, pfn, true, true), 0);
    guest.audit(&hv);
}

#[test]
fn a_page_with_a_forbidden_descriptor_is_no_gdt() {
    let hv = world();
    let mut guest = PvGuest::unprivileged(&hv, 1, 64);
    let pages = [Pfn(FREE), Pfn(FREE + 1)];
    guest
        .store(&hv, guest.va(pages[1]) + 4088, &TSS.to_le_bytes())
        .unwrap();
    for pfn in pages {
        assert_eq!(guest.remap(&hv, pfn, false, true), 0);
    }
    let frames = pages.map(|pfn| guest.mfn(pfn).0);
    let list = guest.put(&hv, Pfn(FREE + 2), &frames);
    let result = guest.hypercall(&hv, HypercallNr::SET_GDT, [list, 1024, 0, 0, 0, 0]);
    assert_eq!(result, err(Errno::EINVAL));
    guest.audit(&hv);
    for pfn in pages {
        assert_eq!(hv.mem.type_of(guest.mfn(pfn)).count(), 0);
    }
}

#[test]
fn the_ldt_is_filled_page_by_page_and_dropped_as_a_whole() {
    let hv = world();
    let mut guest = PvGuest::unprivileged(&hv, 1, 64);
    let base = guest.va(Pfn(FREE));
    for pfn in [Pfn(FREE), Pfn(FREE + 1)] {
        assert_eq!(guest.remap(&hv, pfn, false, true), 0);
    }
    for (addr, entries) in [
        (base + 8, 10),
        (base, 8193),
        (0xffff_8300_0000_0000, 1),
        (1 << 47, 1),
    ] {
        assert_eq!(
            guest.ext(&hv, C::SET_LDT, addr, entries),
            err(Errno::EINVAL)
        );
    }
    assert_eq!(guest.ext(&hv, C::SET_LDT, base, 600), 0);
    assert_eq!(hv.machine.ldt_entries(CpuId(0)), 600);
    let fill = |guest: &mut PvGuest, slot| {
        on_cpu(CpuId(0), || {
            fill_ldt_slot(&hv, &guest.domain.clone(), &mut guest.ctx, slot)
        })
    };
    assert!(fill(&mut guest, 1));
    assert!(fill(&mut guest, 1));
    assert!(!fill(&mut guest, 2), "beyond the LDT");
    assert_eq!(
        hv.machine.ldt_window(CpuId(0))[1],
        Some(guest.mfn(Pfn(FREE + 1)))
    );
    assert_eq!(
        hv.mem.type_of(guest.mfn(Pfn(FREE + 1))).kind(),
        PageType::SegDesc
    );
    guest.audit(&hv);
    assert_eq!(guest.ext(&hv, C::SET_LDT, 0, 0), 0);
    assert_eq!(hv.machine.ldt_window(CpuId(0))[1], None);
    assert_eq!(guest.remap(&hv, Pfn(FREE + 1), true, true), 0);
    guest.audit(&hv);
    // A page that the guest can write to is no LDT page.
    assert_eq!(guest.ext(&hv, C::SET_LDT, base, 600), 0);
    assert!(!fill(&mut guest, 1));
    guest.audit(&hv);
}

#[test]
fn a_selector_in_the_ldt_loads_though_its_page_was_never_touched() {
    /// SEGBASE_GS_USER_SEL.
    const GS_USER_SELECTOR: u64 = 3;
    let hv = world();
    let mut guest = PvGuest::unprivileged(&hv, 1, 64);
    let base = guest.va(Pfn(FREE));
    for pfn in [Pfn(FREE), Pfn(FREE + 1)] {
        assert_eq!(guest.remap(&hv, pfn, false, true), 0);
    }
    assert_eq!(guest.ext(&hv, C::SET_LDT, base, 600), 0);
    let selector = 512 << 3 | 7;
    let set = [GS_USER_SELECTOR, selector, 0, 0, 0, 0];
    assert_eq!(guest.hypercall(&hv, HypercallNr::SET_SEGMENT_BASE, set), 0);
    let second = Some(guest.mfn(Pfn(FREE + 1)));
    assert_eq!(hv.machine.ldt_window(CpuId(0))[..2], [None, second]);
    // A new address space empties the window; whoever is switched to then loads the same selector.
    on_cpu(CpuId(0), || drop_ldt_shadow(&hv, &mut guest.ctx));
    guest.ctx.segments.ds = selector as u16;
    let PvGuest { vcpu, ctx, .. } = guest;
    *vcpu.parked.lock() = Some(ctx);
    let mut cpu = CpuLocal::new(CpuId(0));
    assert!(hv.switch_in(&mut cpu, &mut CpuUserRegs::new_zeroed(), &vcpu));
    assert_eq!(hv.machine.ldt_window(CpuId(0))[..2], [None, second]);
}
