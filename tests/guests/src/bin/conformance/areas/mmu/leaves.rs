//! `update_va_mapping`: which level 1 entries are taken, what they become, and which are refused.

use pv_guest_shim::hypercall_abi::errno::Errno;
use pv_guest_shim::hypercall_abi::xen::HypercallNr;
use pv_guest_shim::mmu;
use pv_guest_shim::traps::Registers;

use super::{LOOSE, entry, frame, leaf};
use crate::call::{HYPERVISOR, NON_CANONICAL, UNMAPPED, call, run as run_code, update_va};
use crate::report::{bits, error, number, same};
use crate::{code, pages};

/// The checks.
pub fn run() {
    accepted();
    refused_addresses();
    refused_entries();
    device_memory();
    translations();
    other_domain();
}

fn accepted() {
    let page = pages::take();
    let original = leaf(page).value;
    for flags in [0, 1, 2, 3, 4, 5, 6, 7] {
        number(
            format_args!("update_va_mapping with flags {flags}"),
            update_va(page, original, flags),
            0,
        );
    }
    bits(
        "unchanged entry",
        leaf(page).value & !LOOSE,
        original & !LOOSE,
    );
    let plain = entry(page, mmu::PRESENT | mmu::WRITABLE);
    number("kernel page without USER", update_va(page, plain, 2), 0);
    bits(
        "kernel page gets USER and the marker",
        leaf(page).value & !LOOSE,
        plain | mmu::USER | mmu::GUEST_KERNEL,
    );
    number(
        "kernel page written back",
        update_va(page, plain | mmu::USER | mmu::GUEST_KERNEL, 2),
        0,
    );
    bits(
        "kernel page written back stays",
        leaf(page).value & !LOOSE,
        plain | mmu::USER | mmu::GUEST_KERNEL,
    );
    number("user page", update_va(page, plain | mmu::USER, 2), 0);
    bits(
        "user page gets GLOBAL",
        leaf(page).value & !LOOSE,
        plain | mmu::USER | mmu::GLOBAL,
    );
    number(
        "user page without write",
        update_va(page, plain & !mmu::WRITABLE | mmu::USER, 2),
        0,
    );
    bits(
        "user page without write: entry",
        leaf(page).value & !LOOSE,
        plain & !mmu::WRITABLE | mmu::USER | mmu::GLOBAL,
    );
    number(
        "kernel page with GLOBAL",
        update_va(page, plain | mmu::GLOBAL, 2),
        0,
    );
    bits(
        "kernel page keeps GLOBAL",
        leaf(page).value & !LOOSE,
        plain | mmu::GLOBAL | mmu::USER | mmu::GUEST_KERNEL,
    );
    let available = 7 << 9 | 0x3ff << 53;
    number(
        "available bits",
        update_va(page, original | available, 2),
        0,
    );
    bits(
        "available bits are kept",
        leaf(page).value & available,
        available,
    );
    number("NX", update_va(page, original | mmu::NX, 2), 0);
    bits("NX is kept", leaf(page).value & mmu::NX, mmu::NX);
    for (name, flags) in [
        ("PWT", mmu::PWT),
        ("PCD", mmu::PCD),
        ("PAT", mmu::PSE),
        ("all cache bits", mmu::PWT | mmu::PCD | mmu::PSE),
    ] {
        number(
            format_args!("{name} on memory"),
            update_va(page, original | flags, 2),
            0,
        );
        bits(
            format_args!("{name} on memory is kept"),
            leaf(page).value & (mmu::PWT | mmu::PCD | mmu::PSE),
            flags,
        );
        number("memory is as before", update_va(page, original, 2), 0);
    }
    for value in [
        0,
        2,
        0xffff_ffff_ffff_fffe,
        0x1234_5678_9abc_def0,
        mmu::NX,
        entry(page, 6),
    ] {
        number(
            format_args!("not present {value:#x}"),
            update_va(page, value, 2),
            0,
        );
        bits(
            format_args!("not present {value:#x}: entry"),
            leaf(page).value,
            value,
        );
    }
    number("present again", update_va(page, original, 2), 0);
}

