//! How a domain ends: shutdown, and what the toolstack hears of it.

use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use hypercall_abi::sched::ShutdownReason;
use hypercall_abi::xen::Virq;

use super::{Domain, VcpuFlags};
use crate::hypervisor::Hypervisor;
use crate::machine::Machine;
use crate::num::Port;
use crate::outcome::Stop;

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

    /// Lets a domain that has shut down go on (XEN_DOMCTL_resumedomain).
    ///
    /// # Errors
    /// Preempted: call again.
    pub fn resume(&self, domain: &Arc<Domain>) -> Result<(), Stop> {
        self.at_rest(domain, || {
            let mut ending = domain.ending.lock();
            ending.shutdown = None;
            ending.shutdown_code = None;
            ending.stopped = false;
            for vcpu in domain.vcpus() {
                vcpu.clear_flags(VcpuFlags::SHUTDOWN);
            }
            Ok(())
        })
    }

    /// Raises VIRQ_DOM_EXC once, when every vCPU of a shut-down domain is off its processor. Called at the shutdown
    /// and whenever a vCPU of such a domain leaves a processor.
    pub fn note_stopped(&self, domain: &Arc<Domain>) {
        let suspended = {
            let mut ending = domain.ending.lock();
            if ending.shutdown.is_none() || ending.stopped {
                return;
            }
            if domain.vcpus().any(|vcpu| vcpu.is_running()) {
                return;
            }
            ending.stopped = true;
            ending.shutdown == Some(ShutdownReason::SUSPEND.0)
        };
        let port = Port(domain.suspend_port.load(Ordering::Relaxed));
        if suspended && port.0 != 0 {
            // A port that is not bound any more is the toolstack's own mistake.
            let _ = self.send_event(domain, port);
        } else {
            self.send_global_virq(Virq::DOM_EXC);
        }
    }
}
