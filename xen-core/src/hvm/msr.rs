//! Model-specific registers that need only the vCPU's own state and its policy.
//!
//! Contract: what Xen shows HVM guests; SDM volume 4, APM volume 2 appendix A. Registers that are part of the machine
//! state (bases, SYSCALL, SYSENTER, EFER), of the clock or of the local APIC have their rules there and are answered
//! with `Elsewhere` here. A register without a rule is #GP; with relaxed MSRs what the host has reads as 0.

use alloc::vec::Vec;

use hypercall_abi::arch_x86::hvm::save::{HvmOneMsr, HvmVmceVcpu};
use hypercall_abi::errno::Errno;

use super::mtrr::{self, MemoryTypes};
use crate::cpu_policy::{CpuPolicy, Feature, PLATFORM_INFO_CPUID_FAULTING, Vendor};

const TSC: u32 = 0x10;
const PLATFORM_ID: u32 = 0x17;
const APIC_BASE: u32 = 0x1b;
const FEATURE_CONTROL: u32 = 0x3a;
const TSC_ADJUST: u32 = 0x3b;
const PRED_CMD: u32 = 0x49;
const UCODE_REV: u32 = 0x8b;
const PLATFORM_INFO: u32 = 0xce;
const ARCH_CAPABILITIES: u32 = 0x10a;
const MISC_FEATURES_ENABLES: u32 = 0x140;
const MCG_CAP: u32 = 0x179;
const MCG_STATUS: u32 = 0x17a;
const PERF_STATUS: u32 = 0x198;
const PERF_CTL: u32 = 0x199;
const THERM_STATUS: u32 = 0x19c;
const MISC_ENABLE: u32 = 0x1a0;
const DEBUGCTL: u32 = 0x1d9;
const PERF_CAPABILITIES: u32 = 0x345;
const TSC_DEADLINE: u32 = 0x6e0;
const XSS: u32 = 0xda0;
const EFER: u32 = 0xc000_0080;
const TSC_AUX: u32 = 0xc000_0103;
const SYSCFG: u32 = 0xc001_0010;
const HWCR: u32 = 0xc001_0015;
const TOP_MEM: u32 = 0xc001_001a;
const TOP_MEM2: u32 = 0xc001_001d;
const NB_CFG: u32 = 0xc001_001f;
const INT_PENDING: u32 = 0xc001_0055;
const VM_CR: u32 = 0xc001_0114;
const DR0_MASK: u32 = 0xc001_1027;
const DR1_MASK: u32 = 0xc001_1019;
const BU_CFG: u32 = 0xc001_1023;
const DE_CFG: u32 = 0xc001_1029;
const BU_CFG2: u32 = 0xc001_102a;
const EX_CFG: u32 = 0xc001_102c;

/// Registers of machine-check banks, four each.
const MC_BANKS: core::ops::RangeInclusive<u32> = 0x400..=0x407;
/// Their interrupt thresholds, on Intel.
const MC_THRESHOLDS: core::ops::RangeInclusive<u32> = 0x280..=0x281;
/// Banks that MCG_CAP reports.
const MC_BANK_COUNT: u64 = 2;
/// MCG_CAP of Intel: threshold-based error status and software error recovery.
const MCG_CAP_INTEL: u64 = 1 << 24 | 1 << 11;
/// MISC_ENABLE: branch tracing and precise sampling are not available.
const MISC_ENABLE_FORCED: u64 = 1 << 11 | 1 << 12;
/// DEBUGCTL: last branches, single-step on branches. Never branch tracing (XSA-269).
const DEBUGCTL_BITS: u64 = 3;
/// DE_CFG: LFENCE is serialising.
const DE_CFG_LFENCE: u64 = 2;
/// MISC_FEATURES_ENABLES: CPUID faulting.
const CPUID_FAULTING: u64 = 1;

/// Answer to RDMSR.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MsrRead {
    /// The value.
    Value(u64),
    /// #GP(0).
    Fault,
    /// The owner of the state has to say.
    Elsewhere,
}

/// Answer to WRMSR.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MsrWrite {
    /// Done, or dropped.
    Done,
    /// Done as far as the state goes; the processor has to know too.
    Apply(MsrChange),
    /// #GP(0), and nothing changed.
    Fault,
    /// The owner of the state has to do it.
    Elsewhere,
}

