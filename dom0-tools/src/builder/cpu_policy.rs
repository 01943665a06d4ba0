//! The processor that a guest is shown: the hypervisor's default for PV, as libxl leaves it.
//!
//! Contract: without CPUID faulting a PV guest sees the machine's topology, so the flags that announce it must be the machine's:
//! HTT (leaf 1, EDX 28) and CMP_LEGACY (leaf 0x80000001, ECX 1). An invariant TSC (leaf 0x80000007, EDX 8) is announced only to
//! a guest that is never migrated or whose TSC is emulated.

use hypercall_abi::arch_x86::CpuidLeaf;
use hypercall_abi::sysctl::{CpuPolicyIndex, FeaturesetIndex};
use hypercall_abi::xen::DomId;

use crate::xen::{Xen, XenError};

const HTT: u32 = 1 << 28;
const CMP_LEGACY: u32 = 1 << 1;
const INVARIANT_TSC: u32 = 1 << 8;
/// Words of a feature set: leaf 1 EDX and leaf 0x80000001 ECX.
const WORD_1D: usize = 0;
const WORD_E1C: usize = 3;

/// Sets `domain`'s policy.
///
/// # Errors
/// The hypervisor has no default policy, or refuses the leaves.
pub fn apply(xen: &dyn Xen, domain: DomId, invariant_tsc: bool) -> Result<(), XenError> {
    let mut leaves = xen.system_policy(CpuPolicyIndex::PV_DEFAULT)?;
    let host = xen.featureset(FeaturesetIndex::HOST)?;
    adjust(&mut leaves, &host, invariant_tsc);
    xen.set_policy(domain, &leaves)
}

fn adjust(leaves: &mut [CpuidLeaf], host: &[u32], invariant_tsc: bool) {
    let word = |index: usize| host.get(index).copied().unwrap_or(0);
    for leaf in leaves {
        match leaf.leaf {
            1 => copy_bit(&mut leaf.d, word(WORD_1D), HTT),
            0x8000_0001 => copy_bit(&mut leaf.c, word(WORD_E1C), CMP_LEGACY),
            0x8000_0007 => {
                let announced = if invariant_tsc { INVARIANT_TSC } else { 0 };
                copy_bit(&mut leaf.d, announced, INVARIANT_TSC);
            }
            _ => {}
        }
    }
}

fn copy_bit(to: &mut u32, from: u32, bit: u32) {
    *to = *to & !bit | from & bit;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topology_is_the_machines_and_the_tsc_is_the_guests() {
        let leaf = |leaf| CpuidLeaf {
            leaf,
            subleaf: 0,
            a: 0,
            b: 0,
            c: u32::MAX,
            d: u32::MAX,
        };
        let mut leaves = [leaf(1), leaf(0x8000_0001), leaf(0x8000_0007), leaf(7)];
        adjust(&mut leaves, &[0; 8], false);
        assert_eq!(leaves[0].d, !HTT);
        assert_eq!(leaves[1].c, !CMP_LEGACY);
        assert_eq!(leaves[2].d, !INVARIANT_TSC);
        assert_eq!((leaves[3].c, leaves[3].d), (u32::MAX, u32::MAX));
        adjust(&mut leaves, &[HTT, 0, 0, CMP_LEGACY], true);
        assert!(leaves[..3].iter().all(|leaf| leaf.c & leaf.d == u32::MAX));
    }
}
