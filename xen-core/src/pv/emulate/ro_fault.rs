//! TRUSTED: writes of a guest kernel to its read-only page tables, and to device pages that it may only look at.
//!
//! Contract: abi-requirements 3.7. The faulting instruction is decoded once and turned into an operation on one whole
//! L1 entry, which goes through the same checks as mmu_update. What is not understood stays a #PF of the guest.

use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use hypercall_abi::arch_x86::CpuUserRegs;
use iced_x86::Instruction;

use super::fetch::{Fetched, Snapshot, segment_base};
use crate::domain::{Domain, VcpuCtx};
use crate::emulate::decode::CodeWidth;
use crate::emulate::registers;
use crate::emulate::store::Store;
use crate::guest::is_guest_address;
use crate::hypervisor::Hypervisor;
use crate::machine::Machine;
use crate::mm::PageType;
use crate::num::PAGE_SIZE;
use crate::pv::mm::entry::RW;
use crate::pv::mm::{L1Operation, L1Written, emulated_write, walk};

/// Times a read-modify-write is tried against other vCPUs that change the same entry. The guest executes the
/// instruction again after that.
const ATTEMPTS: usize = 16;

/// The instruction that faulted at `addr`, if it is one that stores there.
fn faulting_store<M: Machine>(
    hv: &Hypervisor<M>,
    ctx: &VcpuCtx,
    regs: &CpuUserRegs,
    addr: u64,
) -> Option<(Instruction, CodeWidth, Store)> {
    let machine = &hv.machine;
    let fetched = Snapshot::take(machine, ctx, regs).and_then(|snapshot| snapshot.decode(regs.rip));
    let Ok(Fetched {
        instruction,
        width: width @ CodeWidth::Bits64,
    }) = fetched
    else {
        return None;
    };
    let store = Store::decode(
        &instruction,
        regs,
        |segment| segment_base(machine, segment),
        |from, bytes| {
            let mut buffer = [0; 8];
            let part = buffer.get_mut(..bytes as usize)?;
            let last = from.checked_add(u64::from(bytes) - 1)?;
            if !is_guest_address(from) || !is_guest_address(last) {
                return None;
            }
            machine.copy_from_guest(from, part).ok()?;
            Some(u64::from_le_bytes(buffer))
        },
    );
    // XSA-123, XSA-195: the operand as decoded must lie in the page that faulted.
    let store = store.filter(|store| store.addr / PAGE_SIZE == addr / PAGE_SIZE)?;
    Some((instruction, width, store))
}

/// Deals with a write fault at `addr` on a device page that nobody may write (an IO-APIC's, a table of MSI-X): the write
/// has no effect, as on Xen. False: the fault is the guest's own.
pub fn write_to_device<M: Machine>(
    hv: &Hypervisor<M>,
    domain: &Domain,
    ctx: &mut VcpuCtx,
    regs: &mut CpuUserRegs,
    addr: u64,
) -> bool {
    let found = ctx
        .kernel_root
        .and_then(|root| walk(&hv.machine, root, addr));
    let Some(found) = found.filter(|found| found.entry & RW == 0) else {
        return false;
    };
    let read_only = || hv.mem.iomem_is_read_only(found.mfn) || hv.irqs.is_msix_table(found.mfn);
    if !domain.privileges.hardware || !hv.mem.is_device(found.mfn) || !read_only() {
        return false;
    }
    let Some((instruction, width, store)) = faulting_store(hv, ctx, regs, addr) else {
        return false;
    };
    // What needs the old value would have to read the device.
    if !store.replaces() {
        return false;
    }
    store.finish(regs, 0);
    super::retire(ctx, regs, instruction.len(), width);
    true
}

/// Deals with a write fault at `addr` on a present page in guest kernel mode. False: it is the guest's own.
pub fn write_to_page_table<M: Machine>(
    hv: &Hypervisor<M>,
    domain: &Arc<Domain>,
    ctx: &mut VcpuCtx,
    regs: &mut CpuUserRegs,
    addr: u64,
) -> bool {
    let Some(root) = ctx.kernel_root else {
        return false;
    };
    let machine = &hv.machine;
    let Some(found) = walk(machine, root, addr).filter(|found| found.entry & RW == 0) else {
        return false;
    };
    let table = found.mfn;
    let Some(_page) = hv.mem.get_page(table, domain.id) else {
        return false;
    };
    let kind = hv.mem.type_of(table);
    if kind.kind() != PageType::L1 || !kind.is_valid() {
        return false;
    }
    let Some((instruction, width, store)) = faulting_store(hv, ctx, regs, addr) else {
        return false;
    };
    let index = (store.addr % PAGE_SIZE / 8) as usize;
    let shift = (store.addr % 8) * 8;
    let mask = registers::mask(store.bytes);
    let mut old = machine.words(table)[index].load(Ordering::SeqCst);
    for _ in 0..ATTEMPTS {
        let operand = (old >> shift) & mask;
        let Some(change) = store.change(regs, operand) else {
            store.finish(regs, operand);
            super::retire(ctx, regs, instruction.len(), width);
            return true;
        };
        let new = (old & !(mask << shift)) | (change.new & mask) << shift;
        // A narrower store keeps the rest of the entry as it is at that moment.
        let operation = if change.depends || store.bytes < 8 {
            L1Operation::CompareExchange { old, new }
        } else {
            L1Operation::Store(new)
        };
        match emulated_write(hv, domain, table, index, operation) {
            Ok(L1Written::Stored(was)) => {
                store.finish(regs, (was >> shift) & mask);
                super::retire(ctx, regs, instruction.len(), width);
                return true;
            }
            Ok(L1Written::Mismatch(now)) => old = now,
            Err(_) => return false,
        }
    }
    // Others were faster every time: nothing happened, so the instruction can simply run again.
    true
}
