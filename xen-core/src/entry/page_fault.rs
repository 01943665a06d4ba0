//! Page faults of ring 3: four owners, in this order.
//!
//! 1. The descriptor windows of the processor: an LDT page is filled lazily; what cannot be filled is reported at the
//!    guest's own LDT address. 2. A write to a page table of the guest, which is emulated (ptwr), whether or not
//!    VMASST_TYPE_writable_pagetables is on: Xen no longer asks. 3. Anything else is
//!    the guest's own. Faults in guest copies and faults of ours never come here: the machine side tells them apart.

use hypercall_abi::arch_x86::CpuUserRegs;

use super::vector;
use crate::domain::PendingException;
use crate::guest::{HYPERVISOR_END, HYPERVISOR_START};
use crate::hypervisor::{CpuLocal, Hypervisor, Running};
use crate::machine::Machine;
use crate::pv::emulate::ro_fault;

/// Error-code bits (SDM volume 3, 4.7).
pub mod code {
    /// The page was present.
    pub const PRESENT: u32 = 1;
    /// A write.
    pub const WRITE: u32 = 2;
    /// From ring 3.
    pub const USER: u32 = 4;
    /// A reserved bit was set.
    pub const RESERVED: u32 = 8;
    /// An instruction fetch.
    pub const FETCH: u32 = 16;
}

impl<M: Machine> Hypervisor<M> {
    pub(super) fn page_fault(&self, cpu: &mut CpuLocal, regs: &mut CpuUserRegs, addr: u64) {
        let Some(Running {
            domain,
            vcpu: _,
            ctx,
        }) = cpu.current.as_mut()
        else {
            return;
        };
        let error = regs.error_code;
        let mut report = addr;
        if (HYPERVISOR_START..HYPERVISOR_END).contains(&addr) {
            // Descriptor fetches are supervisor accesses even in ring 3.
            if error & code::USER == 0 {
                if let Some(offset) = self.machine.ldt_window_offset(addr) {
                    let slot = (offset >> 12) as usize;
                    if crate::pv::mm::fill_ldt_slot(self, domain, ctx, slot) {
                        return;
                    }
                    report = ctx.ldt.base.wrapping_add(offset);
                } else if let Some(offset) = self.machine.gdt_window_offset(addr) {
                    ctx.inject_fault(vector::GP, Some((offset as u32) & 0xfff8));
                    return;
                }
            }
        } else if ctx.kernel_mode
            && error & (code::PRESENT | code::WRITE | code::RESERVED | code::FETCH)
                == code::PRESENT | code::WRITE
            && (ro_fault::write_to_page_table(self, domain, ctx, regs, addr)
                || ro_fault::write_to_device(self, domain, ctx, regs, addr))
        {
            return;
        }
        ctx.inject(PendingException {
            vector: vector::PF,
            error_code: Some(error),
            cr2: report,
        });
    }
}
