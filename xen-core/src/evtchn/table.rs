//! The ports of one domain, and which of them are free.
//!
//! Two kinds of lock, both of rank `EventChannel`: the table's, for everything that binds or closes, and one per port,
//! for raising an event. A port's lock is taken second, and alone when an event is sent. Two tables are locked by
//! `domain::pair`. Published ports never go away again (XSA-338), and a bucket is published before the number that
//! makes it visible (XSA-340).

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;
use core::sync::atomic::{AtomicU32, Ordering};

use hashbrown::HashMap;
use hypercall_abi::errno::Errno;
use hypercall_abi::event_channel::{EVTCHN_2L_NR_CHANNELS, FIFO_NR_CHANNELS};
use hypercall_abi::xen::{NR_VIRQS, Virq};
use spin::Once;

use super::fifo::{Fifo, VcpuQueues};
use super::port::{Binding, Slot, new_slot};
use crate::machine::Frames;
use crate::num::{Pirq, Port, VcpuId};
use crate::sync::{Rank, RankedGuard, RankedMutex};

/// Ports that become valid together (as in Xen, where this is visible through EVTCHNOP_status).
const BUCKET: u32 = 64;
/// Free ports still linked in a FIFO queue that one allocation skips before it gives up.
const MAX_BUSY: u32 = 1024;

/// All ports of a domain.
pub struct EventChannels {
    /// One past the highest port that the domain may have.
    limit: u32,
    buckets: Box<[Once<Box<[Slot]>>]>,
    /// Ports below this exist.
    valid: AtomicU32,
    table: RankedMutex<Table>,
    /// Port of each bound physical interrupt.
    pirqs: RankedMutex<HashMap<Pirq, Port>>,
    /// By vCPU; made with the first port that needs it.
    vcpus: Once<Box<[VcpuEvents]>>,
    /// State of the FIFO format.
    pub(super) fifo: Fifo,
}

/// What binding and closing change together.
#[derive(Debug)]
pub struct Table {
    /// Bit per port: not free.
    used: Vec<u64>,
    /// Bound ports.
    pub(super) active: u32,
    /// Where a reset that was preempted goes on; 0 = none is under way.
    pub(super) next_reset: u32,
    /// The domain is being destroyed: nothing is bound any more.
    pub(super) dying: bool,
}

/// The table, locked.
pub type TableGuard<'a> = RankedGuard<'a, Table>;

/// What belongs to one vCPU.
#[derive(Debug)]
pub struct VcpuEvents {
    /// Port of each virtual interrupt; 0 = not bound.
    virqs: [AtomicU32; NR_VIRQS as usize],
    /// Control block and queues of the FIFO format.
    pub(super) queues: VcpuQueues,
}

impl VcpuEvents {
    fn new() -> Self {
        Self {
            virqs: [const { AtomicU32::new(0) }; NR_VIRQS as usize],
            queues: VcpuQueues::new(),
        }
    }
}

impl EventChannels {
    /// No port but the reserved one; none above `max_port` will ever be allocated.
    #[must_use]
    pub fn new(max_port: u32) -> Self {
        let limit = max_port.saturating_add(1).min(FIFO_NR_CHANNELS);
        let mut buckets = Vec::new();
        buckets.resize_with(limit.div_ceil(BUCKET).max(1) as usize, Once::new);
        let channels = Self {
            limit,
            buckets: buckets.into_boxed_slice(),
            valid: AtomicU32::new(0),
            table: RankedMutex::new(
                Rank::EventChannel,
                Table {
                    used: Vec::from([1]),
                    active: 0,
                    next_reset: 0,
                    dying: false,
                },
            ),
            pirqs: RankedMutex::new(Rank::EventQueue, HashMap::new()),
            vcpus: Once::new(),
            fifo: Fifo::new(),
        };
        channels.publish_bucket(0);
        if let Some(slot) = channels.slot(Port(0)) {
            slot.lock().binding = Binding::Reserved;
        }
        channels
    }

    fn publish_bucket(&self, bucket: u32) {
        if let Some(place) = self.buckets.get(bucket as usize) {
            place.call_once(|| (0..BUCKET).map(|_| new_slot()).collect());
            self.valid
                .fetch_max((bucket + 1) * BUCKET, Ordering::Release);
        }
    }

    /// One past the highest port that exists.
    #[must_use]
    pub fn valid_ports(&self) -> u32 {
        self.valid.load(Ordering::Acquire)
    }

    /// The port's slot, if the port exists.
    #[must_use]
    pub fn slot(&self, port: Port) -> Option<&Slot> {
        self.buckets
            .get((port.0 / BUCKET) as usize)?
            .get()?
            .get((port.0 % BUCKET) as usize)
    }

