//! Message-signalled interrupts (SDM 3A 11.11).

use xen_core::machine::MsiMessage;

const ADDRESS: u64 = 0xfee0_0000;

/// The message that delivers `vector`, edge-triggered, to the CPU with this APIC id.
pub fn message(vector: u8, apic_id: u32) -> MsiMessage {
    MsiMessage {
        address: ADDRESS | u64::from(apic_id & 0xff) << 12,
        data: u32::from(vector),
    }
}
