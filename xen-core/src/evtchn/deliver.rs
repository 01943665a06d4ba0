//! Raising events and telling vCPUs of them.
//!
//! The hot path, a send, takes the locks of the two ports and nothing that a whole domain shares.

use alloc::sync::Arc;

use hypercall_abi::errno::Errno;

use super::port::{Channel, Peer, Slot};
use super::{Binding, Raised, two_level};
use crate::domain::{Domain, Vcpu, VcpuFlags};
use crate::hypervisor::Hypervisor;
use crate::machine::Machine;
use crate::num::{Port, VcpuId};

impl<M: Machine> Hypervisor<M> {
    /// Notifies the other end of `domain`'s port (EVTCHNOP_send). An unbound port swallows the event.
    ///
    /// # Errors
    /// `EINVAL` if the port is not one that a domain can send on.
    pub fn send_event(&self, domain: &Arc<Domain>, port: Port) -> Result<(), Errno> {
        let slot = domain.events.slot(port).ok_or(Errno::EINVAL)?;
        let mut channel = slot.lock();
        let peer = match &channel.binding {
            Binding::Ipi => {
                let raised = self.raise(domain, port, &mut channel);
                let notify = channel.notify;
                drop(channel);
                self.tell(domain, port, notify, raised);
                return Ok(());
            }
            Binding::Interdomain(peer) => peer.clone(),
            Binding::Unbound { .. } => return Ok(()),
            Binding::Free | Binding::Reserved | Binding::Pirq(_) | Binding::Virq(_) => {
                return Err(Errno::EINVAL);
            }
        };
        drop(channel);
        let Peer {
            domain: remote,
            port: remote_port,
            ..
        } = peer;
        // A peer that goes away at this moment no longer hears us.
        let Some(remote) = remote.upgrade() else {
            return Ok(());
        };
        self.raise_connected(&remote, remote_port, domain, port);
        Ok(())
    }

    /// Raises an event on `port` of `domain` if it is connected to `remote_port` of `remote`.
    pub(crate) fn raise_connected(
        &self,
        domain: &Domain,
        port: Port,
        remote: &Domain,
        remote_port: Port,
    ) {
        self.raise_if(domain, port, |binding| {
            binding.is_connected_to(remote.id, remote_port)
        });
    }

    /// Raises an event on `port` of `domain` if it is bound as expected.
    pub(super) fn raise_if(
        &self,
        domain: &Domain,
        port: Port,
        expected: impl FnOnce(&Binding) -> bool,
    ) -> Option<Raised> {
        let mut channel = domain.events.slot(port)?.lock();
        if !expected(&channel.binding) {
            return None;
        }
        let raised = self.raise(domain, port, &mut channel);
        let notify = channel.notify;
        drop(channel);
        self.tell(domain, port, notify, raised);
        Some(raised)
    }

    /// Makes a bound port pending. Its slot is locked; [`Hypervisor::tell`] follows when it is not any more.
    pub(crate) fn raise(&self, domain: &Domain, port: Port, channel: &mut Channel) -> Raised {
        let fifo = &domain.events.fifo;
        if fifo.is_active() {
            return fifo.raise(
                &self.machine,
                domain.events.vcpus(),
                port,
                &mut channel.fifo,
                channel.notify,
            );
        }
        let info = domain.vcpu(channel.notify).and_then(|vcpu| vcpu.info());
        two_level::raise(&self.machine, domain.shared_info, port, info)
    }

    /// Tells vCPUs what [`Hypervisor::raise`] changed.
    pub(crate) fn tell(&self, domain: &Domain, port: Port, notify: VcpuId, raised: Raised) {
        if raised.upcall {
            self.mark_upcall(domain, notify);
        }
        if raised.newly_pending {
            self.wake_pollers(domain, port);
        }
    }

