//! `event_channel.h`: event channels (`__HYPERVISOR_event_channel_op`), 2-level and FIFO.

use crate::xen::{DomId, Virq};

/// `evtchn_port_t`: a port of a domain; zero is never a valid one.
pub type EvtchnPort = u32;

/// `event_word_t`: a port's word in the FIFO array.
pub type EventWord = u32;

codes! {
    /// Sub-operation of `event_channel_op`.
    pub struct EvtchnOp(u32);
    prefix "EVTCHNOP_" {
        /// Connects to another domain's unbound port.
        bind_interdomain = 0,
        /// Binds a virtual interrupt.
        bind_virq = 1,
        /// Binds a physical interrupt.
        bind_pirq = 2,
        /// Closes a port.
        close = 3,
        /// Notifies the other end.
        send = 4,
        /// Reports a port's state.
        status = 5,
        /// Allocates a port for another domain to connect to.
        alloc_unbound = 6,
        /// Allocates a port for events between vCPUs.
        bind_ipi = 7,
        /// Chooses the vCPU that is notified.
        bind_vcpu = 8,
        /// Unmasks a port and delivers what is pending.
        unmask = 9,
        /// Closes all ports.
        reset = 10,
        /// Switches a vCPU to FIFO events.
        init_control = 11,
        /// Adds a page to the FIFO event array.
        expand_array = 12,
        /// Sets a port's FIFO priority.
        set_priority = 13,
        /// Continuation of a preempted reset; the hypervisor's own.
        reset_cont = 14,
    }
}

codes! {
    /// `evtchn_status.status`.
    pub struct EvtchnStat(u32);
    prefix "EVTCHNSTAT_" {
        /// Not in use.
        closed = 0,
        /// Waits for a domain to connect.
        unbound = 1,
        /// Connected to a port of another domain.
        interdomain = 2,
        /// Bound to a physical interrupt.
        pirq = 3,
        /// Bound to a virtual interrupt.
        virq = 4,
        /// Between vCPUs.
        ipi = 5,
    }
}

constants! {
    in CONSTANTS;
    prefix "" {
        /// Flag of `evtchn_bind_pirq`: the interrupt may be shared with other domains.
        BIND_PIRQ__WILL_SHARE: u32 = 1,
    }
    prefix "EVTCHN_" {
        /// Highest priority.
        FIFO_PRIORITY_MAX: u32 = 0,
        /// Priority of a new port.
        FIFO_PRIORITY_DEFAULT: u32 = 7,
        /// Lowest priority.
        FIFO_PRIORITY_MIN: u32 = 15,
        /// Queues of a control block.
        FIFO_MAX_QUEUES: usize = FIFO_PRIORITY_MIN as usize + 1,
        /// Bit of an event word: pending.
        FIFO_PENDING: u32 = 31,
        /// Bit of an event word: masked.
        FIFO_MASKED: u32 = 30,
        /// Bit of an event word: in a queue.
        FIFO_LINKED: u32 = 29,
        /// Bit of an event word: being linked.
        FIFO_BUSY: u32 = 28,
        /// Width of the link field.
        FIFO_LINK_BITS: u32 = 17,
        /// Mask of the link field.
        FIFO_LINK_MASK: u32 = (1 << FIFO_LINK_BITS) - 1,
        /// Ports of the FIFO format.
        FIFO_NR_CHANNELS: u32 = 1 << FIFO_LINK_BITS,
    }
    prefix "" {
        /// Ports of the 2-level format.
        EVTCHN_2L_NR_CHANNELS: u32 = 4096,
    }
}

abi_unions! {
    in UNIONS;
    /// What a port is bound to, by [`EvtchnStatus::status`].
    pub union EvtchnStatusU = "evtchn_status.u" [u32; 2] {
        unbound: EvtchnStatusUnbound,
        interdomain: EvtchnStatusInterdomain,
        /// Physical interrupt.
        pirq: u32,
        /// Virtual interrupt.
        virq: u32,
    }
    /// Argument of the call of before Xen 3.2.2.
    pub union EvtchnOpU = "evtchn_op.u" [u32; 6] {
        alloc_unbound: EvtchnAllocUnbound,
        bind_interdomain: EvtchnBindInterdomain,
        bind_virq: EvtchnBindVirq,
        bind_pirq: EvtchnBindPirq,
        bind_ipi: EvtchnBindIpi,
        close: EvtchnClose,
        send: EvtchnSend,
        status: EvtchnStatus,
        bind_vcpu: EvtchnBindVcpu,
        unmask: EvtchnUnmask,
    }
}

