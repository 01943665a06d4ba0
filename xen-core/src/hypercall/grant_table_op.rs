//! `grant_table_op`: arrays of operations on grants. Errors of single elements are statuses in the elements.

use alloc::sync::Arc;

use hypercall_abi::errno::Errno;
use hypercall_abi::grant_table::{
    GntStatus, GnttabCacheFlags, GnttabCacheFlush, GnttabCopy, GnttabGetStatusFrames,
    GnttabGetVersion, GnttabMapGrantRef, GnttabOp, GnttabQuerySize, GnttabSetVersion,
    GnttabSetupTable, GnttabSwapGrantRef, GnttabTransfer, GnttabUnmapAndReplace,
    GnttabUnmapGrantRef,
};
use hypercall_abi::guest_handle::GuestHandle;
use hypercall_abi::xen::DomId;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::Call;
use crate::domain::Domain;
use crate::grant::{CopyBatch, Unmap, UnmapBatch};
use crate::guest::{GuestAccess, is_guest_range};
use crate::machine::Machine;
use crate::num::{GrantHandle, GrantRef, Mfn, PAGE_SIZE};
use crate::outcome::{HypercallResult, Outcome};

/// The version of the grant table that there is.
const VERSION: u32 = 1;
/// A version that the interface knows and this hypervisor does not offer.
const VERSION_REFUSED: u32 = 2;

/// Elements between two looks at more urgent work.
const STRETCH: u32 = 16;

