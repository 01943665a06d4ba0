//! XENMEM_get_vnumainfo and XEN_DOMCTL_setvnumainfo: the NUMA topology that a domain is shown.

use alloc::vec::Vec;

use hypercall_abi::domctl::DomctlVnuma;
use hypercall_abi::errno::Errno;
use hypercall_abi::guest_handle::GuestHandle;
use hypercall_abi::memory::VnumaTopologyInfo;
use zerocopy::{FromBytes, IntoBytes};

use crate::domain::Domain;
use crate::guest::GuestAccess;
use crate::hypercall::Call;
use crate::machine::Machine;
use crate::mm::Vnuma;
use crate::num::PAGE_SIZE;

/// Numbers that a node of the machine can have (MAX_NUMNODES).
pub(super) const MAX_NODES: u32 = 64;
/// Bytes that a list may need (XSA-77).
const MAX_LIST: u64 = PAGE_SIZE;

impl<M: Machine> Call<'_, M> {
    fn read_entries<T: FromBytes + IntoBytes>(
        &self,
        list: GuestHandle<T>,
        count: u32,
    ) -> Result<Vec<T>, Errno> {
        (0..u64::from(count))
            .map(|i| self.hv.machine.read_at(list, i))
            .collect()
    }

    /// Sets the topology that `target` is shown.
    ///
    /// # Errors
    /// `EINVAL` for another number of vCPUs than the domain's, lists that are too long or flags, `EFAULT`, `E2BIG` for nodes
    /// that do not exist.
    pub(in crate::hypercall) fn set_vnuma(
        &self,
        target: &Domain,
        arg: DomctlVnuma,
    ) -> Result<(), Errno> {
        if arg.nr_vcpus != target.max_vcpus() || arg.pad != 0 {
            return Err(Errno::EINVAL);
        }
        let distances = u64::from(arg.nr_vnodes) * u64::from(arg.nr_vnodes);
        let (word, range) = (
            size_of::<u32>() as u64,
            size_of::<hypercall_abi::memory::Vmemrange>() as u64,
        );
        if distances > MAX_LIST / word || u64::from(arg.nr_vmemranges) > MAX_LIST / range {
            return Err(Errno::EINVAL);
        }
        let vnuma = Vnuma {
            distances: self.read_entries(arg.vdistance, arg.nr_vnodes * arg.nr_vnodes)?,
            ranges: self.read_entries(arg.vmemrange, arg.nr_vmemranges)?,
            node_of_vcpu: self.read_entries(arg.vcpu_to_vnode, arg.nr_vcpus)?,
            machine_node: self.read_entries(arg.vnode_to_pnode, arg.nr_vnodes)?,
        };
        if vnuma.node_of_vcpu.iter().any(|&node| node >= arg.nr_vnodes)
            || vnuma.machine_node.iter().any(|&node| node >= MAX_NODES)
        {
            return Err(Errno::E2BIG);
        }
        if vnuma.ranges.iter().any(|range| range.flags != 0) {
            return Err(Errno::EINVAL);
        }
        target.pages.set_vnuma(vnuma);
        Ok(())
    }

    pub(super) fn vnuma_info(&self, arg: GuestHandle<VnumaTopologyInfo>) -> Result<u64, Errno> {
        let machine = &self.hv.machine;
        let mut request = machine.read(arg)?;
        if request.pad != 0 {
            return Err(Errno::EINVAL);
        }
        let target = self.target(request.domid)?;
        let vnuma = target.pages.vnuma().ok_or(Errno::EOPNOTSUPP)?;
        let count = |len: usize| u32::try_from(len).unwrap_or(u32::MAX);
        let needed = (
            count(vnuma.machine_node.len()),
            count(vnuma.node_of_vcpu.len()),
            count(vnuma.ranges.len()),
        );
        let fits = request.nr_vnodes >= needed.0
            && request.nr_vcpus >= needed.1
            && request.nr_vmemranges >= needed.2;
        if fits {
            for (i, range) in (0..).zip(&vnuma.ranges) {
                machine.write_at(request.vmemrange.as_h(), i, range)?;
            }
            for (i, distance) in (0..).zip(&vnuma.distances) {
                machine.write_at(request.vdistance.as_h(), i, distance)?;
            }
            for (i, node) in (0..).zip(&vnuma.node_of_vcpu) {
                machine.write_at(request.vcpu_to_vnode.as_h(), i, node)?;
            }
        }
        // ABI: what is needed is told in any case.
        (request.nr_vnodes, request.nr_vcpus, request.nr_vmemranges) = needed;
        machine.write(arg, &request)?;
        if fits { Ok(0) } else { Err(Errno::ENOBUFS) }
    }
}
