//! Grants of the first version, with oneself as the other side: map, unmap, copy, and every status.

mod copies;
mod maps;

use pv_guest_shim::grant::{self};
use pv_guest_shim::hypercall_abi::errno::Errno;
use pv_guest_shim::hypercall_abi::grant_table::{
    GntStatus, GnttabGetVersion, GnttabOp, GnttabQuerySize, GnttabSetVersion, GnttabSetupTable,
};
use pv_guest_shim::hypercall_abi::xen::{DomId, HypercallNr, StartInfo};
use zerocopy::FromZeros;

use crate::call::{BAD_POINTERS, call};
use crate::pages;
use crate::report::{error, holds, number, same};

const SELF: DomId = DomId(0);

/// The first reference that is nobody's.
const REF: u32 = 8;

/// The area.
pub fn run(_: &'static StartInfo) {
    arguments();
    sizes();
    same("setup_table", grant::init(), Ok(GntStatus::OKAY));
    maps::run();
    copies::run();
}

fn raw(op: u64, pointer: u64, count: u64) -> i64 {
    call(HypercallNr::GRANT_TABLE_OP, [op, pointer, count])
}

fn arguments() {
    let page = pages::take();
    for op in [13, 14, 255] {
        error(
            format_args!("grant op {op}"),
            raw(op, page, 1),
            Errno::ENOSYS,
        );
    }
    for op in [0, 1, 2, 5, 6, 8, 10] {
        for (kind, pointer) in BAD_POINTERS {
            error(
                format_args!("grant op {op} at {kind} pointer"),
                raw(op, pointer, 1),
                Errno::EFAULT,
            );
        }
        if !matches!(op, 2 | 6 | 8 | 10) {
            number(
                format_args!("grant op {op} of nothing"),
                raw(op, page, 0),
                0,
            );
        }
        error(
            format_args!("grant op {op} of 2^31"),
            raw(op, page, 1 << 31),
            Errno::EINVAL,
        );
    }
    for op in [2, 6] {
        error(
            format_args!("grant op {op} of two"),
            raw(op, page, 2),
            Errno::EINVAL,
        );
        error(
            format_args!("grant op {op} of none"),
            raw(op, page, 0),
            Errno::EINVAL,
        );
    }
}

fn sizes() {
    let query = |domain: u16| {
        let mut query = GnttabQuerySize::new_zeroed();
        query.dom = DomId(domain);
        let result = grant::op(GnttabOp::QUERY_SIZE, &mut query);
        (result, query.status, query.nr_frames, query.max_nr_frames)
    };
    let (result, status, frames, limit) = query(0x7ff0);
    same("query_size", (result, status), (0, GntStatus::OKAY));
    same("query_size: limit", limit, 64);
    holds("query_size: frames", frames, (1..=64).contains(&frames));
    same("query_size by the own number", query(0).1, GntStatus::OKAY);
    same("query_size of nobody", query(77).1, GntStatus::BAD_DOMAIN);
    let version = |domain: u16| {
        let mut version = GnttabGetVersion {
            dom: DomId(domain),
            pad: 0,
            version: 9,
        };
        (
            grant::op(GnttabOp::GET_VERSION, &mut version),
            version.version,
        )
    };
    same("get_version", version(0x7ff0), (0, 1));
    error("get_version of nobody", version(77).0, Errno::ESRCH);
    let set = |version: u32| {
        let mut arg = GnttabSetVersion { version };
        (grant::op(GnttabOp::SET_VERSION, &mut arg), arg.version)
    };
    same("set_version 1", set(1), (0, 1));
    for version in [0, 3, u32::MAX] {
        error(
            format_args!("set_version {version}"),
            set(version).0,
            Errno::EINVAL,
        );
    }
    let list = pages::take();
    let setup = |domain: u16, frames: u32, list: u64| {
        let mut setup = GnttabSetupTable::new_zeroed();
        setup.dom = DomId(domain);
        setup.nr_frames = frames;
        setup.frame_list = pv_guest_shim::hypercall_abi::guest_handle::GuestHandle::from_addr(list);
        (grant::op(GnttabOp::SETUP_TABLE, &mut setup), setup.status)
    };
    same(
        "setup_table of 65 frames",
        setup(0x7ff0, 65, list),
        (0, GntStatus::GENERAL_ERROR),
    );
    same(
        "setup_table of nobody",
        setup(77, 1, list),
        (0, GntStatus::BAD_DOMAIN),
    );
    same(
        "setup_table of 2 frames",
        setup(0x7ff0, 2, list),
        (0, GntStatus::OKAY),
    );
    holds(
        "setup_table: frames",
        (pages::read::<u64>(list), pages::read::<u64>(list + 8)),
        pages::read::<u64>(list + 8) != 0,
    );
    same(
        "setup_table to a bad list",
        setup(0x7ff0, 1, 0xffff_8300_0000_0000),
        (-(Errno::EFAULT as i64), GntStatus::OKAY),
    );
}
