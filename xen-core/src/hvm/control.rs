//! What a guest may write to CR0, CR3, CR4, EFER and XCR0, and what follows from it.
//!
//! Contract: SDM volume 3, 2.5 and 2.6, 4.1 and 11.8.5 (paging and IA-32e mode), volume 1, 13.3 (XCR0); APM volume 2, 3.1.

use bitflags::bitflags;

use crate::cpu_policy::{CpuPolicy, Feature};

/// CR0.PE: protected mode.
pub const CR0_PE: u64 = 1 << 0;
/// CR0.TS: the FPU belongs to another task.
pub const CR0_TS: u64 = 1 << 3;
/// CR0.ET: always set.
pub const CR0_ET: u64 = 1 << 4;
/// CR0.NW: not write-through.
pub const CR0_NW: u64 = 1 << 29;
/// CR0.CD: caches off.
pub const CR0_CD: u64 = 1 << 30;
/// CR0.PG: paging.
pub const CR0_PG: u64 = 1 << 31;
/// The bits of CR0 that exist: PE MP EM TS ET NE WP AM NW CD PG.
pub const CR0_BITS: u64 = 0xe005_003f;
/// PE, MP, EM and TS: what LMSW loads.
const LMSW_BITS: u64 = 0xf;

/// CR4.PSE: 4-MiB pages.
pub const CR4_PSE: u64 = 1 << 4;
/// CR4.PAE: 64-bit entries.
pub const CR4_PAE: u64 = 1 << 5;
/// CR4.PGE: global pages.
pub const CR4_PGE: u64 = 1 << 7;
/// CR4.PCIDE: process contexts.
pub const CR4_PCIDE: u64 = 1 << 17;
/// CR4.OSXSAVE: XSAVE is in use.
pub const CR4_OSXSAVE: u64 = 1 << 18;
/// CR4.SMEP: user pages are not executed.
pub const CR4_SMEP: u64 = 1 << 20;
/// CR4.PKE: protection keys.
pub const CR4_PKE: u64 = 1 << 22;
/// Bits whose change makes cached translations wrong.
const CR4_FLUSHING: u64 = CR4_PSE | CR4_PAE | CR4_PGE | CR4_SMEP;

/// EFER.SCE: SYSCALL.
pub const EFER_SCE: u64 = 1 << 0;
/// EFER.LME: IA-32e mode as soon as there is paging.
pub const EFER_LME: u64 = 1 << 8;
/// EFER.LMA: IA-32e mode.
pub const EFER_LMA: u64 = 1 << 10;
/// EFER.NXE: no-execute.
pub const EFER_NXE: u64 = 1 << 11;
/// EFER.FFXSR: fast FXSAVE.
pub const EFER_FFXSR: u64 = 1 << 14;

/// CR3: low bits that name the process context.
const CR3_PCID: u64 = 0xfff;
/// CR3: keep the translations of the context that is loaded.
const CR3_NO_FLUSH: u64 = 1 << 63;

const XCR0_X87: u64 = 1 << 0;
const XCR0_SSE: u64 = 1 << 1;
const XCR0_AVX: u64 = 1 << 2;
const XCR0_BOUNDS: u64 = 3 << 3;
const XCR0_AVX512: u64 = 7 << 5;
const XCR0_TILES: u64 = 3 << 17;

/// The write is #GP(0), and nothing changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Gp;

bitflags! {
    /// What follows from a write.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct Effects: u32 {
        /// Cached translations of the vCPU are wrong.
        const FLUSH_TLB = 1 << 0;
        /// How addresses are translated changed: paging, its mode, or where its tables are.
        const PAGING = 1 << 1;
        /// IA-32e mode was entered or left.
        const LONG_MODE = 1 << 2;
        /// The cached CS.L, meaningless so far, has to be cleared before it has a meaning.
        const CLEAR_CS_L = 1 << 3;
        /// CPUID shows something else: OSXSAVE or OSPKE.
        const CPUID = 1 << 4;
    }
}

/// The registers as the guest sees them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ControlRegs {
    /// CR0.
    pub cr0: u64,
    /// CR3.
    pub cr3: u64,
    /// CR4.
    pub cr4: u64,
    /// EFER.
    pub efer: u64,
    /// The L bit of the cached CS.
    pub cs_l: bool,
}

/// What a guest's policy lets it set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ControlLimits {
    /// Bits of CR4.
    pub cr4: u64,
    /// Bits of EFER that it writes.
    pub efer: u64,
    /// Bits of XCR0.
    pub xcr0: u64,
    /// Bits of a physical address.
    pub address_bits: u32,
}

