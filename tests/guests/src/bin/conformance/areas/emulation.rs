//! Privileged instructions in kernel mode: those that the hypervisor carries out, and #GP for the others.

use pv_guest_shim::hypercall_abi::errno::Errno;
use pv_guest_shim::hypercall_abi::xen::{HypercallNr, StartInfo};
use pv_guest_shim::traps::{Registers, Trap};
use pv_guest_shim::{hypercall, mmu, shared};

use crate::call::{BAD_POINTERS, NON_CANONICAL, UNMAPPED, call, run as run_code, trap_of};
use crate::report::{bits, error, holds, number, same};
use crate::{code, pages};

/// The area.
pub fn run(_: &'static StartInfo) {
    refused();
    harmless();
    msrs();
    control_registers();
    cpuid();
    interrupt_flag();
    ports();
    stepping();
}

fn refuse(name: &str, code: u64) {
    let trap = trap_of(code).unwrap_or_default();
    bits(format_args!("{name}: vector"), trap.frame.vector, 13);
    bits(format_args!("{name}: error code"), trap.frame.error_code, 0);
    bits(format_args!("{name}: rip"), trap.frame.rip, code);
}

fn refused() {
    refuse("hlt", code!("hlt"));
    refuse("lgdt", code!("lgdt [rsp]"));
    refuse("lidt", code!("lidt [rsp]"));
    refuse("lldt", code!("lldt ax"));
    refuse("ltr", code!("ltr ax"));
    refuse("invlpg", code!("invlpg [rsp]"));
    refuse("swapgs", code!("swapgs"));
    refuse("invd", code!("invd"));
    refuse("lmsw", code!("lmsw ax"));
    refuse("sysret", code!("sysretq"));
    refuse("mov to cr8", code!("mov cr8, rax"));
    refuse("mov from cr8", code!("mov rax, cr8"));
}

fn allow(name: &str, code: u64) -> Registers {
    let mut registers = Registers::default();
    let result = run_code(code, &mut registers);
    let vector = result.err().map(|trap| trap.frame.vector);
    same(format_args!("{name} does not trap"), vector, None);
    registers
}

