//! The NUMA topology that a domain is shown (XEN_DOMCTL_setvnumainfo, XENMEM_get_vnumainfo).

use alloc::vec::Vec;

use hypercall_abi::memory::Vmemrange;

/// A virtual topology, checked: every vCPU is in one of the nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vnuma {
    /// Distances between nodes: rows of as many words as there are nodes.
    pub distances: Vec<u32>,
    /// Node of each vCPU.
    pub node_of_vcpu: Vec<u32>,
    /// Node of the machine that a virtual node's memory should come from.
    pub machine_node: Vec<u32>,
    /// Guest memory by virtual node.
    pub ranges: Vec<Vmemrange>,
}
