//! How a domain ends: shutdown, and what the toolstack hears of it.

use alloc::sync::Arc;

use hypercall_abi::xen::Virq;

use super::{Domain, VcpuFlags};
use crate::hypervisor::Hypervisor;
use crate::machine::Machine;

impl<M: Machine> Hypervisor<M> {
    /// Shuts `domain` down with a SHUTDOWN_* reason; the first reason wins. For the hardware domain this acts on the
    /// machine and does not return.
    pub fn shut_down(&self, domain: &Arc<Domain>, reason: u32) {
        // ABI: a code that the domain recorded before counts more than the reason given now.
        let reason = *domain.ending.lock().shutdown_code.get_or_insert(reason);
        if domain.privileges.hardware {
            self.hardware_domain_shutdown(reason);
        }
        {
            let mut ending = domain.ending.lock();
            if ending.shutdown.is_some() {
                return;
            }
            ending.shutdown = Some(reason);
        }
        for vcpu in domain.vcpus() {
            vcpu.set_flags(VcpuFlags::SHUTDOWN);
            self.kick_vcpu(vcpu);
        }
        self.note_stopped(domain);
    }

    /// Raises VIRQ_DOM_EXC once, when every vCPU of a shut-down domain is off its processor. Called at the shutdown
    /// and whenever a vCPU of such a domain leaves a processor.
    pub fn note_stopped(&self, domain: &Arc<Domain>) {
        {
            let mut ending = domain.ending.lock();
            if ending.shutdown.is_none() || ending.stopped {
                return;
            }
            if domain.vcpus().any(|vcpu| vcpu.is_running()) {
                return;
            }
            ending.stopped = true;
        }
        self.send_global_virq(Virq::DOM_EXC);
    }
}
