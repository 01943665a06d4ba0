//! Closing ports: one, all of them, and at the end of a domain.

use alloc::sync::Arc;
use alloc::vec::Vec;

use hypercall_abi::errno::Errno;

use super::Binding;
use super::port::Slot;
use super::table::Table;
use crate::domain::Domain;
use crate::hypervisor::Hypervisor;
use crate::machine::Machine;
use crate::num::{Mfn, Port, VcpuId};
use crate::outcome::Stop;

/// Ports that are closed between two looks at more urgent work.
const BATCH: u32 = 64;

impl<M: Machine> Hypervisor<M> {
    /// Unbinds a port and makes it free for the next allocation. The table is locked.
    pub(crate) fn free_port(&self, domain: &Domain, table: &mut Table, port: Port) {
        let Some(slot) = domain.events.slot(port) else {
            return;
        };
        {
            let mut channel = slot.lock_second();
            // A new life of the port must not begin with an event of the old one.
            self.clear_pending(domain, port, &mut channel);
            channel.binding = Binding::Free;
            channel.notify = VcpuId(0);
        }
        domain.events.release(table, port);
    }

    /// Closes a port that is not connected to another domain's. The table is locked.
    ///
    /// # Errors
    /// `EINVAL` if the port is not bound.
    pub(crate) fn close_local(
        &self,
        domain: &Arc<Domain>,
        table: &mut Table,
        port: Port,
    ) -> Result<(), Errno> {
        let slot = domain.events.slot(port).ok_or(Errno::EINVAL)?;
        let binding = slot.lock_second().binding.clone();
        match binding {
            Binding::Free | Binding::Reserved => return Err(Errno::EINVAL),
            Binding::Pirq(pirq) => self.unbind_pirq(domain, pirq),
            Binding::Virq(virq) => domain.events.clear_virq(virq, port),
            Binding::Unbound { .. } | Binding::Interdomain(_) | Binding::Ipi => {}
        }
        self.free_port(domain, table, port);
        Ok(())
    }

    /// Closes a port (EVTCHNOP_close). The other end, if there is one, is unbound then.
    ///
    /// # Errors
    /// `EINVAL` if the port is not bound.
    pub fn close_port(&self, domain: &Arc<Domain>, port: Port) -> Result<(), Errno> {
        loop {
            let peer = match &domain
                .events
                .slot(port)
                .ok_or(Errno::EINVAL)?
                .lock()
                .binding
            {
                Binding::Interdomain(peer) => peer.domain.upgrade(),
                _ => None,
            };
            let closed = match peer {
                Some(peer) => self.close_interdomain(domain, &peer, port)?,
                None => {
                    let mut table = domain.events.lock();
                    // Between the look and the lock the port may have been connected.
                    let connected = domain.events.slot(port).map(Slot::lock_second).is_some_and(|channel| {
                        matches!(&channel.binding, Binding::Interdomain(peer) if peer.domain.strong_count() != 0)
                    });
                    !connected && self.close_local(domain, &mut table, port).map(|()| true)?
                }
            };
            // Each turn of the loop takes another vCPU a whole hypercall that rebinds this very port.
            if closed {
                return Ok(());
            }
        }
    }

    /// Closes all ports and goes back to the 2-level format (EVTCHNOP_reset). `resuming` continues one that was
    /// preempted.
    ///
    /// # Errors
    /// `EBUSY` if one is under way (or, resuming, none is), `EAGAIN` if ports were bound meanwhile; preempted.
    pub fn reset_events(&self, domain: &Arc<Domain>, resuming: bool) -> Result<(), Stop> {
        let first = {
            let mut table = domain.events.lock();
            let first = if resuming {
                table.next_reset
            } else {
                u32::from(table.next_reset == 0)
            };
            table.next_reset = table.next_reset.max(first);
            first
        };
        if first == 0 {
            return Err(Errno::EBUSY.into());
        }
        self.close_all(domain, first)?;
        let frames = {
            let mut table = domain.events.lock();
            table.next_reset = 0;
            if table.active() != 0 {
                return Err(Errno::EAGAIN.into());
            }
            self.leave_fifo(domain)
        };
        self.release_event_frames(frames);
        Ok(())
    }

    /// Closes all ports of a domain that is being destroyed; none can be bound afterwards. Call again when preempted.
    ///
    /// # Errors
    /// Preempted.
    pub fn destroy_events(&self, domain: &Arc<Domain>) -> Result<(), Stop> {
        let first = {
            let mut table = domain.events.lock();
            if !table.dying {
                table.dying = true;
                // Behind a reset that stopped on its way, new ports may have been bound.
                table.next_reset = 1;
            }
            table.next_reset.max(1)
        };
        self.close_all(domain, first)?;
        let frames = {
            let _table = domain.events.lock();
            self.leave_fifo(domain)
        };
        self.release_event_frames(frames);
        Ok(())
    }

    /// Closes all ports from `first` on. Where it stopped is noted in the table.
    fn close_all(&self, domain: &Arc<Domain>, first: u32) -> Result<(), Stop> {
        for port in first..domain.events.valid_ports() {
            // Most are not bound, which is not worth an error.
            let _ = self.close_port(domain, Port(port));
            if port.is_multiple_of(BATCH) && self.machine.must_yield() {
                domain.events.lock().next_reset = port + 1;
                return Err(Stop::Preempted);
            }
        }
        Ok(())
    }

    /// Ends the use of the FIFO format. The table is locked and no port is bound.
    fn leave_fifo(&self, domain: &Domain) -> Vec<Mfn> {
        let fifo = &domain.events.fifo;
        if fifo.is_active() {
            fifo.deactivate(domain.events.vcpus())
        } else {
            Vec::new()
        }
    }

    /// Gives back the references on frames that the FIFO format used. No event-channel lock may be held: a frame that
    /// is freed here takes locks that come before it.
    fn release_event_frames(&self, frames: Vec<Mfn>) {
        for mfn in frames {
            drop(self.mem.adopt_writable(mfn));
        }
    }
}