    /// Locks the table.
    pub fn lock(&self) -> TableGuard<'_> {
        self.table.lock()
    }

    /// Locks the table while another domain's is held; see `domain::pair` for the order.
    pub fn lock_second(&self) -> TableGuard<'_> {
        self.table.lock_second()
    }

    /// One past the highest port of the format in use, within the domain's limit.
    fn port_limit(&self) -> u32 {
        let format = if self.fifo.is_active() {
            FIFO_NR_CHANNELS
        } else {
            EVTCHN_2L_NR_CHANNELS
        };
        self.limit.min(format)
    }

    /// Binds the lowest free port.
    ///
    /// # Errors
    /// `EINVAL` if the domain is being destroyed, `ENOSPC` if no port is free.
    pub fn allocate(
        &self,
        table: &mut Table,
        frames: &impl Frames,
        binding: Binding,
        notify: VcpuId,
    ) -> Result<Port, Errno> {
        if table.dying {
            return Err(Errno::EINVAL);
        }
        let port = self.find_free(table, frames)?;
        self.publish_bucket(port.0 / BUCKET);
        self.slot(port)
            .ok_or(Errno::ENOSPC)?
            .lock_second()
            .bind(binding, notify);
        table.mark(port, true);
        table.active += 1;
        Ok(port)
    }

    fn find_free(&self, table: &mut Table, frames: &impl Frames) -> Result<Port, Errno> {
        let limit = self.port_limit();
        let mut busy = 0;
        for index in 0..limit.div_ceil(64) {
            if index as usize >= table.used.len() {
                table.used.push(0);
            }
            let mut free = !table.used.get(index as usize).copied().unwrap_or(u64::MAX);
            while free != 0 {
                let port = Port(index * 64 + free.trailing_zeros());
                if port.0 >= limit {
                    return Err(Errno::ENOSPC);
                }
                // A closed port that the guest has not taken out of its queue yet would be linked twice. The guest
                // writes that word: it decides how many ports are skipped, so they are counted.
                let linked = port.0 < self.valid_ports() && self.fifo.is_linked(frames, port);
                if !linked {
                    return Ok(port);
                }
                busy += 1;
                if busy >= MAX_BUSY {
                    return Err(Errno::ENOSPC);
                }
                free &= free - 1;
            }
        }
        Err(Errno::ENOSPC)
    }

    /// Notes that a port whose binding became `Free` may be allocated again.
    pub fn release(&self, table: &mut Table, port: Port) {
        table.mark(port, false);
        table.active = table.active.saturating_sub(1);
    }

    /// Makes room for what belongs to each of `max_vcpus` vCPUs.
    pub fn prepare_vcpus(&self, max_vcpus: u32) -> &[VcpuEvents] {
        self.vcpus
            .call_once(|| (0..max_vcpus).map(|_| VcpuEvents::new()).collect())
    }

    /// What belongs to each vCPU; empty before anything did.
    #[must_use]
    pub fn vcpus(&self) -> &[VcpuEvents] {
        self.vcpus.get().map_or(&[], |vcpus| vcpus)
    }

    /// The frames that the FIFO format holds writable references on.
    #[must_use]
    pub fn frames(&self) -> alloc::vec::Vec<crate::num::Mfn> {
        self.fifo.frames(self.vcpus())
    }

    fn virq_place(&self, vcpu: VcpuId, virq: Virq) -> Option<&AtomicU32> {
        self.vcpus()
            .get(vcpu.0 as usize)?
            .virqs
            .get(virq.0 as usize)
    }

    /// Port to which `virq` of `vcpu` is bound.
    #[must_use]
    pub fn virq_port(&self, vcpu: VcpuId, virq: Virq) -> Option<Port> {
        match self.virq_place(vcpu, virq)?.load(Ordering::Acquire) {
            0 => None,
            port => Some(Port(port)),
        }
    }

    /// Notes to which port `virq` of `vcpu` is bound. The table is locked.
    pub fn set_virq_port(&self, vcpu: VcpuId, virq: Virq, port: Option<Port>) {
        if let Some(place) = self.virq_place(vcpu, virq) {
            place.store(port.map_or(0, Port::get), Ordering::Release);
        }
    }

    /// Unbinds `virq` from `port` wherever it is. The table is locked.
    pub fn clear_virq(&self, virq: Virq, port: Port) {
        for vcpu in self.vcpus() {
            if let Some(place) = vcpu.virqs.get(virq.0 as usize) {
                let _ = place.compare_exchange(port.0, 0, Ordering::AcqRel, Ordering::Relaxed);
            }
        }
    }

    /// Port to which a physical interrupt is bound.
    #[must_use]
    pub fn pirq_port(&self, pirq: Pirq) -> Option<Port> {
        self.pirqs.lock().get(&pirq).copied()
    }

    /// Notes to which port a physical interrupt is bound. The table is locked.
    pub fn set_pirq_port(&self, pirq: Pirq, port: Option<Port>) {
        let mut pirqs = self.pirqs.lock();
        match port {
            Some(port) => pirqs.insert(pirq, port),
            None => pirqs.remove(&pirq),
        };
    }
}

impl Table {
    fn mark(&mut self, port: Port, used: bool) {
        if let Some(word) = self.used.get_mut((port.0 / 64) as usize) {
            let bit = 1u64 << (port.0 % 64);
            *word = if used { *word | bit } else { *word & !bit };
        }
    }

    /// Whether a port is marked as not free.
    #[must_use]
    pub fn is_used(&self, port: Port) -> bool {
        self.used
            .get((port.0 / 64) as usize)
            .is_some_and(|word| word & 1 << (port.0 % 64) != 0)
    }

    /// Bound ports.
    #[must_use]
    pub const fn active(&self) -> u32 {
        self.active
    }
}

impl fmt::Debug for EventChannels {
    /// The bound ports, one a line, for the debug key; ports that are busy just now are left out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let format = if self.fifo.is_active() {
            "FIFO"
        } else {
            "2-level"
        };
        writeln!(f, "{format}, ports below {:#x}", self.valid_ports())?;
        for port in 1..self.valid_ports() {
            let Some(channel) = self.slot(Port(port)).and_then(Slot::try_lock) else {
                continue;
            };
            if channel.binding.is_usable() {
                writeln!(
                    f,
                    "  {port:4} -> vCPU{} {:?}",
                    channel.notify.0, channel.binding
                )?;
            }
        }
        Ok(())
    }
}