    fn mark_upcall(&self, domain: &Domain, id: VcpuId) {
        let Some(vcpu) = domain.vcpu(id) else { return };
        if vcpu
            .info()
            .is_some_and(|info| info.set_upcall_pending(&self.machine))
        {
            if let Some(mailbox) = vcpu.hvm.as_deref() {
                mailbox
                    .upcall
                    .store(true, core::sync::atomic::Ordering::SeqCst);
            }
            self.wake(vcpu);
        }
    }

    /// Wakes the vCPUs that wait for `port` in SCHEDOP_poll, whether or not the port is masked.
    fn wake_pollers(&self, domain: &Domain, port: Port) {
        // The event is pending before the flag is read here; a poller sets the flag before it looks for events.
        let polling = |vcpu: &&Arc<Vcpu>| vcpu.flags().contains(VcpuFlags::POLLING);
        for vcpu in domain.vcpus().filter(polling) {
            let waits = vcpu.poll.lock().ports.contains(&port);
            if waits {
                self.wake(vcpu);
            }
        }
    }

    /// Clears the mask of `port`; what was pending behind it is delivered to the port's vCPU (EVTCHNOP_unmask).
    ///
    /// # Errors
    /// `EINVAL` if the port does not exist.
    pub fn unmask_event(&self, domain: &Domain, port: Port) -> Result<(), Errno> {
        let mut channel = domain.events.slot(port).ok_or(Errno::EINVAL)?.lock();
        if !channel.binding.is_usable() {
            return Ok(());
        }
        let notify = channel.notify;
        let fifo = &domain.events.fifo;
        let upcall = if fifo.is_active() {
            fifo.unmask(
                &self.machine,
                domain.events.vcpus(),
                port,
                &mut channel.fifo,
                notify,
            )
        } else {
            let info = domain.vcpu(notify).and_then(|vcpu| vcpu.info());
            two_level::unmask(&self.machine, domain.shared_info, port, info)
        };
        drop(channel);
        self.tell(
            domain,
            port,
            notify,
            Raised {
                newly_pending: false,
                upcall,
            },
        );
        Ok(())
    }

    /// Whether a domain may name `port` in SCHEDOP_poll.
    #[must_use]
    pub fn is_valid_port(&self, domain: &Domain, port: Port) -> bool {
        domain.events.slot(port).is_some()
    }

    /// Whether `port` is pending, masked or not.
    #[must_use]
    pub fn event_pending_for_poll(&self, domain: &Domain, port: Port) -> bool {
        self.look(domain, port, |channel| {
            let fifo = &domain.events.fifo;
            if fifo.is_active() {
                fifo.is_pending(&self.machine, port, &channel.fifo)
            } else {
                two_level::is_pending(&self.machine, domain.shared_info, port)
            }
        })
    }

    /// Whether `port` is masked; a port that is not bound counts as not masked.
    #[must_use]
    pub fn event_masked(&self, domain: &Domain, port: Port) -> bool {
        self.look(domain, port, |_| {
            let fifo = &domain.events.fifo;
            if fifo.is_active() {
                fifo.is_masked(&self.machine, port)
            } else {
                two_level::is_masked(&self.machine, domain.shared_info, port)
            }
        })
    }

    /// Asks about a bound port: only while one is bound is the FIFO array sure to stay.
    fn look(&self, domain: &Domain, port: Port, ask: impl FnOnce(&Channel) -> bool) -> bool {
        domain
            .events
            .slot(port)
            .map(Slot::lock)
            .is_some_and(|channel| channel.binding.is_usable() && ask(&channel))
    }

    /// Forgets that `port` is pending. Its slot is locked.
    pub(super) fn clear_pending(&self, domain: &Domain, port: Port, channel: &mut Channel) {
        let fifo = &domain.events.fifo;
        if fifo.is_active() {
            fifo.clear_pending(&self.machine, port, &mut channel.fifo);
        } else {
            two_level::clear_pending(&self.machine, domain.shared_info, port);
        }
    }
}