fn refused_addresses() {
    let value = leaf(pages::take()).value;
    for (name, address) in [
        ("in the hypervisor", HYPERVISOR),
        ("in the frame table", 0xffff_8000_0000_0000),
        ("at the hypervisor's end", 0xffff_87ff_ffff_f000),
        ("without tables", UNMAPPED),
        ("non-canonical", NON_CANONICAL),
        ("without a level 2 entry", 0xffff_ffff_c000_0000),
        ("without a level 4 entry", 0xffff_9000_0000_0000),
    ] {
        error(
            format_args!("update_va_mapping {name}"),
            update_va(address, value, 0),
            Errno::EINVAL,
        );
        error(
            format_args!("update_va_mapping {name} with a flush"),
            update_va(address, value, 2),
            Errno::EINVAL,
        );
        error(
            format_args!("update_va_mapping {name} to nothing"),
            update_va(address, 0, 5),
            Errno::EINVAL,
        );
    }
}

fn refused_entries() {
    let page = pages::take();
    let original = leaf(page).value;
    let root = mmu::boot_root();
    let level = |level| {
        mmu::entry(root, page, level)
            .unwrap_or_default()
            .machine_address
            >> 12
    };
    for (name, mfn) in [
        ("1", level(1)),
        ("2", level(2)),
        ("3", level(3)),
        ("4", level(4)),
    ] {
        error(
            format_args!("writable mapping of a level {name} table"),
            update_va(page, mfn << 12 | mmu::KERNEL_RW, 2),
            Errno::EBUSY,
        );
        number(
            format_args!("read-only mapping of a level {name} table"),
            update_va(page, mfn << 12 | mmu::KERNEL_RO, 2),
            0,
        );
        error(
            format_args!("write right on a level {name} table"),
            update_va(page, mfn << 12 | mmu::KERNEL_RW, 2),
            Errno::EBUSY,
        );
    }
    number("mapping is back", update_va(page, original, 2), 0);
    bits(
        "refused entries change nothing",
        leaf(page).value & !LOOSE,
        original & !LOOSE,
    );
    for bit in 52..63 {
        number(
            format_args!("entry with bit {bit}"),
            update_va(page, original | 1 << bit, 2),
            0,
        );
    }
    update_va(page, original, 2);
    for (name, value, errno) in [
        (
            "all ones as frame",
            mmu::ADDRESS_MASK | mmu::KERNEL_RW,
            Errno::EINVAL,
        ),
        ("all bits", u64::MAX, Errno::EINVAL),
        (
            "frame of the interrupt controller",
            0xfee0_0000 | mmu::KERNEL_RW,
            Errno::EPERM,
        ),
    ] {
        error(
            format_args!("entry with {name}"),
            update_va(page, value, 2),
            errno,
        );
        bits(
            format_args!("entry with {name} changes nothing"),
            leaf(page).value & !LOOSE,
            original & !LOOSE,
        );
    }
    // The hypervisor's own device may be looked at.
    number(
        "interrupt router",
        update_va(page, 0xfec0_0000 | mmu::KERNEL_RW, 2),
        0,
    );
    bits(
        "interrupt router is read-only",
        leaf(page).value & mmu::WRITABLE,
        0,
    );
    update_va(page, original, 2);
    // Frames of memory that are the hypervisor's. The domain has all that is left, in one piece or several.
    let own = frame(page);
    let mut foreign = own;
    while mmu::pfn_to_mfn(mmu_pfn(foreign)) == Some(foreign) {
        foreign += 1;
    }
    error(
        "frame of somebody else",
        update_va(page, foreign << 12 | mmu::KERNEL_RO, 2),
        Errno::EBUSY,
    );
    number("mapping is still there", update_va(page, original, 2), 0);
}

/// The frame's number in this domain; one that no frame has if the table says nothing.
fn mmu_pfn(mfn: u64) -> u64 {
    let mut registers = Registers {
        rcx: 0xffff_8000_0000_0000 + mfn * 8,
        ..Registers::default()
    };
    match run_code(code!("mov rax, [rcx]"), &mut registers) {
        Ok(()) => registers.rax,
        Err(_) => u64::MAX,
    }
}

