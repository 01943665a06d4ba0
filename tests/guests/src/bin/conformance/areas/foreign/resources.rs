//! XENMEM_acquire_resource, and the grant table of another domain.

use pv_guest_shim::grant;
use pv_guest_shim::hypercall_abi::errno::Errno;
use pv_guest_shim::hypercall_abi::grant_table::{
    GntStatus, GnttabGetStatusFrames, GnttabGetVersion, GnttabOp, GnttabQuerySize, GnttabSetupTable,
};
use pv_guest_shim::hypercall_abi::guest_handle::GuestHandle;
use pv_guest_shim::hypercall_abi::memory::{MemAcquireResource, MemResource};
use pv_guest_shim::hypercall_abi::xen::DomId;
use pv_guest_shim::mmu;
use zerocopy::FromZeros;

use super::domain::{Domain, memory_op};
use super::map;
use crate::pages;
use crate::report::{bits, error, holds, number, same};

/// The checks.
pub fn run(domain: &Domain) {
    sizes(domain);
    frames(domain);
    table(domain);
}

fn request(
    domain: DomId,
    kind: u16,
    id: u32,
    first: u64,
    count: u32,
    list: u64,
) -> MemAcquireResource {
    MemAcquireResource {
        domid: domain,
        r#type: MemResource(kind),
        id,
        nr_frames: count,
        pad: 0,
        frame: first,
        frame_list: GuestHandle::from_addr(list),
    }
}

fn sizes(domain: &Domain) {
    let size = |domain: DomId, kind: u16, id: u32| {
        let mut arg = request(domain, kind, id, 0, 0, 0);
        (memory_op(28, &mut arg), arg.nr_frames)
    };
    same("size of the grant table", size(domain.id, 1, 0), (0, 8));
    same("size of its status", size(domain.id, 1, 1), (0, 1));
    for (name, kind, id, errno) in [
        ("unknown part of the grant table", 1, 2, Errno::EINVAL),
        ("ioreq_server", 0, 0, Errno::EINVAL),
        ("vmtrace_buf", 2, 0, Errno::EINVAL),
    ] {
        error(
            format_args!("size of {name}"),
            size(domain.id, kind, id).0,
            errno,
        );
    }
    // What would be the error, as a size.
    same(
        "size of an unknown type",
        size(domain.id, 3, 0),
        (0, -(Errno::EOPNOTSUPP as i32) as u32),
    );
    error("size for nobody", size(DomId(77), 1, 0).0, Errno::ESRCH);
    error("size for oneself", size(DomId(0), 1, 0).0, Errno::EPERM);
    error(
        "size for DOMID_SELF",
        size(DomId::SELF, 1, 0).0,
        Errno::ESRCH,
    );
    let mut arg = request(domain.id, 1, 0, 0, 1, 0);
    error(
        "frames without a list",
        memory_op(28, &mut arg),
        Errno::EINVAL,
    );
    let mut arg = request(domain.id, 1, 0, 1 << 40, 0, 0);
    error(
        "size from a far frame",
        memory_op(28, &mut arg),
        Errno::EINVAL,
    );
    let mut arg = request(DomId(77), 1, 0, 1 << 40, 0, 0);
    error(
        "size from a far frame for nobody",
        memory_op(28, &mut arg),
        Errno::EINVAL,
    );
    let mut arg = request(domain.id, 1, 0, 0xffff_ffff, 0, 0);
    number("size from the last frame", memory_op(28, &mut arg), 0);
    let mut arg = request(domain.id, 1, 0, 0, 0, 0);
    arg.pad = 1;
    error("size with padding", memory_op(28, &mut arg), Errno::EINVAL);
}

