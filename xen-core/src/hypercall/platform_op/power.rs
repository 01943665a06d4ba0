//! XENPF_set_processor_pminfo: what ACPI's namespace, which only the control domain can read, says about idle and
//! performance states of the processors.

use alloc::vec::Vec;

use hypercall_abi::errno::Errno;
use hypercall_abi::guest_handle::GuestHandle;
use hypercall_abi::platform::{
    CpuperfSharedType, PM_CX, PM_PDC, PM_PX, PM_TX, ProcessorCx, ProcessorPerformance,
    ProcessorPower, ProcessorPx, PxFlags, SetProcessorPminfo,
};

use super::super::Call;
use crate::guest::GuestAccess;
use crate::machine::Machine;
use crate::num::CpuId;
use crate::pm::{IdleState, PerformanceState};

/// `_PDC` revision (Intel processor vendor-specific ACPI, section 3).
const PDC_REVISION: u32 = 1;
/// `_PDC` capabilities to enter C1, C2 and C3 by MWAIT.
const PDC_C_FFH: u32 = 0x300;
/// States that are kept of one processor, and looked at: more than any firmware describes.
const MAX_STATES: u32 = 32;
/// Deepest kind of idle state that ACPI knows.
const DEEPEST: u8 = 3;

impl<M: Machine> Call<'_, M> {
    pub(super) fn set_pminfo(&self, arg: SetProcessorPminfo) -> Result<(), Errno> {
        match arg.r#type {
            PM_PDC => self.processor_capabilities(arg.u.as_pdc()),
            PM_CX => self.idle_states(arg.id, arg.u.as_power()),
            PM_PX => self.performance_states(arg.id, arg.u.as_perf()),
            // start_info does not promise these to the domain.
            PM_TX => Err(Errno::ENOSYS),
            _ => Err(Errno::EINVAL),
        }
    }

    /// The processor that ACPI calls by this number.
    fn processor(&self, acpi_id: u32) -> Result<CpuId, Errno> {
        let firmware = &self.hv.firmware;
        let known = (0..self.nr_cpus()).map(CpuId).find(|&cpu| {
            let apic_id = self.hv.machine.apic_id(cpu);
            if firmware.processors.is_empty() {
                apic_id.is_some() && cpu.0 == acpi_id
            } else {
                apic_id.is_some() && apic_id == firmware.apic_id(acpi_id)
            }
        });
        known.ok_or(Errno::EINVAL)
    }

    /// What is not understood is left out, as on Xen; the others count.
    fn idle_states(&self, acpi_id: u32, power: ProcessorPower) -> Result<(), Errno> {
        let cpu = self.processor(acpi_id)?;
        let mut states = Vec::new();
        for i in 0..power.count.min(MAX_STATES) {
            let state: ProcessorCx = self.hv.machine.read_at(power.states, i.into())?;
            if (1..=DEEPEST).contains(&state.r#type) {
                states.push(IdleState {
                    kind: state.r#type,
                    latency_us: state.latency,
                    power_mw: state.power,
                    space: state.reg.space_id,
                    address: state.reg.address,
                });
            }
        }
        self.hv.power.set_idle(cpu, states);
        Ok(())
    }

    fn performance_states(&self, acpi_id: u32, perf: ProcessorPerformance) -> Result<(), Errno> {
        let cpu = self.processor(acpi_id)?;
        let flags = PxFlags::from_bits_retain(perf.flags);
        if flags.contains(PxFlags::PCT)
            && perf.control_register.space_id != perf.status_register.space_id
        {
            return Err(Errno::EINVAL);
        }
        let mut states = Vec::new();
        if flags.contains(PxFlags::PSS) {
            if perf.state_count == 0 {
                return Err(Errno::EINVAL);
            }
            for i in 0..perf.state_count.min(MAX_STATES) {
                let state: ProcessorPx = self.hv.machine.read_at(perf.states, i.into())?;
                states.push(PerformanceState {
                    mhz: state.core_frequency,
                    power_mw: state.power,
                });
            }
        }
        if flags.contains(PxFlags::PSD)
            && !matches!(
                perf.shared_type,
                CpuperfSharedType::HW | CpuperfSharedType::ALL | CpuperfSharedType::ANY
            )
        {
            return Err(Errno::EINVAL);
        }
        let limit = flags.contains(PxFlags::PPC).then_some(perf.platform_limit);
        self.hv.power.set_performance(cpu, states, limit);
        Ok(())
    }

    /// Takes out of a `_PDC` buffer what the hypervisor does not do: it idles by HLT, so no state may be described
    /// for MWAIT.
    fn processor_capabilities(&self, buffer: GuestHandle<u32>) -> Result<(), Errno> {
        let machine = &self.hv.machine;
        let [revision, words]: [u32; 2] =
            [machine.read_at(buffer, 0)?, machine.read_at(buffer, 1)?];
        if revision != PDC_REVISION || words == 0 {
            return Err(Errno::EINVAL);
        }
        let capabilities: u32 = machine.read_at(buffer, 2)?;
        machine.write_at(buffer, 2, &(capabilities & !PDC_C_FFH))
    }
}
