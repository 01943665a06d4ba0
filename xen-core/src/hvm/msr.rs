//! Model-specific registers of a guest that runs in hardware.
//!
//! Contract: abi-hvm 7.9. A register without a rule is #GP, or with relaxed MSRs 0 and nothing.

use super::control::{self, Gp};
use super::emulate::Exit;
use super::exits::is_kernel;
use super::lapic::Effect;
use super::mtrr::MemoryTypes;
use crate::cpu_policy::{Feature, HYPERCALL_PAGE_MSR, PLATFORM_INFO_CPUID_FAULTING, Vendor};
use crate::dom0::hypercall_page;
use crate::machine::Machine;
use crate::num::{PAGE_SIZE, Pfn, is_canonical};

const TSC: u32 = 0x10;
const PLATFORM_ID: u32 = 0x17;
const APIC_BASE: u32 = 0x1b;
const FEATURE_CONTROL: u32 = 0x3a;
const TSC_ADJUST: u32 = 0x3b;
const UCODE_WRITE: u32 = 0x79;
const UCODE_REV: u32 = 0x8b;
const PLATFORM_INFO: u32 = 0xce;
const MISC_FEATURES_ENABLES: u32 = 0x140;
const SYSENTER_CS: u32 = 0x174;
const SYSENTER_ESP: u32 = 0x175;
const SYSENTER_EIP: u32 = 0x176;
const MCG_CAP: u32 = 0x179;
const MCG_STATUS: u32 = 0x17a;
const PERF_STATUS: u32 = 0x198;
const THERM_STATUS: u32 = 0x19c;
const MISC_ENABLE: u32 = 0x1a0;
const DEBUGCTL: u32 = 0x1d9;
const PAT: u32 = 0x277;
const TSC_DEADLINE: u32 = 0x6e0;
const EFER: u32 = 0xc000_0080;
const STAR: u32 = 0xc000_0081;
const LSTAR: u32 = 0xc000_0082;
const CSTAR: u32 = 0xc000_0083;
const SFMASK: u32 = 0xc000_0084;
const FS_BASE: u32 = 0xc000_0100;
const GS_BASE: u32 = 0xc000_0101;
const KERNEL_GS_BASE: u32 = 0xc000_0102;
const TSC_AUX: u32 = 0xc000_0103;
const SYSCFG: u32 = 0xc001_0010;
const HWCR: u32 = 0xc001_0015;
const TOP_MEM: u32 = 0xc001_001a;
const TOP_MEM2: u32 = 0xc001_001d;
const NB_CFG: u32 = 0xc001_001f;
const K8_ENABLE_C1E: u32 = 0xc001_0055;
const VM_CR: u32 = 0xc001_0114;
const DE_CFG: u32 = 0xc001_1029;
const EX_CFG: u32 = 0xc001_102c;

/// The registers of two machine-check banks: four each.
const MC_BANKS: core::ops::RangeInclusive<u32> = 0x400..=0x407;
/// MISC_ENABLE: branch tracing and precise sampling are not available.
const MISC_ENABLE_FORCED: u64 = 1 << 11 | 1 << 12;
/// DE_CFG: LFENCE is serialising.
const DE_CFG_LFENCE: u64 = 2;
/// DEBUGCTL: LBR and BTF.
const DEBUGCTL_KNOWN: u64 = 3;
/// Bits of an address that are the index of a hypercall page: there is one.
const PAGE_MASK: u64 = PAGE_SIZE - 1;

