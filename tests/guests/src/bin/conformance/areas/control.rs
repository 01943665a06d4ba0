//! The first domain's own calls: `physdev_op`, `platform_op`, `domctl`, `sysctl`, and what they refuse.

use pv_guest_shim::hypercall_abi::errno::Errno;
use pv_guest_shim::hypercall_abi::xen::{HypercallNr, StartInfo};

use crate::call::{BAD_POINTERS, call};
use crate::pages;
use crate::report::{error, holds, number};

/// The area.
pub fn run(_: &'static StartInfo) {
    versions();
    pointers();
    domctl();
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

/// Structures that begin with a command and the version of the interface.
fn versions() {
    for (name, nr, good) in [
        ("platform_op", HypercallNr::PLATFORM_OP, 0x0300_0001_u64),
        ("domctl", HypercallNr::DOMCTL, 0x15),
        ("sysctl", HypercallNr::SYSCTL, 0x15),
    ] {
        for version in [0, good - 1, good + 1, 0xffff_ffff] {
            let arg = argument(&[5 | version << 32]);
            error(
                format_args!("{name} of version {version:#x}"),
                call(nr, [arg]),
                Errno::EACCES,
            );
        }
        let arg = argument(&[0x7fff | good << 32]);
        error(
            format_args!("{name} unknown"),
            call(nr, [arg]),
            Errno::ENOSYS,
        );
    }
}

fn pointers() {
    for (kind, pointer) in BAD_POINTERS {
        for (name, nr) in [
            ("platform_op", HypercallNr::PLATFORM_OP),
            ("domctl", HypercallNr::DOMCTL),
            ("sysctl", HypercallNr::SYSCTL),
        ] {
            error(
                format_args!("{name} at {kind} pointer"),
                call(nr, [pointer]),
                Errno::EFAULT,
            );
        }
        for op in [5, 6, 7, 8, 10, 12, 13, 14, 21, 24, 25, 26, 28] {
            error(
                format_args!("physdev_op {op} at {kind} pointer"),
                call(HypercallNr::PHYSDEV_OP, [op, pointer]),
                Errno::EFAULT,
            );
        }
    }
}

fn domctl() {
    let op = |command: u64, domain: u64, words: &[u64]| {
        let mut all = [0; 18];
        all[0] = command | 0x15 << 32;
        all[1] = domain;
        for (to, from) in all.iter_mut().skip(2).zip(words) {
            *to = *from;
        }
        let arg = argument(&all);
        (call(HypercallNr::DOMCTL, [arg]), arg)
    };
    for command in [2, 3, 4, 9, 11, 12, 13, 14, 15, 17, 27, 36, 61] {
        error(
            format_args!("domctl {command} of nobody"),
            op(command, 77, &[]).0,
            Errno::ESRCH,
        );
    }
    // Oneself cannot be paused, destroyed or built again.
    for command in [3, 12] {
        error(
            format_args!("domctl {command} of oneself"),
            op(command, 0, &[]).0,
            Errno::EINVAL,
        );
    }
    let (result, arg) = op(5, 0, &[]);
    number("getdomaininfo", result, 0);
    number(
        "getdomaininfo: domain",
        pages::read::<u16>(arg + 16).into(),
        0,
    );
    holds(
        "getdomaininfo: pages",
        pages::read::<u64>(arg + 24),
        pages::read::<u64>(arg + 24) > 0,
    );
    error(
        "getdomaininfo behind the last",
        op(5, 100, &[]).0,
        Errno::ESRCH,
    );
    error(
        "getdomaininfo of no domain",
        op(5, 0x7ff0, &[]).0,
        Errno::EINVAL,
    );
    let (result, arg) = op(36, 0, &[]);
    number("get_address_size", result, 0);
    number(
        "get_address_size: bits",
        pages::read::<u32>(arg + 16).into(),
        64,
    );
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
