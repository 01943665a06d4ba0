//! Stores into level 1 tables that are mapped read-only: carried out where `VMASST_TYPE_writable_pagetables` is on and the new
//! entry is good, page faults otherwise.

use pv_guest_shim::hypercall_abi::xen::{DomId, HypercallNr, MmuUpdate, MmuextCmd};
use pv_guest_shim::mmu;
use pv_guest_shim::traps::Registers;

use super::{LOOSE, entry, set_writable};
use crate::call::{call, frame_op, mmu_update, run as run_code, update_va};
use crate::report::{bits, number, same};
use crate::{code, pages};

/// The checks.
pub fn run() {
    let [table, first, second] = core::array::from_fn(|_| pages::take());
    set_writable(table, false);
    number(
        "table for stores",
        frame_op(MmuextCmd::PIN_L1_TABLE, mmu::virt_to_mfn(table)),
        0,
    );
    let assist = |command: u64| call(HypercallNr::VM_ASSIST, [command, 2]);
    number("assist off", assist(1), 0);
    let value = entry(first, mmu::KERNEL_RW | mmu::GUEST_KERNEL);
    // The first domain does not need the assist: its stores are looked at for the sake of read-only device memory.
    same("store without the assist", store(table, value), Ok(()));
    same(
        "store of nothing without the assist",
        store(table, 0),
        Ok(()),
    );
    number("assist on", assist(0), 0);
    accepted(table, first, second);
    narrow(table, first);
    refused(table, first);
    other_levels(first);
    number(
        "unpin",
        frame_op(MmuextCmd::UNPIN_TABLE, mmu::virt_to_mfn(table)),
        0,
    );
    same(
        "store into a table that is none any more",
        store(table, 0),
        Err((14, 3, table)),
    );
    set_writable(table, true);
    assist(1);
}

type Fault = (u64, u64, u64);

/// Runs code that writes RAX to the address in RCX, with RBX and RDX for what it needs. RAX and the flags afterwards.
fn write(code: u64, address: u64, rax: u64, rbx: u64) -> Result<Registers, Fault> {
    let mut registers = Registers {
        rcx: address,
        rax,
        rbx,
        rdx: 0x1111,
        ..Registers::default()
    };
    run_code(code, &mut registers)
        .map(|()| registers)
        .map_err(|trap| (trap.frame.vector, trap.frame.error_code, trap.cr2))
}

fn store(address: u64, value: u64) -> Result<(), Fault> {
    write(code!("mov [rcx], rax"), address, value, 0).map(drop)
}

fn at(address: u64) -> u64 {
    pages::read::<u64>(address)
}

fn accepted(table: u64, first: u64, second: u64) {
    let one = entry(first, mmu::KERNEL_RW | mmu::GUEST_KERNEL);
    let two = entry(second, mmu::KERNEL_RW | mmu::GUEST_KERNEL);
    same("store", store(table, one), Ok(()));
    bits("store: entry", at(table), one);
    same(
        "store of a user page",
        store(table + 8, entry(first, mmu::KERNEL_RW)),
        Ok(()),
    );
    bits(
        "store of a user page: entry",
        at(table + 8),
        entry(first, mmu::KERNEL_RW | mmu::GLOBAL),
    );
    same(
        "store of a kernel page",
        store(table + 8, entry(first, 3)),
        Ok(()),
    );
    bits(
        "store of a kernel page: entry",
        at(table + 8),
        entry(first, 7 | mmu::GUEST_KERNEL),
    );
    same("store of nothing", store(table + 8, 0), Ok(()));
    bits("store of nothing: entry", at(table + 8), 0);
    same(
        "store of an absent entry",
        store(table + 8, 0xffff_ffff_ffff_fffe),
        Ok(()),
    );
    bits(
        "store of an absent entry: entry",
        at(table + 8),
        0xffff_ffff_ffff_fffe,
    );
    let immediate = write(code!("mov qword ptr [rcx], 0"), table + 8, 0, 0);
    same("store of an immediate", immediate.map(drop), Ok(()));
    bits("store of an immediate: entry", at(table + 8), 0);
    let xchg = write(code!("xchg [rcx], rax"), table, two, 0);
    same("xchg", xchg.map(|registers| registers.rax), Ok(one));
    bits("xchg: entry", at(table), two);
    let cmpxchg = code!("lock cmpxchg [rcx], rbx");
    let result = write(cmpxchg, table, two, one);
    same(
        "cmpxchg",
        result.map(|registers| (registers.rax, registers.rflags & 0x40)),
        Ok((two, 0x40)),
    );
    bits("cmpxchg: entry", at(table), one);
    let result = write(cmpxchg, table, two, two);
    same(
        "cmpxchg of another value",
        result.map(|registers| (registers.rax, registers.rflags & 0x40)),
        Ok((one, 0)),
    );
    bits("cmpxchg of another value: entry", at(table), one);
    let clear = write(
        code!("lock and qword ptr [rcx], rbx"),
        table,
        0,
        !mmu::WRITABLE,
    );
    same("lock and", clear.map(drop), Ok(()));
    bits("lock and: entry", at(table), one & !mmu::WRITABLE);
    let set = write(code!("lock bts qword ptr [rcx], 1"), table, 0, 0);
    same("lock bts", set.map(|registers| registers.rflags & 1), Ok(0));
    bits("lock bts: entry", at(table), one);
    let reset = write(code!("lock btr qword ptr [rcx], 1"), table, 0, 0);
    same(
        "lock btr",
        reset.map(|registers| registers.rflags & 1),
        Ok(1),
    );
    bits("lock btr: entry", at(table), one & !mmu::WRITABLE);
    let or = write(code!("or qword ptr [rcx], 2"), table, 0, 0);
    same("or", or.map(drop), Ok(()));
    bits("or: entry", at(table), one);
    let xor = write(code!("xor qword ptr [rcx], 0x20"), table, 0, 0);
    same("xor", xor.map(drop), Ok(()));
    bits("xor: entry", at(table), one ^ 0x20);
    let add = write(code!("add qword ptr [rcx], 0"), table, 0, 0);
    same("add of 0", add.map(drop), Ok(()));
    let push = write(
        code!(
            "mov rdi, rcx",
            "mov rax, rbx",
            "stosq",
            "mov rax, rdi",
            "sub rax, rcx"
        ),
        table + 16,
        0,
        one,
    );
    same("stosq", push.map(|registers| registers.rax), Ok(8));
    bits("stosq: entry", at(table + 16), one);
    // The writable reference of a replaced entry is gone: the page can become a table.
    same("store of nothing at last", store(table, 0), Ok(()));
    same("store of nothing at last", store(table + 16, 0), Ok(()));
    set_writable(first, false);
    number(
        "page has no other writer",
        frame_op(MmuextCmd::PIN_L1_TABLE, mmu::virt_to_mfn(first)),
        0,
    );
    number(
        "unpin",
        frame_op(MmuextCmd::UNPIN_TABLE, mmu::virt_to_mfn(first)),
        0,
    );
    set_writable(first, true);
    same("end of the table", store(table + 4088, one), Ok(()));
    same(
        "end of the table is emptied",
        store(table + 4088, 0),
        Ok(()),
    );
}

