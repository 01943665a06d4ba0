//! TRUSTED: which segment descriptors a guest may have.
//!
//! Contract: Xen's check of guest descriptors; SDM volume 3, 3.4.5 and 3.5. A task-state segment, an LDT or an
//! interrupt gate in a guest's hands is a way out of ring 3, so of the system descriptors only the harmless empty one
//! and the call gate pass, the latter disarmed.

/// Present.
const PRESENT: u64 = 1 << 47;
/// Code or data (else system).
const CODE_OR_DATA: u64 = 1 << 44;
/// Privilege level.
const DPL: u64 = 3 << 45;
const TYPE_SHIFT: u32 = 40;
/// 64-bit call gate.
const CALL_GATE: u64 = 0xc;
/// Selector of a call gate: first entry that is the hypervisor's.
const FIRST_RESERVED_SELECTOR: u64 = 0xe000;
/// Selector in the LDT.
const TABLE_LOCAL: u64 = 4;

/// The descriptor as it may go into a table: with ring 3's privilege. `None` if the guest may not have it.
#[must_use]
pub const fn check(descriptor: u64) -> Option<u64> {
    // One that is not present always faults.
    if descriptor & PRESENT == 0 {
        return Some(descriptor);
    }
    if descriptor & CODE_OR_DATA != 0 {
        return Some(descriptor | DPL);
    }
    match (descriptor >> TYPE_SHIFT) & 0xf {
        // Second half of a 64-bit gate, among others.
        0 => Some(descriptor | DPL),
        CALL_GATE => {
            let selector = (descriptor >> 16) & 0xffff;
            let reserved_bits = (descriptor >> 32) & 0xff;
            let guests = selector & TABLE_LOCAL != 0 || selector < FIRST_RESERVED_SELECTOR;
            // Ring 3 cannot use it: the processor raises #GP, which is the guest's to see.
            if guests && reserved_bits == 0 {
                Some(descriptor & !DPL)
            } else {
                None
            }
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CODE64: u64 = 0x00af_9a00_0000_ffff;

    #[test]
    fn code_and_data_get_ring_3() {
        assert_eq!(check(CODE64), Some(0x00af_fa00_0000_ffff));
        assert_eq!(check(0x00cf_f300_0000_ffff), Some(0x00cf_f300_0000_ffff));
        assert_eq!(check(0), Some(0));
    }

    #[test]
    fn of_system_descriptors_only_the_disarmed_call_gate_passes() {
        for kind in 0..16u64 {
            let descriptor = PRESENT | DPL | kind << TYPE_SHIFT;
            assert_eq!(
                check(descriptor).is_some(),
                kind == 0 || kind == CALL_GATE,
                "type {kind}"
            );
        }
        let gate = PRESENT | DPL | CALL_GATE << TYPE_SHIFT | 0x10 << 16;
        assert_eq!(check(gate), Some(gate & !DPL));
        assert_eq!(
            check(PRESENT | CALL_GATE << TYPE_SHIFT | 0xe008 << 16),
            None
        );
    }
}
