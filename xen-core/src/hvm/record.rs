//! The state of a vCPU as records of a saved domain (public header arch-x86/hvm/save.h).

use hypercall_abi::arch_x86::CpuUserRegs;
use hypercall_abi::arch_x86::hvm::save::{HvmHwCpu, HvmHwCpuFlags};
use hypercall_abi::errno::Errno;
use zerocopy::FromZeros;

use super::control::{ControlLimits, ControlRegs};
use super::vcpu::HvmVcpu;
use crate::cpu_policy::CpuPolicy;
use crate::domain::VcpuCtx;
use crate::machine::{EventKind, HvmEvent, HvmState, Segment, TableRegister};
use crate::pv::fpu;

/// Valid bit of `pending_event`.
const PENDING: u32 = 1 << 31;
/// `pending_event`: there is an error code.
const HAS_ERROR: u32 = 1 << 11;
/// First bit of the type in `pending_event`.
const TYPE_SHIFT: u32 = 8;
/// RFLAGS bit that is always one.
const RFLAGS_ONE: u64 = 2;
/// RFLAGS bits that exist.
const RFLAGS_KNOWN: u64 = 0x3f_7fd5;

/// Attributes as records have them. Others have written them as VT-x has them, with the upper four bits moved up.
fn attributes(bytes: u32) -> u16 {
    let folded = if bytes & 0xf000 != 0 && bytes & 0xf00 == 0 {
        bytes & 0xff | bytes >> 4 & 0xf00
    } else {
        bytes & 0xfff
    };
    folded as u16
}

/// The CPU record of a vCPU at rest.
#[must_use]
pub fn save_cpu(ctx: &VcpuCtx, hvm: &HvmVcpu, tsc: u64) -> HvmHwCpu {
    let mut out = HvmHwCpu::new_zeroed();
    let (r, s) = (&ctx.regs, &hvm.state);
    out.fpu_regs = fpu::fxsave_image(ctx);
    out.flags = HvmHwCpuFlags::FPU_INITIALISED.bits();
    (out.rax, out.rbx, out.rcx, out.rdx) = (r.rax, r.rbx, r.rcx, r.rdx);
    (out.rbp, out.rsi, out.rdi, out.rsp) = (r.rbp, r.rsi, r.rdi, r.rsp);
    (out.r8, out.r9, out.r10, out.r11) = (r.r8, r.r9, r.r10, r.r11);
    (out.r12, out.r13, out.r14, out.r15) = (r.r12, r.r13, r.r14, r.r15);
    (out.rip, out.rflags) = (r.rip, r.rflags);
    (out.cr0, out.cr2, out.cr3, out.cr4) = (s.cr0, s.cr2, s.cr3, s.cr4);
    [out.dr0, out.dr1, out.dr2, out.dr3] = s.debug_addresses;
    (out.dr6, out.dr7) = (s.dr6, s.dr7);
    macro_rules! segments {
        ($($name:ident: $sel:ident, $limit:ident, $base:ident, $bytes:ident;)*) => {$(
            out.$sel = s.$name.selector.into();
            out.$limit = s.$name.limit;
            out.$base = s.$name.base;
            out.$bytes = s.$name.attributes.into();
        )*};
    }
    segments! {
        cs: cs_sel, cs_limit, cs_base, cs_arbytes;
        ds: ds_sel, ds_limit, ds_base, ds_arbytes;
        es: es_sel, es_limit, es_base, es_arbytes;
        fs: fs_sel, fs_limit, fs_base, fs_arbytes;
        gs: gs_sel, gs_limit, gs_base, gs_arbytes;
        ss: ss_sel, ss_limit, ss_base, ss_arbytes;
        tr: tr_sel, tr_limit, tr_base, tr_arbytes;
        ldtr: ldtr_sel, ldtr_limit, ldtr_base, ldtr_arbytes;
    }
    (out.gdtr_base, out.gdtr_limit) = (s.gdtr.base, s.gdtr.limit);
    (out.idtr_base, out.idtr_limit) = (s.idtr.base, s.idtr.limit);
    (out.sysenter_cs, out.sysenter_esp) = (s.sysenter_cs, s.sysenter_esp);
    out.sysenter_eip = s.sysenter_eip;
    out.shadow_gs = s.kernel_gs_base;
    (out.msr_star, out.msr_lstar, out.msr_cstar) = (s.star, s.lstar, s.cstar);
    (out.msr_syscall_mask, out.msr_efer) = (s.sfmask, s.efer);
    out.msr_tsc_aux = ctx.tsc_aux.into();
    out.tsc = tsc.wrapping_add(s.tsc_offset);
    // An interrupt is not lost without this: it is requested still, or again.
    if let Some(event) = hvm.event.filter(|event| event.kind != EventKind::Interrupt) {
        let kind = match event.kind {
            EventKind::Nmi => 2,
            EventKind::Exception => 3,
            _ => 0,
        };
        out.pending_event = PENDING | kind << TYPE_SHIFT | u32::from(event.vector);
        if let Some(code) = event.error_code {
            out.pending_event |= HAS_ERROR;
            out.error_code = code;
        }
    }
    out
}

