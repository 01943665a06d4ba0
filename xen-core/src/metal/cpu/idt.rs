//! Interrupt descriptor table, one for all CPUs (SDM 3A 6.14).
//!
//! All gates are interrupt gates: the hypervisor runs with interrupts off. INT3, INTO and INT 0x80 may be executed by
//! guests; every other software interrupt arrives as #GP and is decided there.
// UNSAFETY: loads the table.

use x86_64::structures::DescriptorTablePointer;

use super::gdt::HYPERVISOR_CS;
use crate::metal::entry;
use crate::metal::mem::stacks::Stack;

const VECTORS: usize = 256;
const PRESENT: u64 = 1 << 47;
const INTERRUPT_GATE: u64 = 0xe << 40;

/// The table: two words for each vector.
static TABLE: spin::Once<[[u64; 2]; VECTORS]> = spin::Once::new();

/// Index of a stack in the task state segment's table; the number in a gate is one more.
pub const fn ist_index(stack: Stack) -> usize {
    match stack {
        Stack::Main => panic!("the main stack is not an interrupt stack"),
        Stack::Nmi => 0,
        Stack::DoubleFault => 1,
        Stack::MachineCheck => 2,
        Stack::Debug => 3,
    }
}

/// The interrupt stack of a vector.
fn stack_of(vector: usize) -> Option<Stack> {
    match vector {
        1 => Some(Stack::Debug),
        2 => Some(Stack::Nmi),
        8 => Some(Stack::DoubleFault),
        18 => Some(Stack::MachineCheck),
        _ => None,
    }
}

fn gate(vector: usize) -> [u64; 2] {
    let target = entry::handler_address(vector as u8);
    let ist = stack_of(vector).map_or(0, |stack| ist_index(stack) as u64 + 1);
    let dpl = if matches!(vector, 3 | 4 | 0x80) {
        3u64
    } else {
        0
    };
    let low = target & 0xffff
        | u64::from(HYPERVISOR_CS) << 16
        | ist << 32
        | INTERRUPT_GATE
        | dpl << 45
        | PRESENT
        | (target >> 16 & 0xffff) << 48;
    [low, target >> 32]
}

/// Loads the table on the executing CPU.
///
/// # Safety
/// The CPU's GDT and TSS must be loaded.
pub unsafe fn load() {
    let table = TABLE.call_once(|| core::array::from_fn(gate));
    let base = x86_64::VirtAddr::from_ptr(table);
    let pointer = DescriptorTablePointer {
        limit: (size_of_val(table) - 1) as u16,
        base,
    };
    // SAFETY: the table is static, its gates lead to the entry code, whose stacks the caller vouches for.
    unsafe { x86_64::instructions::tables::lidt(&pointer) };
}
