//! XENMEM_acquire_resource: frames of the hypervisor's that belong to a domain, for whoever builds or serves it.

use hypercall_abi::errno::Errno;
use hypercall_abi::guest_handle::GuestHandle;
use hypercall_abi::memory::{
    MemAcquireResource, MemResource, MemoryOp, RESOURCE_GRANT_TABLE_ID_SHARED,
    RESOURCE_GRANT_TABLE_ID_STATUS,
};

use super::{OP_BITS, continued};
use crate::domain::Domain;
use crate::guest::GuestAccess;
use crate::hypercall::Call;
use crate::machine::Machine;
use crate::num::{Mfn, PAGE_SIZE};
use crate::outcome::{HypercallResult, Outcome};

/// Entries of version 2 of the grant table in a frame, each of which has a status word.
const GRANTS_PER_FRAME: u32 = 256;
/// Bytes of a status word.
const STATUS_BYTES: u32 = 2;
/// Frames that are told between two looks at more urgent work.
const STRETCH: u64 = 32;

impl<M: Machine> Call<'_, M> {
    pub(super) fn acquire_resource(
        &self,
        start: u64,
        arg: GuestHandle<MemAcquireResource>,
    ) -> HypercallResult {
        let machine = &self.hv.machine;
        let mut request = machine.read(arg)?;
        let last = request.frame.checked_add(request.nr_frames.into());
        if request.pad != 0 || last.is_none_or(|last| last > u32::MAX.into()) {
            return Err(Errno::EINVAL.into());
        }
        // ABI: another domain is meant. DOMID_SELF names none, the own number is known and forbidden.
        let target = self.hv.domains.get(request.domid).ok_or(Errno::ESRCH)?;
        if target.id == self.domain.id || !self.domain.privileges.control {
            return Err(Errno::EPERM.into());
        }
        let size = resource_size(&target, request.r#type, request.id)?;
        if request.frame_list.is_null() {
            if request.nr_frames != 0 || start != 0 {
                return Err(Errno::EINVAL.into());
            }
            request.nr_frames = size;
            machine.write(arg, &request)?;
            return Ok(Outcome::Done(0));
        }
        let wanted = u64::from(request.nr_frames);
        if start >= wanted || request.nr_frames > u32::MAX >> OP_BITS {
            return Err(Errno::EINVAL.into());
        }
        let mut done = start;
        while done < wanted {
            if done != start && machine.must_yield() {
                return Ok(Outcome::Again([
                    continued(MemoryOp::ACQUIRE_RESOURCE, done),
                    arg.addr(),
                    0,
                    0,
                    0,
                    0,
                ]));
            }
            let end = wanted.min(done + STRETCH);
            let first = request.frame.checked_add(done).ok_or(Errno::EINVAL)?;
            let frames = self.resource_frames(&target, &request, first, end - done)?;
            for (index, frame) in (done..end).zip(frames) {
                machine.write_at(request.frame_list, index, &frame.0)?;
            }
            done = end;
        }
        Ok(Outcome::Done(0))
    }

    /// `count` frames of a resource from `first` on, made if need be.
    fn resource_frames(
        &self,
        target: &Domain,
        request: &MemAcquireResource,
        first: u64,
        count: u64,
    ) -> Result<impl Iterator<Item = Mfn> + use<M>, Errno> {
        if request.r#type != MemResource::GRANT_TABLE {
            return Err(Errno::EOPNOTSUPP);
        }
        // Version 1 of the grant table, the only one, has no status frames.
        if request.id != RESOURCE_GRANT_TABLE_ID_SHARED {
            return Err(Errno::EINVAL);
        }
        let end = first
            .checked_add(count)
            .and_then(|end| u32::try_from(end).ok())
            .ok_or(Errno::EINVAL)?;
        self.hv
            .grow_grants(target, end)
            .map_err(|_| Errno::EINVAL)?;
        let frames = target.grants.frames();
        // A domain that is being destroyed may have lost its table meanwhile.
        if frames.len() < end as usize {
            return Err(Errno::EINVAL);
        }
        let skipped = usize::try_from(first).map_err(|_| Errno::EINVAL)?;
        Ok(frames.into_iter().skip(skipped))
    }
}

/// Frames that a resource can have.
///
/// # Errors
/// `EINVAL` if it has none.
fn resource_size(target: &Domain, kind: MemResource, id: u32) -> Result<u32, Errno> {
    let grants = target.grants.max_frames();
    match (kind, id) {
        (MemResource::GRANT_TABLE, RESOURCE_GRANT_TABLE_ID_SHARED) => Ok(grants),
        // ABI: the size is that of version 2, whether or not the domain can have it.
        (MemResource::GRANT_TABLE, RESOURCE_GRANT_TABLE_ID_STATUS) => {
            let bytes = u64::from(grants) * u64::from(GRANTS_PER_FRAME * STATUS_BYTES);
            u32::try_from(bytes.div_ceil(PAGE_SIZE)).map_err(|_| Errno::EINVAL)
        }
        // Guests of other kinds have I/O request servers, and no domain is traced.
        (MemResource::GRANT_TABLE | MemResource::IOREQ_SERVER | MemResource::VMTRACE_BUF, _) => {
            Err(Errno::EINVAL)
        }
        // ABI: the size of what does not exist is this error's number.
        _ => Ok((Errno::EOPNOTSUPP as i32).wrapping_neg().cast_unsigned()),
    }
}
