//! Making a domain, giving it vCPUs, ending it.

use alloc::sync::Arc;

use hypercall_abi::arch_x86::{X86EmulationFlags, X86MiscFlags};
use hypercall_abi::domctl::{
    DOMCTL_GRANT_VERSION_MASK, DomctlCdf, DomctlCreatedomain, DomctlMaxVcpus,
};
use hypercall_abi::errno::Errno;
use hypercall_abi::xen::DomId;

use super::Call;
use crate::domain::{Domain, DomainConfig, Privileges};
use crate::machine::Machine;
use crate::num::VcpuId;
use crate::outcome::Stop;

/// The most vCPUs of a PV domain (MAX_VIRT_CPUS).
const MAX_VCPUS: u32 = 8192;
/// The most vCPUs of a guest that runs in hardware (HVM_MAX_VCPUS).
const MAX_HVM_VCPUS: u32 = 128;
/// The newest version of grant tables that is served.
const GRANT_VERSION: u32 = 1;
/// The most frames of a grant table (Xen's default of `gnttab_max_frames`), and what one gets that does not say.
const GRANT_FRAMES: u32 = 64;
/// The most frames of handles of mapped grants (Xen's default of `gnttab_max_maptrack_frames`).
const MAPTRACK_FRAMES: u32 = 1024;

impl<M: Machine> Call<'_, M> {
    /// Creates a domain, without memory and vCPUs, paused once. A `wish` that is no domain's number, or 0, means any.
    pub(super) fn create(&self, wish: DomId, arg: &DomctlCreatedomain) -> Result<DomId, Errno> {
        let limits = check(arg, self.hv.machine.hvm_support().available)?;
        let hv = self.hv;
        let relaxed =
            X86MiscFlags::from_bits_retain(arg.arch.misc_flags).contains(X86MiscFlags::MSR_RELAXED);
        let policy = if limits.hvm.is_some() {
            hv.policies.hvm_default.as_ref().clone()
        } else {
            hv.policies.pv_default.as_ref().clone()
        };
        let mut config = DomainConfig {
            id: wish,
            privileges: Privileges {
                xenstore: DomctlCdf::from_bits_retain(arg.flags).contains(DomctlCdf::XS_DOMAIN),
                ..Privileges::default()
            },
            max_vcpus: arg.max_vcpus,
            max_evtchn_port: arg.max_evtchn_port,
            max_grant_frames: limits.grant,
            max_maptrack_frames: limits.maptrack,
            cpu_policy: Arc::new(policy.with_msr_relaxed(relaxed)),
            handle: arg.handle,
            ssidref: arg.ssidref,
            paused: true,
            hvm: limits.hvm,
        };
        if wish.0 != 0 && wish < DomId::FIRST_RESERVED {
            return hv.create_domain(config).map(|domain| domain.id);
        }
        // A number may be taken although nobody has it: pages of the last one who had are still in use.
        for _ in 0..DomId::FIRST_RESERVED.0 {
            config.id = hv.domains.next_id().ok_or(Errno::ENOMEM)?;
            match hv.create_domain(config.clone()) {
                Err(Errno::EEXIST) => {}
                result => return result.map(|domain| domain.id),
            }
        }
        Err(Errno::ENOMEM)
    }

    /// Creates the vCPUs that createdomain announced.
    pub(super) fn create_vcpus(
        &self,
        target: &Arc<Domain>,
        arg: DomctlMaxVcpus,
    ) -> Result<(), Stop> {
        if target.id == self.domain.id || arg.max != target.max_vcpus() {
            return Err(Errno::EINVAL.into());
        }
        for id in (0..arg.max).map(VcpuId) {
            if target.vcpu(id).is_some() {
                continue;
            }
            if target.ending.lock().dying {
                return Err(Errno::EINVAL.into());
            }
            self.hv.check_heap()?;
            self.hv.create_vcpu(target, id);
            if self.hv.machine.must_yield() {
                return Err(Stop::Preempted);
            }
        }
        Ok(())
    }
}

/// Limits that a domain gets.
#[derive(Debug)]
struct Limits {
    grant: u32,
    maptrack: u32,
    /// Devices that are emulated, if the guest runs in hardware.
    hvm: Option<X86EmulationFlags>,
}

/// Whether such a domain can be made here: without devices passed through, with grant tables of version 1. `hvm` if guests
/// can run in hardware.
fn check(arg: &DomctlCreatedomain, hvm: bool) -> Result<Limits, Errno> {
    let flags = DomctlCdf::from_bits(arg.flags).ok_or(Errno::EINVAL)?;
    let mut offered = DomctlCdf::S3_INTEGRITY | DomctlCdf::OOS_OFF | DomctlCdf::XS_DOMAIN;
    if hvm {
        offered |= DomctlCdf::HVM | DomctlCdf::HAP;
    }
    let in_hardware = flags.contains(DomctlCdf::HVM);
    // The only translation there is for them is the processor's.
    if in_hardware != flags.contains(DomctlCdf::HAP) || in_hardware && arg.max_vcpus > MAX_HVM_VCPUS
    {
        return Err(Errno::EINVAL);
    }
    if !offered.contains(flags)
        || arg.grant_opts & !DOMCTL_GRANT_VERSION_MASK != 0
        || !(1..=MAX_VCPUS).contains(&arg.max_vcpus)
        || arg.iommu_opts != 0
        || arg.vmtrace_size != 0
    {
        return Err(Errno::EINVAL);
    }
    X86MiscFlags::from_bits(arg.arch.misc_flags).ok_or(Errno::EINVAL)?;
    let emulators = X86EmulationFlags::from_bits(arg.arch.emulation_flags).ok_or(Errno::EINVAL)?;
    // PV guests have no emulated devices; the interval timer is allowed for the sake of old toolstacks. Others have
    // a local APIC and nothing else (PVH).
    let known = if in_hardware {
        emulators == X86EmulationFlags::LAPIC
    } else {
        X86EmulationFlags::PIT.contains(emulators)
    };
    if !known {
        return Err(Errno::EOPNOTSUPP);
    }
    if !(1..=GRANT_VERSION).contains(&arg.grant_opts) {
        return Err(Errno::EINVAL);
    }
    // Negative: the default.
    let limit = |wish: i32, most: u32| match u32::try_from(wish) {
        Ok(wish) if wish > most => Err(Errno::EINVAL),
        Ok(wish) => Ok(wish),
        Err(_) => Ok(most),
    };
    let grant = limit(arg.max_grant_frames, GRANT_FRAMES)?;
    if grant == 0 {
        return Err(Errno::EINVAL);
    }
    let maptrack = limit(arg.max_maptrack_frames, MAPTRACK_FRAMES)?;
    // The one pool of processors.
    if arg.cpupool_id != 0 {
        return Err(Errno::ENOENT);
    }
    Ok(Limits {
        grant,
        maptrack,
        hvm: in_hardware.then_some(emulators),
    })
}
