//! Between the library's form of a guest's processor and the control block's.

use xen_core::machine::{
    EventKind, ExitReason, HvmEvent, HvmState, NestedFault, PortAccess, Segment, TableRegister,
};

use super::vmcb::{Vmcb, VmcbSegment, event};

/// EFER.SVME, which a control block must have and guests do not see.
const EFER_SVME: u64 = 1 << 12;
/// CR4.MCE: machine checks are the host's business.
const CR4_MCE: u64 = 1 << 6;
/// CR0.ET.
const CR0_ET: u64 = 1 << 4;

fn to_segment(segment: Segment) -> VmcbSegment {
    VmcbSegment {
        selector: segment.selector,
        attributes: segment.attributes,
        limit: segment.limit,
        base: segment.base,
    }
}

fn from_segment(segment: VmcbSegment) -> Segment {
    Segment {
        selector: segment.selector,
        attributes: segment.attributes & 0xfff,
        limit: segment.limit,
        base: segment.base,
    }
}

fn to_table(table: TableRegister) -> VmcbSegment {
    VmcbSegment {
        selector: 0,
        attributes: 0,
        limit: table.limit,
        base: table.base,
    }
}

fn from_table(table: VmcbSegment) -> TableRegister {
    TableRegister {
        base: table.base,
        limit: table.limit,
    }
}

/// Fills the state that is loaded.
pub fn load(block: &mut Vmcb, state: &HvmState) {
    block.es = to_segment(state.es);
    block.cs = to_segment(state.cs);
    block.ss = to_segment(state.ss);
    block.ds = to_segment(state.ds);
    block.fs = to_segment(state.fs);
    block.gs = to_segment(state.gs);
    block.ldtr = to_segment(state.ldtr);
    block.tr = to_segment(state.tr);
    block.gdtr = to_table(state.gdtr);
    block.idtr = to_table(state.idtr);
    block.cpl = state.cpl;
    block.efer = state.efer | EFER_SVME;
    block.cr0 = state.cr0 | CR0_ET;
    block.cr2 = state.cr2;
    block.cr3 = state.cr3;
    block.cr4 = state.cr4 | CR4_MCE;
    block.dr6 = state.dr6;
    block.dr7 = state.dr7;
    block.star = state.star;
    block.lstar = state.lstar;
    block.cstar = state.cstar;
    block.sfmask = state.sfmask;
    block.kernel_gs_base = state.kernel_gs_base;
    block.sysenter_cs = state.sysenter_cs;
    block.sysenter_esp = state.sysenter_esp;
    block.sysenter_eip = state.sysenter_eip;
    block.pat = state.pat;
    block.tsc_offset = state.tsc_offset;
    block.interrupt_shadow = u64::from(state.interrupt_shadow);
}

/// Reads back what a guest changes without leaving.
pub fn save(block: &Vmcb, state: &mut HvmState) {
    state.es = from_segment(block.es);
    state.cs = from_segment(block.cs);
    state.ss = from_segment(block.ss);
    state.ds = from_segment(block.ds);
    state.fs = from_segment(block.fs);
    state.gs = from_segment(block.gs);
    state.ldtr = from_segment(block.ldtr);
    state.tr = from_segment(block.tr);
    state.gdtr = from_table(block.gdtr);
    state.idtr = from_table(block.idtr);
    state.cpl = block.cpl;
    state.cr2 = block.cr2;
    state.cr3 = block.cr3;
    state.dr6 = block.dr6;
    state.dr7 = block.dr7;
    state.star = block.star;
    state.lstar = block.lstar;
    state.cstar = block.cstar;
    state.sfmask = block.sfmask;
    state.kernel_gs_base = block.kernel_gs_base;
    state.interrupt_shadow = block.interrupt_shadow & 1 != 0;
}

/// An event as EVENTINJ takes it.
pub fn to_event(event: Option<HvmEvent>) -> u64 {
    let Some(given) = event else { return 0 };
    let kind = match given.kind {
        EventKind::Interrupt => 0,
        EventKind::Nmi => 2,
        EventKind::Exception => 3,
        EventKind::Software => 4,
    };
    let error = given
        .error_code
        .map_or(0, |code| event::HAS_ERROR | u64::from(code) << 32);
    event::VALID | kind << event::TYPE_SHIFT | u64::from(given.vector) | error
}

/// EXITINTINFO or what is left in EVENTINJ.
pub fn from_event(word: u64) -> Option<HvmEvent> {
    if word & event::VALID == 0 {
        return None;
    }
    let kind = match word >> event::TYPE_SHIFT & 7 {
        0 => EventKind::Interrupt,
        2 => EventKind::Nmi,
        3 => EventKind::Exception,
        _ => EventKind::Software,
    };
    Some(HvmEvent {
        kind,
        vector: word as u8,
        error_code: (word & event::HAS_ERROR != 0).then_some((word >> 32) as u32),
    })
}

/// The reason of an exit.
pub fn reason(block: &Vmcb) -> ExitReason {
    let (info1, info2) = (block.exit_info1, block.exit_info2);
    match block.exit_code {
        0x00..=0x3f => ExitReason::SystemRegister,
        code @ 0x40..=0x5f => match (code - 0x40) as u8 {
            // The machine check was noted by our own handler.
            18 => ExitReason::Nmi,
            vector => ExitReason::Exception {
                vector,
                error_code: info1 as u32,
            },
        },
        0x60 => ExitReason::Interrupt,
        0x61 => ExitReason::Nmi,
        0x62 | 0x63 => ExitReason::Nothing,
        0x64 => ExitReason::InterruptWindow,
        0x65 => ExitReason::SystemRegister,
        0x6e | 0x87 => ExitReason::ReadTsc,
        0x72 => ExitReason::Cpuid,
        0x74 => ExitReason::NmiWindow,
        0x76 | 0x89 => ExitReason::CacheFlush,
        0x77 => ExitReason::Pause,
        0x78 => ExitReason::Halt,
        0x7b => ExitReason::Port(PortAccess {
            port: (info1 >> 16) as u16,
            bytes: (info1 >> 4 & 7) as u8,
            input: info1 & 1 != 0,
            string: info1 & 4 != 0,
            repeat: info1 & 8 != 0,
        }),
        0x7c if info1 == 0 => ExitReason::ReadMsr,
        0x7c => ExitReason::WriteMsr,
        0x7d => ExitReason::TaskSwitch,
        0x7f => ExitReason::Shutdown,
        0x81 => ExitReason::Hypercall,
        0x6f | 0x7a | 0x80 | 0x82..=0x86 | 0x8a..=0x8c => ExitReason::NotForGuests,
        0x8d => ExitReason::SetXcr,
        0x400 => ExitReason::Nested(NestedFault {
            address: info2,
            present: info1 & 1 != 0,
            write: info1 & 2 != 0,
            fetch: info1 & 16 != 0,
            table_walk: info1 >> 33 & 1 != 0,
        }),
        u64::MAX => ExitReason::Invalid,
        0xffff_ffff => ExitReason::Invalid,
        code => ExitReason::Other(code),
    }
}
