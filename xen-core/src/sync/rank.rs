//! The lock order.

/// Rank of a lock. Take locks in ascending order; never two of one rank unless the type's documentation says in which
/// order (domains: lower [`DomId`](hypercall_abi::xen::DomId) first, see `domain::pair`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum Rank {
    /// The list of all domains.
    DomainTable = 10,
    /// Creation, shutdown and destruction of one domain.
    DomainLife = 20,
    /// The parked context of a vCPU.
    VcpuContext = 30,
    /// A domain's grant table.
    Grant = 40,
    /// One page table being changed.
    PageTable = 50,
    /// A domain's list of pages.
    PageList = 60,
    /// A domain's event-channel ports.
    EventChannel = 70,
    /// A vCPU's event queues (FIFO).
    EventQueue = 75,
    /// Routing of physical interrupts.
    Irq = 80,
    /// Run queues.
    Scheduler = 90,
    /// A processor's timers.
    Timers = 100,
    /// The free lists of the page allocator.
    Buddy = 110,
    /// The wall clock and other small machine-wide values.
    Machine = 120,
    /// Console and log.
    Console = 130,
}

impl Rank {
    /// All ranks, in their order.
    pub const ALL: [Self; 14] = [
        Self::DomainTable,
        Self::DomainLife,
        Self::VcpuContext,
        Self::Grant,
        Self::PageTable,
        Self::PageList,
        Self::EventChannel,
        Self::EventQueue,
        Self::Irq,
        Self::Scheduler,
        Self::Timers,
        Self::Buddy,
        Self::Machine,
        Self::Console,
    ];
}
