//! The first domain's own calls: `physdev_op` and `platform_op`, and what they refuse.

use pv_guest_shim::hypercall_abi::errno::Errno;
use pv_guest_shim::hypercall_abi::xen::{HypercallNr, StartInfo};

use crate::call::{BAD_POINTERS, call};
use crate::pages;
use crate::report::{error, number};

/// The area.
pub fn run(_: &'static StartInfo) {
    versions();
    pointers();
    physdev();
}

/// An argument of 64-bit words.
fn argument(words: &[u64]) -> u64 {
    let page = pages::take();
    for (at, word) in (0..).zip(words) {
        pages::write(page + at * 8, *word);
    }
    page
}

/// The structure begins with a command and the version of the interface.
fn versions() {
    const GOOD: u64 = 0x0300_0001;
    for version in [0, GOOD - 1, GOOD + 1, 0xffff_ffff] {
        let arg = argument(&[5 | version << 32]);
        error(
            format_args!("platform_op of version {version:#x}"),
            call(HypercallNr::PLATFORM_OP, [arg]),
            Errno::EACCES,
        );
    }
    let arg = argument(&[0x7fff | GOOD << 32]);
    error(
        "platform_op unknown",
        call(HypercallNr::PLATFORM_OP, [arg]),
        Errno::ENOSYS,
    );
}

fn pointers() {
    for (kind, pointer) in BAD_POINTERS {
        error(
            format_args!("platform_op at {kind} pointer"),
            call(HypercallNr::PLATFORM_OP, [pointer]),
            Errno::EFAULT,
        );
        for op in [5, 6, 7, 8, 10, 12, 13, 14, 21, 24, 25, 26, 28] {
            error(
                format_args!("physdev_op {op} at {kind} pointer"),
                call(HypercallNr::PHYSDEV_OP, [op, pointer]),
                Errno::EFAULT,
            );
        }
    }
}

fn physdev() {
    let op = |number: u64, words: &[u64]| call(HypercallNr::PHYSDEV_OP, [number, argument(words)]);
    for number in [0, 1, 2, 3, 18, 22, 32, 255, 0xffff_ffff] {
        error(
            format_args!("physdev_op {number:#x}"),
            op(number, &[]),
            Errno::ENOSYS,
        );
    }
    // What asked for a notification once, and still does no harm.
    number("physdev_op 4", op(4, &[]), 0);
    error("eoi of no interrupt", op(12, &[0xffff_ffff]), Errno::EINVAL);
    error(
        "irq_status_query of no interrupt",
        op(5, &[0xffff_ffff]),
        Errno::EINVAL,
    );
    // map_pirq: domid and type, index and pirq, bus and devfn, entry, table.
    let map = |domain: u64, kind: u64, index: u64, pirq: u64| {
        op(13, &[domain | kind << 32, index | pirq << 32, 0, 0, 0])
    };
    error(
        "map_pirq of interrupt 0",
        map(0x7ff0, 1, 0, 0),
        Errno::EPERM,
    );
    error(
        "map_pirq of no interrupt",
        map(0x7ff0, 1, 0xffff, 0xffff),
        Errno::EINVAL,
    );
    error("map_pirq for nobody", map(77, 1, 5, 5), Errno::ESRCH);
    number("map_pirq", map(0x7ff0, 1, 5, 5), 0);
    number("map_pirq again", map(0x7ff0, 1, 5, 5), 0);
    error(
        "map_pirq to another number",
        map(0x7ff0, 1, 5, 6),
        Errno::EEXIST,
    );
    // unmap_pirq: domid, pirq.
    number("unmap_pirq", op(14, &[0x7ff0 | 5 << 32]), 0);
    error(
        "unmap_pirq twice",
        op(14, &[0x7ff0 | 5 << 32]),
        Errno::EINVAL,
    );
}
