//! Writable translations that the processor still has when a page becomes a table: the hypervisor drops them with the type, without
//! being asked for a flush.

use pv_guest_shim::hypercall_abi::xen::{HypercallNr, MmuextCmd};
use pv_guest_shim::mmu;
use pv_guest_shim::traps::Registers;

use super::{entry, frame, leaf};
use crate::call::{call, frame_op, run as run_code, update_va};
use crate::report::{number, same};
use crate::{code, pages};

/// The checks.
pub fn run() {
    for (level, cmd) in [
        MmuextCmd::PIN_L1_TABLE,
        MmuextCmd::PIN_L2_TABLE,
        MmuextCmd::PIN_L3_TABLE,
        MmuextCmd::PIN_L4_TABLE,
    ]
    .into_iter()
    .enumerate()
    {
        let page = pages::take();
        let original = read_only_without_flush(page);
        number("pin", frame_op(cmd, frame(page)), 0);
        // An entry that no table may hold, so that no store of it is carried out either.
        let result = store(page, entry(page, mmu::KERNEL_RW));
        same(
            format_args!("store by an old translation into level {}", level + 1),
            result,
            Err((14, 3)),
        );
        same("nothing is stored", pages::read::<u64>(page), 0);
        number("unpin", frame_op(MmuextCmd::UNPIN_TABLE, frame(page)), 0);
        update_va(page, original, 2);
    }
    let (list, page) = (pages::take(), pages::take());
    pages::write(list, frame(page));
    let original = read_only_without_flush(page);
    number("set_gdt", call(HypercallNr::SET_GDT, [list, 512]), 0);
    same(
        "store by an old translation into a GDT",
        store(page, 1 << 47),
        Err((14, 3)),
    );
    number("set_gdt of nothing", call(HypercallNr::SET_GDT, [0, 0]), 0);
    update_va(page, original, 2);
}

/// Makes the processor keep a writable translation, and takes the right away in the table only.
fn read_only_without_flush(page: u64) -> u64 {
    let original = leaf(page).value;
    same("store", store(page, 0), Ok(()));
    let value = original & !mmu::WRITABLE;
    number("right is taken away", update_va(page, value, 0), 0);
    original
}

fn store(address: u64, value: u64) -> Result<(), (u64, u64)> {
    let mut registers = Registers {
        rcx: address,
        rax: value,
        ..Registers::default()
    };
    run_code(code!("mov [rcx], rax"), &mut registers)
        .map_err(|trap| (trap.frame.vector, trap.frame.error_code))
}