impl<M: Machine> Exit<'_, M> {
    /// RDMSR.
    pub(super) fn read_msr(&mut self) {
        let index = self.regs.rcx as u32;
        let value = if is_kernel(&self.hvm.state) {
            self.msr_value(index).or_else(|| {
                (self.policy.msr_relaxed() && self.hv.machine.read_msr(index).is_some())
                    .then_some(0)
            })
        } else {
            None
        };
        let Some(value) = value else {
            self.general_protection();
            return;
        };
        if self.step_over() {
            self.regs.rax = value & 0xffff_ffff;
            self.regs.rdx = value >> 32;
        }
    }

    /// WRMSR.
    pub(super) fn write_msr(&mut self) {
        let index = self.regs.rcx as u32;
        let value = self.regs.rdx << 32 | self.regs.rax & 0xffff_ffff;
        let mut result = if is_kernel(&self.hvm.state) {
            self.set_msr(index, value)
        } else {
            Err(Gp)
        };
        if result.is_err()
            && self.policy.msr_relaxed()
            && self.hv.machine.read_msr(index).is_some()
            && self.msr_value(index).is_none()
        {
            result = Ok(());
        }
        match result {
            Ok(()) => {
                self.step_over();
            }
            Err(Gp) => self.general_protection(),
        }
    }

    fn is_intel(&self) -> bool {
        self.policy.vendor() == Vendor::Intel
    }

    fn is_amd(&self) -> bool {
        self.policy.vendor() == Vendor::Amd
    }

    fn msr_value(&mut self, index: u32) -> Option<u64> {
        let state = &self.hvm.state;
        let machine = &self.hv.machine;
        Some(match index {
            TSC => machine.tsc().wrapping_add(state.tsc_offset),
            TSC_ADJUST => self.hvm.tsc_adjust,
            APIC_BASE => self.hvm.lapic.apic_base(),
            PLATFORM_ID if self.is_intel() => 0,
            FEATURE_CONTROL if self.is_intel() => 1,
            UCODE_REV => machine.read_msr(index)?,
            PLATFORM_INFO if self.policy.platform_info() != 0 => self.policy.platform_info(),
            MISC_FEATURES_ENABLES
                if self.policy.platform_info() & PLATFORM_INFO_CPUID_FAULTING != 0 =>
            {
                self.hvm.misc_features
            }
            SYSENTER_CS => state.sysenter_cs,
            SYSENTER_ESP => state.sysenter_esp,
            SYSENTER_EIP => state.sysenter_eip,
            MCG_CAP => crate::pv::emulate::msr::machine_check_capabilities(self.policy),
            MCG_STATUS => 0,
            _ if MC_BANKS.contains(&index) => 0,
            PERF_STATUS | THERM_STATUS if self.is_intel() => 0,
            MISC_ENABLE if self.is_intel() => machine.read_msr(index)? | MISC_ENABLE_FORCED,
            DEBUGCTL => 0,
            _ if MemoryTypes::is_mtrr(index) || index == PAT => self.hvm.mtrr.read(index)?,
            TSC_DEADLINE if self.policy.has(Feature::TSC_DEADLINE) => self.hvm.lapic.tsc_deadline(),
            0x800..=0x8ff => return self.hvm.lapic.read_msr(index, machine.now_ns()),
            HYPERCALL_PAGE_MSR => 0,
            EFER => state.efer,
            STAR => state.star,
            LSTAR => state.lstar,
            CSTAR => state.cstar,
            SFMASK => state.sfmask,
            FS_BASE => state.fs.base,
            GS_BASE => state.gs.base,
            KERNEL_GS_BASE => state.kernel_gs_base,
            TSC_AUX if self.policy.has(Feature::RDTSCP) => u64::from(*self.tsc_aux),
            SYSCFG | TOP_MEM | TOP_MEM2 | VM_CR | EX_CFG | HWCR | NB_CFG | K8_ENABLE_C1E
                if self.is_amd() =>
            {
                0
            }
            DE_CFG if self.is_amd() => DE_CFG_LFENCE,
            // Counters that nobody counts with: AMD's, which Linux looks for unasked.
            0xc001_0000..=0xc001_0007 | 0xc001_0200..=0xc001_020b if self.is_amd() => 0,
            _ => return None,
        })
    }

    fn set_msr(&mut self, index: u32, value: u64) -> Result<(), Gp> {
        let canonical = |value| {
            if is_canonical(value) {
                Ok(value)
            } else {
                Err(Gp)
            }
        };
        match index {
            TSC => {
                let now = self.hv.machine.tsc();
                let old = self.hvm.state.tsc_offset;
                self.set_tsc_offset(value.wrapping_sub(now));
                let change = self.hvm.state.tsc_offset.wrapping_sub(old);
                self.hvm.tsc_adjust = self.hvm.tsc_adjust.wrapping_add(change);
            }
            TSC_ADJUST => {
                let change = value.wrapping_sub(self.hvm.tsc_adjust);
                let offset = self.hvm.state.tsc_offset.wrapping_add(change);
                self.set_tsc_offset(offset);
                self.hvm.tsc_adjust = value;
            }
            APIC_BASE => {
                let offered = self.policy.has(Feature::X2APIC);
                self.hvm.lapic.set_apic_base(value, offered).ok_or(Gp)?;
                self.hv.publish_lapic(self.vcpu, self.hvm);
            }
            UCODE_WRITE | UCODE_REV => {}
            MISC_FEATURES_ENABLES
                if self.policy.platform_info() & PLATFORM_INFO_CPUID_FAULTING != 0
                    && value & !1 == 0 =>
            {
                self.hvm.misc_features = value;
            }
            SYSENTER_CS => self.hvm.state.sysenter_cs = value & 0xffff_ffff,
            SYSENTER_ESP => self.hvm.state.sysenter_esp = canonical(value)?,
            SYSENTER_EIP => self.hvm.state.sysenter_eip = canonical(value)?,
            MCG_STATUS => {}
            _ if MC_BANKS.contains(&index) => {}
            MISC_ENABLE if self.is_intel() => {
                if self.msr_value(index) != Some(value) {
                    return Err(Gp);
                }
            }
            DEBUGCTL if value & !DEBUGCTL_KNOWN == 0 => {}
            _ if MemoryTypes::is_mtrr(index) || index == PAT => {
                self.hvm.mtrr.write(index, value).ok_or(Gp)?;
                self.hvm.state.pat = self.hvm.mtrr.pat();
            }
            TSC_DEADLINE if self.policy.has(Feature::TSC_DEADLINE) => {
                self.hvm.lapic.set_tsc_deadline(value);
                self.hv.publish_lapic(self.vcpu, self.hvm);
            }
            0x800..=0x8ff => {
                let now = self.hv.machine.now_ns();
                let effect = self.hvm.lapic.write_msr(index, value, now).ok_or(Gp)?;
                self.lapic_effect(effect);
            }
            HYPERCALL_PAGE_MSR => self.write_hypercall_page(value)?,
            EFER => {
                self.control(|regs, limits| control::write_efer(regs, limits, value))?;
            }
            STAR => self.hvm.state.star = value,
            LSTAR => self.hvm.state.lstar = canonical(value)?,
            CSTAR => self.hvm.state.cstar = canonical(value)?,
            SFMASK => self.hvm.state.sfmask = value & 0xffff_ffff,
            FS_BASE => self.hvm.state.fs.base = canonical(value)?,
            GS_BASE => self.hvm.state.gs.base = canonical(value)?,
            KERNEL_GS_BASE => self.hvm.state.kernel_gs_base = canonical(value)?,
            TSC_AUX if self.policy.has(Feature::RDTSCP) => {
                *self.tsc_aux = u32::try_from(value).map_err(|_| Gp)?;
                let _ = self.hv.machine.write_msr(TSC_AUX, value);
            }
            SYSCFG | EX_CFG | HWCR | NB_CFG | K8_ENABLE_C1E | DE_CFG if self.is_amd() => {}
            0xc001_0000..=0xc001_0007 | 0xc001_0200..=0xc001_020b if self.is_amd() => {}
            _ => return Err(Gp),
        }
        Ok(())
    }

    /// What is added to the counter changes; the guest's time is published anew, since it is computed from the counter.
    fn set_tsc_offset(&mut self, offset: u64) {
        self.hvm.state.tsc_offset = offset;
        if let Some(mailbox) = self.vcpu.hvm.as_deref() {
            mailbox
                .tsc_offset
                .store(offset, core::sync::atomic::Ordering::SeqCst);
        }
        self.hv.publish_time(self.vcpu);
    }

    /// Does what a write to the local APIC asks for.
    pub(super) fn lapic_effect(&mut self, effect: Effect) {
        match effect {
            Effect::None => {}
            // Only an I/O APIC would want to know.
            Effect::Eoi { .. } => {}
            Effect::Ipi(ipi) => self.hv.send_ipi(self.domain, self.vcpu, &ipi),
            Effect::Timer | Effect::Identity => self.hv.publish_lapic(self.vcpu, self.hvm),
            Effect::Enabled => {
                self.hv.publish_lapic(self.vcpu, self.hvm);
                self.renew_upcall();
            }
        }
    }

    /// Events that became pending while the local APIC took no interrupts are told now.
    fn renew_upcall(&mut self) {
        let pending = self
            .vcpu
            .info()
            .is_some_and(|info| info.upcall_pending(&self.hv.machine));
        if pending && let Some(mailbox) = self.vcpu.hvm.as_deref() {
            mailbox
                .upcall
                .store(true, core::sync::atomic::Ordering::SeqCst);
        }
    }

    /// Fills a page of the guest's with code that makes hypercalls.
    fn write_hypercall_page(&mut self, value: u64) -> Result<(), Gp> {
        if value & PAGE_MASK != 0 {
            return Err(Gp);
        }
        let hvm_domain = self.domain.hvm.as_ref().ok_or(Gp)?;
        let machine = &self.hv.machine;
        let mapped = hvm_domain
            .p2m
            .get(machine, Pfn(value >> 12))
            .filter(|mapped| mapped.kind.is_writable())
            .ok_or(Gp)?;
        let code = hypercall_page::for_hardware(!self.is_amd());
        machine.write_frame(mapped.mfn, 0, &code);
        hvm_domain.wide_shared_info.store(
            self.hvm.state.is_64bit(),
            core::sync::atomic::Ordering::SeqCst,
        );
        Ok(())
    }
}