/// Takes a CPU record over.
///
/// # Errors
/// `EINVAL` for values that no processor of the domain can have.
pub fn load_cpu(
    ctx: &mut VcpuCtx,
    hvm: &mut HvmVcpu,
    policy: &CpuPolicy,
    record: &HvmHwCpu,
    tsc: u64,
) -> Result<(), Errno> {
    let regs = ControlRegs {
        cr0: record.cr0,
        cr3: record.cr3,
        cr4: record.cr4,
        efer: record.msr_efer,
        cs_l: false,
    };
    let known = HvmHwCpuFlags::FPU_INITIALISED.bits();
    if !regs.is_valid(&ControlLimits::of(policy)) || record.flags & !known != 0 || record.pad0 != 0
    {
        return Err(Errno::EINVAL);
    }
    let tsc_aux = u32::try_from(record.msr_tsc_aux).map_err(|_| Errno::EINVAL)?;
    let r = &mut ctx.regs;
    *r = CpuUserRegs::new_zeroed();
    (r.rax, r.rbx, r.rcx, r.rdx) = (record.rax, record.rbx, record.rcx, record.rdx);
    (r.rbp, r.rsi, r.rdi, r.rsp) = (record.rbp, record.rsi, record.rdi, record.rsp);
    (r.r8, r.r9, r.r10, r.r11) = (record.r8, record.r9, record.r10, record.r11);
    (r.r12, r.r13, r.r14, r.r15) = (record.r12, record.r13, record.r14, record.r15);
    r.rip = record.rip;
    r.rflags = record.rflags & RFLAGS_KNOWN | RFLAGS_ONE;
    let pat = hvm.state.pat;
    let mut s = HvmState {
        cr0: record.cr0,
        cr2: record.cr2,
        cr3: record.cr3,
        cr4: record.cr4,
        efer: record.msr_efer,
        debug_addresses: [record.dr0, record.dr1, record.dr2, record.dr3],
        dr6: record.dr6 & 0xffff_ffff,
        dr7: record.dr7 & 0xffff_ffff,
        sysenter_cs: record.sysenter_cs,
        sysenter_esp: record.sysenter_esp,
        sysenter_eip: record.sysenter_eip,
        kernel_gs_base: record.shadow_gs,
        star: record.msr_star,
        lstar: record.msr_lstar,
        cstar: record.msr_cstar,
        sfmask: record.msr_syscall_mask,
        tsc_offset: record.tsc.wrapping_sub(tsc),
        gdtr: TableRegister {
            base: record.gdtr_base,
            limit: record.gdtr_limit & 0xffff,
        },
        idtr: TableRegister {
            base: record.idtr_base,
            limit: record.idtr_limit & 0xffff,
        },
        pat,
        ..HvmState::default()
    };
    macro_rules! segments {
        ($($name:ident: $sel:ident, $limit:ident, $base:ident, $bytes:ident;)*) => {$(
            s.$name = Segment {
                selector: record.$sel as u16,
                attributes: attributes(record.$bytes),
                limit: record.$limit,
                base: record.$base,
            };
        )*};
    }
    segments! {
        cs: cs_sel, cs_limit, cs_base, cs_arbytes;
        ds: ds_sel, ds_limit, ds_base, ds_arbytes;
        es: es_sel, es_limit, es_base, es_arbytes;
        fs: fs_sel, fs_limit, fs_base, fs_arbytes;
        gs: gs_sel, gs_limit, gs_base, gs_arbytes;
        ss: ss_sel, ss_limit, ss_base, ss_arbytes;
        tr: tr_sel, tr_limit, tr_base, tr_arbytes;
        ldtr: ldtr_sel, ldtr_limit, ldtr_base, ldtr_arbytes;
    }
    s.cpl = s.ss.dpl();
    hvm.state = s;
    hvm.event = pending(record);
    hvm.halted = false;
    hvm.nmi_masked = false;
    ctx.tsc_aux = tsc_aux;
    if record.flags & known == 0 {
        reset_fpu(ctx);
    } else {
        fpu::load_fxsave_image(ctx, &record.fpu_regs);
    }
    Ok(())
}

fn pending(record: &HvmHwCpu) -> Option<HvmEvent> {
    let word = record.pending_event;
    let kind = match word >> TYPE_SHIFT & 7 {
        2 => EventKind::Nmi,
        3 => EventKind::Exception,
        _ => return None,
    };
    (word & PENDING != 0).then_some(HvmEvent {
        kind,
        vector: word as u8,
        error_code: (word & HAS_ERROR != 0).then_some(record.error_code),
    })
}

/// The state of the FPU after a reset, which is not that after FNINIT.
fn reset_fpu(ctx: &mut VcpuCtx) {
    /// FCW at reset.
    const CONTROL_WORD: u16 = 0x40;
    ctx.reset_fpu();
    ctx.fpu[0..2].copy_from_slice(&CONTROL_WORD.to_le_bytes());
}
