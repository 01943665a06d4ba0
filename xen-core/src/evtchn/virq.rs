//! Virtual interrupts.

use alloc::sync::Arc;

use hypercall_abi::xen::{NR_VIRQS, Virq};

use super::Binding;
use crate::domain::{Domain, Vcpu};
use crate::hypervisor::Hypervisor;
use crate::machine::Machine;
use crate::num::VcpuId;

/// Whether a virtual interrupt is one per domain (else one per vCPU); `None` if there is no such number.
#[must_use]
pub fn is_global(virq: Virq) -> Option<bool> {
    if virq.0 >= NR_VIRQS {
        return None;
    }
    Some(!matches!(
        virq,
        Virq::TIMER | Virq::DEBUG | Virq::XENOPROF | Virq::XENPMU
    ))
}

impl<M: Machine> Hypervisor<M> {
    /// Raises a per-vCPU virtual interrupt; lost, and not remembered, if the guest has not bound it.
    pub fn send_virq(&self, vcpu: &Arc<Vcpu>, virq: Virq) {
        if let Some(domain) = vcpu.domain.upgrade() {
            self.raise_virq(&domain, vcpu.id, virq);
        }
    }

    /// Raises a global virtual interrupt in the hardware domain, or whoever was chosen for it.
    pub fn send_global_virq(&self, virq: Virq) {
        if let Some(domain) = self.domains.virq_handler(virq) {
            self.send_domain_virq(&domain, virq);
        }
    }

    /// Raises a global virtual interrupt in `domain`.
    pub fn send_domain_virq(&self, domain: &Domain, virq: Virq) {
        self.raise_virq(domain, VcpuId(0), virq);
    }

    fn raise_virq(&self, domain: &Domain, vcpu: VcpuId, virq: Virq) {
        let Some(port) = domain.events.virq_port(vcpu, virq) else {
            return;
        };
        self.raise_if(
            domain,
            port,
            |binding| matches!(binding, Binding::Virq(bound) if *bound == virq),
        );
    }
}