impl ControlLimits {
    /// The limits of `policy`.
    #[must_use]
    pub fn of(policy: &CpuPolicy) -> Self {
        let features = policy.feature_set();
        let sum = |bits: &[(Feature, u64)]| {
            let offered = bits.iter().filter(|&&(feature, _)| features.has(feature));
            offered.fold(0, |sum, &(_, bit)| sum | bit)
        };
        // CR4.PCE needs no feature.
        let cr4 = 1 << 8
            | sum(&[
                // VME and PVI.
                (Feature::VME, 3),
                (Feature::TSC, 1 << 2),
                (Feature::DE, 1 << 3),
                (Feature::PSE, CR4_PSE),
                (Feature::PAE, CR4_PAE),
                (Feature::MCE, 1 << 6),
                (Feature::PGE, CR4_PGE),
                (Feature::FXSR, 1 << 9),
                (Feature::SSE, 1 << 10),
                (Feature::UMIP, 1 << 11),
                (Feature::FSGSBASE, 1 << 16),
                (Feature::PCID, CR4_PCIDE),
                (Feature::XSAVE, CR4_OSXSAVE),
                (Feature::SMEP, CR4_SMEP),
                (Feature::SMAP, 1 << 21),
                (Feature::PKU, CR4_PKE),
            ]);
        let efer = sum(&[
            (Feature::SYSCALL, EFER_SCE),
            (Feature::LM, EFER_LME),
            (Feature::NX, EFER_NXE),
            (Feature::FFXSR, EFER_FFXSR),
        ]);
        Self {
            cr4,
            efer,
            xcr0: policy.xcr0_mask(),
            address_bits: policy.address_bits(),
        }
    }
}

impl ControlRegs {
    /// In IA-32e mode.
    #[must_use]
    pub const fn long_mode(&self) -> bool {
        self.efer & EFER_LMA != 0
    }

    /// Whether the registers can stand together, for a state that comes from outside.
    #[must_use]
    pub fn is_valid(&self, limits: &ControlLimits) -> bool {
        let on = |register: u64, bits: u64| register & bits != 0;
        let paging = on(self.cr0, CR0_PG);
        let long = paging && on(self.efer, EFER_LME);
        self.cr0 & !CR0_BITS == 0
            && on(self.cr0, CR0_ET)
            && (on(self.cr0, CR0_PE) || !paging)
            && (on(self.cr0, CR0_CD) || !on(self.cr0, CR0_NW))
            && self.cr4 & !limits.cr4 == 0
            && self.efer & !(limits.efer | EFER_LMA) == 0
            && on(self.efer, EFER_LMA) == long
            && (on(self.cr4, CR4_PAE) || !long)
            && (long || !on(self.cr4, CR4_PCIDE))
            && self.cr3.checked_shr(limits.address_bits).unwrap_or(0) == 0
    }
}

/// MOV to CR0.
///
/// # Errors
/// #GP.
pub fn write_cr0(regs: &mut ControlRegs, value: u64) -> Result<Effects, Gp> {
    if value >> 32 != 0 {
        return Err(Gp);
    }
    let value = (value & CR0_BITS) | CR0_ET;
    let on = |bit| value & bit != 0;
    if (on(CR0_PG) && !on(CR0_PE)) || (on(CR0_NW) && !on(CR0_CD)) {
        return Err(Gp);
    }
    let mut effects = Effects::empty();
    let changed = regs.cr0 ^ value;
    if changed & CR0_PG != 0 {
        effects |= Effects::FLUSH_TLB | Effects::PAGING;
        if on(CR0_PG) {
            if regs.efer & EFER_LME != 0 {
                if regs.cr4 & CR4_PAE == 0 || regs.cs_l {
                    return Err(Gp);
                }
                regs.efer |= EFER_LMA;
                effects |= Effects::LONG_MODE;
            }
        } else {
            if regs.cr4 & CR4_PCIDE != 0 || (regs.long_mode() && regs.cs_l) {
                return Err(Gp);
            }
            if regs.long_mode() {
                regs.efer &= !EFER_LMA;
                effects |= Effects::LONG_MODE;
            }
        }
    }
    regs.cr0 = value;
    Ok(effects)
}

/// CLTS.
pub const fn clear_task_switched(regs: &mut ControlRegs) {
    regs.cr0 &= !CR0_TS;
}

