//! Operations on two domains at once.
//!
//! Their locks are of one rank. Order: the domain with the lower number first.

use alloc::sync::Arc;

use hypercall_abi::errno::Errno;

use super::Domain;
use crate::evtchn::port::Slot;
use crate::evtchn::table::TableGuard;
use crate::evtchn::{Binding, Peer};
use crate::hypervisor::Hypervisor;
use crate::machine::Machine;
use crate::num::{Port, VcpuId};

/// The event-channel tables of two domains, which may be one and the same.
struct Tables<'a> {
    own: TableGuard<'a>,
    /// `None` if both are the same domain.
    _other: Option<TableGuard<'a>>,
}

impl<'a> Tables<'a> {
    fn lock(own: &'a Arc<Domain>, other: &'a Arc<Domain>) -> Self {
        if Arc::ptr_eq(own, other) {
            Self {
                own: own.events.lock(),
                _other: None,
            }
        } else if own.id.0 < other.id.0 {
            let own = own.events.lock();
            Self {
                own,
                _other: Some(other.events.lock_second()),
            }
        } else {
            let other = other.events.lock();
            Self {
                own: own.events.lock_second(),
                _other: Some(other),
            }
        }
    }
}

impl<M: Machine> Hypervisor<M> {
    /// Connects a new port of `local` to a port of `remote` that waits for it (EVTCHNOP_bind_interdomain).
    ///
    /// # Errors
    /// `EINVAL` if the remote port does not wait for this domain, `ENOSPC` if no local port is free.
    pub fn bind_interdomain(
        &self,
        local: &Arc<Domain>,
        remote: &Arc<Domain>,
        remote_port: Port,
    ) -> Result<Port, Errno> {
        let port = {
            let mut tables = Tables::lock(local, remote);
            let end = |domain: &Arc<Domain>, port| {
                Binding::Interdomain(Peer {
                    domain: Arc::downgrade(domain),
                    id: domain.id,
                    port,
                })
            };
            let port = local.events.allocate(
                &mut tables.own,
                &self.machine,
                end(remote, remote_port),
                VcpuId(0),
            )?;
            let connected = remote.events.slot(remote_port).map(Slot::lock_second).is_some_and(|mut channel| {
                let waits = matches!(channel.binding, Binding::Unbound { remote } if remote == local.id);
                if waits {
                    channel.binding = end(local, port);
                }
                waits
            });
            if !connected {
                self.free_port(local, &mut tables.own, port);
                return Err(Errno::EINVAL);
            }
            port
        };
        // Whatever the other side sent while its port was unbound was lost: let this side look once.
        self.raise_connected(local, port, remote, remote_port);
        Ok(port)
    }

    /// Closes `port` if it is connected to a port of `peer`, which is unbound then. False if it is not connected
    /// there any more.
    ///
    /// # Errors
    /// `EINVAL` if the port is not bound any more.
    pub(crate) fn close_interdomain(
        &self,
        domain: &Arc<Domain>,
        peer: &Arc<Domain>,
        port: Port,
    ) -> Result<bool, Errno> {
        let mut tables = Tables::lock(domain, peer);
        let slot = domain.events.slot(port).ok_or(Errno::EINVAL)?;
        let binding = slot.lock_second().binding.clone();
        let peer_port = match binding {
            Binding::Interdomain(end) if end.id == peer.id => end.port,
            _ => return Ok(false),
        };
        self.free_port(domain, &mut tables.own, port);
        if let Some(slot) = peer.events.slot(peer_port) {
            let mut channel = slot.lock_second();
            if channel.binding.is_connected_to(domain.id, port) {
                channel.binding = Binding::Unbound { remote: domain.id };
            }
        }
        Ok(true)
    }
}
