//! MSRs in kernel mode: those that the hypervisor keeps, and #GP for the others.

use pv_guest_shim::hypercall_abi::xen::HypercallNr;
use pv_guest_shim::mmu;
use pv_guest_shim::traps::{Registers, Trap};

use crate::call::{NON_CANONICAL, call, run as run_code};
use crate::report::{bits, same};
use crate::{code, pages};

use super::vector;

/// The checks.
pub fn run() {
    msrs();
}

fn rdmsr(index: u32) -> Result<u64, Trap> {
    let mut registers = Registers {
        rcx: index.into(),
        rax: u64::MAX,
        rdx: u64::MAX,
        ..Registers::default()
    };
    run_code(code!("rdmsr"), &mut registers)?;
    // Both halves must be zero-extended.
    if registers.rax >> 32 != 0 || registers.rdx >> 32 != 0 {
        return Ok(0xbad0_bad0_bad0_bad0);
    }
    Ok(registers.rdx << 32 | registers.rax)
}

fn wrmsr(index: u32, value: u64) -> Result<(), Trap> {
    let mut registers = Registers {
        rcx: index.into(),
        rax: value & 0xffff_ffff,
        rdx: value >> 32,
        ..Registers::default()
    };
    run_code(code!("wrmsr"), &mut registers)
}

fn reads(name: &str, index: u32, expected: u64) {
    same(
        format_args!("rdmsr {name}"),
        rdmsr(index).map_err(vector),
        Ok(expected),
    );
}

fn read_faults(name: &str, index: u32) {
    same(
        format_args!("rdmsr {name} faults"),
        rdmsr(index).map_err(vector),
        Err((13, 0)),
    );
}

fn writes(name: &str, index: u32, value: u64) {
    same(
        format_args!("wrmsr {name} {value:#x}"),
        wrmsr(index, value).map_err(vector),
        Ok(()),
    );
}

fn write_faults(name: &str, index: u32, value: u64) {
    same(
        format_args!("wrmsr {name} {value:#x} faults"),
        wrmsr(index, value).map_err(vector),
        Err((13, 0)),
    );
}

fn msrs() {
    let page = pages::take();
    for (name, index) in [
        ("FS_BASE", 0xc000_0100),
        ("GS_BASE", 0xc000_0101),
        ("KERNEL_GS_BASE", 0xc000_0102),
    ] {
        writes(name, index, page);
        reads(name, index, page);
        write_faults(name, index, NON_CANONICAL);
        write_faults(name, index, 0xffff_7fff_0000_0000);
        reads(name, index, page);
    }
    call(HypercallNr::SET_SEGMENT_BASE, [1, 0x1000]);
    reads("KERNEL_GS_BASE after GS_USER", 0xc000_0102, 0x1000);
    reads("GS_BASE after GS_USER", 0xc000_0101, page);
    call(HypercallNr::SET_SEGMENT_BASE, [2, 0x2000]);
    reads("GS_BASE after GS_KERNEL", 0xc000_0101, 0x2000);
    for which in [0, 1, 2] {
        call(HypercallNr::SET_SEGMENT_BASE, [which, 0]);
    }
    let efer = rdmsr(0xc000_0080).unwrap_or(0);
    bits(
        "EFER shows SCE LME LMA NX but not SVME",
        efer & 0x1d01,
        0xd01,
    );
    writes("EFER", 0xc000_0080, efer);
    write_faults("EFER", 0xc000_0080, efer ^ 0x800);
    reads("PAT", 0x277, 0x0000_0501_0007_0406);
    write_faults("PAT", 0x277, 0x0007_0406_0007_0406);
    reads("APIC_BASE", 0x1b, 0xfee0_0900);
    write_faults("APIC_BASE", 0x1b, 0xfee0_0900);
    write_faults("TSC", 0x10, 0);
    for (name, index) in [
        ("X2APIC_ID", 0x802),
        ("X2APIC_TPR", 0x808),
        ("X2APIC_SELF_IPI", 0x83f),
        ("MTRR_PHYSBASE0", 0x200),
        ("MTRR_DEF_TYPE", 0x2ff),
        ("TSC_DEADLINE", 0x6e0),
        ("TSC_ADJUST", 0x3b),
        ("XSS", 0xda0),
        ("0x40000001", 0x4000_0001),
        ("0x400002ff", 0x4000_02ff),
        ("unknown", 0x1234_5678),
        ("unknown of AMD", 0xc001_ffff),
        ("unknown of syscall", 0xc000_0105),
        ("last", 0xffff_ffff),
    ] {
        read_faults(name, index);
        write_faults(name, index, 0);
    }
    reads("0x40000000", 0x4000_0000, 0);
    hypercall_page();
}

/// The MSR with which a kernel asks for a hypercall page.
fn hypercall_page() {
    let page = pages::take();
    write_faults("0x40000000", 0x4000_0000, u64::MAX << 12);
    let mfn = mmu::virt_to_mfn(page);
    writes("0x40000000 of an own page", 0x4000_0000, mfn << 12);
    let entry: [u8; 14] = core::array::from_fn(|at| pages::read(page + 17 * 32 + at as u64));
    same(
        "hypercall page entry",
        entry,
        [
            0x51, 0x41, 0x53, 0xb8, 17, 0, 0, 0, 0x0f, 0x05, 0x41, 0x5b, 0x59, 0xc3,
        ],
    );
    let iret: [u8; 11] = core::array::from_fn(|at| pages::read(page + 23 * 32 + at as u64));
    same(
        "hypercall page iret",
        iret,
        [0x51, 0x41, 0x53, 0x50, 0xb8, 23, 0, 0, 0, 0x0f, 0x05],
    );
    bits(
        "hypercall page filler",
        pages::read::<u8>(page + 17 * 32 + 31),
        0xcc,
    );
    let mut registers = Registers {
        rcx: 7,
        r11: 8,
        rdi: 7,
        ..Registers::default()
    };
    let result = run_code(page + 17 * 32, &mut registers);
    same("hypercall page call does not trap", result.is_ok(), true);
    same(
        "hypercall page call",
        (registers.rax, registers.rcx, registers.r11),
        (4096, 7, 8),
    );
}