impl MsrWrite {
    const fn done_if(fine: bool) -> Self {
        if fine { Self::Done } else { Self::Fault }
    }
}

/// What the processor has to know.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MsrChange {
    /// IA32_PAT.
    Pat(u64),
    /// TSC_AUX.
    TscAux(u32),
    /// The address masks of the debug registers.
    DebugMasks,
    /// DEBUGCTL.
    DebugControl(u64),
    /// An indirect branch prediction barrier now.
    PredictionBarrier,
}

/// The registers of a vCPU.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HvmMsrs {
    /// Memory types and PAT.
    pub types: MemoryTypes,
    /// TSC_AUX.
    pub tsc_aux: u32,
    /// Address masks of the debug registers.
    pub dr_masks: [u32; 4],
    /// DEBUGCTL.
    pub debug_control: u64,
    misc_features_enables: u64,
    mc_thresholds: [u64; 2],
}

impl HvmMsrs {
    /// The registers after a reset.
    #[must_use]
    pub fn new(policy: &CpuPolicy) -> Self {
        Self {
            types: MemoryTypes::new(policy.address_bits()),
            tsc_aux: 0,
            dr_masks: [0; 4],
            debug_control: 0,
            misc_features_enables: 0,
            mc_thresholds: [0; 2],
        }
    }

    /// CPUID in user mode is #GP.
    #[must_use]
    pub const fn cpuid_faulting(&self) -> bool {
        self.misc_features_enables & CPUID_FAULTING != 0
    }

    /// RDMSR. `host` reads a register of the processor, without which some have no value.
    #[must_use]
    pub fn read(&self, policy: &CpuPolicy, msr: u32, host: impl Fn(u32) -> Option<u64>) -> MsrRead {
        if is_elsewhere(msr) {
            return MsrRead::Elsewhere;
        }
        self.read_own(policy, msr, &host)
            .map_or(MsrRead::Fault, MsrRead::Value)
    }

    fn read_own(
        &self,
        policy: &CpuPolicy,
        msr: u32,
        host: &impl Fn(u32) -> Option<u64>,
    ) -> Option<u64> {
        let vendor = policy.vendor();
        let intel = vendor == Vendor::Intel;
        let amd = vendor == Vendor::Amd;
        match msr {
            mtrr::PAT => self.types.read(msr),
            _ if MemoryTypes::is_mtrr(msr) && policy.has(Feature::MTRR) => self.types.read(msr),
            _ if MemoryTypes::is_mtrr(msr) => None,
            FEATURE_CONTROL if intel => Some(1),
            PLATFORM_ID if intel => host(msr),
            UCODE_REV if intel || amd => host(msr),
            PLATFORM_INFO => Some(policy.platform_info()),
            ARCH_CAPABILITIES if policy.has(Feature::ARCH_CAPS) => Some(policy.arch_caps()),
            MISC_FEATURES_ENABLES => Some(self.misc_features_enables),
            MCG_CAP => Some(machine_check_capabilities(vendor)),
            MCG_STATUS => Some(0),
            // Control registers of the banks show all errors enabled.
            _ if MC_BANKS.contains(&msr) => Some(if msr & 3 == 0 { u64::MAX } else { 0 }),
            0x280 | 0x281 if intel => Some(self.mc_thresholds[(msr & 1) as usize]),
            PERF_STATUS | PERF_CTL | THERM_STATUS if intel => Some(0),
            PERF_CAPABILITIES => Some(0),
            MISC_ENABLE if intel => Some(host(msr)? | MISC_ENABLE_FORCED),
            DEBUGCTL => Some(self.debug_control),
            XSS if policy.has(Feature::XSAVES) => Some(0),
            TSC_AUX if has_tsc_aux(policy) => Some(self.tsc_aux.into()),
            HWCR | NB_CFG | INT_PENDING | SYSCFG | TOP_MEM | TOP_MEM2 | VM_CR | EX_CFG if amd => {
                Some(0)
            }
            DE_CFG if amd => Some(DE_CFG_LFENCE),
            BU_CFG | BU_CFG2 if amd => host(msr),
            _ if is_pmu(vendor, msr) => Some(0),
            _ => match debug_mask(msr) {
                Some(index) if policy.has(Feature::DBEXT) => Some(self.dr_masks[index].into()),
                None if is_lenient(policy, msr) => host(msr).map(|_| 0),
                _ => None,
            },
        }
    }

