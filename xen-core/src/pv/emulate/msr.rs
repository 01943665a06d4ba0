//! Model-specific registers as a guest kernel sees them.
//!
//! Contract: abi-requirements 5.3. A register without a rule is #GP, except while the guest has no #GP handler yet, or
//! with relaxed MSRs: then what the host has reads as 0. A guest's value reaches WRMSR only after it was checked, and
//! every access to a real register can fail (XSA-333).

use super::Trap;
use super::cpuid::CPUID_FAULTING;
use crate::cpu_policy::{
    CpuPolicy, Feature, HYPERCALL_PAGE_MSR, PLATFORM_INFO_CPUID_FAULTING, Vendor,
};
use crate::dom0::hypercall_page;
use crate::domain::VcpuCtx;
use crate::machine::{Machine, PvCpu, SegmentBase};
use crate::num::{Mfn, PAGE_SIZE, is_canonical};
use crate::pv::debugreg;

const TSC: u32 = 0x10;
const PLATFORM_ID: u32 = 0x17;
const APIC_BASE: u32 = 0x1b;
const FEATURE_CONTROL: u32 = 0x3a;
const PRED_CMD: u32 = 0x49;
const UCODE_REV: u32 = 0x8b;
const PLATFORM_INFO: u32 = 0xce;
const MPERF: u32 = 0xe7;
const APERF: u32 = 0xe8;
const ARCH_CAPABILITIES: u32 = 0x10a;
const MISC_FEATURES_ENABLES: u32 = 0x140;
const MCG_CAP: u32 = 0x179;
const MCG_STATUS: u32 = 0x17a;
const PERF_STATUS: u32 = 0x198;
const PERF_CTL: u32 = 0x199;
const THERM_CONTROL: u32 = 0x19a;
const THERM_STATUS: u32 = 0x19c;
const MISC_ENABLE: u32 = 0x1a0;
const ENERGY_PERF_BIAS: u32 = 0x1b0;
const PAT: u32 = 0x277;
const PERF_CAPABILITIES: u32 = 0x345;
const EFER: u32 = 0xc000_0080;
const FS_BASE: u32 = 0xc000_0100;
const GS_BASE: u32 = 0xc000_0101;
const KERNEL_GS_BASE: u32 = 0xc000_0102;
const TSC_AUX: u32 = 0xc000_0103;
const SYSCFG: u32 = 0xc001_0010;
const HWCR: u32 = 0xc001_0015;
const NB_CFG: u32 = 0xc001_001f;
const MMIO_CONF_BASE: u32 = 0xc001_0058;
const DE_CFG: u32 = 0xc001_1029;

/// The registers of two machine-check banks: four each.
const MC_BANKS: core::ops::RangeInclusive<u32> = 0x400..=0x407;
/// Banks that MCG_CAP reports.
const MC_BANK_COUNT: u64 = 2;
/// MCG_CAP of Intel: threshold-based error status and software error recovery, as Xen shows.
const MCG_CAP_INTEL: u64 = 1 << 24 | 1 << 11;
/// APIC_BASE: enabled, at the usual address.
const APIC_BASE_VALUE: u64 = 0xfee0_0800;
/// APIC_BASE: this is the boot processor.
const APIC_BASE_BSP: u64 = 0x100;
/// The page attributes that Xen programs (public contract: PAT in section 3.8).
const PAT_VALUE: u64 = 0x0000_0501_0007_0406;
/// EFER bits that a guest is shown: SCE, LME, LMA, NX, FFXSR.
const EFER_VISIBLE: u64 = 1 | 1 << 8 | 1 << 10 | 1 << 11 | 1 << 14;
/// EFER of every host that runs 64-bit code with NX.
const EFER_BASE: u64 = 1 | 1 << 8 | 1 << 10 | 1 << 11;
/// MISC_ENABLE: performance monitoring, MONITOR/MWAIT.
const MISC_ENABLE_HIDDEN: u64 = 1 << 7 | 1 << 18;
/// MISC_ENABLE: branch tracing, precise sampling and xTPR messages are not available.
const MISC_ENABLE_FORCED: u64 = 1 << 11 | 1 << 12 | 1 << 23;
/// SYSCFG bits that tell dom0 about memory above 4 GiB and MTRRs.
const SYSCFG_VISIBLE: u64 = 1 << 18 | 1 << 20 | 1 << 21 | 1 << 22;
/// DE_CFG: LFENCE is serialising.
const DE_CFG_LFENCE: u64 = 2;

