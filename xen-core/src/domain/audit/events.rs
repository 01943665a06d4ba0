//! Event channels: both ends of a channel name each other, and what leads to a port leads to one that is bound so.

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use hypercall_abi::xen::{NR_VIRQS, Virq};

use crate::domain::Domain;
use crate::evtchn::Binding;
use crate::hypervisor::Hypervisor;
use crate::machine::Machine;
use crate::num::{Port, VcpuId};

impl<M: Machine> Hypervisor<M> {
    /// Compares the bindings of all ports of all domains.
    pub(super) fn audit_events(&self, faults: &mut Vec<String>) {
        for domain in self.domains.all() {
            self.audit_ports(&domain, faults);
            audit_virqs(&domain, faults);
        }
    }

    fn audit_ports(&self, domain: &Arc<Domain>, faults: &mut Vec<String>) {
        let events = &domain.events;
        let mut bound = 0u32;
        for port in (0..events.valid_ports()).map(Port) {
            let Some(status) = self.port_status(domain, port).ok() else {
                faults.push(format!(
                    "{:?} {port:?} is valid but is not there",
                    domain.id
                ));
                continue;
            };
            let used = events.lock().is_used(port);
            let free = matches!(status.binding, Binding::Free);
            if used == free {
                faults.push(format!(
                    "{:?} {port:?} is {:?} but marked {}",
                    domain.id,
                    status.binding,
                    if used { "used" } else { "free" }
                ));
            }
            bound += u32::from(status.binding.is_usable());
            // No vCPU that does not exist is told.
            if status.binding.is_usable()
                && domain.vcpu(status.notify).is_none()
                && status.notify.0 != 0
            {
                faults.push(format!(
                    "{:?} {port:?} tells {:?}, which does not exist",
                    domain.id, status.notify
                ));
            }
            self.audit_binding(domain, port, &status.binding, faults);
        }
        let active = events.lock().active();
        if active != bound {
            faults.push(format!(
                "{:?} has {active} ports, counted {bound}",
                domain.id
            ));
        }
    }

    fn audit_binding(
        &self,
        domain: &Arc<Domain>,
        port: Port,
        binding: &Binding,
        faults: &mut Vec<String>,
    ) {
        match binding {
            Binding::Interdomain(peer) => {
                // The other end of a domain that is gone for good is free to close.
                let Some(other) = peer.domain.upgrade() else {
                    return;
                };
                let back = self
                    .port_status(&other, peer.port)
                    .is_ok_and(|status| status.binding.is_connected_to(domain.id, port));
                if other.id != peer.id || !back {
                    faults.push(format!(
                        "{:?} {port:?} is connected to {:?} {:?}, which is not",
                        domain.id, peer.id, peer.port
                    ));
                }
            }
            Binding::Virq(virq) => {
                let mapped = domain
                    .vcpus()
                    .any(|vcpu| domain.events.virq_port(vcpu.id, *virq) == Some(port));
                if !mapped {
                    faults.push(format!(
                        "{:?} {port:?} has {virq:?}, which leads elsewhere",
                        domain.id
                    ));
                }
            }
            Binding::Pirq(pirq) => {
                if domain.events.pirq_port(*pirq) != Some(port) {
                    faults.push(format!(
                        "{:?} {port:?} has {pirq:?}, which leads elsewhere",
                        domain.id
                    ));
                }
            }
            Binding::Free | Binding::Reserved | Binding::Unbound { .. } | Binding::Ipi => {}
        }
    }
}

/// Each virtual interrupt leads to a port that is bound to it.
fn audit_virqs(domain: &Domain, faults: &mut Vec<String>) {
    for vcpu in 0..domain.max_vcpus() {
        for virq in (0..NR_VIRQS).map(Virq) {
            let Some(port) = domain.events.virq_port(VcpuId(vcpu), virq) else {
                continue;
            };
            let bound = domain.events.slot(port).is_some_and(
                |slot| matches!(slot.lock().binding, Binding::Virq(bound) if bound == virq),
            );
            if !bound {
                faults.push(format!(
                    "{:?} {virq:?} of vCPU {vcpu} leads to {port:?}, which has another binding",
                    domain.id
                ));
            }
        }
    }
}
