//! Writes to read-only page tables.

use core::sync::atomic::Ordering;

use super::super::ro_fault::{write_to_device, write_to_page_table};
use super::*;
use hypercall_abi::xen::HypercallNr;

use crate::machine::Frames;
use crate::num::Mfn;
use crate::pv::mm::entry::{ACCESSED, PRESENT, RW};

/// A page whose L1 entry the tests change.
const TARGET: Pfn = Pfn(5);

impl Bench {
    /// Address at which the guest sees the L1 entry of `TARGET`.
    fn entry_va(&self) -> u64 {
        self.guest.va(self.guest.l1[0]) + TARGET.0 * 8
    }

    fn entry(&self) -> u64 {
        let table = self.guest.mfn(self.guest.l1[0]);
        self.hv.machine.words(table)[TARGET.0 as usize].load(Ordering::SeqCst)
    }

    /// Executes `bytes`, which faulted writing at `addr`; RDI holds the address of the entry.
    fn write_fault(&mut self, bytes: &[u8], addr: u64) -> bool {
        self.code(bytes);
        let guest = &mut self.guest;
        let rip = guest.regs.rip;
        let done = write_to_page_table(
            &self.hv,
            &guest.domain,
            &mut guest.ctx,
            &mut guest.regs,
            addr,
        );
        let step = if done { bytes.len() as u64 } else { 0 };
        assert_eq!(guest.regs.rip, rip + step);
        self.guest.audit(&self.hv);
        done
    }

    fn at_entry(&mut self, bytes: &[u8]) -> bool {
        let addr = self.entry_va();
        self.guest.regs.rdi = addr;
        self.write_fault(bytes, addr)
    }
}

const MOV: &[u8] = &[0x48, 0x89, 0x37]; // mov [rdi], rsi
const XCHG: &[u8] = &[0x48, 0x87, 0x37];
const CMPXCHG: &[u8] = &[0xf0, 0x48, 0x0f, 0xb1, 0x37];

#[test]
fn a_plain_store_is_checked_and_adjusted_like_mmu_update() {
    let mut bench = Bench::new(false);
    let old = bench.entry();
    bench.guest.regs.rsi = bench.guest.mfn(Pfn(6)).addr() | PRESENT | ACCESSED;
    assert!(bench.at_entry(MOV));
    assert_eq!(
        bench.entry() & 0x000f_ffff_ffff_f000,
        bench.guest.mfn(Pfn(6)).addr()
    );
    assert_ne!(bench.entry() & 4, 0, "USER was added");
    bench.guest.regs.rsi = 0;
    assert!(bench.at_entry(MOV));
    assert_eq!(bench.entry(), 0);
    bench.guest.regs.rsi = old;
    assert!(bench.at_entry(MOV));
    assert_eq!(bench.entry(), old);
}

#[test]
fn stores_to_protected_device_pages_have_no_effect() {
    const DEVICE: Mfn = Mfn(0xfeb00);
    let mut bench = Bench::new(true);
    bench.hv.mem.protect_iomem(DEVICE, 1);
    let addr = bench.guest.va(TARGET);
    let entry = DEVICE.addr() | PRESENT | RW | ACCESSED;
    let args = [addr, entry, 0, 0, 0, 0];
    let nr = HypercallNr::UPDATE_VA_MAPPING;
    assert_eq!(bench.guest.hypercall(&bench.hv, nr, args), 0);
    assert_eq!(bench.entry() & RW, 0, "mapped, but not writable");
    let mut write = |bytes: &[u8]| {
        bench.code(bytes);
        let guest = &mut bench.guest;
        guest.regs.rdi = addr;
        let rip = guest.regs.rip;
        let done = write_to_device(
            &bench.hv,
            &guest.domain,
            &mut guest.ctx,
            &mut guest.regs,
            addr,
        );
        assert_eq!(
            guest.regs.rip - rip,
            if done { bytes.len() as u64 } else { 0 }
        );
        done
    };
    assert!(write(MOV));
    assert!(!write(XCHG), "it would have to read the device");
    // A page table is no device.
    bench.guest.regs.rdi = bench.entry_va();
    bench.code(MOV);
    let (addr, guest) = (bench.entry_va(), &mut bench.guest);
    assert!(!write_to_device(
        &bench.hv,
        &guest.domain,
        &mut guest.ctx,
        &mut guest.regs,
        addr
    ));
}

#[test]
fn forbidden_entries_stay_page_faults() {
    let mut bench = Bench::new(false);
    let old = bench.entry();
    let table = bench.guest.mfn(bench.guest.l1[0]);
    let other = crate::sim::PvGuest::unprivileged(&bench.hv, 2, 32);
    for (value, why) in [
        (table.addr() | PRESENT | RW, "a writable page table"),
        (other.mfn(Pfn(1)).addr() | PRESENT, "another domain's page"),
        (0x10_0000_0000 | PRESENT, "no RAM"),
    ] {
        bench.guest.regs.rsi = value;
        let addr = bench.entry_va();
        bench.guest.regs.rdi = addr;
        bench.code(MOV);
        let guest = &mut bench.guest;
        assert!(
            !write_to_page_table(
                &bench.hv,
                &guest.domain,
                &mut guest.ctx,
                &mut guest.regs,
                addr
            ),
            "{why}"
        );
        assert_eq!(bench.entry(), old, "{why}");
    }
    crate::sim::audit(&bench.hv, &[&bench.guest, &other]);
}

