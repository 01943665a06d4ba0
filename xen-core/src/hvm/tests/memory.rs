//! The address space of a guest that runs in hardware: translation, what moves in it, copies.

use std::boxed::Box;
use std::vec;
use std::vec::Vec;

use hypercall_abi::errno::Errno;
use hypercall_abi::hvm::hvm_op::HvmParam;
use hypercall_abi::hvm::params::HvmParamIndex;
use hypercall_abi::memory::{AddToPhysmap, MapSpace, MemoryReservation};
use hypercall_abi::xen::{DomId, HypercallNr};
use zerocopy::FromZeros;

use super::{CPU, Guest, PAGES, TABLES, err};
use crate::guest::GuestAccess;
use crate::hvm::walk::Access;
use crate::hvm::{GuestView, P2mKind};
use crate::machine::{CpuMask, Cpus, GuestMemory, HvmState};
use crate::mm::AllocOptions;
use crate::num::Pfn;

#[test]
fn addresses_are_translated_with_the_rights_that_the_guests_tables_give() {
    let mut guest = Guest::long();
    let page = |n: u64| TABLES + n * 4096;
    // Page 32 read-only, page 33 for user mode, page 34 not executable.
    guest.poke(page(3) + 32 * 8, &[(32 << 12 | 1u64).to_le_bytes()]);
    guest.poke(page(3) + 33 * 8, &[(33 << 12 | 7u64).to_le_bytes()]);
    guest.poke(
        page(3) + 34 * 8,
        &[(34 << 12 | 3u64 | 1 << 63).to_le_bytes()],
    );
    guest.state().efer |= HvmState::EFER_NXE;
    let machine = |guest: &Guest, view: &GuestView, addr, access| {
        view.translate(&guest.hv.machine, addr, access).ok()
    };
    let view = guest.view();
    assert_eq!(
        machine(&guest, &view, 0xffff_ff80_0000_8123, Access::Read),
        Some(0x8123)
    );
    assert_eq!(
        machine(&guest, &view, 0x0000_8000_0000_0000, Access::Read),
        None
    );
    assert_eq!(machine(&guest, &view, 32 << 12, Access::Write), None);
    assert_eq!(machine(&guest, &view, 34 << 12, Access::Fetch), None);
    guest.state().cr0 &= !HvmState::CR0_WP;
    let view = guest.view();
    assert_eq!(
        machine(&guest, &view, 32 << 12, Access::Write),
        Some(32 << 12)
    );
    assert_ne!(guest.peek(page(3) + 32 * 8) & 0x40, 0, "dirty");
    // SMAP keeps the kernel off user pages, unless AC says otherwise.
    guest.state().cr4 |= HvmState::CR4_SMAP;
    let view = guest.view();
    assert_eq!(machine(&guest, &view, 33 << 12, Access::Read), None);
    guest.regs.rflags |= 1 << 18;
    let view = guest.view();
    assert_eq!(
        machine(&guest, &view, 33 << 12, Access::Read),
        Some(33 << 12)
    );
}

#[test]
fn hypercalls_reach_only_what_the_guest_can() {
    let mut guest = Guest::long();
    let param = |index, value| HvmParam {
        domid: DomId::SELF,
        pad: 0,
        index,
        value,
    };
    let nr = HypercallNr::HVM_OP;
    guest.poke(0x9000, &param(HvmParamIndex::CALLBACK_IRQ, 1));
    assert_eq!(guest.hypercall(nr, [0, 0x9000, 0]), 0);
    guest.poke(0x9000, &param(HvmParamIndex::STORE_PFN, 1));
    assert_eq!(guest.hypercall(nr, [0, 0x9000, 0]), err(Errno::EPERM));
    assert_eq!(guest.hypercall(nr, [0, PAGES << 12, 0]), err(Errno::EFAULT));
    assert_eq!(guest.hypercall(nr, [77, 0x9000, 0]), err(Errno::ENOSYS));
    for pv_only in [
        HypercallNr::MMU_UPDATE,
        HypercallNr::SET_GDT,
        HypercallNr::IRET,
    ] {
        assert_eq!(guest.hypercall(pv_only, [0; 3]), err(Errno::ENOSYS));
    }
}