fn harmless() {
    allow("wbinvd", code!("wbinvd"));
    allow("wbnoinvd", code!(".byte 0xf3, 0x0f, 0x09"));
    allow("sgdt", code!("sub rsp, 16", "sgdt [rsp]", "add rsp, 16"));
    allow("sidt", code!("sub rsp, 16", "sidt [rsp]", "add rsp, 16"));
    allow("sldt", code!("sldt rax"));
    allow("str", code!("str rax"));
    let registers = allow("smsw", code!("smsw rax"));
    bits("smsw shows PE MP ET NE", registers.rax & 0x33, 0x33);
    allow("rdtsc", code!("rdtsc"));
    let registers = allow(
        "lar of a code selector",
        code!("mov ecx, 0xe033", "lar rax, rcx"),
    );
    bits("lar: code", registers.rax & 0xf800, 0xf800);
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

fn vector(trap: Trap) -> (u64, u64) {
    (trap.frame.vector, trap.frame.error_code)
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

fn control_registers() {
    let cr0 = allow("mov from cr0", code!("mov rax, cr0")).rax;
    bits(
        "cr0 shows PE MP ET NE WP PG but not TS",
        cr0 & 0x8001_003b,
        0x8001_0033,
    );
    let write = code!("mov cr0, rax");
    let mut registers = Registers {
        rax: cr0,
        ..Registers::default()
    };
    same(
        "cr0 written back",
        run_code(write, &mut registers).is_ok(),
        true,
    );
    registers.rax = cr0 | 8;
    same("cr0 with TS", run_code(write, &mut registers).is_ok(), true);
    bits(
        "cr0 shows TS",
        allow("mov from cr0", code!("mov rax, cr0")).rax,
        cr0 | 8,
    );
    bits(
        "#NM with TS from cr0",
        trap_of(code!("fnop")).unwrap_or_default().frame.vector,
        7,
    );
    bits(
        "#NM clears TS in cr0",
        allow("mov from cr0", code!("mov rax, cr0")).rax,
        cr0,
    );
    hypercall::fpu_taskswitch(1);
    bits(
        "fpu_taskswitch sets TS in cr0",
        allow("mov from cr0", code!("mov rax, cr0")).rax,
        cr0 | 8,
    );
    allow("clts", code!("clts"));
    bits(
        "clts clears TS in cr0",
        allow("mov from cr0", code!("mov rax, cr0")).rax,
        cr0,
    );
    allow("fnop after clts", code!("fnop"));
    for bit in [0, 1, 2, 4, 5, 16, 18, 29, 30, 31, 63] {
        let mut registers = Registers {
            rax: cr0 ^ 1 << bit,
            ..Registers::default()
        };
        let trap = run_code(write, &mut registers).map_err(vector);
        same(
            format_args!("cr0 with bit {bit} changed"),
            trap,
            Err((13, 0)),
        );
    }
    let write = code!("mov cr2, rax");
    let mut registers = Registers {
        rax: 0x1234_5678_9abc,
        ..Registers::default()
    };
    same("mov to cr2", run_code(write, &mut registers).is_ok(), true);
    bits(
        "mov from cr2",
        allow("mov from cr2", code!("mov rax, cr2")).rax,
        0x1234_5678_9abc,
    );
    bits(
        "cr2 in the shared page",
        shared::snapshot().vcpu_info[0].arch.cr2,
        0x1234_5678_9abc,
    );
    let cr3 = allow("mov from cr3", code!("mov rax, cr3")).rax;
    bits("cr3", cr3, mmu::boot_root() << 12);
    let write = code!("mov cr3, rax");
    let mut registers = Registers {
        rax: cr3,
        ..Registers::default()
    };
    same(
        "cr3 written back",
        run_code(write, &mut registers).is_ok(),
        true,
    );
    for value in [1 << 48, u64::MAX, 1 << 51] {
        let mut registers = Registers {
            rax: value,
            ..Registers::default()
        };
        let trap = run_code(write, &mut registers).map_err(vector);
        same(format_args!("cr3 {value:#x}"), trap, Err((13, 0)));
    }
    cr4();
    refuse_cr("mov to cr1", code!("mov cr1, rax"));
    refuse_cr("mov from cr1", code!("mov rax, cr1"));
    refuse_cr("mov from cr7", code!(".byte 0x0f, 0x20, 0xf8"));
}

/// Control registers that do not exist: #UD or #GP, by processor and decoder.
fn refuse_cr(name: &str, code: u64) {
    let vector = trap_of(code).unwrap_or_default().frame.vector;
    holds(name, vector, matches!(vector, 6 | 13));
}

fn cr4() {
    let read = || allow("mov from cr4", code!("mov rax, cr4")).rax;
    let write = |value| {
        let mut registers = Registers {
            rax: value,
            ..Registers::default()
        };
        run_code(code!("mov cr4, rax"), &mut registers).map_err(vector)
    };
    let initial = read();
    bits(
        "cr4 shows PAE MCE OSFXSR OSXMMEXCPT",
        initial & 0x660,
        0x660,
    );
    bits(
        "cr4 hides VME PVI PSE PGE PCE UMIP LA57 VMXE SMXE PCIDE SMEP SMAP PKE",
        initial & 0x0072_7993,
        0,
    );
    for bit in [0, 1, 4, 7, 8, 11, 12, 13, 14, 17, 20, 21, 22, 24, 63] {
        same(
            format_args!("cr4 with bit {bit}"),
            write(initial | 1 << bit),
            Ok(()),
        );
        bits(format_args!("cr4 with bit {bit} ignored"), read(), initial);
    }
    same("cr4 without PAE", write(initial & !0x20), Ok(()));
    bits("cr4 without PAE ignored", read(), initial);
    let fsgsbase = code!("rdfsbase rax");
    let without = trap_of(fsgsbase).map(|trap| trap.frame.vector);
    same("rdfsbase without FSGSBASE", without, Some(6));
    same("cr4 with FSGSBASE", write(initial | 1 << 16), Ok(()));
    bits("cr4 shows FSGSBASE", read(), initial | 1 << 16);
    same(
        "rdfsbase with FSGSBASE",
        trap_of(fsgsbase).map(|trap| trap.frame.vector),
        None,
    );
    same("cr4 written back", write(initial), Ok(()));
    same(
        "rdfsbase without FSGSBASE again",
        trap_of(fsgsbase).map(|trap| trap.frame.vector),
        Some(6),
    );
    same("cr4 with DE", write(initial | 8), Ok(()));
    bits("cr4 shows DE", read(), initial | 8);
    error(
        "get_debugreg 4 with DE",
        hypercall::get_debugreg(4),
        Errno::ENODEV,
    );
    same("cr4 without DE", write(initial), Ok(()));
    same("cr4 with TSD", write(initial | 4), Ok(()));
    allow("rdtsc with TSD in kernel mode", code!("rdtsc"));
    same("cr4 without TSD", write(initial), Ok(()));
    same("cr4 with OSXSAVE", write(initial | 1 << 18), Ok(()));
    bits("cr4 shows OSXSAVE", read(), initial | 1 << 18);
    let mut registers = Registers::default();
    same(
        "xgetbv",
        run_code(code!("xgetbv"), &mut registers).is_ok(),
        true,
    );
    let xcr0 = registers.rax;
    bits("xcr0 has x87", xcr0 & 1, 1);
    let xsetbv = |index: u64, value: u64| {
        let mut registers = Registers {
            rcx: index,
            rax: value & 0xffff_ffff,
            rdx: value >> 32,
            ..Registers::default()
        };
        run_code(code!("xsetbv"), &mut registers).map_err(vector)
    };
    same("xsetbv x87 SSE", xsetbv(0, 3), Ok(()));
    same("xsetbv as before", xsetbv(0, xcr0), Ok(()));
    for (index, value) in [
        (0, 0),
        (0, 2),
        (0, 5),
        (0, 1 << 63),
        (0, 1 << 40 | 1),
        (1, 3),
        (2, 1),
    ] {
        same(
            format_args!("xsetbv {index} {value:#x}"),
            xsetbv(index, value),
            Err((13, 0)),
        );
    }
    same("cr4 without OSXSAVE", write(initial), Ok(()));
    same("xsetbv without OSXSAVE", xsetbv(0, 3), Err((6, 0)));
}

/// CPUID through the prefix for which the hypervisor answers.
fn forced(leaf: u32, subleaf: u32) -> [u32; 4] {
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
    holds("highest basic leaf", max, (0xd..0x4000_0000).contains(&max));
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

fn set_iopl(level: u32) -> i64 {
    let page = pages::take();
    pages::write(page, level);
    call(HypercallNr::PHYSDEV_OP, [6, page])
}

fn interrupt_flag() {
    refuse("cli without IOPL", code!("cli"));
    refuse("sti without IOPL", code!("sti"));
    number("set_iopl 1", set_iopl(1), 0);
    allow("cli with IOPL", code!("cli"));
    same(
        "cli leaves the mask alone",
        shared::snapshot().vcpu_info[0].evtchn_upcall_mask,
        1,
    );
    allow("sti with IOPL", code!("sti"));
    same(
        "sti leaves the mask alone",
        shared::snapshot().vcpu_info[0].evtchn_upcall_mask,
        1,
    );
    error("set_iopl 4", set_iopl(4), Errno::EINVAL);
    allow("cli after a bad set_iopl", code!("cli"));
    number("set_iopl 0", set_iopl(0), 0);
    refuse("cli without IOPL again", code!("cli"));
    for (kind, pointer) in BAD_POINTERS {
        error(
            format_args!("set_iopl at {kind} pointer"),
            call(HypercallNr::PHYSDEV_OP, [6, pointer]),
            Errno::EFAULT,
        );
    }
}

fn set_bitmap(address: u64, ports: u32) -> i64 {
    let page = pages::take();
    pages::write(page, address);
    pages::write(page + 8, u64::from(ports));
    call(HypercallNr::PHYSDEV_OP, [7, page])
}

fn ports() {
    let read = code!("in al, dx");
    let port = |port: u64, code| {
        let mut registers = Registers {
            rdx: port,
            rax: 0x1234_5678_9abc_deff,
            ..Registers::default()
        };
        run_code(code, &mut registers)
            .map_err(vector)
            .map(|()| registers.rax)
    };
    same("in without IOPL", port(0x80, read), Err((13, 0)));
    same(
        "out without IOPL",
        port(0x80, code!("out dx, al")),
        Err((13, 0)),
    );
    same(
        "in of a number without IOPL",
        port(0, code!("in al, 0x80")),
        Err((13, 0)),
    );
    same(
        "ins without IOPL",
        port(
            0x80,
            code!(
                "push rdi",
                "sub rsp, 8",
                "mov rdi, rsp",
                "insb",
                "add rsp, 8",
                "pop rdi"
            ),
        ),
        Err((13, 0)),
    );
    set_iopl(1);
    same(
        "in keeps the rest of rax",
        port(0xed, read).map(|value| value >> 8),
        Ok(0x12_3456_789a_bcde),
    );
    same(
        "in of 32 bits clears the upper half",
        port(0xed, code!("in eax, dx")).map(|value| value >> 32),
        Ok(0),
    );
    same(
        "in of 16 bits keeps the rest",
        port(0xed, code!("in ax, dx")).map(|value| value >> 16),
        Ok(0x1234_5678_9abc),
    );
    same(
        "out",
        port(0x80, code!("out dx, al")),
        Ok(0x1234_5678_9abc_deff),
    );
    same(
        "in of the PIC, which is not the guest's",
        port(0x21, read).map(|value| value & 0xff),
        Ok(0xff),
    );
    same(
        "out to the PIC",
        port(0x21, code!("mov al, 0xff", "out dx, al")).is_ok(),
        true,
    );
    same(
        "in of the PCI address",
        port(
            0xcf8,
            code!(
                "mov eax, 0x80000000",
                "out dx, eax",
                "xor eax, eax",
                "in eax, dx"
            ),
        ),
        Ok(0x8000_0000),
    );
    let id = port(
        0xcf8,
        code!(
            "mov eax, 0x80000000",
            "out dx, eax",
            "mov edx, 0xcfc",
            "in eax, dx"
        ),
    );
    holds(
        "in of the host bridge's id",
        id,
        id.is_ok_and(|id| id & 0xffff == 0x8086 || id & 0xffff == 0x1022),
    );
    let cmos = port(
        0x70,
        code!("mov al, 0x0d", "out dx, al", "mov edx, 0x71", "in al, dx"),
    );
    holds(
        "in of the clock",
        cmos,
        cmos.is_ok_and(|value| value & 0x80 == 0x80),
    );
    let read_string = code!(
        "sub rsp, 8",
        "mov rdi, rsp",
        "xor eax, eax",
        "mov [rdi], rax",
        "insb",
        "mov rcx, rdi",
        "sub rcx, rsp",
        "mov rax, rcx",
        "add rsp, 8"
    );
    same("ins advances rdi", port(0xed, read_string), Ok(1));
    let repeat = code!(
        "sub rsp, 16",
        "mov rdi, rsp",
        "mov ecx, 4",
        "rep insw",
        "mov rax, rdi",
        "sub rax, rsp",
        "shl rcx, 32",
        "or rax, rcx",
        "add rsp, 16"
    );
    same("rep ins", port(0xed, repeat), Ok(8));
    let out_string = code!(
        "mov rsi, rsp",
        "mov ecx, 2",
        "rep outsb",
        "mov rax, rsi",
        "sub rax, rsp"
    );
    same("rep outs", port(0x80, out_string), Ok(2));
    set_iopl(0);
    bitmap();
}

fn bitmap() {
    let read = code!("in al, dx");
    let port = |port: u64| {
        let mut registers = Registers {
            rdx: port,
            ..Registers::default()
        };
        run_code(read, &mut registers).map_err(vector).map(|()| 0)
    };
    let page = pages::take();
    for at in (0..4096).step_by(8) {
        pages::write(page + at, u64::MAX);
    }
    pages::write(page + 0xed / 8, !(1_u8 << (0xed % 8)));
    number("set_iobitmap", set_bitmap(page, 0x400), 0);
    same("in of a port in the bitmap", port(0xed), Ok(0));
    same("in of a port not in the bitmap", port(0xee), Err((13, 0)));
    same("in of a port behind the bitmap", port(0x400), Err((13, 0)));
    let wide = |code| {
        let mut registers = Registers {
            rdx: 0xed,
            ..Registers::default()
        };
        run_code(code, &mut registers).map_err(vector)
    };
    same(
        "in of 16 bits half in the bitmap",
        wide(code!("in ax, dx")),
        Err((13, 0)),
    );
    number("set_iobitmap of 237 ports", set_bitmap(page, 0xed), 0);
    same(
        "in of the port behind a short bitmap",
        port(0xed),
        Err((13, 0)),
    );
    number("set_iobitmap of 65536", set_bitmap(page, 0x1_0000), 0);
    same("in by a long bitmap", port(0xed), Ok(0));
    error(
        "set_iobitmap of 65537",
        set_bitmap(page, 0x1_0001),
        Errno::EINVAL,
    );
    number("set_iobitmap of nothing", set_bitmap(0, 0x400), 0);
    same("in without a bitmap", port(0xed), Err((13, 0)));
    number("set_iobitmap unmapped", set_bitmap(UNMAPPED, 0x400), 0);
    same("in with an unmapped bitmap", port(0xed), Err((13, 0)));
    number("set_iobitmap removed", set_bitmap(0, 0), 0);
}

/// An instruction that is carried out for the kernel counts as a step.
fn stepping() {
    let step = code!(
        "push 0x102",
        "popfq",
        "mov ecx, 0x277",
        "rdmsr",
        "nop",
        "nop"
    );
    let start = step + 6;
    let trap = trap_of(step).unwrap_or_default();
    bits("step over a plain instruction", trap.frame.rip, start + 5);
    hypercall::set_debugreg(6, 0);
    let step = code!("mov ecx, 0x277", "push 0x102", "popfq", "rdmsr", "nop");
    let trap = trap_of(step).unwrap_or_default();
    bits(
        "step over an emulated instruction: vector",
        trap.frame.vector,
        1,
    );
    bits(
        "step over an emulated instruction: rip",
        trap.frame.rip,
        step + 5 + 6 + 2,
    );
    bits(
        "step over an emulated instruction: dr6",
        hypercall::get_debugreg(6) as u64,
        0xffff_4ff0,
    );
    hypercall::set_debugreg(6, 0);
    let step = code!(
        "push 0x102",
        "popfq",
        ".byte 0x0f, 0x0b, 0x78, 0x65, 0x6e",
        "cpuid",
        "nop"
    );
    let trap = trap_of(step).unwrap_or_default();
    bits("step over a forced cpuid: vector", trap.frame.vector, 1);
    bits(
        "step over a forced cpuid: rip",
        trap.frame.rip,
        step + 6 + 7,
    );
    hypercall::set_debugreg(6, 0);
}