/// What the rules say about a read.
enum Read {
    Value(u64),
    Fault,
    NoRule,
}

/// What the rules say about a write.
enum Write {
    Done,
    Fault,
    NoRule,
}

impl Write {
    const fn done_if(fine: bool) -> Self {
        if fine { Self::Done } else { Self::Fault }
    }
}

/// Counters and event selectors of the vendor's performance monitoring, which guests have not.
fn is_pmu(vendor: Vendor, msr: u32) -> bool {
    match vendor {
        Vendor::Intel => matches!(
            msr,
            0xc1..=0xc8 | 0x186..=0x189 | 0x309..=0x30b | 0x38d..=0x390 | 0x4c1..=0x4c8
        ),
        Vendor::Amd => matches!(msr, 0xc001_0000..=0xc001_0007 | 0xc001_0200..=0xc001_020b),
        Vendor::Other => false,
    }
}

/// P-state registers, TOP_MEM, IORR and TSEG of AMD.
const fn is_amd_memory_layout(msr: u32) -> bool {
    matches!(msr, 0xc001_0016..=0xc001_001a | 0xc001_001d | 0xc001_0112..=0xc001_0113)
}

/// MCG_CAP as a guest with this policy sees it.
#[must_use]
pub fn machine_check_capabilities(policy: &CpuPolicy) -> u64 {
    let vendor = match policy.vendor() {
        Vendor::Intel => MCG_CAP_INTEL,
        Vendor::Amd | Vendor::Other => 0,
    };
    MC_BANK_COUNT | vendor
}

fn has_tsc_aux(policy: &CpuPolicy) -> bool {
    policy.has(Feature::RDTSCP) || policy.has(Feature::RDPID)
}

/// Loads the registers of a vCPU that comes to the processor: TSC_AUX and the address masks of debug registers. `host`
/// decides, not what the guest is shown: RDTSCP and breakpoints work in ring 3 either way, and must not find what the
/// vCPU before has left.
pub fn load(cpu: &impl PvCpu, host: &CpuPolicy, ctx: &VcpuCtx) {
    if has_tsc_aux(host) {
        // Refused only by a processor without the register, where there is nothing to leak.
        let _ = cpu.write_msr(TSC_AUX, ctx.tsc_aux.into());
    }
    debugreg::load_masks(cpu, host, ctx);
}

