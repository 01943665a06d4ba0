//! Physical interrupts: vectors, who handles them, acknowledgement; message-signalled interrupts and their devices.
//!
//! An *IRQ* is a source of interrupts: below `nr_gsis` an IO-APIC input, above that a message-signalled interrupt made
//! by PHYSDEVOP_map_pirq. A *PIRQ* is a domain's own number for an IRQ. A bound PIRQ turns an interrupt into an event.
//!
//! Acknowledgement: the local APIC gets its EOI as soon as the interrupt was seen. An edge or message needs no more. A
//! level-triggered input is masked first and stays masked until every domain that was notified has said EOI
//! (PHYSDEVOP_eoi), because the device asserts it until its driver has run. The page registered with
//! PHYSDEVOP_pirq_eoi_gmfn tells a domain which of its PIRQs need that. A domain that does not say it in time is not
//! waited for (`hold`).
//!
//! An interrupt arrives at a *place*: a vector of a processor, the one that runs the vCPU which the event is for
//! (`migrate`).
//!
//! One lock of rank `Irq` guards everything here. Events are sent after it was given up.

mod config;
mod desc;
mod describe;
mod dispatch;
mod hold;
mod mapping;
mod migrate;
mod msi;
mod msix_table;
mod news;
mod pci;
mod pirq;
mod service;
mod state;
mod table;
mod vectors;

pub use config::{Configuration, GsiDefault, IoApicRange, McfgRange};
pub use mapping::MsiRequest;
pub use msi::PciAddress;
pub use news::News;
pub use pci::PciDevice;
pub use pirq::PirqOwner;
pub use service::{Arrival, MAX_SUBSCRIBERS, Notify};
pub use state::Board;
pub use table::IrqTable;

use crate::num::Vector;

/// Vector of the deadline timer.
pub const TIMER_VECTOR: Vector = Vector(0xfa);
/// Vector with which one processor makes another pass through the hypervisor.
pub const KICK_VECTOR: Vector = Vector(0xfb);
/// Vector of the local APIC's spurious interrupt.
pub const SPURIOUS_VECTOR: Vector = Vector(0xff);
/// Vector of the console's serial line.
pub const SERIAL_VECTOR: Vector = Vector(0xf0);
/// First vector for device interrupts; 0x80 and 0x82 are never given out.
pub const FIRST_DEVICE_VECTOR: Vector = Vector(0x30);
/// Last vector for device interrupts.
pub const LAST_DEVICE_VECTOR: Vector = Vector(0xdf);

/// Vectors that mean something to software: the gate of 32-bit system calls, and the one that Xen's old hypercall used.
const NEVER_GIVEN_OUT: [u8; 2] = [0x80, 0x82];

/// Device vectors of one processor.
#[cfg(test)]
const DEVICE_VECTORS: u32 =
    LAST_DEVICE_VECTOR.0 as u32 - FIRST_DEVICE_VECTOR.0 as u32 + 1 - NEVER_GIVEN_OUT.len() as u32;

#[cfg(test)]
mod tests;