impl<M: Machine> Call<'_, M> {
    pub(super) fn grant_table_op(
        &mut self,
        cmd: u32,
        arg: GuestHandle<u8>,
        count: u32,
    ) -> HypercallResult {
        // ABI: the number is a signed int to Xen.
        if i32::try_from(count).is_err() {
            return Err(Errno::EINVAL.into());
        }
        let hv = self.hv;
        let domain = self.domain;
        let root = self.ctx.current_root();
        match GnttabOp(cmd) {
            GnttabOp::MAP_GRANT_REF => self.each(cmd, arg, count, |op: &mut GnttabMapGrantRef| {
                hv.map_grant(domain, root, op);
            }),
            GnttabOp::UNMAP_GRANT_REF => {
                self.unmap_each(cmd, arg, count, |op: &GnttabUnmapGrantRef| Unmap {
                    host_addr: op.host_addr,
                    dev_bus_addr: op.dev_bus_addr,
                    replace_by: None,
                    handle: GrantHandle(op.handle),
                })
            }
            GnttabOp::UNMAP_AND_REPLACE => {
                self.unmap_each(cmd, arg, count, |op: &GnttabUnmapAndReplace| Unmap {
                    host_addr: op.host_addr,
                    dev_bus_addr: 0,
                    replace_by: Some(op.new_addr),
                    handle: GrantHandle(op.handle),
                })
            }
            GnttabOp::COPY => {
                let mut batch = CopyBatch::new();
                let result = self.each(cmd, arg, count, |op: &mut GnttabCopy| {
                    op.status = batch.copy(hv, domain, op);
                });
                batch.finish(hv);
                result
            }
            // ABI: pages do not change owners this way; Xen too refuses most transfers with this status.
            GnttabOp::TRANSFER => self.each(cmd, arg, count, |op: &mut GnttabTransfer| {
                op.status = GntStatus::GENERAL_ERROR;
            }),
            GnttabOp::SWAP_GRANT_REF => {
                self.each(cmd, arg, count, |op: &mut GnttabSwapGrantRef| {
                    op.status = hv.swap_grants(domain, GrantRef(op.ref_a), GrantRef(op.ref_b));
                })
            }
            GnttabOp::CACHE_FLUSH => self.cache_flush(arg.cast(), count),
            GnttabOp::SETUP_TABLE => {
                let op: GnttabSetupTable = self.hv.machine.read(arg.cast())?;
                // ABI: a list that cannot be the guest's fails the call; one that is not mapped fails the element.
                if !is_guest_range(op.frame_list.addr(), u64::from(op.nr_frames) * 8) {
                    return Err(Errno::EFAULT.into());
                }
                self.single(arg, count, Self::setup_table)
            }
            GnttabOp::QUERY_SIZE => self.single(arg, count, Self::query_size),
            GnttabOp::GET_STATUS_FRAMES => self.single(arg, count, Self::get_status_frames),
            GnttabOp::SET_VERSION => self.set_version(arg.cast()),
            GnttabOp::GET_VERSION => self.get_version(arg.cast()),
            _ => Err(Errno::ENOSYS.into()),
        }
    }

    /// Does `operation` with each element and writes it back; preemptible between elements.
    fn each<T>(
        &self,
        cmd: u32,
        arg: GuestHandle<u8>,
        count: u32,
        mut operation: impl FnMut(&mut T),
    ) -> HypercallResult
    where
        T: FromBytes + IntoBytes + Immutable,
    {
        let array: GuestHandle<T> = arg.cast();
        for index in 0..count {
            if self.should_stop(index) {
                return again(cmd, array, index, count);
            }
            let mut op: T = self.hv.machine.read_at(array, index.into())?;
            operation(&mut op);
            self.hv.machine.write_at(array, index.into(), &op)?;
        }
        Ok(Outcome::Done(0))
    }

    fn should_stop(&self, index: u32) -> bool {
        index != 0 && index.is_multiple_of(STRETCH) && self.hv.machine.must_yield()
    }

    /// Unmaps each element in batches that share a flush.
    fn unmap_each<T>(
        &self,
        cmd: u32,
        arg: GuestHandle<u8>,
        count: u32,
        decode: impl Fn(&T) -> Unmap,
    ) -> HypercallResult
    where
        T: FromBytes + IntoBytes + Immutable + UnmapElement,
    {
        let array: GuestHandle<T> = arg.cast();
        let root = self.ctx.current_root();
        let mut batch = UnmapBatch::new();
        let mut result = Ok(Outcome::Done(0));
        for index in 0..count {
            // Elements that fail never fill the batch: they count as well.
            if self.should_stop(index) {
                batch.finish(self.hv, self.domain);
                return again(cmd, array, index, count);
            }
            if batch.is_full() {
                batch.finish(self.hv, self.domain);
            }
            let done = self
                .hv
                .machine
                .read_at(array, index.into())
                .and_then(|mut op: T| {
                    op.set_status(batch.unmap(self.hv, self.domain, root, decode(&op)));
                    self.hv.machine.write_at(array, index.into(), &op)
                });
            if let Err(errno) = done {
                result = Err(errno.into());
                break;
            }
        }
        batch.finish(self.hv, self.domain);
        result
    }

    /// Calls of which there may be one at a time.
    fn single<T>(
        &self,
        arg: GuestHandle<u8>,
        count: u32,
        operation: impl FnOnce(&Self, &mut T),
    ) -> HypercallResult
    where
        T: FromBytes + IntoBytes + Immutable,
    {
        if count != 1 {
            return Err(Errno::EINVAL.into());
        }
        let mut op: T = self.hv.machine.read(arg.cast())?;
        operation(self, &mut op);
        self.hv.machine.write(arg.cast(), &op)?;
        Ok(Outcome::Done(0))
    }

    /// The domain whose table the caller may set up: his own, or any for the control domain.
    fn table_owner(&self, id: DomId) -> Result<Arc<Domain>, GntStatus> {
        let owner = self
            .hv
            .domain(self.domain, id)
            .ok_or(GntStatus::BAD_DOMAIN)?;
        let allowed = owner.id == self.domain.id || self.domain.privileges.control;
        if allowed {
            Ok(owner)
        } else {
            Err(GntStatus::PERMISSION_DENIED)
        }
    }

    fn setup_table(&self, op: &mut GnttabSetupTable) {
        op.status = self.try_setup_table(op).err().unwrap_or(GntStatus::OKAY);
    }

    fn try_setup_table(&self, op: &GnttabSetupTable) -> Result<(), GntStatus> {
        let owner = self.table_owner(op.dom)?;
        self.hv
            .grow_grants(&owner, op.nr_frames)
            .map_err(|_| GntStatus::GENERAL_ERROR)?;
        let frames = owner.grants.frames();
        for (index, mfn) in (0u64..).zip(frames.iter().take(op.nr_frames as usize)) {
            self.hv
                .machine
                .write_at(op.frame_list, index, &mfn.0)
                .map_err(|_| GntStatus::BAD_VIRT_ADDR)?;
        }
        Ok(())
    }

    fn query_size(&self, op: &mut GnttabQuerySize) {
        op.status = match self.table_owner(op.dom) {
            Ok(owner) => {
                op.nr_frames = owner.grants.frame_count();
                op.max_nr_frames = owner.grants.max_frames();
                GntStatus::OKAY
            }
            Err(status) => status,
        };
    }

    /// A version 1 table has no status frames.
    fn get_status_frames(&self, op: &mut GnttabGetStatusFrames) {
        op.status = match self.table_owner(op.dom) {
            Ok(_) if op.nr_frames == 0 => GntStatus::OKAY,
            Ok(_) => GntStatus::GENERAL_ERROR,
            Err(status) => status,
        };
    }

    fn set_version(&self, arg: GuestHandle<GnttabSetVersion>) -> HypercallResult {
        let machine = &self.hv.machine;
        let op = machine.read(arg)?;
        let result = match op.version {
            VERSION => Ok(Outcome::Done(0)),
            VERSION_REFUSED => Err(Errno::ENOSYS.into()),
            _ => Err(Errno::EINVAL.into()),
        };
        // ABI: the version in force is told in any case.
        machine.write(arg, &GnttabSetVersion { version: VERSION })?;
        result
    }

    fn get_version(&self, arg: GuestHandle<GnttabGetVersion>) -> HypercallResult {
        let machine = &self.hv.machine;
        let mut op = machine.read(arg)?;
        match self.table_owner(op.dom) {
            Ok(_) => op.version = VERSION,
            Err(GntStatus::PERMISSION_DENIED) => return Err(Errno::EPERM.into()),
            Err(_) => return Err(Errno::ESRCH.into()),
        }
        machine.write(arg, &op)?;
        Ok(Outcome::Done(0))
    }

    fn cache_flush(&self, arg: GuestHandle<GnttabCacheFlush>, count: u32) -> HypercallResult {
        for index in 0..count {
            if self.should_stop(index) {
                return again(GnttabOp::CACHE_FLUSH.0, arg, index, count);
            }
            let op = self.hv.machine.read_at(arg, index.into())?;
            self.flush_one(&op)?;
        }
        Ok(Outcome::Done(0))
    }

    /// Cleans caches of part of a page that the caller owns or has mapped by a grant. x86 caches are coherent with
    /// devices; there is something to do only for who can map pages past the caches, the hardware domain.
    fn flush_one(&self, op: &GnttabCacheFlush) -> Result<(), Errno> {
        let (offset, length) = (u64::from(op.offset), u64::from(op.length));
        if offset >= PAGE_SIZE || offset + length > PAGE_SIZE {
            return Err(Errno::EINVAL);
        }
        // ABI: a grant reference in place of an address is not supported.
        let flags = GnttabCacheFlags::from_bits(op.op)
            .filter(|flags| !flags.contains(GnttabCacheFlags::SOURCE_GREF))
            .ok_or(Errno::EINVAL)?;
        if length == 0 || flags.is_empty() {
            return Ok(());
        }
        let mem = &self.hv.mem;
        let frame = Mfn::from_addr(op.a.as_dev_bus_addr());
        if !mem.is_ram(frame) && !mem.is_special(frame) {
            return Err(Errno::EINVAL);
        }
        let page = mem.get_any_page(frame).ok_or(Errno::EPERM)?;
        let owner = mem.owner(page.mfn()).ok_or(Errno::EPERM)?;
        if owner != self.domain.id {
            let owner = self.hv.domains.get(owner).ok_or(Errno::EPERM)?;
            if !owner.grants.is_used_by(frame, self.domain.id) {
                return Err(Errno::EINVAL);
            }
        }
        // Forgetting what is in a cache but not in memory is not the guest's to ask for.
        if !flags.contains(GnttabCacheFlags::CLEAN) {
            return Err(Errno::EOPNOTSUPP);
        }
        if self.domain.privileges.hardware {
            self.hv.machine.flush_caches();
        }
        Ok(())
    }
}

/// Elements that end with a status.
trait UnmapElement {
    fn set_status(&mut self, status: GntStatus);
}

impl UnmapElement for GnttabUnmapGrantRef {
    fn set_status(&mut self, status: GntStatus) {
        self.status = status;
    }
}

impl UnmapElement for GnttabUnmapAndReplace {
    fn set_status(&mut self, status: GntStatus) {
        self.status = status;
    }
}

/// Goes on with element `index` later.
fn again<T>(cmd: u32, array: GuestHandle<T>, index: u32, count: u32) -> HypercallResult {
    let rest = array.offset(index.into()).ok_or(Errno::EFAULT)?;
    Ok(Outcome::Again([
        cmd.into(),
        rest,
        (count - index).into(),
        0,
        0,
        0,
    ]))
}
