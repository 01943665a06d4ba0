//! `update_va_mapping` and `update_va_mapping_otherdomain`: one L1 entry, named by the address it maps.

use hypercall_abi::errno::Errno;
use hypercall_abi::xen::{DomId, UvmFlags};

use super::Call;
use crate::machine::{CpuMask, Flush, Machine};
use crate::outcome::{HypercallResult, Outcome};
use crate::pv::mm;

impl<M: Machine> Call<'_, M> {
    pub(super) fn update_va_mapping(&mut self, va: u64, value: u64, flags: u64) -> HypercallResult {
        self.update_va(va, value, flags, self.domain.id)
    }

    pub(super) fn update_va_mapping_otherdomain(
        &mut self,
        va: u64,
        value: u64,
        flags: u64,
        domid: u32,
    ) -> HypercallResult {
        let owner = self.page_owner((domid & 0xffff) as u16)?;
        self.may_handle(&owner)?;
        let value = self.machine_entry(owner.domain.as_ref(), value)?;
        self.update_va(va, value, flags, owner.id)
    }

    fn update_va(&mut self, va: u64, value: u64, flags: u64, page_owner: DomId) -> HypercallResult {
        let hv = self.hv;
        self.settle(&self.domain.pages)?;
        let root = self.ctx.kernel_root.ok_or(Errno::EINVAL)?;
        let (table, index) = mm::find_l1(&hv.machine, root, va).ok_or(Errno::EINVAL)?;
        let address = table.addr() + index as u64 * 8;
        // Not flushed when this fails (XSA-279).
        mm::write_l1(hv, self.domain, address, value, page_owner, false)?;
        self.flush_as_asked(va, flags)?;
        Ok(Outcome::Done(0))
    }

    fn flush_as_asked(&self, va: u64, flags: u64) -> Result<(), Errno> {
        let kind = flags & UvmFlags::FLUSHTYPE_MASK.bits();
        let what = if kind == UvmFlags::TLB_FLUSH.bits() {
            Flush::All
        } else if kind == UvmFlags::INVLPG.bits() {
            Flush::Page(va)
        } else {
            return Ok(());
        };
        let mask = match flags & !UvmFlags::FLUSHTYPE_MASK.bits() {
            0 => CpuMask::single(self.cpu),
            scope if scope == UvmFlags::ALL.bits() => *self.domain.dirty_cpus.lock(),
            // The entry has been changed all the same.
            bitmap => self.processors_in(bitmap)?,
        };
        match what {
            Flush::Page(addr) => self.flush_page(&mask, addr),
            Flush::All => self.hv.mem.flush_tlb(&self.hv.machine, &mask, Flush::All),
        }
        Ok(())
    }
}
