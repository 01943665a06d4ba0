//! The machine: the only room with unsafe code.
//!
//! Boot order: `boot/head.S` (32-bit entry, first page tables) → `boot::metal_start` → the steps of `boot::bring_up` →
//! the library. All that a guest does afterwards comes in through [`entry`].

#![expect(unsafe_code, reason = "this module tree talks to the processor")]

mod backtrace;
mod boot;
mod cpu;
mod entry;
mod irq;
mod machine;
mod machine_check;
mod mem;
mod panic;
mod pio;
mod power;
mod serial;
mod svm;
mod time;
mod watchdog;

use machine::X86;
use spin::Once;
use xen_core::hypervisor::Hypervisor;

/// The hypervisor.
static HYPERVISOR: Once<Hypervisor<X86>> = Once::new();

/// The hypervisor. Guests run only once it exists.
fn hypervisor() -> &'static Hypervisor<X86> {
    let Some(hypervisor) = HYPERVISOR.get() else {
        panic!("a guest trapped before there was a hypervisor")
    };
    hypervisor
}
