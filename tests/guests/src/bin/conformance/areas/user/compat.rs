//! 32-bit code in user mode.

use pv_guest_shim::hypercall_abi::arch_x86::IretContext;
use pv_guest_shim::hypercall_abi::arch_x86::xen_x86_64::FLAT_RING3_CS32;
use pv_guest_shim::hypercall_abi::callback::CallbackType;
use pv_guest_shim::hypercall_abi::xen::{DomId, MmuUpdate};
use pv_guest_shim::mmu;
use pv_guest_shim::traps::{self, Registers};

use crate::call::{enter, mmu_update, update_va};
use crate::pages;
use crate::report::{bits, holds, number, same};

use super::{USER_SS, context};

/// The checks.
pub fn run(root: u64, stack: u64) {
    compatibility(root, stack);
}

/// Where the pages for compatibility mode are.
const LOW: u64 = 0x40_0000;

/// 32-bit code needs a page below 4 GiB: tables for slot 0 of the user table.
fn compatibility(root: u64, stack: u64) {
    let [l3, l2, l1, page] = core::array::from_fn(|_| pages::take());
    // int 0x80; syscall; sysenter; ud2; into
    let program: [u8; 16] = [
        0xcd, 0x80, 0x0f, 0x0b, 0x0f, 0x05, 0x0f, 0x0b, 0x0f, 0x34, 0x0f, 0x0b, 0xce, 0x0f, 0x0b,
        0xf4,
    ];
    for (at, byte) in (0..).zip(program) {
        pages::write(page + at, byte);
    }
    let link = |address| mmu::virt_to_mfn(address) << 12 | mmu::KERNEL_RW;
    pages::write(l1, link(page));
    pages::write(l2 + 2 * 8, link(l1));
    pages::write(l3, link(l2));
    for table in [l3, l2, l1] {
        let entry = mmu::leaf(table).unwrap_or_default().value;
        number(
            "low table becomes read-only",
            update_va(table, entry & !mmu::WRITABLE, 2),
            0,
        );
    }
    let update = |value| {
        mmu_update(
            &[MmuUpdate {
                ptr: mmu::virt_to_mfn(root) << 12,
                val: value,
            }],
            DomId::SELF,
        )
    };
    same("low slot is filled", update(link(l3)), (0, 1));
    let start = |offset: u64| IretContext {
        rip: LOW + offset,
        cs: FLAT_RING3_CS32.into(),
        rsp: LOW + 2048,
        ..context(0, stack)
    };
    let compat = |name: &str, offset, vector, error_code, behind: u64| {
        let trap = enter(&start(offset), &mut Registers::default());
        bits(
            format_args!("32-bit {name}: vector"),
            trap.frame.vector,
            vector,
        );
        bits(
            format_args!("32-bit {name}: error code"),
            trap.frame.error_code,
            error_code,
        );
        bits(
            format_args!("32-bit {name}: rip"),
            trap.frame.rip,
            LOW + offset + behind,
        );
        bits(
            format_args!("32-bit {name}: cs"),
            trap.frame.cs,
            u64::from(FLAT_RING3_CS32) | 1 << 32,
        );
        bits(
            format_args!("32-bit {name}: rsp"),
            trap.frame.rsp,
            LOW + 2048,
        );
        trap
    };
    compat("int 0x80", 0, 0x80, 0, 2);
    compat("#UD", 2, 6, 0, 0);
    compat("hlt", 15, 13, 0, 0);
    // SYSCALL in 32-bit code exists on AMD only; SYSENTER in long mode on Intel only, elsewhere it has no target.
    let trap = enter(&start(4), &mut Registers::default());
    holds(
        "32-bit syscall",
        trap.frame.vector,
        matches!(trap.frame.vector, traps::SYSCALL32 | 6),
    );
    if trap.frame.vector == traps::SYSCALL32 {
        same(
            "32-bit syscall: rip cs ss",
            (trap.frame.rip, trap.frame.cs, trap.frame.ss),
            (LOW + 6, u64::from(FLAT_RING3_CS32) | 1 << 32, USER_SS),
        );
        traps::register_callback(CallbackType::SYSCALL32, 0, 0);
        compat("syscall without a handler", 4, 6, 0, 0);
        traps::init();
    }
    let trap = enter(&start(8), &mut Registers::default());
    let vector = trap.frame.vector;
    holds(
        "32-bit sysenter",
        vector,
        matches!(vector, traps::SYSENTER | 6 | 13),
    );
    if vector == traps::SYSENTER {
        traps::register_callback(CallbackType::SYSENTER, 0, 0);
        let trap = enter(&start(8), &mut Registers::default());
        bits("32-bit sysenter without a handler", trap.frame.vector, 13);
        traps::init();
    }
    let into = IretContext {
        rflags: 0x800,
        ..start(12)
    };
    let trap = enter(&into, &mut Registers::default());
    bits("32-bit into: vector", trap.frame.vector, 4);
    bits("32-bit into: rip", trap.frame.rip, LOW + 13);
    let trap = enter(
        &IretContext {
            rflags: 0,
            ..start(12)
        },
        &mut Registers::default(),
    );
    bits("32-bit into without OF: rip", trap.frame.rip, LOW + 13);
    bits("32-bit into without OF: vector", trap.frame.vector, 6);
    same("low slot is emptied", update(0), (0, 1));
    let trap = enter(&start(2), &mut Registers::default());
    bits("32-bit code is gone: vector", trap.frame.vector, 14);
    bits(
        "32-bit code is gone: error code",
        trap.frame.error_code,
        0x14,
    );
    let trap = crate::call::trap_of(LOW).unwrap_or_default();
    bits("user's page is not the kernel's", trap.cr2, LOW);
}
