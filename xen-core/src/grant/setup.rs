//! Size and frames of a grant table.

use hypercall_abi::errno::Errno;

use crate::domain::Domain;
use crate::hypervisor::Hypervisor;
use crate::machine::Machine;

impl<M: Machine> Hypervisor<M> {
    /// Makes the grant table of `domain` at least `frames` frames long. The frames are the hypervisor's; the domain may
    /// map them.
    ///
    /// # Errors
    /// `EINVAL` beyond the domain's limit or if the domain is being destroyed, `ENOMEM`.
    pub fn grow_grants(&self, domain: &Domain, frames: u32) -> Result<(), Errno> {
        if frames > domain.grants.max_frames() {
            return Err(Errno::EINVAL);
        }
        // The limit bounds the loop; another vCPU that grows the table at the same time only helps.
        while domain.grants.frame_count() < frames {
            // The hypervisor's own record of a frame is as large as the frame.
            self.check_heap()?;
            let mfn = self
                .mem
                .allocate_shared(&self.machine, &domain.pages)
                .ok_or(Errno::ENOMEM)?;
            let mut given = domain.grants.given.lock();
            let wanted = given.len() < frames;
            let added = wanted && given.push(mfn);
            drop(given);
            if !added {
                self.mem.free_shared(mfn);
                if wanted {
                    return Err(Errno::EINVAL);
                }
            }
        }
        Ok(())
    }
}