abi_structs! {
    in STRUCTS;
    /// Argument of `EVTCHNOP_alloc_unbound`.
    pub struct EvtchnAllocUnbound = "evtchn_alloc_unbound" [8] {
        /// Whose port.
        pub dom: DomId,
        /// Who may connect.
        pub remote_dom: DomId,
        /// Filled in.
        pub port: EvtchnPort,
    }
    /// Argument of `EVTCHNOP_bind_interdomain`.
    pub struct EvtchnBindInterdomain = "evtchn_bind_interdomain" [12] {
        pub remote_dom: DomId,
        pub _pad: [u8; 2],
        pub remote_port: EvtchnPort,
        /// Filled in.
        pub local_port: EvtchnPort,
    }
    /// Argument of `EVTCHNOP_bind_virq`.
    pub struct EvtchnBindVirq = "evtchn_bind_virq" [12] {
        pub virq: Virq,
        pub vcpu: u32,
        /// Filled in.
        pub port: EvtchnPort,
    }
    /// Argument of `EVTCHNOP_bind_pirq`.
    pub struct EvtchnBindPirq = "evtchn_bind_pirq" [12] {
        pub pirq: u32,
        /// [`BIND_PIRQ__WILL_SHARE`].
        pub flags: u32,
        /// Filled in.
        pub port: EvtchnPort,
    }
    /// Argument of `EVTCHNOP_bind_ipi`.
    pub struct EvtchnBindIpi = "evtchn_bind_ipi" [8] {
        pub vcpu: u32,
        /// Filled in.
        pub port: EvtchnPort,
    }
    /// Argument of `EVTCHNOP_close`.
    pub struct EvtchnClose = "evtchn_close" [4] {
        pub port: EvtchnPort,
    }
    /// Argument of `EVTCHNOP_send`.
    pub struct EvtchnSend = "evtchn_send" [4] {
        pub port: EvtchnPort,
    }
    /// [`EvtchnStatusU`] of an unbound port.
    pub struct EvtchnStatusUnbound = "evtchn_status.u.unbound" [2] {
        /// Who may connect.
        pub dom: DomId,
    }
    /// [`EvtchnStatusU`] of a connected port.
    pub struct EvtchnStatusInterdomain = "evtchn_status.u.interdomain" [8] {
        pub dom: DomId,
        pub _pad: [u8; 2],
        pub port: EvtchnPort,
    }
    /// Argument of `EVTCHNOP_status`.
    pub struct EvtchnStatus = "evtchn_status" [24] {
        /// Whose port.
        pub dom: DomId,
        pub _pad: [u8; 2],
        pub port: EvtchnPort,
        /// Filled in.
        pub status: EvtchnStat,
        /// Filled in: the vCPU that is notified.
        pub vcpu: u32,
        /// Filled in.
        pub u: EvtchnStatusU,
    }
    /// Argument of `EVTCHNOP_bind_vcpu`.
    pub struct EvtchnBindVcpu = "evtchn_bind_vcpu" [8] {
        pub port: EvtchnPort,
        pub vcpu: u32,
    }
    /// Argument of `EVTCHNOP_unmask`.
    pub struct EvtchnUnmask = "evtchn_unmask" [4] {
        pub port: EvtchnPort,
    }
    /// Argument of `EVTCHNOP_reset`.
    pub struct EvtchnReset = "evtchn_reset" [2] {
        pub dom: DomId,
    }
    /// Argument of `EVTCHNOP_init_control`.
    pub struct EvtchnInitControl = "evtchn_init_control" [24] {
        /// Frame of the control block.
        pub control_gfn: u64,
        /// Its offset in the frame, in bytes.
        pub offset: u32,
        pub vcpu: u32,
        /// Filled in: width of the link field.
        pub link_bits: u8,
        pub _pad: [u8; 7],
    }
    /// Argument of `EVTCHNOP_expand_array`.
    pub struct EvtchnExpandArray = "evtchn_expand_array" [8] {
        /// Frame of the next page of event words.
        pub array_gfn: u64,
    }
    /// Argument of `EVTCHNOP_set_priority`.
    pub struct EvtchnSetPriority = "evtchn_set_priority" [8] {
        pub port: EvtchnPort,
        /// 0 is the highest, [`FIFO_PRIORITY_MIN`] the lowest.
        pub priority: u32,
    }
    /// Argument of the call of before Xen 3.2.2 (`event_channel_op_compat`).
    pub struct EvtchnOpCompat = "evtchn_op" [28] {
        pub cmd: EvtchnOp,
        pub u: EvtchnOpU,
    }
    /// A vCPU's FIFO control block.
    pub struct EvtchnFifoControlBlock = "evtchn_fifo_control_block" [72] {
        /// Bit per queue that has events.
        pub ready: u32,
        pub _rsvd: u32,
        /// First port of each queue.
        pub head: [EventWord; FIFO_MAX_QUEUES],
    }
}

layout_entries! { types: [STRUCTS, UNIONS], constants: [EvtchnOp::CODES, EvtchnStat::CODES, CONSTANTS] }
