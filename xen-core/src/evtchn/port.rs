//! One event-channel port: what it is bound to and who is told (public header event_channel.h).

use alloc::sync::Weak;

use hypercall_abi::event_channel::FIFO_PRIORITY_DEFAULT;
use hypercall_abi::xen::{DomId, Virq};

use crate::domain::Domain;
use crate::num::{Pirq, Port, VcpuId};
use crate::sync::{Rank, RankedMutex};

/// What a port is bound to.
#[derive(Clone, Debug)]
pub enum Binding {
    /// Nothing: may be allocated.
    Free,
    /// Port 0, which names no channel.
    Reserved,
    /// Waits for `remote` to connect.
    Unbound {
        /// Who may connect.
        remote: DomId,
    },
    /// Connected to a port of another domain, or of the same.
    Interdomain(Peer),
    /// A physical interrupt.
    Pirq(Pirq),
    /// A virtual interrupt.
    Virq(Virq),
    /// Between vCPUs of the domain.
    Ipi,
}

/// The other end of a channel.
#[derive(Clone, Debug)]
pub struct Peer {
    /// The domain, found without a look at the table of all domains: sending is the hottest call there is.
    pub domain: Weak<Domain>,
    /// Its number.
    pub id: DomId,
    /// Its port.
    pub port: Port,
}

impl Binding {
    /// Whether events may be raised on the port.
    #[must_use]
    pub const fn is_usable(&self) -> bool {
        !matches!(self, Self::Free | Self::Reserved)
    }

    /// Whether the port is the other end of port `port` of domain `id`.
    #[must_use]
    pub fn is_connected_to(&self, id: DomId, port: Port) -> bool {
        matches!(self, Self::Interdomain(peer) if peer.id == id && peer.port == port)
    }
}

/// What the FIFO format remembers of a port.
#[derive(Clone, Copy, Debug, Default)]
pub struct FifoPort {
    /// Queue for the next link, 0 (highest) to 15.
    pub priority: u32,
    /// The queue in which the port was linked last: of this vCPU, with this priority, in this life of the FIFO.
    pub last: LastQueue,
    /// Pending, but the port's event word does not exist yet.
    pub owed: bool,
}

/// A queue, by owner and priority.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LastQueue {
    /// Which use of the FIFO format since the domain's creation; a reset begins a new one.
    pub era: u32,
    /// Owner.
    pub vcpu: VcpuId,
    /// Priority.
    pub priority: u32,
}

/// A port.
#[derive(Debug)]
pub struct Channel {
    /// What it is bound to.
    pub binding: Binding,
    /// Who is told.
    pub notify: VcpuId,
    /// State of the FIFO format.
    pub fifo: FifoPort,
}

impl Channel {
    /// A port that is bound to nothing.
    #[must_use]
    pub const fn free() -> Self {
        Self {
            binding: Binding::Free,
            notify: VcpuId(0),
            fifo: FifoPort {
                priority: FIFO_PRIORITY_DEFAULT,
                last: LastQueue {
                    era: 0,
                    vcpu: VcpuId(0),
                    priority: 0,
                },
                owed: false,
            },
        }
    }

    /// Begins a new life: the queue in which the port may still be linked is kept.
    pub fn bind(&mut self, binding: Binding, notify: VcpuId) {
        self.binding = binding;
        self.notify = notify;
        self.fifo.priority = FIFO_PRIORITY_DEFAULT;
        self.fifo.owed = false;
    }
}

/// A port with its lock. Events are raised under this lock alone, never under the table's.
pub type Slot = RankedMutex<Channel>;

/// A slot for a port that is bound to nothing.
#[must_use]
pub const fn new_slot() -> Slot {
    RankedMutex::new(Rank::EventChannel, Channel::free())
}