    /// WRMSR. `host` as for [`read`](Self::read).
    pub fn write(
        &mut self,
        policy: &CpuPolicy,
        msr: u32,
        value: u64,
        host: impl Fn(u32) -> Option<u64>,
    ) -> MsrWrite {
        if is_elsewhere(msr) {
            return MsrWrite::Elsewhere;
        }
        let vendor = policy.vendor();
        let intel = vendor == Vendor::Intel;
        let amd = vendor == Vendor::Amd;
        match msr {
            mtrr::PAT => match self.types.write(msr, value) {
                Some(()) => MsrWrite::Apply(MsrChange::Pat(value)),
                None => MsrWrite::Fault,
            },
            _ if MemoryTypes::is_mtrr(msr) => {
                let offered = policy.has(Feature::MTRR);
                MsrWrite::done_if(offered && self.types.write(msr, value).is_some())
            }
            PRED_CMD if policy.has(Feature::IBPB) => match value {
                0 => MsrWrite::Done,
                1 => MsrWrite::Apply(MsrChange::PredictionBarrier),
                _ => MsrWrite::Fault,
            },
            UCODE_REV if intel || amd => MsrWrite::done_if(value == 0),
            MISC_FEATURES_ENABLES => MsrWrite::done_if(self.set_misc_features(policy, value)),
            MCG_STATUS => MsrWrite::done_if(value == 0),
            // Control registers of the banks are taken and ignored; the others can only be cleared.
            _ if MC_BANKS.contains(&msr) => MsrWrite::done_if(msr & 3 == 0 || value == 0),
            _ if MC_THRESHOLDS.contains(&msr) && intel => {
                self.mc_thresholds[(msr & 1) as usize] = value;
                MsrWrite::Done
            }
            PERF_CTL if intel => MsrWrite::Done,
            MISC_ENABLE if intel => {
                let shown = host(msr).map(|value| value | MISC_ENABLE_FORCED);
                MsrWrite::done_if(shown == Some(value))
            }
            DEBUGCTL if value & !DEBUGCTL_BITS != 0 => MsrWrite::Fault,
            DEBUGCTL => {
                self.debug_control = value;
                MsrWrite::Apply(MsrChange::DebugControl(value))
            }
            XSS if policy.has(Feature::XSAVES) => MsrWrite::done_if(value == 0),
            TSC_AUX => match u32::try_from(value) {
                Ok(aux) if has_tsc_aux(policy) => {
                    self.tsc_aux = aux;
                    MsrWrite::Apply(MsrChange::TscAux(aux))
                }
                _ => MsrWrite::Fault,
            },
            HWCR | NB_CFG | INT_PENDING | SYSCFG | TOP_MEM | TOP_MEM2 | VM_CR | EX_CFG | DE_CFG
                if amd =>
            {
                MsrWrite::Done
            }
            _ if is_pmu(vendor, msr) => MsrWrite::Done,
            _ => match (debug_mask(msr), u32::try_from(value)) {
                (Some(index), Ok(mask)) if policy.has(Feature::DBEXT) => {
                    self.dr_masks[index] = mask;
                    MsrWrite::Apply(MsrChange::DebugMasks)
                }
                (Some(_), _) => MsrWrite::Fault,
                (None, _) => MsrWrite::done_if(is_lenient(policy, msr) && host(msr).is_some()),
            },
        }
    }

    fn set_misc_features(&mut self, policy: &CpuPolicy, value: u64) -> bool {
        let faulting = policy.platform_info() & PLATFORM_INFO_CPUID_FAULTING != 0;
        let available = if faulting { CPUID_FAULTING } else { 0 };
        let fine = value & !available == 0;
        if fine {
            self.misc_features_enables = value;
        }
        fine
    }

    /// The entries of the record CPU_MSR: registers that have no other record and are not 0.
    #[must_use]
    pub fn saved(&self) -> Vec<HvmOneMsr> {
        let masks = (0..4).map(|index| (mask_msr(index), self.dr_masks[index].into()));
        core::iter::once((MISC_FEATURES_ENABLES, self.misc_features_enables))
            .chain(masks)
            .filter(|&(_, val)| val != 0)
            .map(|(index, val)| HvmOneMsr {
                index,
                _rsvd: 0,
                val,
            })
            .collect()
    }

