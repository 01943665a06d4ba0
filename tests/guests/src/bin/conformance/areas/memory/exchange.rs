//! `XENMEM_exchange`.

use pv_guest_shim::hypercall_abi::errno::Errno;
use pv_guest_shim::hypercall_abi::memory::{MemoryExchange, MemoryReservation};
use pv_guest_shim::hypercall_abi::xen::StartInfo;
use pv_guest_shim::mmu;

use crate::call::update_va;
use crate::pages;
use crate::report::{bits, number, same};

use super::{op, reservation, set_p2m, size};

/// The checks.
pub fn run(info: &'static StartInfo) {
    exchange(info);
}

fn exchange(info: &'static StartInfo) {
    let [argument, inputs, outputs, first, second] = core::array::from_fn(|_| pages::take());
    let before = size(argument);
    let with = |input: MemoryReservation, output: MemoryReservation| {
        pages::write(
            argument,
            MemoryExchange {
                r#in: input,
                out: output,
                nr_exchanged: 0,
            },
        );
        let result = op(11, argument);
        (result, pages::read::<MemoryExchange>(argument).nr_exchanged)
    };
    let fails = |errno: Errno| (-(errno as i64), 0);
    let one = |list| reservation(list, 1, 0, 0x7ff0);
    pages::write(inputs, mmu::virt_to_mfn(first));
    pages::write(outputs, mmu::virt_to_pfn(first));
    same(
        "exchange of a mapped frame",
        with(one(inputs), one(outputs)),
        fails(Errno::EINVAL),
    );
    same(
        "exchange with other sizes",
        with(one(inputs), reservation(outputs, 2, 0, 0x7ff0)),
        fails(Errno::EINVAL),
    );
    same(
        "exchange with other orders",
        with(one(inputs), reservation(outputs, 1, 1, 0x7ff0)),
        fails(Errno::EINVAL),
    );
    same(
        "exchange between domains",
        with(one(inputs), reservation(outputs, 1, 0, 0)),
        fails(Errno::EINVAL),
    );
    same(
        "exchange for nobody",
        with(
            reservation(inputs, 1, 0, 77),
            reservation(outputs, 1, 0, 77),
        ),
        fails(Errno::ESRCH),
    );
    same(
        "exchange of order 19",
        with(
            reservation(inputs, 1, 19, 0x7ff0),
            reservation(outputs, 1, 19, 0x7ff0),
        ),
        fails(Errno::EPERM),
    );
    same(
        "exchange from a bad list",
        with(one(0xffff_8300_0000_0000), one(outputs)),
        fails(Errno::EFAULT),
    );
    same(
        "exchange of nothing",
        with(
            reservation(inputs, 0, 0, 0x7ff0),
            reservation(outputs, 0, 0, 0x7ff0),
        ),
        (0, 0),
    );
    update_va(first, 0, 0);
    let narrow = MemoryReservation {
        mem_flags: 13,
        ..one(outputs)
    };
    same(
        "exchange for an address that is too low",
        with(one(inputs), narrow),
        fails(Errno::ENOMEM),
    );
    number(
        "frame is still ours",
        update_va(first, mmu::virt_to_mfn(first) << 12 | mmu::KERNEL_RW, 2),
        0,
    );
    update_va(first, 0, 0);
    same("exchange", with(one(inputs), one(outputs)), (0, 1));
    let new = pages::read::<u64>(outputs);
    bits(
        "exchange: frame table",
        mmu::mfn_to_pfn(new),
        mmu::virt_to_pfn(first),
    );
    number(
        "exchange: mapping",
        update_va(first, new << 12 | mmu::KERNEL_RW, 2),
        0,
    );
    set_p2m(info, first, new);
    number("exchange: size", size(argument), before);
    pages::write(inputs, 1_u64 << 38);
    same(
        "exchange of no frame",
        with(one(inputs), one(outputs)),
        fails(Errno::EINVAL),
    );
    // Two single frames for a pair.
    update_va(first, 0, 0);
    update_va(second, 0, 0);
    pages::write(inputs, mmu::virt_to_mfn(first));
    pages::write(inputs + 8, mmu::virt_to_mfn(second));
    pages::write(outputs, mmu::virt_to_pfn(first));
    let pair = with(
        reservation(inputs, 2, 0, 0x7ff0),
        reservation(outputs, 1, 1, 0x7ff0),
    );
    same("exchange for a pair", pair, (0, 2));
    let new = pages::read::<u64>(outputs);
    same(
        "pair: frame table",
        (mmu::mfn_to_pfn(new), mmu::mfn_to_pfn(new + 1)),
        (mmu::virt_to_pfn(first), mmu::virt_to_pfn(first) + 1),
    );
    bits("pair is aligned", new & 1, 0);
    for (page, mfn) in [(first, new), (second, new + 1)] {
        number(
            "pair: mapping",
            update_va(page, mfn << 12 | mmu::KERNEL_RW, 2),
            0,
        );
        set_p2m(info, page, mfn);
    }
    // And back.
    update_va(first, 0, 0);
    update_va(second, 0, 0);
    pages::write(inputs, new);
    pages::write(outputs, mmu::virt_to_pfn(first));
    pages::write(outputs + 8, mmu::virt_to_pfn(second));
    let single = with(
        reservation(inputs, 1, 1, 0x7ff0),
        reservation(outputs, 2, 0, 0x7ff0),
    );
    same("exchange of a pair", single, (0, 1));
    for (at, page) in (0..).zip([first, second]) {
        let mfn = pages::read::<u64>(outputs + at * 8);
        bits(
            "singles: frame table",
            mmu::mfn_to_pfn(mfn),
            mmu::virt_to_pfn(page),
        );
        number(
            "singles: mapping",
            update_va(page, mfn << 12 | mmu::KERNEL_RW, 2),
            0,
        );
        set_p2m(info, page, mfn);
    }
    number("size at last", size(argument), before);
}
