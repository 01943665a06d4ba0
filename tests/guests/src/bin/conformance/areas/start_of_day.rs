//! What a kernel finds at its first instruction: registers, `start_info`, page tables, frame tables, shared page.
//!
//! Contract: public/xen.h, "start-of-day memory layout".

use pv_guest_shim::hypercall_abi::arch_x86::xen_x86_64::{
    FLAT_RING3_CS64, FLAT_RING3_SS64, MACH2PHYS_VIRT_START,
};
use pv_guest_shim::hypercall_abi::xen::{SifFlags, StartInfo};
use pv_guest_shim::mmu::{self, PAGE_SIZE};
use pv_guest_shim::start::VIRT_BASE;
use pv_guest_shim::{hypercall, shared, start};

use crate::call::{HYPERVISOR, trap_of};
use crate::code;
use crate::pages::read;
use crate::report::{bits, holds, number, same};

/// The area.
pub fn run(info: &'static StartInfo) {
    registers(info);
    start_info(info);
    boot_tables(info);
    frame_tables(info);
    shared_page();
    processor();
}

fn registers(info: &'static StartInfo) {
    let state = start::initial_state();
    let mut general = state.registers;
    bits(
        "start rsi is start_info",
        general.rsi,
        info as *const _ as u64,
    );
    bits("start rflags", general.rflags, 0x202);
    general.rsi = 0;
    general.rflags = 0;
    same(
        "start other registers are zero",
        general,
        Default::default(),
    );
    let tables_end = info.pt_base + info.nr_pt_frames * PAGE_SIZE;
    bits(
        "start rsp is one page behind the tables",
        state.rsp,
        tables_end + PAGE_SIZE,
    );
    bits("start cs", state.cs, FLAT_RING3_CS64);
    bits("start ss", state.ss, FLAT_RING3_SS64);
    same(
        "start ds es fs gs",
        [state.ds, state.es, state.fs, state.gs],
        [0; 4],
    );
    bits("start fcw", state.fcw, 0x37f);
    bits("start fsw", state.fsw, 0);
    bits("start mxcsr", state.mxcsr, 0x1f80);
}

fn start_info(info: &'static StartInfo) {
    let magic = info.magic;
    let end = magic.iter().position(|&byte| byte == 0).unwrap_or(0);
    same(
        "start_info magic",
        magic.get(..end),
        Some(&b"xen-3.0-x86_64p"[..]),
    );
    bits(
        "start_info flags",
        info.flags & 0xff,
        (SifFlags::PRIVILEGED | SifFlags::INITDOMAIN).bits(),
    );
    bits("start_info store_mfn", info.store_mfn, 0);
    bits("start_info store_evtchn", info.store_evtchn, 0);
    bits(
        "start_info shared_info alignment",
        info.shared_info % PAGE_SIZE,
        0,
    );
    holds(
        "start_info shared_info",
        info.shared_info,
        info.shared_info != 0,
    );
    bits("start_info mod_start", info.mod_start, 0);
    bits("start_info mod_len", info.mod_len, 0);
    bits("start_info nr_p2m_frames", info.nr_p2m_frames, 0);
    let console = info.console.as_dom0();
    holds(
        "start_info console",
        (console.info_off, console.info_size),
        (console.info_off == 1168 && console.info_size == 40)
            || (console.info_off == 0 && console.info_size == 0),
    );
    let address = info as *const _ as u64;
    bits("start_info page aligned", address % PAGE_SIZE, 0);
    bits(
        "pt_base follows start_info",
        info.pt_base,
        address + PAGE_SIZE,
    );
    let list_end = info.mfn_list + info.nr_pages * 8;
    bits(
        "start_info follows the frame list",
        address,
        list_end.next_multiple_of(PAGE_SIZE),
    );
}