    /// Takes one entry of the record CPU_MSR.
    ///
    /// # Errors
    /// `EOPNOTSUPP` reserved bits; `ENXIO` no such register in the record, or the guest cannot have the value.
    pub fn load_one(&mut self, policy: &CpuPolicy, entry: &HvmOneMsr) -> Result<(), Errno> {
        if entry._rsvd != 0 {
            return Err(Errno::EOPNOTSUPP);
        }
        let saved = entry.index == MISC_FEATURES_ENABLES
            || entry.index == XSS
            || debug_mask(entry.index).is_some();
        let taken = saved
            && !matches!(
                self.write(policy, entry.index, entry.val, |_| None),
                MsrWrite::Fault | MsrWrite::Elsewhere
            );
        if taken { Ok(()) } else { Err(Errno::ENXIO) }
    }

    /// The record VMCE_VCPU.
    #[must_use]
    pub fn save_machine_checks(&self, policy: &CpuPolicy) -> HvmVmceVcpu {
        HvmVmceVcpu {
            caps: machine_check_capabilities(policy.vendor()),
            mci_ctl2_bank0: self.mc_thresholds[0],
            mci_ctl2_bank1: self.mc_thresholds[1],
            mcg_ext_ctl: 0,
        }
    }

    /// Takes the record VMCE_VCPU.
    ///
    /// # Errors
    /// `EPERM` if it has capabilities that there are not here.
    pub fn load_machine_checks(
        &mut self,
        policy: &CpuPolicy,
        record: &HvmVmceVcpu,
    ) -> Result<(), Errno> {
        let known = machine_check_capabilities(policy.vendor());
        if record.caps & !known & !0xff != 0 || record.caps & 0xff > MC_BANK_COUNT {
            return Err(Errno::EPERM);
        }
        self.mc_thresholds = [record.mci_ctl2_bank0, record.mci_ctl2_bank1];
        Ok(())
    }
}

/// Registers of the machine state, the clock, the local APIC, and the hypercall page.
const fn is_elsewhere(msr: u32) -> bool {
    matches!(
        msr,
        TSC | APIC_BASE
            | TSC_ADJUST
            | 0x174..=0x176
            | TSC_DEADLINE
            | 0x800..=0x8ff
            | 0x4000_0000
            | EFER..=0xc000_0084
            | 0xc000_0100..=0xc000_0102
    )
}

/// MCG_CAP.
const fn machine_check_capabilities(vendor: Vendor) -> u64 {
    match vendor {
        Vendor::Intel => MC_BANK_COUNT | MCG_CAP_INTEL,
        Vendor::Amd | Vendor::Other => MC_BANK_COUNT,
    }
}

/// Counters and event selectors of the vendor's performance monitoring, which guests have not.
const fn is_pmu(vendor: Vendor, msr: u32) -> bool {
    match vendor {
        Vendor::Intel => matches!(
            msr,
            0xc1..=0xc8 | 0x186..=0x189 | 0x309..=0x30b | 0x38d..=0x390 | 0x4c1..=0x4c8
        ),
        Vendor::Amd => matches!(msr, 0xc001_0000..=0xc001_0007 | 0xc001_0200..=0xc001_020b),
        Vendor::Other => false,
    }
}

fn has_tsc_aux(policy: &CpuPolicy) -> bool {
    policy.has(Feature::RDTSCP) || policy.has(Feature::RDPID)
}

/// Whether a register without a rule of its own is answered out of leniency. Those of the hypervisor are not.
const fn is_lenient(policy: &CpuPolicy, msr: u32) -> bool {
    policy.msr_relaxed() && !matches!(msr, 0x4000_0000..=0x4000_02ff | PRED_CMD)
}

const fn debug_mask(msr: u32) -> Option<usize> {
    match msr {
        DR0_MASK => Some(0),
        DR1_MASK..=0xc001_101b => Some((msr - DR1_MASK) as usize + 1),
        _ => None,
    }
}

const fn mask_msr(index: usize) -> u32 {
    match index {
        0 => DR0_MASK,
        _ => DR1_MASK + index as u32 - 1,
    }
}

#[cfg(test)]
mod tests;