fn device_memory() {
    let page = pages::take();
    let original = leaf(page).value;
    let screen = 0xb_8000 | mmu::KERNEL_RW;
    number("device memory", update_va(page, screen, 2), 0);
    bits(
        "device memory is not cached",
        leaf(page).value & (mmu::PCD | mmu::PWT | mmu::PSE),
        mmu::PCD | mmu::PWT,
    );
    number(
        "device memory, write-combining",
        update_va(page, screen | mmu::PSE, 2),
        0,
    );
    let table = [
        mmu::PSE,
        mmu::PSE | mmu::PCD | mmu::PWT,
        mmu::PCD | mmu::PWT,
    ];
    let got = leaf(page).value & (mmu::PCD | mmu::PWT | mmu::PSE);
    same(
        "device memory, write-combining: entry",
        table.contains(&got),
        true,
    );
    number(
        "device memory behind all memory",
        update_va(page, 1 << 38 | mmu::KERNEL_RW, 2),
        0,
    );
    number("memory is back", update_va(page, original, 2), 0);
}

/// The processor uses what was written, at once where the flags say so.
fn translations() {
    let [first, second] = core::array::from_fn(|_| pages::take());
    pages::write(first, 1_u64);
    pages::write(second, 2_u64);
    let original = leaf(first).value;
    bits("first page", pages::read::<u64>(first), 1);
    for (name, flags) in [
        ("INVLPG", 2),
        ("TLB_FLUSH", 1),
        ("INVLPG on all", 6),
        ("TLB_FLUSH on all", 5),
    ] {
        number(
            "map the second page",
            update_va(first, entry(second, mmu::KERNEL_RW), flags),
            0,
        );
        bits(
            format_args!("second page after {name}"),
            pages::read::<u64>(first),
            2,
        );
        number("map the first page", update_va(first, original, flags), 0);
        bits(
            format_args!("first page after {name}"),
            pages::read::<u64>(first),
            1,
        );
    }
    let bitmap = pages::take();
    pages::write(bitmap, 1_u64);
    number(
        "map by a bitmap",
        update_va(first, entry(second, mmu::KERNEL_RW), bitmap | 2),
        0,
    );
    bits("second page after a bitmap", pages::read::<u64>(first), 2);
    // The entry is changed before the bitmap is looked at.
    error(
        "map by a bad bitmap",
        update_va(first, original, UNMAPPED | 2),
        Errno::EFAULT,
    );
    bits(
        "first page after a bad bitmap",
        leaf(first).value & !LOOSE,
        original & !LOOSE,
    );
    update_va(first, original, 1);
    bits("first page at last", pages::read::<u64>(first), 1);
}

fn other_domain() {
    let page = pages::take();
    let value = leaf(page).value;
    let other = entry(pages::take(), mmu::KERNEL_RW);
    let update = |domain: u64| {
        call(
            HypercallNr::UPDATE_VA_MAPPING_OTHERDOMAIN,
            [
                page,
                if domain == 0x7ff0 { value } else { other },
                2,
                domain,
            ],
        )
    };
    number("otherdomain of oneself", update(0x7ff0), 0);
    error("otherdomain of the own number", update(0), Errno::ESRCH);
    error("otherdomain of nobody", update(77), Errno::ESRCH);
    error("otherdomain of no domain", update(0x7ff4), Errno::ESRCH);
    error(
        "otherdomain of the idle domain",
        update(0x7fff),
        Errno::ESRCH,
    );
    error(
        "otherdomain of device memory, with memory",
        update(0x7ff1),
        Errno::EBUSY,
    );
    error(
        "otherdomain of the hypervisor, with memory",
        update(0x7ff2),
        Errno::EBUSY,
    );
    number(
        "own mapping at last",
        update_va(page, entry(page, mmu::KERNEL_RW), 2),
        0,
    );
}