impl<M: Machine> Trap<'_, M> {
    /// RDMSR; `None` is #GP.
    pub(super) fn read_msr(&self, msr: u32) -> Option<u64> {
        match self.read_by_rule(msr) {
            Read::Value(value) => Some(value),
            Read::Fault => None,
            Read::NoRule => {
                let lenient =
                    self.domain.cpu_policy().msr_relaxed() || self.ctx.traps[13].address == 0;
                (lenient && self.hv.machine.read_msr(msr).is_some()).then_some(0)
            }
        }
    }

    /// WRMSR; false is #GP.
    pub(super) fn write_msr(&mut self, msr: u32, value: u64) -> bool {
        match self.write_by_rule(msr, value) {
            Write::Done => true,
            Write::Fault => false,
            Write::NoRule => {
                self.domain.cpu_policy().msr_relaxed() && self.hv.machine.read_msr(msr).is_some()
            }
        }
    }

    fn efer(&self) -> u64 {
        self.hv.machine.read_msr(EFER).unwrap_or(EFER_BASE) & EFER_VISIBLE
    }

    /// MISC_ENABLE as shown, on a processor that has it.
    fn misc_enable(&self) -> Option<u64> {
        let host = self.hv.machine.read_msr(MISC_ENABLE)?;
        Some((host & !MISC_ENABLE_HIDDEN) | MISC_ENABLE_FORCED)
    }

    fn read_by_rule(&self, msr: u32) -> Read {
        let machine = &self.hv.machine;
        let policy = &*self.domain.cpu_policy();
        let vendor = policy.vendor();
        let intel = vendor == Vendor::Intel;
        let amd = vendor == Vendor::Amd;
        let or_fault = |value: Option<u64>| value.map_or(Read::Fault, Read::Value);
        let only = |condition: bool, value: u64| or_fault(condition.then_some(value));
        match msr {
            FS_BASE => Read::Value(machine.base(SegmentBase::Fs)),
            GS_BASE => Read::Value(machine.base(SegmentBase::Gs)),
            KERNEL_GS_BASE => Read::Value(machine.base(SegmentBase::InactiveGs)),
            EFER => Read::Value(self.efer()),
            APIC_BASE => Read::Value(
                APIC_BASE_VALUE
                    | if self.vcpu.id.0 == 0 {
                        APIC_BASE_BSP
                    } else {
                        0
                    },
            ),
            FEATURE_CONTROL => only(intel, 1),
            PAT => Read::Value(PAT_VALUE),
            MISC_ENABLE if intel => or_fault(self.misc_enable()),
            TSC => Read::Value(machine.tsc()),
            UCODE_REV if intel || amd => or_fault(machine.read_msr(UCODE_REV)),
            PLATFORM_ID if intel => or_fault(machine.read_msr(PLATFORM_ID)),
            PLATFORM_INFO => Read::Value(policy.platform_info()),
            MISC_FEATURES_ENABLES => Read::Value(self.ctx.misc_features_enables),
            ARCH_CAPABILITIES => only(policy.has(Feature::ARCH_CAPS), policy.arch_caps()),
            MCG_CAP => Read::Value(machine_check_capabilities(policy)),
            MCG_STATUS => Read::Value(0),
            _ if MC_BANKS.contains(&msr) => Read::Value(0),
            PERF_STATUS | PERF_CTL | THERM_STATUS => only(intel, 0),
            PERF_CAPABILITIES => Read::Value(0),
            TSC_AUX => only(has_tsc_aux(policy), self.ctx.tsc_aux.into()),
            HWCR | NB_CFG | MMIO_CONF_BASE | 0xc001_0061..=0xc001_006b => only(amd, 0),
            DE_CFG => only(amd, DE_CFG_LFENCE),
            SYSCFG if amd && self.domain.privileges.hardware => {
                or_fault(machine.read_msr(SYSCFG).map(|value| value & SYSCFG_VISIBLE))
            }
            _ if is_amd_memory_layout(msr) && amd && self.domain.privileges.hardware => {
                or_fault(machine.read_msr(msr))
            }
            SYSCFG => Read::Fault,
            _ if is_amd_memory_layout(msr) => Read::Fault,
            HYPERCALL_PAGE_MSR => Read::Value(0),
            0x4000_0001..=0x4000_02ff => Read::Fault,
            _ if is_pmu(vendor, msr) => Read::Value(0),
            _ => match debugreg::mask_index(msr) {
                Some(index) => only(policy.has(Feature::DBEXT), self.ctx.dr_masks[index].into()),
                None if is_hidden(msr) => Read::Fault,
                None => Read::NoRule,
            },
        }
    }

    fn write_by_rule(&mut self, msr: u32, value: u64) -> Write {
        let machine = &self.hv.machine;
        let policy = &*self.domain.cpu_policy();
        let vendor = policy.vendor();
        let intel = vendor == Vendor::Intel;
        let amd = vendor == Vendor::Amd;
        let base = match msr {
            FS_BASE => Some(SegmentBase::Fs),
            GS_BASE => Some(SegmentBase::Gs),
            KERNEL_GS_BASE => Some(SegmentBase::InactiveGs),
            _ => None,
        };
        if let Some(base) = base {
            // XSA-193: WRMSR with a non-canonical base would fault in the hypervisor.
            if !is_canonical(value) {
                return Write::Fault;
            }
            machine.set_base(base, value);
            return Write::Done;
        }
        match msr {
            EFER => Write::done_if(value == self.efer()),
            MISC_ENABLE if intel => Write::done_if(self.misc_enable().is_some()),
            UCODE_REV => Write::done_if((intel || amd) && value == 0),
            MISC_FEATURES_ENABLES => {
                let available = if policy.platform_info() & PLATFORM_INFO_CPUID_FAULTING != 0 {
                    CPUID_FAULTING
                } else {
                    0
                };
                if value & !available != 0 {
                    return Write::Fault;
                }
                self.ctx.misc_features_enables = value;
                Write::Done
            }
            PRED_CMD => {
                // Bit 0: indirect branch prediction barrier. The only command there is.
                let fine = policy.has(Feature::IBPB) && value & !1 == 0;
                Write::done_if(fine && (value == 0 || machine.write_msr(PRED_CMD, 1).is_ok()))
            }
            MCG_STATUS => Write::done_if(value == 0),
            // Control registers of the banks are taken and ignored; the others can only be cleared.
            _ if MC_BANKS.contains(&msr) => Write::done_if(msr & 3 == 0 || value == 0),
            PERF_CTL | THERM_CONTROL | ENERGY_PERF_BIAS => Write::done_if(intel),
            MPERF | APERF => Write::Done,
            HWCR | NB_CFG | MMIO_CONF_BASE | DE_CFG | 0xc001_0061..=0xc001_006b => {
                Write::done_if(amd)
            }
            TSC_AUX => {
                let Ok(aux) = u32::try_from(value) else {
                    return Write::Fault;
                };
                if !has_tsc_aux(policy) || machine.write_msr(TSC_AUX, value).is_err() {
                    return Write::Fault;
                }
                self.ctx.tsc_aux = aux;
                Write::Done
            }
            HYPERCALL_PAGE_MSR => Write::done_if(self.write_hypercall_page(value)),
            0x4000_0001..=0x4000_02ff => Write::Fault,
            _ if is_pmu(vendor, msr) => Write::Done,
            _ => match debugreg::mask_index(msr) {
                Some(index) => {
                    let Ok(mask) = u32::try_from(value) else {
                        return Write::Fault;
                    };
                    if !policy.has(Feature::DBEXT) {
                        return Write::Fault;
                    }
                    self.ctx.dr_masks[index] = mask;
                    debugreg::load_masks(machine, policy, self.ctx);
                    Write::Done
                }
                None if is_read_only(msr) || is_hidden(msr) => Write::Fault,
                None => Write::NoRule,
            },
        }
    }

    /// Fills the frame that `value` names with hypercall stubs. The low bits count pages, of which there is one.
    fn write_hypercall_page(&self, value: u64) -> bool {
        if !value.is_multiple_of(PAGE_SIZE) {
            return false;
        }
        let Ok(page) = self
            .hv
            .mem
            .get_writable(Mfn::from_addr(value), self.domain.id)
        else {
            return false;
        };
        self.hv
            .machine
            .write_frame(page.mfn(), 0, &hypercall_page::bytes());
        true
    }
}