fn frames(domain: &Domain) {
    let list = pages::take();
    let get = |kind: u16, id: u32, first: u64, count: u32| {
        let mut arg = request(domain.id, kind, id, first, count, list);
        (memory_op(28, &mut arg), arg.nr_frames)
    };
    same("frame 0", get(1, 0, 0, 1), (0, 1));
    let frame: u64 = pages::read(list);
    holds("frame 0 is one", frame, frame != 0);
    same("frames 0 to 3", get(1, 0, 0, 4), (0, 4));
    bits("frame 0 is the same", pages::read::<u64>(list), frame);
    same("frame 3", get(1, 0, 3, 1).0, 0);
    for (name, kind, id, first, count, errno) in [
        ("no frames", 1, 0, 0, 0, Errno::EINVAL),
        ("frames beyond the table", 1, 0, 7, 2, Errno::EINVAL),
        ("frames far away", 1, 0, 1 << 32, 1, Errno::EINVAL),
        (
            "frames at the end of numbers",
            1,
            0,
            u64::MAX,
            1,
            Errno::EINVAL,
        ),
        ("more than can be counted", 1, 0, 0, 1 << 26, Errno::EINVAL),
        ("status frames", 1, 1, 0, 1, Errno::EINVAL),
        ("an unknown part", 1, 2, 0, 1, Errno::EINVAL),
        ("ioreq_server frames", 0, 0, 0, 1, Errno::EINVAL),
        ("vmtrace_buf frames", 2, 0, 0, 1, Errno::EINVAL),
        ("frames of an unknown type", 3, 0, 0, 1, Errno::EOPNOTSUPP),
    ] {
        error(name, get(kind, id, first, count).0, errno);
    }
    let mut arg = request(domain.id, 1, 0, 0, 1, 0xffff_8300_0000_0000);
    error(
        "frames to a bad list",
        memory_op(28, &mut arg),
        Errno::EFAULT,
    );
    let window = pages::take();
    same(
        "map frame 0",
        map(window, frame, mmu::KERNEL_RW, domain.id),
        (0, 1),
    );
    same("unmap frame 0", map(window, 0, 0, DomId::SELF), (0, 1));
}

/// The calls by which the own table is set up work for another's.
fn table(domain: &Domain) {
    let list = pages::take();
    let setup = |domain: DomId, count: u32| {
        let mut arg = GnttabSetupTable::new_zeroed();
        (arg.dom, arg.nr_frames) = (domain, count);
        arg.frame_list = GuestHandle::from_addr(list);
        let result = grant::op(GnttabOp::SETUP_TABLE, &mut arg);
        (result, arg.status)
    };
    same(
        "setup_table for another",
        setup(domain.id, 2),
        (0, GntStatus::OKAY),
    );
    same(
        "setup_table of too much",
        setup(domain.id, 9),
        (0, GntStatus::GENERAL_ERROR),
    );
    let mut arg = GnttabQuerySize::new_zeroed();
    arg.dom = domain.id;
    number("query_size", grant::op(GnttabOp::QUERY_SIZE, &mut arg), 0);
    same(
        "query_size: answer",
        (arg.status, arg.nr_frames, arg.max_nr_frames),
        (GntStatus::OKAY, 4, 8),
    );
    let mut arg = GnttabGetVersion::new_zeroed();
    arg.dom = domain.id;
    same(
        "get_version",
        (grant::op(GnttabOp::GET_VERSION, &mut arg), arg.version),
        (0, 1),
    );
    let status = |domain: DomId, count: u32| {
        let mut arg = GnttabGetStatusFrames::new_zeroed();
        (arg.dom, arg.nr_frames) = (domain, count);
        arg.frame_list = GuestHandle::from_addr(list);
        let result = grant::op(GnttabOp::GET_STATUS_FRAMES, &mut arg);
        (result, arg.status)
    };
    same(
        "get_status_frames",
        status(domain.id, 1),
        (0, GntStatus::GENERAL_ERROR),
    );
    same(
        "get_status_frames of none",
        status(domain.id, 0),
        (0, GntStatus::OKAY),
    );
    same(
        "get_status_frames of nobody",
        status(DomId(77), 1),
        (0, GntStatus::BAD_DOMAIN),
    );
}
