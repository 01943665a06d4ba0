//! `VCPUOP_register_vcpu_info`: the last area, since it can be done once only.

use core::sync::atomic::Ordering::Relaxed;

use pv_guest_shim::events::{bind_ipi, close, send};
use pv_guest_shim::hypercall_abi::errno::Errno;
use pv_guest_shim::hypercall_abi::xen::{MmuextCmd, StartInfo};
use pv_guest_shim::traps::{self, Registers};
use pv_guest_shim::{mmu, shared, time};

use crate::call::{self, frame_op, run as run_code, update_va};
use crate::report::{bits, error, holds, number, same};
use crate::{code, pages};

/// The area.
pub fn run(_: &'static StartInfo) {
    let page = pages::take();
    shared::upcall_mask().store(1, Relaxed);
    number("register_vcpu_info", call::move_vcpu_info(page + 4032), 0);
    error(
        "register_vcpu_info twice",
        call::move_vcpu_info(page + 64),
        Errno::EINVAL,
    );
    bits(
        "selector is all ones",
        shared::pending_selector().load(Relaxed),
        u64::MAX,
    );
    same(
        "upcall is pending",
        shared::upcall_pending().load(Relaxed),
        1,
    );
    same("mask is kept", shared::upcall_mask().load(Relaxed), 1);
    let before = time::now();
    holds(
        "clock is valid at once",
        before,
        before > 0 && shared::time_info().tsc_to_system_mul != 0,
    );
    shared::pending_selector().store(0, Relaxed);
    shared::upcall_pending().store(0, Relaxed);
    let trap = run_code(code!("ud2"), &mut Registers::default())
        .err()
        .unwrap_or_default();
    same(
        "mask of the new place is in frames",
        (trap.frame.saved_mask(), trap.handler_mask),
        (1, 1),
    );
    shared::upcall_mask().store(0, Relaxed);
    let trap = run_code(code!("ud2"), &mut Registers::default())
        .err()
        .unwrap_or_default();
    shared::upcall_mask().store(1, Relaxed);
    same(
        "clear mask of the new place is in frames",
        (trap.frame.saved_mask(), trap.handler_mask),
        (0, 0),
    );
    let trap = run_code(
        code!("mov rax, [rcx]"),
        &mut Registers {
            rcx: 0x1238,
            ..Registers::default()
        },
    )
    .err()
    .unwrap_or_default();
    bits("fault address is in the new place", trap.cr2, 0x1238);
    let port = bind_ipi(0).unwrap_or(0);
    let (word, bit) = shared::mask_word(port);
    word.fetch_and(!bit, Relaxed);
    same("send", send(port), Ok(()));
    same(
        "event is in the new place",
        (
            shared::pending_selector().load(Relaxed),
            shared::upcall_pending().load(Relaxed),
        ),
        (1, 1),
    );
    let code = code!(
        "mov byte ptr [rcx], 0",
        "mov eax, 17",
        "xor edi, edi",
        "syscall",
        "nop"
    );
    let mut registers = Registers {
        rcx: shared::upcall_mask().as_ptr() as u64,
        ..Registers::default()
    };
    let trap = run_code(code, &mut registers).err().unwrap_or_default();
    bits("upcall by the new place", trap.frame.vector, traps::EVENT);
    shared::upcall_mask().store(1, Relaxed);
    shared::upcall_pending().store(0, Relaxed);
    same("close", close(port), Ok(()));
    // The hypervisor keeps a writable reference: the page can be no table, even without a mapping.
    let leaf = mmu::leaf(page).unwrap_or_default().value;
    number(
        "page becomes read-only",
        update_va(page, leaf & !mmu::WRITABLE, 2),
        0,
    );
    error(
        "page is no table",
        frame_op(MmuextCmd::PIN_L1_TABLE, mmu::virt_to_mfn(page)),
        Errno::EINVAL,
    );
    number("page becomes writable", update_va(page, leaf, 2), 0);
}