#[test]
fn pages_move_in_the_guests_address_space_and_none_is_lost() {
    let mut guest = Guest::long();
    let free = guest.hv.mem.free_pages();
    let add = |space, idx, gpfn| AddToPhysmap {
        domid: DomId::SELF,
        size: 0,
        space,
        idx,
        gpfn,
    };
    let nr = HypercallNr::MEMORY_OP;
    // The shared page replaces memory, which is given back.
    guest.poke(0x9000, &add(MapSpace::SHARED_INFO, 0, 5));
    assert_eq!(guest.hypercall(nr, [7, 0x9000, 0]), 0);
    let mapped = guest.lookup(5).expect("mapped");
    assert_eq!(
        (mapped.mfn, mapped.kind),
        (guest.domain.shared_info, P2mKind::Special)
    );
    assert_eq!(guest.hv.mem.free_pages(), free + 1);
    // It is in one place only.
    guest.poke(0x9000, &add(MapSpace::SHARED_INFO, 0, 6));
    assert_eq!(guest.hypercall(nr, [7, 0x9000, 0]), 0);
    assert_eq!(guest.lookup(5), None);
    // Memory moves.
    let moved = guest.lookup(40).expect("mapped");
    guest.poke(0x9000, &add(MapSpace::GMFN, 40, 5));
    assert_eq!(guest.hypercall(nr, [7, 0x9000, 0]), 0);
    assert_eq!((guest.lookup(40), guest.lookup(5)), (None, Some(moved)));
    guest.poke(0x9000, &add(MapSpace::GMFN, 40, 5));
    assert_eq!(guest.hypercall(nr, [7, 0x9000, 0]), err(Errno::EINVAL));
    // A grant frame appears beyond the memory.
    guest.poke(0x9000, &add(MapSpace::GRANT_TABLE, 0, 0x10_0000));
    assert_eq!(guest.hypercall(nr, [7, 0x9000, 0]), 0);
    assert!(guest.lookup(0x10_0000).is_some());
    // Ballooning: out, and in again.
    let mut request = MemoryReservation::new_zeroed();
    request.extent_start = hypercall_abi::guest_handle::GuestHandle::from_addr(0xa000);
    request.nr_extents = 1;
    request.domid = DomId::SELF;
    guest.poke(0x9000, &request);
    guest.poke(0xa000, &5u64);
    let before = guest.hv.mem.free_pages();
    assert_eq!(guest.hypercall(nr, [1, 0x9000, 0]), 1);
    assert_eq!(
        (guest.lookup(5), guest.hv.mem.free_pages()),
        (None, before + 1)
    );
    assert_eq!(guest.hypercall(nr, [1, 0x9000, 0]), 0, "it is gone");
    assert_eq!(guest.hypercall(nr, [6, 0x9000, 0]), 1);
    assert!(guest.lookup(5).is_some());
    assert_eq!(guest.hv.mem.free_pages(), before);
}

#[test]
fn large_pages_are_split_where_a_page_goes() {
    let mut guest = Guest::new();
    let hv = &guest.hv;
    let p2m = &guest.domain.hvm.as_ref().expect("translated").p2m;
    let first = hv
        .mem
        .allocate(&hv.machine, &guest.domain.pages, 9, AllocOptions::default())
        .expect("memory");
    let tables = p2m.table_count();
    assert_eq!(
        p2m.map(&hv.mem, &hv.machine, Pfn(512), first, 9, P2mKind::Ram),
        Ok(())
    );
    assert_eq!(p2m.table_count(), tables, "one entry");
    let hit = p2m.get(&hv.machine, Pfn(512 + 77)).expect("mapped");
    assert_eq!(hit.mfn, first.offset(77));
    assert_eq!(
        p2m.map(&hv.mem, &hv.machine, Pfn(600), first, 0, P2mKind::Ram),
        Err(Errno::EEXIST)
    );
    let old = p2m.replace(&hv.mem, &hv.machine, Pfn(512 + 77), None);
    assert_eq!(old, Ok(Some(hit)));
    assert_eq!(p2m.table_count(), tables + 1);
    let around: Vec<_> = [76, 77, 78]
        .map(|i| p2m.get(&hv.machine, Pfn(512 + i)).map(|mapped| mapped.mfn))
        .into();
    assert_eq!(
        around,
        vec![Some(first.offset(76)), None, Some(first.offset(78))]
    );
    // The pool bounds the tables.
    p2m.set_limit(p2m.table_count());
    let far = Pfn(1 << 30);
    assert_eq!(
        p2m.map(&hv.mem, &hv.machine, far, hit.mfn, 0, P2mKind::Ram),
        Err(Errno::ENOMEM)
    );
    let _ = guest.event();
}

#[test]
fn a_copy_goes_to_the_guest_whose_view_is_set() {
    let mut guest = Guest::long();
    let view = guest.view();
    let machine = &guest.hv.machine;
    assert!(
        machine
            .write_bytes(0xffff_ff80_0000_9000, &[1; 16])
            .is_err()
    );
    machine.set_guest_view(Some(view));
    // Across a page boundary, in the upper half, which is the guest's own.
    assert_eq!(machine.write_bytes(0xffff_ff80_0000_9ff8, &[7; 16]), Ok(()));
    let mut back = [0; 16];
    assert_eq!(machine.read_bytes(0x9ff8, &mut back), Ok(()));
    assert_eq!(back, [7; 16]);
    machine.set_guest_view(None);
    assert_eq!(machine.online(), CpuMask::single(CPU));
    let _ = Box::new(guest.event());
}
