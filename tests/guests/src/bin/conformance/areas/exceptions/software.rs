//! Software interrupts, and the event mask across exceptions.

use core::sync::atomic::Ordering;

use pv_guest_shim::hypercall_abi::arch_x86::xen_x86_64::FLAT_KERNEL_CS64;
use pv_guest_shim::hypercall_abi::arch_x86::{TI_IF, TrapInfo};
use pv_guest_shim::traps::{self};
use pv_guest_shim::{hypercall, shared};

use crate::call::trap_of;
use crate::code;
use crate::report::{bits, number, same};

use super::{KERNEL_CS, expect};

/// The checks.
pub fn run() {
    software_interrupts();
    event_mask();
}

/// Registers entry points for one vector.
fn set_vector(vector: u8, flags: u8, address: u64) -> i64 {
    let info = |vector, flags, address| TrapInfo {
        vector,
        flags,
        cs: FLAT_KERNEL_CS64,
        _pad: [0; 4],
        address,
    };
    hypercall::set_trap_table(&mut [info(vector, flags, address), info(0, 0, 0)])
}

/// QEMU without acceleration raises the #GP of a refused `int n` with the error code 16 n + 2 instead of 8 n + 2 in 64-bit
/// mode, so that it stands for vector 2 n.
fn qemu_software_interrupts() -> bool {
    let trap = trap_of(code!(".byte 0xcd, 0x20")).unwrap_or_default();
    trap.frame.error_code == 0x202
}

fn software_interrupts() {
    let quirk = qemu_software_interrupts();
    let choose = |real, on_qemu| if quirk { on_qemu } else { real };
    let int_32 = choose(code!(".byte 0xcd, 0x20"), code!(".byte 0xcd, 0x10"));
    let int_14 = choose(code!(".byte 0xcd, 14"), code!(".byte 0xcd, 7"));
    let int_254 = choose(code!(".byte 0xcd, 254"), code!(".byte 0xcd, 127"));
    let int_128 = code!(".byte 0xcd, 0x80");
    expect("int 0x20 without right", int_32, 13, 0x102, 0);
    expect("int 14 without right", int_14, 13, 0x72, 0);
    expect("int 254 without right", int_254, 13, 0x7f2, 0);
    // Its gate is open to ring 3: the level in the table does not count.
    expect("int 0x80 of level 0", int_128, 0x80, 0, 2);
    for dpl in 1..=3 {
        number(
            "set_trap_table",
            set_vector(0x20, dpl, traps::entry_point(0x20)),
            0,
        );
        expect("int 0x20 with right", int_32, 0x20, 0, 2);
        set_vector(0x80, dpl, traps::entry_point(0x80));
        expect("int 0x80 with right", int_128, 0x80, 0, 2);
    }
    // A vector with an error code has none when software raises it.
    set_vector(14, 3, traps::entry_point(0x71));
    let trap = trap_of(int_14).unwrap_or_default();
    bits("int 14 with right", trap.frame.vector, 0x71);
    bits("int 14 with right: cs", trap.frame.cs, KERNEL_CS | 1 << 32);
    for (name, vector, code) in [("0x20", 0x20, int_32), ("0x80", 0x80, int_128)] {
        set_vector(vector, 3 | TI_IF, traps::entry_point(vector));
        shared::upcall_mask().store(0, Ordering::Relaxed);
        let trap = trap_of(code).unwrap_or_default();
        shared::upcall_mask().store(1, Ordering::Relaxed);
        bits(
            format_args!("masking int {name}: vector"),
            trap.frame.vector,
            vector.into(),
        );
        same(
            format_args!("masking int {name}: mask in the handler"),
            trap.handler_mask,
            1,
        );
        same(
            format_args!("masking int {name}: saved mask"),
            trap.frame.saved_mask(),
            0,
        );
    }
    // Address 0 ends the table, so a removed handler is one that was never set: all are removed.
    traps::init();
}

/// Mask clear: the frame says so, and the exception leaves it clear.
fn event_mask() {
    shared::upcall_mask().store(0, Ordering::Relaxed);
    let trap = trap_of(code!("ud2")).unwrap_or_default();
    let after = shared::upcall_mask().load(Ordering::Relaxed);
    shared::upcall_mask().store(1, Ordering::Relaxed);
    bits("unmasked #UD: cs", trap.frame.cs, KERNEL_CS);
    bits("unmasked #UD: flags", trap.frame.rflags & !0x1_08d5, 0x202);
    same("unmasked #UD: mask in the handler", trap.handler_mask, 0);
    same("iret with IF clears the mask", after, 0);
    set_vector(6, TI_IF, traps::entry_point(6));
    shared::upcall_mask().store(0, Ordering::Relaxed);
    let trap = trap_of(code!("ud2")).unwrap_or_default();
    let after = shared::upcall_mask().load(Ordering::Relaxed);
    shared::upcall_mask().store(1, Ordering::Relaxed);
    bits("masking #UD: cs", trap.frame.cs, KERNEL_CS);
    same("masking #UD: mask in the handler", trap.handler_mask, 1);
    same("masking #UD: iret gives the mask back", after, 0);
    shared::upcall_mask().store(0x80, Ordering::Relaxed);
    let trap = trap_of(code!("ud2")).unwrap_or_default();
    let after = shared::upcall_mask().load(Ordering::Relaxed);
    shared::upcall_mask().store(1, Ordering::Relaxed);
    bits("mask byte in the frame", trap.frame.saved_mask(), 0x80);
    bits("mask byte: IF", trap.frame.rflags & 0x200, 0);
    same("iret without IF sets the mask", after, 1);
    traps::init();
}
