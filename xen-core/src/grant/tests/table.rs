//! Size, version and frames of the table.

use hypercall_abi::errno::Errno;
use hypercall_abi::grant_table::{
    GntStatus, GnttabCacheFlush, GnttabCacheFlushA, GnttabGetVersion, GnttabOp, GnttabQuerySize,
    GnttabSetVersion, GnttabSetupTable, GnttabSwapGrantRef, GnttabTransfer, GrantType,
};
use hypercall_abi::guest_handle::GuestHandle;
use hypercall_abi::xen::{DomId, HypercallNr};

use super::{DEVICE, Pair, READONLY, call, call_with};
use crate::num::Pfn;

fn setup(dom: DomId, nr_frames: u32, list: u64) -> GnttabSetupTable {
    GnttabSetupTable {
        dom,
        _pad0: [0; 2],
        nr_frames,
        status: GntStatus(77),
        _pad1: [0; 6],
        frame_list: GuestHandle::from_addr(list),
    }
}

#[test]
fn the_table_grows_to_its_limit_and_lists_its_frames() {
    let mut pair = Pair::new();
    let list = pair.front.va(Pfn(2));
    let query = GnttabQuerySize {
        dom: DomId::SELF,
        _pad0: [0; 2],
        nr_frames: 0,
        max_nr_frames: 0,
        status: GntStatus(77),
        _pad1: [0; 2],
    };
    let size = call(&pair.hv, &mut pair.front, GnttabOp::QUERY_SIZE, query);
    assert_eq!(
        (size.nr_frames, size.max_nr_frames, size.status),
        (1, 32, GntStatus::OKAY)
    );
    let op = setup(DomId::SELF, 3, list);
    assert_eq!(
        call(&pair.hv, &mut pair.front, GnttabOp::SETUP_TABLE, op).status,
        GntStatus::OKAY
    );
    let frames = pair.front.domain.grants.frames();
    assert_eq!(frames.len(), 3);
    for (i, frame) in frames.iter().enumerate() {
        assert_eq!(pair.front.load(&pair.hv, list + i as u64 * 8), Ok(frame.0));
    }
    let op = setup(DomId::SELF, 33, list);
    assert_eq!(
        call(&pair.hv, &mut pair.front, GnttabOp::SETUP_TABLE, op).status,
        GntStatus::GENERAL_ERROR
    );
    let op = setup(DomId::SELF, 2, 0x10);
    assert_eq!(
        call(&pair.hv, &mut pair.front, GnttabOp::SETUP_TABLE, op).status,
        GntStatus::BAD_VIRT_ADDR
    );
    // Others' tables are for the control domain.
    let op = setup(DomId(0), 1, list);
    assert_eq!(
        call(&pair.hv, &mut pair.front, GnttabOp::SETUP_TABLE, op).status,
        GntStatus::PERMISSION_DENIED
    );
    let op = setup(DomId(77), 1, list);
    assert_eq!(
        call(&pair.hv, &mut pair.front, GnttabOp::SETUP_TABLE, op).status,
        GntStatus::BAD_DOMAIN
    );
    let op = setup(DomId(5), 4, pair.back.va(Pfn(2)));
    assert_eq!(
        call(&pair.hv, &mut pair.back, GnttabOp::SETUP_TABLE, op).status,
        GntStatus::OKAY
    );
    let size = call(&pair.hv, &mut pair.front, GnttabOp::QUERY_SIZE, query);
    assert_eq!(size.nr_frames, 4);
    let op = setup(DomId::SELF, 1, list);
    let (result, _) = call_with(&pair.hv, &mut pair.front, GnttabOp::SETUP_TABLE, op, 2);
    assert_eq!(result, Errno::EINVAL.to_ret());
    pair.audit(&[]);
}

#[test]
fn only_version_1_is_to_be_had() {
    let mut pair = Pair::new();
    for (version, result) in [
        (1, 0),
        (2, Errno::ENOSYS.to_ret()),
        (0, Errno::EINVAL.to_ret()),
        (3, Errno::EINVAL.to_ret()),
    ] {
        let op = GnttabSetVersion { version };
        let (got, out) = call_with(&pair.hv, &mut pair.front, GnttabOp::SET_VERSION, op, 1);
        assert_eq!((got, out.version), (result, 1));
    }
    let op = GnttabGetVersion {
        dom: DomId::SELF,
        pad: 0,
        version: 0,
    };
    assert_eq!(
        call(&pair.hv, &mut pair.front, GnttabOp::GET_VERSION, op).version,
        1
    );
    let op = GnttabGetVersion {
        dom: DomId(0),
        pad: 0,
        version: 0,
    };
    let (result, _) = call_with(&pair.hv, &mut pair.front, GnttabOp::GET_VERSION, op, 1);
    assert_eq!(result, Errno::EPERM.to_ret());
}

#[test]
fn pages_are_not_transferred() {
    let mut pair = Pair::new();
    let op = GnttabTransfer {
        mfn: pair.front.mfn(Pfn(3)).0,
        domid: DomId(0),
        _pad0: [0; 2],
        r#ref: 8,
        status: GntStatus(77),
        _pad1: [0; 6],
    };
    assert_eq!(
        call(&pair.hv, &mut pair.front, GnttabOp::TRANSFER, op).status,
        GntStatus::GENERAL_ERROR
    );
    assert_eq!(pair.hv.mem.owner(pair.front.mfn(Pfn(3))), Some(DomId(5)));
}

