//! CPUID through the prefix for which the hypervisor answers.

use pv_guest_shim::mmu;
use pv_guest_shim::traps::Registers;

use crate::call::{run as run_code, trap_of};
use crate::report::{bits, holds, same};
use crate::{code, pages};

/// The checks.
pub fn run() {
    cpuid();
}

/// CPUID through the prefix for which the hypervisor answers.
pub fn forced(leaf: u32, subleaf: u32) -> [u32; 4] {
    let mut registers = Registers {
        rax: u64::from(leaf) | 0xffff_ffff_0000_0000,
        rcx: subleaf.into(),
        ..Registers::default()
    };
    let code = code!(".byte 0x0f, 0x0b, 0x78, 0x65, 0x6e", "cpuid");
    if run_code(code, &mut registers).is_err() {
        return [0xbad; 4];
    }
    let all = [registers.rax, registers.rbx, registers.rcx, registers.rdx];
    if all.iter().any(|value| value >> 32 != 0) {
        return [0xbad0_bad0; 4];
    }
    all.map(|value| value as u32)
}

fn cpuid() {
    same(
        "leaf 0x40000000",
        forced(0x4000_0000, 0),
        [0x4000_0005, 0x566e_6558, 0x6558_4d4d, 0x4d4d_566e],
    );
    same(
        "leaf 0x40000001",
        forced(0x4000_0001, 0),
        [0x0004_0011, 0, 0, 0],
    );
    same(
        "leaf 0x40000002",
        forced(0x4000_0002, 0),
        [1, 0x4000_0000, 1, 0],
    );
    // The first domain has no TSC settings of its own.
    let [a, mode, khz, incarnation] = forced(0x4000_0003, 0);
    bits("leaf 0x40000003: no emulation of the TSC", a & 1, 0);
    same(
        "leaf 0x40000003: the rest",
        [mode, khz, incarnation],
        [0; 3],
    );
    same("leaf 0x40000003.1", forced(0x4000_0003, 1), [0; 4]);
    let [khz, b, c, d] = forced(0x4000_0003, 2);
    holds("leaf 0x40000003.2: host kHz", khz, khz > 100_000);
    same("leaf 0x40000003.2: the rest", [b, c, d], [0; 3]);
    same("leaf 0x40000003.3", forced(0x4000_0003, 3), [0; 4]);
    same("leaf 0x40000004", forced(0x4000_0004, 0), [0; 4]);
    let [a, width, c, d] = forced(0x4000_0005, 0);
    same("leaf 0x40000005 but ebx", [a, c, d], [0; 3]);
    holds(
        "leaf 0x40000005: address width",
        width,
        (28..=44).contains(&width),
    );
    same("leaf 0x40000006", forced(0x4000_0006, 0), [0; 4]);
    same("leaf 0x40000100", forced(0x4000_0100, 0), [0; 4]);
    features();
    // The prefix before anything else is an undefined opcode.
    let other = code!(".byte 0x0f, 0x0b, 0x78, 0x65, 0x6e", "nop", "nop");
    let trap = trap_of(other).unwrap_or_default();
    same(
        "prefix before a nop",
        (trap.frame.vector, trap.frame.rip),
        (6, other),
    );
    let short = code!(".byte 0x0f, 0x0b, 0x78, 0x65, 0x6d", "cpuid");
    let trap = trap_of(short).unwrap_or_default();
    same(
        "wrong prefix",
        (trap.frame.vector, trap.frame.rip),
        (6, short),
    );
    // The prefix at the end of a mapping: the fetch of what follows faults.
    let page = pages::take();
    let next = pages::take();
    let entry = mmu::leaf(next).unwrap_or_default().value;
    pages::write(page + 4096 - 8, 0x6e65_780b_0f90_9090_u64);
    crate::call::update_va(next, 0, 2);
    let trap = trap_of(page + 4096 - 5).unwrap_or_default();
    bits(
        "prefix at the end of a mapping: vector",
        trap.frame.vector,
        14,
    );
    bits("prefix at the end of a mapping: cr2", trap.cr2, next);
    crate::call::update_va(next, entry, 2);
    same("leaf that is too high", forced(0x3fff_ffff, 0), [0; 4]);
}

fn features() {
    let [max, ..] = forced(0, 0);
    holds("highest basic leaf", max, (7..0x4000_0000).contains(&max));
    let [_, b, c, d] = forced(1, 0);
    bits("leaf 1: APIC id", b >> 24, 0);
    // FPU TSC MSR PAE CX8 CMOV MMX FXSR SSE SSE2.
    bits("leaf 1: needed", d & 0x0780_8171, 0x0780_8171);
    bits("leaf 1: HYPERVISOR is shown", c >> 31, 1);
    // MONITOR VMX SMX PDCM PCID DCA X2APIC TSC_DEADLINE.
    bits("leaf 1: hidden in ecx", c & 0x0126_8068, 0);
    // VME PSE PGE PSE36 DS TM1 PBE.
    bits("leaf 1: hidden in edx", d & 0xa022_200a, 0);
    let [_, b, c, _] = forced(7, 0);
    // TSC_ADJUST SGX SMEP INVPCID PQM MPX SMAP PT.
    bits("leaf 7: hidden in ebx", b & 0x0210_5486, 0);
    // UMIP PKU CET_SS LA57 ENQCMD.
    bits("leaf 7: hidden in ecx", c & 0x2001_008c, 0);
    let [max, ..] = forced(0x8000_0000, 0);
    holds(
        "highest extended leaf",
        max,
        (0x8000_0008..0x8000_0100).contains(&max),
    );
    let [_, _, c, d] = forced(0x8000_0001, 0);
    bits(
        "leaf 0x80000001: SYSCALL NX LM",
        d & 0x2010_0800,
        0x2010_0800,
    );
    bits("leaf 0x80000001: PAGE1GB is hidden", d & 1 << 26, 0);
    // SVM EXTAPIC OSVW IBS SKINIT WDT LWP NODEID TOPOEXT MONITORX.
    bits("leaf 0x80000001: hidden in ecx", c & 0x2048_b60c, 0);
    bits("leaf 0xd.1: XSAVES is hidden", forced(0xd, 1)[0] & 8, 0);
    same("leaf 6", forced(6, 0), [0; 4]);
    same("leaf 0xa", forced(0xa, 0), [0; 4]);
    same("leaf behind the highest", forced(max + 1, 0), [0; 4]);
}
