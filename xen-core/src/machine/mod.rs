//! What the logic may ask of a computer: traits only.
//!
//! `metal` implements them with the real machine, `sim` with a simulated one. Everything else in this library is
//! written against [`Machine`] and never names a privileged instruction.

mod atomic_mask;
mod clock;
mod cpus;
mod devices;
mod flush_requests;
mod frames;
mod guest;
mod heap;
mod hvm_cpu;
mod pv_cpu;

pub use atomic_mask::AtomicCpuMask;
pub use clock::{Clock, TscScale, WallTime};
pub use cpus::{CpuMask, Cpus, Flush};
pub use devices::{ConsoleIo, Irqs, MsiMessage, Pio, Polarity, Power, ResetKind, Trigger, Width};
pub use flush_requests::FlushRequests;
pub use frames::{FrameWords, Frames};
pub use guest::{GuestFault, GuestMemory};
pub use heap::HeapMemory;
pub use hvm_cpu::{
    EventKind, ExitReason, HvmCpu, HvmEntry, HvmEvent, HvmExit, HvmState, HvmSupport, NestedFault,
    PortAccess, Segment, TableRegister,
};
pub use pv_cpu::{CpuidLeaf, DebugRegs, PvCpu, SegmentBase, SelectorReg};

/// A whole computer.
pub trait Machine:
    Frames
    + GuestMemory
    + Cpus
    + PvCpu
    + Clock
    + Irqs
    + Pio
    + ConsoleIo
    + Power
    + HeapMemory
    + HvmCpu
    + Send
    + Sync
    + 'static
{
}

impl<T> Machine for T where
    T: Frames
        + GuestMemory
        + Cpus
        + PvCpu
        + Clock
        + Irqs
        + Pio
        + ConsoleIo
        + Power
        + HeapMemory
        + HvmCpu
        + Send
        + Sync
        + 'static
{
}