/// The mapping is made of small pages up to a multiple of 4 MiB that leaves 512 KiB behind the stack.
fn boot_tables(info: &'static StartInfo) {
    let root = mmu::boot_root();
    let stack_end = start::initial_state().rsp;
    let mut end = stack_end.next_multiple_of(4 << 20);
    if end - stack_end < 512 << 10 {
        end += 4 << 20;
    }
    let tables = info.pt_base..info.pt_base + info.nr_pt_frames * PAGE_SIZE;
    let (mut wrong_frame, mut wrong_flags, mut missing) = (0, 0, 0);
    let mut address = VIRT_BASE;
    while address < end {
        match mmu::entry(root, address, 1) {
            Some(leaf) if leaf.value & mmu::PRESENT != 0 => {
                let mfn = (leaf.value & mmu::ADDRESS_MASK) / PAGE_SIZE;
                if mmu::pfn_to_mfn(mmu::virt_to_pfn(address)) != Some(mfn) {
                    wrong_frame += 1;
                }
                let writable = !tables.contains(&address);
                let flags = leaf.value & !mmu::ADDRESS_MASK & !mmu::ACCESSED & !mmu::DIRTY;
                let expected = mmu::PRESENT | mmu::USER | if writable { mmu::WRITABLE } else { 0 };
                // The window of the shared page is not the builder's.
                if flags & !mmu::GUEST_KERNEL & !mmu::GLOBAL != expected
                    && address != shared::address()
                {
                    wrong_flags += 1;
                }
            }
            _ => missing += 1,
        }
        address += PAGE_SIZE;
    }
    number("boot mapping has no holes", missing, 0);
    number(
        "boot mapping is by frame number, but for the shared page",
        wrong_frame,
        1,
    );
    number(
        "boot mapping is writable but for its tables",
        wrong_flags,
        0,
    );
    bits(
        "start_info first_p2m_pfn is behind the boot mapping",
        info.first_p2m_pfn,
        mmu::virt_to_pfn(end),
    );
    let after = mmu::entry(root, end, 1).map_or(0, |leaf| leaf.value & mmu::PRESENT);
    bits("boot mapping ends at 4 MiB", after, 0);
    for level in 2..=4 {
        let value = mmu::entry(root, VIRT_BASE, level).map_or(0, |entry| entry.value);
        let flags = value & 0xfff & !mmu::ACCESSED & !mmu::DIRTY;
        bits(
            format_args!("boot level {level} flags"),
            flags,
            mmu::PRESENT | mmu::WRITABLE | mmu::USER,
        );
    }
    let mut needed = 3;
    let mut at = VIRT_BASE;
    while at < end {
        needed += 1;
        at += 2 << 20;
    }
    holds(
        "nr_pt_frames covers the mapping",
        info.nr_pt_frames,
        info.nr_pt_frames >= needed,
    );
}

fn frame_tables(info: &'static StartInfo) {
    let (mut disagree, mut invalid) = (0, 0);
    for pfn in 0..info.nr_pages {
        match mmu::pfn_to_mfn(pfn) {
            Some(mfn) if mfn < 1 << 35 => {
                if mmu::mfn_to_pfn(mfn) != pfn {
                    disagree += 1;
                }
            }
            _ => invalid += 1,
        }
    }
    number("p2m entries are frames", invalid, 0);
    number("m2p is the inverse of p2m", disagree, 0);
    let write_m2p = code!("mov rax, 0xffff800000000000", "mov qword ptr [rax], 0");
    let trap = trap_of(write_m2p).unwrap_or_default();
    bits("m2p write faults", trap.frame.vector, 14);
    bits("m2p write error code", trap.frame.error_code, 3);
    bits("m2p write cr2", trap.cr2, MACH2PHYS_VIRT_START);
}

fn shared_page() {
    let page = shared::snapshot();
    let masks = page
        .vcpu_info
        .iter()
        .filter(|vcpu| vcpu.evtchn_upcall_mask != 1)
        .count();
    same("upcall masks are set", masks, 0);
    let pending = page
        .vcpu_info
        .iter()
        .filter(|vcpu| vcpu.evtchn_upcall_pending != 0)
        .count();
    same("no upcall is pending", pending, 0);
    same("no event is pending", page.evtchn_pending, [0; 64]);
    holds(
        "time scale is set",
        page.vcpu_info[0].time.tsc_to_system_mul,
        page.vcpu_info[0].time.tsc_to_system_mul != 0,
    );
    bits(
        "time version is even",
        page.vcpu_info[0].time.version & 1,
        0,
    );
    bits("wall clock version is even", page.wc_version & 1, 0);
    bits("nmi_reason", page.arch.nmi_reason, 0);
    bits(
        "rest of the shared page is zero",
        (0xc40..4096)
            .step_by(8)
            .fold(0, |all, at| all | read::<u64>(shared::address() + at)),
        0,
    );
}

fn processor() {
    bits("dr6", hypercall::get_debugreg(6) as u64, 0xffff_0ff0);
    bits("dr7", hypercall::get_debugreg(7) as u64, 0x400);
    for register in 0..4 {
        bits(
            format_args!("dr{register}"),
            hypercall::get_debugreg(register) as u64,
            0,
        );
    }
    let reserved = code!("mov rax, 0xffff830000000000", "mov rax, [rax]");
    let trap = trap_of(reserved).unwrap_or_default();
    bits("hypervisor memory faults", trap.frame.vector, 14);
    bits("hypervisor memory fault address", trap.cr2, HYPERVISOR);
}