/// Registers with a rule that never changes: a write is #GP.
const fn is_read_only(msr: u32) -> bool {
    matches!(
        msr,
        APIC_BASE
            | FEATURE_CONTROL
            | PAT
            | TSC
            | PLATFORM_ID
            | PLATFORM_INFO
            | ARCH_CAPABILITIES
            | MCG_CAP
            | PERF_STATUS
            | THERM_STATUS
            | PERF_CAPABILITIES
            | SYSCFG
    ) || is_amd_memory_layout(msr)
}

/// Registers that no PV guest has, whatever the host: speculation controls, TSX, MTRRs, x2APIC, deadline timer, SYSCALL
/// and SYSENTER entry points, XSS.
const fn is_hidden(msr: u32) -> bool {
    matches!(
        msr,
        0x33 | 0x3b
            | 0x48
            | 0x49
            | 0x79
            | 0xcf
            | 0x10b
            | 0x122
            | 0x174..=0x176
            | 0x200..=0x20f
            | 0x250
            | 0x258..=0x259
            | 0x268..=0x26f
            | 0x2ff
            | 0x6e0
            | 0x800..=0x8ff
            | 0xda0
            | 0xc000_0081..=0xc000_0084
            | 0xc001_011f
            | THERM_CONTROL
            | ENERGY_PERF_BIAS
            | MPERF
            | APERF
    )
}
