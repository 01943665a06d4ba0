//! Which processors have to forget translations of a domain.

use crate::domain::{Domain, Vcpu};
use crate::hypervisor::Hypervisor;
use crate::machine::{CpuMask, Flush, Machine};
use crate::num::CpuId;

use core::sync::atomic::Ordering;

/// Flushes all processors that may hold translations of `domain`.
pub fn flush_domain<M: Machine>(hv: &Hypervisor<M>, domain: &Domain, what: Flush) {
    let mask = *domain.dirty_cpus.lock();
    hv.mem.flush_tlb(&hv.machine, &mask, what);
}

/// The processors on which these vCPUs run or ran last.
pub fn processors_of<'a>(vcpus: impl Iterator<Item = &'a Vcpu>) -> CpuMask {
    let mut mask = CpuMask::EMPTY;
    for vcpu in vcpus {
        mask.insert(CpuId(vcpu.cpu.load(Ordering::SeqCst)));
    }
    mask
}
