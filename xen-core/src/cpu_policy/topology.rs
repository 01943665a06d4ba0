//! Which core and which socket a processor is part of (SDM volume 3, 9.9: fields of the APIC id).

use super::CpuPolicy;
use crate::machine::CpuidLeaf;

/// The widths of the fields of an APIC id.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ApicIdFields {
    /// Bits that tell threads of a core apart.
    pub thread_bits: u32,
    /// Bits that tell threads of a socket apart.
    pub socket_bits: u32,
}

/// CPUID 1 EDX: more than one processor may be in a package.
const HTT: u32 = 1 << 28;

impl ApicIdFields {
    /// From the processor's own leaves: topology if it has that leaf, else the counts of leaves 1, 4 and 0x80000008.
    #[must_use]
    pub fn of(raw: &CpuPolicy) -> Self {
        let levels: &[CpuidLeaf] = &raw.topology;
        if let [threads, cores, ..] = levels
            && raw.basic[0].a >= 0xb
            && threads.b & 0xffff != 0
        {
            let thread_bits = (threads.a & 0x1f).min(31);
            let socket_bits = (cores.a & 0x1f).max(thread_bits);
            return Self {
                thread_bits,
                socket_bits,
            };
        }
        if raw.basic[1].d & HTT == 0 {
            return Self {
                thread_bits: 0,
                socket_bits: 0,
            };
        }
        let logical = (raw.basic[1].b >> 16 & 0xff).max(1);
        let intel_cores = (raw.cache[0].a >> 26) + 1;
        let amd_cores = (raw.extended[8].c & 0xff) + 1;
        let cores = intel_cores.max(amd_cores).min(logical);
        Self {
            thread_bits: width(logical.div_ceil(cores)),
            socket_bits: width(logical),
        }
    }

    /// Core within its socket, and socket.
    #[must_use]
    pub const fn place(self, apic_id: u32) -> (u32, u32) {
        let in_socket = apic_id & ((1 << self.socket_bits) - 1);
        (in_socket >> self.thread_bits, apic_id >> self.socket_bits)
    }
}

/// Bits that number `count` things.
const fn width(count: u32) -> u32 {
    count.next_power_of_two().trailing_zeros()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(levels: [u32; 2]) -> CpuPolicy {
        let mut raw = CpuPolicy::EMPTY;
        raw.basic[0].a = 0xb;
        for (level, bits) in raw.topology.iter_mut().zip(levels) {
            level.a = bits;
            level.b = 1;
        }
        raw
    }

    #[test]
    fn the_topology_leaf_counts_most() {
        let fields = ApicIdFields::of(&raw([1, 4]));
        assert_eq!(fields.place(0b10_0111), (0b011, 0b10));
    }

    #[test]
    fn older_processors_are_described_by_counts() {
        let mut raw = raw([0, 0]);
        raw.basic[0].a = 4;
        assert_eq!(ApicIdFields::of(&raw).place(5), (0, 5));
        raw.basic[1].d = HTT;
        raw.basic[1].b = 8 << 16;
        raw.cache[0].a = 3 << 26;
        // Four cores of two threads.
        assert_eq!(ApicIdFields::of(&raw).place(0b1101), (0b10, 1));
    }
}