/// Stores of part of an entry.
fn narrow(table: u64, first: u64) {
    let one = entry(first, mmu::KERNEL_RW | mmu::GUEST_KERNEL);
    let _ = store(table, one);
    let low = write(
        code!("mov dword ptr [rcx], eax"),
        table,
        one & 0xffff_ffff & !mmu::WRITABLE,
        0,
    );
    same("store of 4 bytes", low.map(drop), Ok(()));
    bits("store of 4 bytes: entry", at(table), one & !mmu::WRITABLE);
    let byte = write(code!("mov byte ptr [rcx], al"), table, one & 0xff, 0);
    same("store of a byte", byte.map(drop), Ok(()));
    bits("store of a byte: entry", at(table), one);
    let word = write(code!("mov word ptr [rcx + 6], ax"), table, 0x8010, 0);
    same("store of 2 bytes", word.map(drop), Ok(()));
    bits(
        "store of 2 bytes: entry",
        at(table),
        one & 0x0000_ffff_ffff_ffff | 0x8010 << 48,
    );
    let and = write(code!("lock and byte ptr [rcx], 0xfe"), table, 0, 0);
    same("lock and of a byte", and.map(drop), Ok(()));
    bits("lock and of a byte: entry", at(table) & 0xff, one & 0xfe);
    let across = write(code!("mov [rcx + 4], rax"), table, 0, 0);
    same(
        "store across two entries",
        across.map(drop),
        Err((14, 3, table + 4)),
    );
    let _ = store(table, 0);
}

fn refused(table: u64, first: u64) {
    let good = entry(first, mmu::KERNEL_RW | mmu::GUEST_KERNEL);
    same("store before bad ones", store(table, good), Ok(()));
    let bad = [
        ("a writable table", entry(table, mmu::KERNEL_RW)),
        ("the writable root", mmu::boot_root() << 12 | mmu::KERNEL_RW),
        ("the interrupt controller", 0xfee0_0000 | mmu::KERNEL_RW),
        ("all ones", u64::MAX),
    ];
    for (name, value) in bad {
        same(
            format_args!("store of {name}"),
            store(table, value),
            Err((14, 3, table)),
        );
        let xchg = write(code!("xchg [rcx], rax"), table, value, 0);
        same(
            format_args!("xchg of {name}"),
            xchg.map(drop),
            Err((14, 3, table)),
        );
        let cmpxchg = write(code!("lock cmpxchg [rcx], rbx"), table, good, value);
        same(
            format_args!("cmpxchg of {name}"),
            cmpxchg.map(drop),
            Err((14, 3, table)),
        );
        bits(format_args!("entry after {name}"), at(table), good);
    }
    same(
        "store of a table, read-only",
        store(table, entry(table, mmu::KERNEL_RO)),
        Ok(()),
    );
    same("store of nothing", store(table, 0), Ok(()));
    let clear = write(code!("pxor xmm0, xmm0", "movups [rcx], xmm0"), table, 0, 0);
    same("store of 16 bytes", clear.map(drop), Err((14, 3, table)));
}

/// Tables of the other levels are never stored to.
fn other_levels(first: u64) {
    for level in 2..=4 {
        let found = mmu::entry(mmu::boot_root(), first, level).unwrap_or_default();
        let result = store(found.address, found.value);
        same(
            format_args!("store into level {level}"),
            result,
            Err((14, 3, found.address)),
        );
    }
    // The table that maps this page, through its own mapping.
    let found = mmu::leaf(first).unwrap_or_default();
    same(
        "store into a table of the boot mapping",
        store(found.address, found.value),
        Ok(()),
    );
    bits(
        "store into a table of the boot mapping: entry",
        mmu::leaf(first).unwrap_or_default().value & !LOOSE,
        found.value & !LOOSE,
    );
    let update = MmuUpdate {
        ptr: found.machine_address,
        val: found.value,
    };
    same(
        "mmu_update of the same",
        mmu_update(&[update], DomId::SELF),
        (0, 1),
    );
    number(
        "update_va_mapping of the same",
        update_va(first, found.value, 2),
        0,
    );
}
