//! Pausing by the toolstack, which counts (public header domctl.h, XEN_DOMCTL_pausedomain).

use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use hypercall_abi::errno::Errno;

use super::{Domain, VcpuFlags};
use crate::hypervisor::Hypervisor;
use crate::machine::Machine;
use crate::outcome::Stop;

/// The most pauses that a domain can have.
const MAX_PAUSES: u32 = 255;

impl<M: Machine> Hypervisor<M> {
    /// Pauses `domain` once more. When it returns `Ok`, none of its vCPUs executes the guest.
    ///
    /// # Errors
    /// `EOVERFLOW`; preempted while a vCPU is still on its way off another processor: nothing was counted yet, the
    /// call is to be made again.
    pub fn pause(&self, domain: &Arc<Domain>) -> Result<(), Stop> {
        // The lock keeps pauses and their ends apart.
        {
            let _life = domain.ending.lock();
            if domain.pause_count.load(Ordering::SeqCst) >= MAX_PAUSES {
                return Err(Errno::EOVERFLOW.into());
            }
            for vcpu in domain.vcpus() {
                vcpu.set_flags(VcpuFlags::PAUSED);
            }
            if !domain.vcpus().any(|vcpu| vcpu.is_running()) {
                domain.pause_count.fetch_add(1, Ordering::SeqCst);
                return Ok(());
            }
        }
        for vcpu in domain.vcpus() {
            self.kick_vcpu(vcpu);
        }
        Err(Stop::Preempted)
    }

    /// Takes one pause back; with the last one the domain goes on.
    ///
    /// # Errors
    /// `EINVAL` if it is not paused.
    pub fn unpause(&self, domain: &Arc<Domain>) -> Result<(), Errno> {
        {
            let _life = domain.ending.lock();
            let pauses = domain.pause_count.load(Ordering::SeqCst);
            let left = pauses.checked_sub(1).ok_or(Errno::EINVAL)?;
            domain.pause_count.store(left, Ordering::SeqCst);
            if left != 0 {
                return Ok(());
            }
            for vcpu in domain.vcpus() {
                vcpu.clear_flags(VcpuFlags::PAUSED);
            }
        }
        for vcpu in domain.vcpus() {
            self.make_runnable(vcpu);
        }
        Ok(())
    }
}
