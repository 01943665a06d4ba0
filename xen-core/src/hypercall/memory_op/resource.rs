//! XENMEM_acquire_resource: frames of the hypervisor's that belong to a domain, for whoever builds or serves it.

use hypercall_abi::errno::Errno;
use hypercall_abi::guest_handle::GuestHandle;
use hypercall_abi::memory::{
    MemAcquireResource, MemResource, MemoryOp, RESOURCE_GRANT_TABLE_ID_SHARED,
};

use super::continued;
use crate::guest::GuestAccess;
use crate::hypercall::Call;
use crate::machine::Machine;
use crate::outcome::{HypercallResult, Outcome};

impl<M: Machine> Call<'_, M> {
    pub(super) fn acquire_resource(
        &self,
        start: u64,
        arg: GuestHandle<MemAcquireResource>,
    ) -> HypercallResult {
        let machine = &self.hv.machine;
        let mut request = machine.read(arg)?;
        if request.pad != 0 {
            return Err(Errno::EINVAL.into());
        }
        let end = request
            .frame
            .checked_add(request.nr_frames.into())
            .and_then(|end| u32::try_from(end).ok());
        let end = end.ok_or(Errno::EINVAL)?;
        // ABI: another domain is meant. DOMID_SELF names none, the own number is known and forbidden.
        let target = self.hv.domains.get(request.domid).ok_or(Errno::ESRCH)?;
        if target.id == self.domain.id || !self.domain.privileges.control {
            return Err(Errno::EPERM.into());
        }
        if request.r#type != MemResource::GRANT_TABLE {
            return Err(Errno::EOPNOTSUPP.into());
        }
        // Version 1 of the grant table has no status frames.
        if request.id != RESOURCE_GRANT_TABLE_ID_SHARED {
            return Err(Errno::EINVAL.into());
        }
        if request.frame_list.is_null() {
            if request.nr_frames != 0 {
                return Err(Errno::EINVAL.into());
            }
            request.nr_frames = target.grants.max_frames();
            machine.write(arg, &request)?;
            return Ok(Outcome::Done(0));
        }
        if request.nr_frames == 0 || start >= request.nr_frames.into() {
            return Err(Errno::EINVAL.into());
        }
        self.hv.grow_grants(&target, end)?;
        let frames = target.grants.frames();
        let first = request.frame as usize;
        let wanted = frames.get(first..end as usize).ok_or(Errno::EINVAL)?;
        for (i, frame) in (0u64..).zip(wanted).skip(start as usize) {
            if i != start && machine.must_yield() {
                return Ok(Outcome::Again([
                    continued(MemoryOp::ACQUIRE_RESOURCE, i),
                    arg.addr(),
                    0,
                    0,
                    0,
                    0,
                ]));
            }
            machine.write_at(request.frame_list, i, &frame.0)?;
        }
        Ok(Outcome::Done(0))
    }
}
