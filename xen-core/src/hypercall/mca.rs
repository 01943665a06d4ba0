//! `mca`: machine checks for the control domain (public header arch-x86/xen-mca.h).
//!
//! Records of errors are fetched one by one, corrected ones apart from others, and go when they are acknowledged.

use hypercall_abi::arch_x86::xen_mca::{
    MCA_INTERFACE_VERSION, Mc, McCmd, McFetchFlags, McFetchStatus, McU, McinfoLogicalCpu,
};
use hypercall_abi::errno::Errno;
use hypercall_abi::guest_handle::GuestHandle;
use zerocopy::FromZeros;

use super::Call;
use crate::guest::GuestAccess;
use crate::machine::{CpuidLeaf, Machine};
use crate::mce::Urgency;
use crate::num::CpuId;
use crate::outcome::{HypercallResult, Outcome};

/// X86_VENDOR_INTEL as Xen numbers vendors.
const VENDOR_INTEL: u32 = 1;
/// X86_VENDOR_AMD.
const VENDOR_AMD: u32 = 2;
/// First leaf of the brand string, of three.
const BRAND_LEAF: u32 = 0x8000_0002;

impl<M: Machine> Call<'_, M> {
    pub(super) fn mca(&mut self, arg: GuestHandle<Mc>) -> HypercallResult {
        if !self.domain.privileges.control {
            return Err(Errno::EPERM.into());
        }
        let machine = &self.hv.machine;
        let mut request = machine.read(arg)?;
        if request.interface_version != MCA_INTERFACE_VERSION {
            return Err(Errno::EACCES.into());
        }
        match request.cmd {
            McCmd::FETCH => self.fetch(&mut request)?,
            McCmd::PHYSCPUINFO => self.physical_cpus(&mut request)?,
            // Notifications and injection: Xen offers the first to nobody, and the others to its own tests only.
            McCmd::NOTIFYDOMAIN | McCmd::MSRINJECT | McCmd::MCEINJECT | McCmd::INJECT_V2 => {
                return Err(Errno::EOPNOTSUPP.into());
            }
            _ => return Err(Errno::EINVAL.into()),
        }
        machine.write(arg, &request)?;
        Ok(Outcome::Done(0))
    }

    fn fetch(&self, request: &mut Mc) -> Result<(), Errno> {
        let mut fetch = request.u.as_mc_fetch();
        let flags = McFetchFlags::from_bits_retain(fetch.flags);
        let urgency = match flags & (McFetchFlags::NONURGENT | McFetchFlags::URGENT) {
            McFetchFlags::NONURGENT => Urgency::Polled,
            McFetchFlags::URGENT => Urgency::Raised,
            _ => return Err(Errno::EINVAL),
        };
        let records = &self.hv.machine_checks;
        fetch.flags = McFetchStatus::OK.0;
        if flags.contains(McFetchFlags::ACK) {
            records.acknowledge(urgency, fetch.fetch_id);
        } else if fetch.data.is_null() {
            return Err(Errno::EINVAL);
        } else if let Some((id, info)) = records.fetch(urgency) {
            fetch.fetch_id = id;
            if self.hv.machine.write(fetch.data, &info).is_err() {
                records.unfetch(urgency, id);
                return Err(Errno::EFAULT);
            }
        } else {
            fetch.fetch_id = 0;
            fetch.flags = McFetchStatus::NODATA.0;
        }
        request.u = McU::from_mc_fetch(fetch);
        Ok(())
    }

    fn physical_cpus(&self, request: &mut Mc) -> Result<(), Errno> {
        let machine = &self.hv.machine;
        let mut wanted = request.u.as_mc_physcpuinfo();
        let online = machine.online();
        if wanted.info.is_null() {
            wanted.ncpus = u32::try_from(online.iter().count()).unwrap_or(u32::MAX);
        } else {
            let mut count = 0;
            for cpu in online.iter().take(wanted.ncpus as usize) {
                let info = logical_cpu(machine, cpu);
                machine.write_at(wanted.info, u64::from(count), &info)?;
                count += 1;
            }
            wanted.ncpus = count;
        }
        request.u = McU::from_mc_physcpuinfo(wanted);
        Ok(())
    }
}

/// What the driver shows of a processor. All of them are of one model.
fn logical_cpu<M: Machine>(machine: &M, cpu: CpuId) -> McinfoLogicalCpu {
    let mut info = McinfoLogicalCpu::new_zeroed();
    let base = machine.cpuid(0, 0);
    let one = machine.cpuid(1, 0);
    info.mc_cpunr = cpu.0;
    info.mc_chipid = cpu.0;
    info.mc_apicid = machine.apic_id(cpu).unwrap_or(u32::MAX);
    info.mc_ncores = 1;
    info.mc_ncores_active = 1;
    info.mc_nthreads = 1;
    info.mc_cpuid_level = base.a.cast_signed();
    (info.mc_family, info.mc_model) = family_and_model(one.a);
    info.mc_step = one.a & 0xf;
    let vendor = [base.b, base.d, base.c];
    for (to, from) in info.mc_vendorid.chunks_exact_mut(4).zip(vendor) {
        to.copy_from_slice(&from.to_le_bytes());
    }
    info.mc_vendor = match &info.mc_vendorid[..12] {
        b"GenuineIntel" => VENDOR_INTEL,
        b"AuthenticAMD" => VENDOR_AMD,
        _ => 0,
    };
    if machine.cpuid(0x8000_0000, 0).a >= BRAND_LEAF + 2 {
        for (i, to) in (0u32..).zip(info.mc_brandid.chunks_exact_mut(16).take(3)) {
            let CpuidLeaf { a, b, c, d } = machine.cpuid(BRAND_LEAF + i, 0);
            for (to, from) in to.chunks_exact_mut(4).zip([a, b, c, d]) {
                to.copy_from_slice(&from.to_le_bytes());
            }
        }
    }
    let extended = machine.cpuid(0x8000_0001, 0);
    info.mc_cpu_caps = [one.d, extended.d, 0, 0, one.c, 0, extended.c];
    info.mc_cache_size = u32::MAX;
    info.mc_cache_alignment = (one.b >> 8 & 0xff) * 8;
    info
}

/// Family and model from CPUID leaf 1 (SDM volume 2A, figure 3-6).
const fn family_and_model(signature: u32) -> (u32, u32) {
    let family = signature >> 8 & 0xf;
    let model = signature >> 4 & 0xf;
    let extended_model = (signature >> 16 & 0xf) << 4;
    match family {
        0xf => (family + (signature >> 20 & 0xff), model + extended_model),
        6 => (family, model + extended_model),
        _ => (family, model),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_beyond_15_add_up() {
        assert_eq!(family_and_model(0x0080_0f12), (0x17, 1));
        assert_eq!(family_and_model(0x0005_06e3), (6, 0x5e));
        assert_eq!(family_and_model(0x0000_0543), (5, 4));
    }
}