/// LMSW: loads four bits, but does not clear PE.
///
/// # Errors
/// #GP, which no state that a guest can be in gives.
pub fn load_machine_status(regs: &mut ControlRegs, value: u16) -> Result<Effects, Gp> {
    let loaded = u64::from(value) & LMSW_BITS;
    let kept = regs.cr0 & !(LMSW_BITS & !CR0_PE);
    write_cr0(regs, kept | loaded)
}

/// MOV to CR3.
///
/// # Errors
/// #GP.
pub fn write_cr3(
    regs: &mut ControlRegs,
    limits: &ControlLimits,
    value: u64,
) -> Result<Effects, Gp> {
    let contexts = regs.cr4 & CR4_PCIDE != 0;
    let keep = contexts && value & CR3_NO_FLUSH != 0;
    let value = if keep { value & !CR3_NO_FLUSH } else { value };
    if regs.long_mode() && value.checked_shr(limits.address_bits).unwrap_or(0) != 0 {
        return Err(Gp);
    }
    regs.cr3 = value;
    Ok(if keep {
        Effects::PAGING
    } else {
        Effects::PAGING | Effects::FLUSH_TLB
    })
}

/// MOV to CR4.
///
/// # Errors
/// #GP.
pub fn write_cr4(
    regs: &mut ControlRegs,
    limits: &ControlLimits,
    value: u64,
) -> Result<Effects, Gp> {
    let changed = regs.cr4 ^ value;
    let set = value & changed;
    if value & !limits.cr4 != 0 || (regs.long_mode() && value & CR4_PAE == 0) {
        return Err(Gp);
    }
    if set & CR4_PCIDE != 0 && (!regs.long_mode() || regs.cr3 & CR3_PCID != 0) {
        return Err(Gp);
    }
    let mut effects = Effects::empty();
    let clears_contexts = changed & CR4_PCIDE != 0 && set & CR4_PCIDE == 0;
    if changed & CR4_FLUSHING != 0 || clears_contexts {
        effects |= Effects::FLUSH_TLB;
    }
    if changed & (CR4_PAE | CR4_PSE) != 0 && regs.cr0 & CR0_PG != 0 {
        effects |= Effects::PAGING;
    }
    if changed & (CR4_OSXSAVE | CR4_PKE) != 0 {
        effects |= Effects::CPUID;
    }
    regs.cr4 = value;
    Ok(effects)
}

/// WRMSR to EFER; LMA is ignored.
///
/// # Errors
/// #GP.
pub fn write_efer(
    regs: &mut ControlRegs,
    limits: &ControlLimits,
    value: u64,
) -> Result<Effects, Gp> {
    let value = value & !EFER_LMA;
    if value & !limits.efer != 0 {
        return Err(Gp);
    }
    let changed = (regs.efer ^ value) & !EFER_LMA;
    if changed & EFER_LME != 0 && regs.cr0 & CR0_PG != 0 {
        return Err(Gp);
    }
    let mut effects = Effects::empty();
    if changed & EFER_NXE != 0 {
        effects |= Effects::FLUSH_TLB | Effects::PAGING;
    }
    if changed & value & EFER_LME != 0 && regs.cs_l {
        regs.cs_l = false;
        effects |= Effects::CLEAR_CS_L;
    }
    regs.efer = value | (regs.efer & EFER_LMA);
    Ok(effects)
}

/// XSETBV with ECX = `index`: the value of XCR0 to load.
///
/// # Errors
/// #GP: not in ring 0, no such register, or a set of components that cannot be.
pub const fn write_xcr(limits: &ControlLimits, cpl: u8, index: u32, value: u64) -> Result<u64, Gp> {
    if cpl != 0 || index != 0 || value & !limits.xcr0 != 0 || !is_valid_xcr0(value) {
        return Err(Gp);
    }
    Ok(value)
}

/// Whether the components can be enabled together.
#[must_use]
pub const fn is_valid_xcr0(value: u64) -> bool {
    const fn all_or_none(value: u64, bits: u64) -> bool {
        value & bits == 0 || value & bits == bits
    }
    value & XCR0_X87 != 0
        && (value & XCR0_AVX == 0 || value & XCR0_SSE != 0)
        && (value & XCR0_AVX512 == 0 || value & XCR0_AVX != 0)
        && all_or_none(value, XCR0_BOUNDS)
        && all_or_none(value, XCR0_AVX512)
        && all_or_none(value, XCR0_TILES)
}

#[cfg(test)]
mod tests;
