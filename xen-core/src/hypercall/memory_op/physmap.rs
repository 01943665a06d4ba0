//! The physical address space of a guest that runs in hardware: XENMEM_add_to_physmap and its relatives, and the
//! extents of reservations there.

use alloc::sync::Arc;

use hypercall_abi::errno::Errno;
use hypercall_abi::guest_handle::GuestHandle;
use hypercall_abi::memory::{
    AddToPhysmap, AddToPhysmapBatch, MapSpace, MemoryOp, RemoveFromPhysmap,
};

use super::continued;
use super::reservation::enter_m2p;
use crate::domain::Domain;
use crate::guest::GuestAccess;
use crate::hvm::{HvmDomain, Mapped, P2mKind};
use crate::hypercall::Call;
use crate::hypervisor::Hypervisor;
use crate::machine::{Flush, Machine};
use crate::num::{Mfn, Pfn};
use crate::outcome::{HypercallResult, Outcome};

/// Index in the space of grant frames: status frames of version 2 are meant.
const GRANT_STATUS: u64 = 1 << 31;

impl<M: Machine> Call<'_, M> {
    pub(super) fn add_to_physmap(
        &self,
        arg: GuestHandle<AddToPhysmap>,
        start: u64,
    ) -> HypercallResult {
        let request = self.hv.machine.read(arg)?;
        if request.space == MapSpace::GMFN_FOREIGN {
            return Err(Errno::ENOSYS.into());
        }
        let target = self
            .hv
            .domain(self.domain, request.domid)
            .ok_or(Errno::ESRCH)?;
        let Some(hvm) = &target.hvm else {
            return Err(Errno::EACCES.into());
        };
        if !self.hv.may_map(self.domain, &target) {
            return Err(Errno::EPERM.into());
        }
        if request.space != MapSpace::GMFN_RANGE {
            if start != 0 {
                return Err(Errno::EINVAL.into());
            }
            self.add_frame(&target, hvm, request.space, request.idx, request.gpfn)?;
            return Ok(Outcome::Done(0));
        }
        let count = u64::from(request.size);
        let mut done = start;
        while done < count {
            if done != start && self.hv.machine.must_yield() {
                let cmd = continued(MemoryOp::ADD_TO_PHYSMAP, done);
                return Ok(Outcome::Again([cmd, arg.addr(), 0, 0, 0, 0]));
            }
            let from = request.idx.checked_add(done).ok_or(Errno::EINVAL)?;
            let to = request.gpfn.checked_add(done).ok_or(Errno::EINVAL)?;
            self.add_frame(&target, hvm, MapSpace::GMFN, from, to)?;
            done += 1;
        }
        Ok(Outcome::Done(0))
    }

    pub(super) fn add_to_physmap_batch(
        &self,
        arg: GuestHandle<AddToPhysmapBatch>,
        start: u64,
    ) -> HypercallResult {
        let request = self.hv.machine.read(arg)?;
        let target = self
            .hv
            .domain(self.domain, request.domid)
            .ok_or(Errno::ESRCH)?;
        let Some(hvm) = &target.hvm else {
            return Err(Errno::EACCES.into());
        };
        if !self.hv.may_map(self.domain, &target) {
            return Err(Errno::EPERM.into());
        }
        let count = u64::from(request.size);
        if start > count {
            return Err(Errno::EINVAL.into());
        }
        let space = MapSpace(request.space.into());
        let mut done = start;
        while done < count {
            if done != start && self.hv.machine.must_yield() {
                let cmd = continued(MemoryOp::ADD_TO_PHYSMAP_BATCH, done);
                return Ok(Outcome::Again([cmd, arg.addr(), 0, 0, 0, 0]));
            }
            let from: u64 = self.hv.machine.read_at(request.idxs, done)?;
            let to = self.hv.machine.read_at(request.gpfns, done)?;
            let result = if space == MapSpace::GMFN_FOREIGN {
                Err(Errno::EOPNOTSUPP)
            } else {
                self.add_frame(&target, hvm, space, from, to)
            };
            let code = result.err().map_or(0, |errno| errno.to_ret() as i32);
            self.hv.machine.write_at(request.errs, done, &code)?;
            done += 1;
        }
        Ok(Outcome::Done(0))
    }

    pub(super) fn remove_from_physmap(
        &self,
        arg: GuestHandle<RemoveFromPhysmap>,
    ) -> Result<u64, Errno> {
        let request = self.hv.machine.read(arg)?;
        let target = self
            .hv
            .domain(self.domain, request.domid)
            .ok_or(Errno::ESRCH)?;
        let Some(hvm) = &target.hvm else {
            return Err(Errno::EACCES);
        };
        if !self.hv.may_map(self.domain, &target) {
            return Err(Errno::EPERM);
        }
        let gfn = Pfn(request.gpfn);
        if hvm.p2m.get(&self.hv.machine, gfn).is_none() {
            return Err(Errno::ENOENT);
        }
        // ABI: the page itself stays the domain's.
        hvm.p2m.replace(&self.hv.mem, &self.hv.machine, gfn, None)?;
        self.hv.flush_nested(&target);
        Ok(0)
    }

    /// Maps one page of a space at `gfn`.
    fn add_frame(
        &self,
        target: &Arc<Domain>,
        hvm: &HvmDomain,
        space: MapSpace,
        index: u64,
        gfn: u64,
    ) -> Result<(), Errno> {
        let hv = self.hv;
        let machine = &hv.machine;
        let gfn = Pfn(gfn);
        let (new, old_gfn) = match space {
            MapSpace::SHARED_INFO if index == 0 => {
                let mfn = target.shared_info;
                (
                    Mapped {
                        mfn,
                        kind: P2mKind::Special,
                    },
                    self.place_of(hvm, mfn),
                )
            }
            MapSpace::GRANT_TABLE if index & GRANT_STATUS == 0 => {
                let number = u32::try_from(index).map_err(|_| Errno::EINVAL)?;
                let needed = number.checked_add(1).ok_or(Errno::EINVAL)?;
                hv.grow_grants(target, needed).map_err(|_| Errno::EINVAL)?;
                let frames = target.grants.frames();
                let mfn = *frames.get(number as usize).ok_or(Errno::EINVAL)?;
                (
                    Mapped {
                        mfn,
                        kind: P2mKind::Special,
                    },
                    self.place_of(hvm, mfn),
                )
            }
            MapSpace::GMFN => {
                let from = Pfn(index);
                let mapped = hvm.p2m.get(machine, from).ok_or(Errno::EINVAL)?;
                if !mapped.kind.is_ram() {
                    return Err(Errno::EINVAL);
                }
                (mapped, Some(from))
            }
            MapSpace::DEV_MMIO => return Err(Errno::EOPNOTSUPP),
            _ => return Err(Errno::EINVAL),
        };
        if old_gfn == Some(gfn) {
            return Ok(());
        }
        // A page is in one place only: where it was there is nothing first.
        if let Some(old) = old_gfn {
            let taken = hvm.p2m.replace(&hv.mem, machine, old, None)?;
            if taken != Some(new) {
                // Another vCPU moves it as well.
                if taken.is_some() {
                    let _ = hvm.p2m.replace(&hv.mem, machine, old, taken);
                }
                return Err(Errno::EINVAL);
            }
        }
        let replaced = match hvm.p2m.replace(&hv.mem, machine, gfn, Some(new)) {
            Ok(replaced) => replaced,
            Err(errno) => {
                if let Some(old) = old_gfn {
                    let _ = hvm.p2m.replace(&hv.mem, machine, old, Some(new));
                }
                return Err(errno);
            }
        };
        hv.flush_nested(target);
        if let Some(replaced) = replaced {
            self.give_up(target, replaced);
        }
        super::reservation::set_m2p(machine, new.mfn, gfn);
        Ok(())
    }

    /// Where a page of the hypervisor's is mapped already: the table that others read tells.
    fn place_of(&self, hvm: &HvmDomain, mfn: Mfn) -> Option<Pfn> {
        let machine = &self.hv.machine;
        let entry = machine.m2p(mfn)?;
        let gfn = Pfn(entry.load(core::sync::atomic::Ordering::Relaxed));
        hvm.p2m
            .get(machine, gfn)
            .filter(|mapped| mapped.mfn == mfn)
            .map(|_| gfn)
    }

    /// Lets go of what a guest frame led to and does not any more.
    fn give_up(&self, target: &Domain, old: Mapped) {
        if !old.kind.is_ram() {
            return;
        }
        if let Some(_page) = self.hv.mem.get_page(old.mfn, target.id) {
            let _ = self.hv.mem.drop_allocation(&target.pages, old.mfn);
        }
    }

    /// XENMEM_populate_physmap for a guest whose frames are translated.
    pub(super) fn populate_translated(
        &self,
        target: &Domain,
        hvm: &HvmDomain,
        gfn: Pfn,
        first: Mfn,
        order: u32,
    ) -> Result<(), Errno> {
        let hv = self.hv;
        let machine = &hv.machine;
        match hvm
            .p2m
            .map(&hv.mem, machine, gfn, first, order, P2mKind::Ram)
        {
            Ok(()) => {}
            Err(Errno::EEXIST) => {
                for i in 0..1u64 << order {
                    let new = Mapped {
                        mfn: first.offset(i),
                        kind: P2mKind::Ram,
                    };
                    let at = Pfn(gfn.0 + i);
                    match hvm.p2m.replace(&hv.mem, machine, at, Some(new)) {
                        Ok(Some(old)) => {
                            hv.flush_nested(target);
                            self.give_up(target, old);
                        }
                        Ok(None) => {}
                        Err(errno) => {
                            self.give_back(target, first.offset(i), (1 << order) - i);
                            return Err(errno);
                        }
                    }
                }
            }
            Err(errno) => {
                self.give_back(target, first, 1 << order);
                return Err(errno);
            }
        }
        for i in 0..1u64 << order {
            enter_m2p(hv, target.id, first.offset(i), gfn.offset(i));
        }
        Ok(())
    }

    /// Gives back pages that found no place.
    fn give_back(&self, target: &Domain, first: Mfn, count: u64) {
        for i in 0..count {
            self.give_up(
                target,
                Mapped {
                    mfn: first.offset(i),
                    kind: P2mKind::Ram,
                },
            );
        }
    }

    /// Takes a page out of a guest's address space and gives it back.
    pub(super) fn remove_translated(
        &self,
        target: &Domain,
        hvm: &HvmDomain,
        gfn: Pfn,
    ) -> Result<(), Errno> {
        let hv = self.hv;
        let old = hvm.p2m.get(&hv.machine, gfn).ok_or(Errno::EINVAL)?;
        if !old.kind.is_ram() {
            return Err(Errno::EINVAL);
        }
        let old = hvm.p2m.replace(&hv.mem, &hv.machine, gfn, None)?;
        hv.flush_nested(target);
        if let Some(old) = old {
            self.give_up(target, old);
        }
        Ok(())
    }
}

impl<M: Machine> Hypervisor<M> {
    /// Has every processor that runs a vCPU of the domain drop its nested translations.
    pub(crate) fn flush_nested(&self, domain: &Domain) {
        let mask = *domain.dirty_cpus.lock();
        self.mem.flush_tlb(&self.machine, &mask, Flush::All);
    }
}