#[test]
fn idle_entries_can_be_swapped() {
    let mut pair = Pair::new();
    pair.grant(9, Pfn(3), false);
    pair.grant(10, Pfn(4), true);
    let swap = |a, b| GnttabSwapGrantRef {
        ref_a: a,
        ref_b: b,
        status: GntStatus(77),
        _pad: [0; 2],
    };
    assert_eq!(
        call(
            &pair.hv,
            &mut pair.front,
            GnttabOp::SWAP_GRANT_REF,
            swap(9, 10)
        )
        .status,
        GntStatus::OKAY
    );
    assert_eq!(pair.map(0, DEVICE, 9).status, GntStatus::GENERAL_ERROR);
    let op = pair.map(0, DEVICE, 10);
    assert_eq!(
        (op.status, op.dev_bus_addr),
        (GntStatus::OKAY, pair.front.mfn(Pfn(3)).addr())
    );
    assert_eq!(
        call(
            &pair.hv,
            &mut pair.front,
            GnttabOp::SWAP_GRANT_REF,
            swap(9, 10)
        )
        .status,
        GntStatus::EAGAIN
    );
    assert_eq!(
        call(
            &pair.hv,
            &mut pair.front,
            GnttabOp::SWAP_GRANT_REF,
            swap(9, 512)
        )
        .status,
        GntStatus::BAD_GNTREF
    );
}

#[test]
fn caches_are_flushed_for_own_and_granted_pages_only() {
    let mut pair = Pair::new();
    let flush = |frame: crate::num::Mfn, length, op| GnttabCacheFlush {
        a: GnttabCacheFlushA::from_dev_bus_addr(frame.addr()),
        offset: 8,
        length,
        op,
    };
    let (own, foreign) = (pair.back.mfn(Pfn(3)), pair.front.mfn(Pfn(3)));
    let other = pair.front.mfn(Pfn(4));
    let run =
        |pair: &mut Pair, op| call_with(&pair.hv, &mut pair.back, GnttabOp::CACHE_FLUSH, op, 1).0;
    assert_eq!(run(&mut pair, flush(own, 64, 1)), 0);
    assert_eq!(
        run(&mut pair, flush(foreign, 64, 1)),
        Errno::EINVAL.to_ret()
    );
    assert_eq!(run(&mut pair, flush(own, 4095, 1)), Errno::EINVAL.to_ret());
    for op in [4, 1 << 31 | 1] {
        assert_eq!(run(&mut pair, flush(own, 64, op)), Errno::EINVAL.to_ret());
    }
    assert_eq!(
        run(&mut pair, flush(own, 64, 2)),
        Errno::EOPNOTSUPP.to_ret()
    );
    assert_eq!(run(&mut pair, flush(foreign, 0, 1)), 0);
    assert_eq!(run(&mut pair, flush(foreign, 64, 0)), 0);
    // A grant that is mapped is as good as owning the page, and not longer.
    pair.grant(8, Pfn(3), true);
    let mapped = pair.map(0, DEVICE | READONLY, 8);
    assert_eq!(run(&mut pair, flush(foreign, 64, 3)), 0);
    assert_eq!(run(&mut pair, flush(other, 64, 3)), Errno::EINVAL.to_ret());
    assert_eq!(
        pair.unmap(mapped.handle, 0, mapped.dev_bus_addr),
        GntStatus::OKAY
    );
    assert_eq!(
        run(&mut pair, flush(foreign, 64, 1)),
        Errno::EINVAL.to_ret()
    );
}

#[test]
fn arrays_are_preemptible_and_continue_where_they_stopped() {
    let mut pair = Pair::new();
    for reference in 8..108 {
        pair.grant_raw(
            reference,
            GrantType::PERMIT_ACCESS.0,
            DomId(0),
            pair.front.mfn(Pfn(3)),
        );
    }
    let ops: [_; 100] = core::array::from_fn(|i| hypercall_abi::grant_table::GnttabMapGrantRef {
        host_addr: 0,
        flags: DEVICE,
        r#ref: 8 + i as u32,
        dom: DomId(5),
        status: GntStatus(77),
        handle: 0,
        dev_bus_addr: 0,
    });
    let addr = pair.back.put(&pair.hv, super::ARGUMENTS, &ops);
    pair.hv.machine.yield_after(Some(0));
    let mut args = [0, addr, 100, 0, 0, 0];
    let mut turns = 0;
    let result = loop {
        match pair
            .back
            .hypercall_once(&pair.hv, HypercallNr::GRANT_TABLE_OP, args)
        {
            Ok(result) => break result,
            Err(again) => args = again,
        }
        turns += 1;
        assert!(turns < 100);
    };
    assert_eq!(result, 0);
    assert_eq!(turns, 6);
    assert_eq!(pair.back.domain.grants.mappings(), 100);
    let (bad, _) = call_with(
        &pair.hv,
        &mut pair.back,
        GnttabOp::MAP_GRANT_REF,
        ops,
        u32::MAX,
    );
    assert_eq!(bad, Errno::EINVAL.to_ret());
}
