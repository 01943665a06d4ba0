//! `mmuext_op`: pins, roots, flushes, the LDT, clearing and copying pages.

use hypercall_abi::errno::Errno;
use hypercall_abi::guest_handle::GuestHandle;
use hypercall_abi::xen::{MmuextCmd, MmuextOp};

use super::Call;
use super::foreign::{PREEMPTED, PageOwner};
use crate::guest::{GuestAccess, is_guest_address};
use crate::machine::{CpuMask, Flush, Machine};
use crate::mm::PageType;
use crate::num::Mfn;
use crate::outcome::{HypercallResult, Outcome, Stop};
use crate::pv::mm;

/// Descriptors that an LDT can have.
const MAX_LDT_ENTRIES: u32 = 8192;

impl<M: Machine> Call<'_, M> {
    pub(super) fn mmuext_op(
        &mut self,
        ops: GuestHandle<MmuextOp>,
        count: u32,
        done: GuestHandle<u32>,
        foreigndom: u32,
    ) -> HypercallResult {
        if count == PREEMPTED && ops.is_null() {
            return self.settle_again(done.addr(), foreigndom);
        }
        self.settle(&self.domain.pages)?;
        let machine = &self.hv.machine;
        let mut before = 0;
        if count & PREEMPTED != 0 && !done.is_null() {
            before = machine.read(done)?;
        }
        let count = count & !PREEMPTED;
        // ABI: a domain's number has 16 bits, whatever else the register holds.
        let owner = self.page_owner((foreigndom & 0xffff) as u16)?;
        self.may_handle(&owner)?;
        let pages = owner
            .domain
            .as_ref()
            .map_or(&self.domain.pages, |domain| &domain.pages);
        let mut finished = 0;
        let mut result = Ok(());
        while finished < count {
            if finished > 0 && machine.must_yield() {
                result = Err(Stop::Preempted);
                break;
            }
            let one = self
                .settle_at_times(pages, finished)
                .and_then(|()| Ok(machine.read_at(ops, finished.into())?))
                .and_then(|op| self.one_op(&owner, &op));
            if let Err(stop) = one {
                result = Err(stop);
                break;
            }
            finished += 1;
        }
        let total: u32 = finished.wrapping_add(before);
        if !done.is_null() {
            // ABI: the operations are done; a guest that cannot be told how many hears nothing of that.
            let _ = machine.write(done, &total);
        }
        match result {
            Err(Stop::Preempted) => {
                let next = ops.offset(finished.into()).ok_or(Errno::EFAULT)?;
                let left = (count - finished) | PREEMPTED;
                Ok(Outcome::Again([
                    next,
                    left.into(),
                    done.addr(),
                    foreigndom.into(),
                    0,
                    0,
                ]))
            }
            Err(Stop::Fail(errno)) => self.settle_with(pages, Err(errno)),
            Ok(()) => self.settle_with(pages, Ok(0)),
        }
    }

    fn one_op(&mut self, owner: &PageOwner, op: &MmuextOp) -> Result<(), Stop> {
        use MmuextCmd as C;
        let hv = self.hv;
        let Some(target) = owner.domain.as_ref() else {
            // Devices and the hypervisor have no tables and no processors: what would be done to oneself is forbidden
            // before it is senseless.
            return Err(match op.cmd {
                C::MARK_SUPER | C::UNMARK_SUPER => Errno::EOPNOTSUPP,
                cmd if is_own_op(cmd) => Errno::EPERM,
                cmd if cmd.0 <= C::UNPIN_TABLE.0 => Errno::EINVAL,
                C::CLEAR_PAGE | C::COPY_PAGE => Errno::EINVAL,
                _ => Errno::ENOSYS,
            }
            .into());
        };
        let mfn = Mfn(op.arg1.as_mfn());
        let kind = match op.cmd {
            C::PIN_L1_TABLE => PageType::L1,
            C::PIN_L2_TABLE => PageType::L2,
            C::PIN_L3_TABLE => PageType::L3,
            C::PIN_L4_TABLE => PageType::L4,
            C::UNPIN_TABLE => {
                mm::unpin_table(hv, target, mfn)?;
                return Ok(());
            }
            C::CLEAR_PAGE => {
                let page = hv.mem.get_writable(mfn, target.id)?;
                hv.machine.zero(page.mfn());
                return Ok(());
            }
            C::COPY_PAGE => {
                let from = hv
                    .mem
                    .get_page(Mfn(op.arg2.as_src_mfn()), target.id)
                    .ok_or(Errno::EINVAL)?;
                let to = hv.mem.get_writable(mfn, target.id)?;
                hv.machine.copy_frame(to.mfn(), from.mfn());
                return Ok(());
            }
            C::MARK_SUPER | C::UNMARK_SUPER => return Err(Errno::EOPNOTSUPP.into()),
            _ => return self.own_op(owner, op),
        };
        mm::in_stretches(hv, |budget| mm::pin_table(hv, target, mfn, kind, budget))
    }

    /// What a vCPU can do to itself only.
    fn own_op(&mut self, owner: &PageOwner, op: &MmuextOp) -> Result<(), Stop> {
        use MmuextCmd as C;
        let (hv, ctx) = (self.hv, &mut *self.ctx);
        let domain = self.domain;
        let addr = op.arg1.as_linear_addr();
        if !is_own_op(op.cmd) {
            return Err(Errno::ENOSYS.into());
        }
        if owner.id != domain.id {
            return Err(Errno::EPERM.into());
        }
        let here = CpuMask::single(self.cpu);
        let everywhere = || *domain.dirty_cpus.lock();
        match op.cmd {
            C::NEW_BASEPTR => {
                let mfn = Mfn(op.arg1.as_mfn());
                mm::in_stretches(hv, |budget| {
                    mm::new_kernel_root(hv, domain, ctx, mfn, budget)
                })?;
            }
            C::NEW_USER_BASEPTR => {
                let mfn = Some(Mfn(op.arg1.as_mfn())).filter(|mfn| mfn.0 != 0);
                mm::in_stretches(hv, |budget| mm::new_user_root(hv, domain, ctx, mfn, budget))?;
            }
            C::TLB_FLUSH_LOCAL => hv.mem.flush_tlb(&hv.machine, &here, Flush::All),
            C::INVLPG_LOCAL => self.flush_page(&here, addr),
            C::TLB_FLUSH_MULTI | C::INVLPG_MULTI => {
                let mask = self
                    .processors_in(op.arg2.as_vcpumask().addr())
                    .map_err(|_| Errno::EINVAL)?;
                if op.cmd == C::INVLPG_MULTI {
                    self.flush_page(&mask, addr);
                } else {
                    hv.mem.flush_tlb(&hv.machine, &mask, Flush::All);
                }
            }
            C::TLB_FLUSH_ALL => hv.mem.flush_tlb(&hv.machine, &everywhere(), Flush::All),
            C::INVLPG_ALL => self.flush_page(&everywhere(), addr),
            C::FLUSH_CACHE | C::FLUSH_CACHE_GLOBAL => {
                if !domain.privileges.hardware {
                    let errno = if op.cmd == C::FLUSH_CACHE {
                        Errno::EACCES
                    } else {
                        Errno::EINVAL
                    };
                    return Err(errno.into());
                }
                hv.machine.flush_caches();
            }
            C::SET_LDT => {
                let entries = op.arg2.as_nr_ents();
                let placed = addr.is_multiple_of(4096) && is_guest_address(addr);
                if entries > MAX_LDT_ENTRIES || (entries != 0 && !placed) {
                    return Err(Errno::EINVAL.into());
                }
                if ctx.ldt.entries != entries || ctx.ldt.base != addr {
                    mm::drop_ldt_shadow(hv, ctx);
                    ctx.ldt.base = addr;
                    ctx.ldt.entries = entries;
                    hv.machine.load_ldt(entries);
                }
            }
            _ => return Err(Errno::ENOSYS.into()),
        }
        Ok(())
    }

    /// Forgets one address. Those that are not the guest's are ignored: INVLPG of a non-canonical one would do
    /// nothing either, and a remote flush of it could fault (XSA-279).
    pub(super) fn flush_page(&self, mask: &CpuMask, addr: u64) {
        if is_guest_address(addr) {
            self.hv
                .mem
                .flush_tlb(&self.hv.machine, mask, Flush::Page(addr));
        }
    }

    /// The processors of the vCPUs in a bitmap of the guest's.
    pub(super) fn processors_in(&self, bitmap: u64) -> Result<CpuMask, Errno> {
        let words = self
            .hv
            .machine
            .read_bitmap(bitmap, self.domain.max_vcpus())?;
        let named = self.domain.vcpus().filter(|vcpu| {
            words
                .get(vcpu.id.0 as usize / 64)
                .is_some_and(|word| word & (1 << (vcpu.id.0 % 64)) != 0)
        });
        Ok(mm::processors_of(named.map(|vcpu| &**vcpu)))
    }
}

/// Whether an operation is one that a vCPU does to itself only.
fn is_own_op(cmd: MmuextCmd) -> bool {
    use MmuextCmd as C;
    (C::NEW_BASEPTR.0..=C::SET_LDT.0).contains(&cmd.0)
        || cmd == C::NEW_USER_BASEPTR
        || cmd == C::FLUSH_CACHE_GLOBAL
}