#[test]
fn exchange_and_compare_exchange() {
    let mut bench = Bench::new(false);
    let old = bench.entry();
    bench.guest.regs.rsi = 0;
    assert!(bench.at_entry(XCHG));
    assert_eq!((bench.guest.regs.rsi, bench.entry()), (old, 0));
    bench.guest.regs.rax = 1;
    assert!(bench.at_entry(CMPXCHG));
    assert_eq!(
        (bench.guest.regs.rax, bench.guest.regs.rflags & 0x40),
        (0, 0)
    );
    assert_eq!(bench.entry(), 0);
    assert!(bench.at_entry(CMPXCHG));
    assert_eq!((bench.entry(), bench.guest.regs.rflags & 0x40), (old, 0x40));
}

#[test]
fn bits_and_parts_of_an_entry() {
    let mut bench = Bench::new(false);
    let old = bench.entry();
    // lock btr qword [rdi], 1: clears RW
    assert!(bench.at_entry(&[0xf0, 0x48, 0x0f, 0xba, 0x37, 1]));
    assert_eq!((bench.entry(), bench.guest.regs.rflags & 1), (old & !RW, 1));
    // lock or byte [rdi], 2: sets it again, by a store of one byte
    assert!(bench.at_entry(&[0xf0, 0x80, 0x0f, 2]));
    assert_eq!(bench.entry(), old);
    // and dword [rdi], ~0x20
    assert!(bench.at_entry(&[0x83, 0x27, 0xdf]));
    assert_eq!(bench.entry(), old & !ACCESSED);
    // A bit number in a register that leads to this entry from the one before: bts [rdi-8], 64+5
    bench.guest.regs.rsi = 64 + 5;
    let addr = bench.entry_va();
    bench.guest.regs.rdi = addr;
    assert!(bench.write_fault(&[0x48, 0x0f, 0xab, 0x77, 0xf8], addr));
    assert_eq!(bench.entry(), old);
}

#[test]
fn an_operand_outside_the_page_that_faulted_is_refused() {
    let mut bench = Bench::new(false);
    let addr = bench.entry_va();
    bench.guest.regs.rsi = 0;
    bench.guest.regs.rdi = bench.guest.va(DATA);
    assert!(!bench.write_fault(MOV, addr), "the operand is elsewhere");
    // bts [rdi], rsi with a bit number a terabyte away (XSA-195)
    bench.guest.regs.rdi = addr;
    bench.guest.regs.rsi = 1 << 43;
    assert!(!bench.write_fault(&[0x48, 0x0f, 0xab, 0x37], addr));
}

#[test]
fn other_pages_and_other_instructions_are_the_guests_faults() {
    let mut bench = Bench::new(false);
    // A writable page: not ours.
    let data = bench.guest.va(DATA);
    bench.guest.regs.rdi = data;
    assert!(!bench.write_fault(MOV, data));
    // The L4 table: changed by hypercall only.
    let l4 = bench.guest.va(bench.guest.l4);
    bench.guest.regs.rdi = l4;
    assert!(!bench.write_fault(MOV, l4));
    for bytes in [
        &[0x0f, 0x11, 0x07][..],
        &[0x48, 0x0f, 0xc7, 0x0f],
        &[0xf3, 0x48, 0xab],
        &[0x0f, 0x06],
    ] {
        assert!(!bench.at_entry(bytes), "{bytes:x?}");
    }
    // Not mapped at all.
    assert!(!bench.write_fault(MOV, 0x1000));
    assert!(!bench.write_fault(MOV, 0xffff_8200_0000_0000));
}

#[test]
fn single_string_stores() {
    let mut bench = Bench::new(false);
    bench.guest.regs.rax = 0;
    let addr = bench.entry_va();
    assert!(bench.at_entry(&[0x48, 0xab]));
    assert_eq!((bench.entry(), bench.guest.regs.rdi), (0, addr + 8));
}

#[test]
fn random_writes_keep_the_books() {
    use proptest::prelude::*;
    let bench = std::cell::RefCell::new(Bench::new(false));
    proptest!(|(op in prop::sample::select(std::vec![&[0x48, 0x89, 0x37][..], &[0x48, 0x87, 0x37],
                    &[0xf0, 0x48, 0x0f, 0xb1, 0x37], &[0xf0, 0x48, 0x21, 0x37], &[0xf0, 0x48, 0x09, 0x37],
                    &[0xf0, 0x48, 0x0f, 0xc1, 0x37], &[0x48, 0x0f, 0xab, 0x37], &[0x88, 0x37], &[0x66, 0x89, 0x37]]),
                page in 0u64..64, flags in 0u64..0x200, rax: u64)| {
        let mut bench = bench.borrow_mut();
        bench.guest.regs.rsi = bench.guest.mfn(Pfn(page)).addr() | flags;
        bench.guest.regs.rax = rax;
        let _ = bench.at_entry(op);
    });
}
