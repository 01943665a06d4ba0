//! Giving a domain the use of ports, device frames and interrupts.
//!
//! The caller can give only what it may use itself.

use hypercall_abi::domctl::{DomctlIomemPermission, DomctlIoportPermission, DomctlIrqPermission};
use hypercall_abi::errno::Errno;

use super::Call;
use crate::domain::{Domain, access};
use crate::irq::PirqOwner;
use crate::machine::Machine;
use crate::num::Pirq;
use crate::pv::emulate::port_permitted;

/// Ports there are.
const PORTS: u32 = 65536;

impl<M: Machine> Call<'_, M> {
    pub(super) fn permit_ports(
        &self,
        target: &Domain,
        arg: DomctlIoportPermission,
    ) -> Result<(), Errno> {
        let first = arg.first_port;
        let end = first.checked_add(arg.nr_ports).ok_or(Errno::EINVAL)?;
        if end <= first || end > PORTS {
            return Err(Errno::EINVAL);
        }
        let may = (first..end)
            .filter_map(|port| u16::try_from(port).ok())
            .all(|port| port_permitted(self.hv, self.domain, port));
        if !may {
            return Err(Errno::EPERM);
        }
        let range = first.into()..end.into();
        let ports = &mut target.rights.lock().ports;
        if arg.allow_access == 0 {
            ports.remove(&range)
        } else {
            ports.insert(range)
        }
    }

    pub(super) fn permit_frames(
        &self,
        target: &Domain,
        arg: DomctlIomemPermission,
    ) -> Result<(), Errno> {
        let first = arg.first_mfn;
        let last = first
            .checked_add(arg.nr_mfns)
            .and_then(|end| end.checked_sub(1))
            .filter(|&last| last >= first)
            .ok_or(Errno::EINVAL)?;
        let range = first..last.saturating_add(1);
        if !access::iomem_range_permitted(&self.hv.mem, self.domain, &range) {
            return Err(Errno::EPERM);
        }
        let frames = &mut target.rights.lock().frames;
        if arg.allow_access == 0 {
            frames.remove(&range)
        } else {
            frames.insert(range)
        }
    }

    pub(super) fn permit_irq(
        &self,
        target: &Domain,
        arg: DomctlIrqPermission,
    ) -> Result<(), Errno> {
        let irqs = &self.hv.irqs;
        let own = PirqOwner::of(self.domain);
        if arg.pirq >= irqs.nr_pirqs(own) {
            return Err(Errno::EINVAL);
        }
        let irq = irqs.usable_irq(own, Pirq(arg.pirq)).ok_or(Errno::EPERM)?;
        irqs.permit(PirqOwner::of(target), irq, arg.allow_access != 0);
        Ok(())
    }
}
