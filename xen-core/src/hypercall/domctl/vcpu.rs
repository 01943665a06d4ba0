//! Describing a domain's vCPUs.

use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use hypercall_abi::domctl::DomctlGetvcpuinfo;
use hypercall_abi::errno::Errno;
use hypercall_abi::guest_handle::GuestHandle;

use super::Call;
use crate::domain::{Domain, Vcpu, VcpuFlags};
use crate::guest::GuestAccess;
use crate::machine::Machine;
use crate::num::VcpuId;

impl<M: Machine> Call<'_, M> {
    pub(super) fn vcpu_info(
        &self,
        target: &Domain,
        at: GuestHandle<DomctlGetvcpuinfo>,
        mut arg: DomctlGetvcpuinfo,
    ) -> Result<(), Errno> {
        let vcpu = find(target, arg.vcpu)?;
        let machine = &self.hv.machine;
        let flags = vcpu.flags();
        arg.online = u8::from(!flags.contains(VcpuFlags::DOWN));
        arg.blocked = u8::from(flags.contains(VcpuFlags::BLOCKED));
        arg.running = u8::from(vcpu.is_executing());
        arg.cpu_time = vcpu.cpu_time_ns(machine.now_ns());
        arg.cpu = vcpu.cpu.load(Ordering::Relaxed);
        machine.write(at, &arg)
    }
}

pub(super) fn find(target: &Domain, id: u32) -> Result<&Arc<Vcpu>, Errno> {
    if id >= target.max_vcpus() {
        return Err(Errno::EINVAL);
    }
    target.vcpu(VcpuId(id)).ok_or(Errno::ESRCH)
}
