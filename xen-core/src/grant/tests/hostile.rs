//! What a guest could try on top of the rules: endless lists of failures, and several vCPUs at once.

extern crate std;

use core::sync::atomic::{AtomicBool, Ordering};

use hypercall_abi::errno::Errno;
use hypercall_abi::grant_table::{GntStatus, GnttabMapGrantRef, GnttabOp, GnttabUnmapGrantRef};
use hypercall_abi::xen::{DomId, HypercallNr};

use super::{ARGUMENTS, HOST, PAGES, Pair};
use crate::grant::{Unmap, UnmapBatch};
use crate::machine::Frames;
use crate::num::{CpuId, GrantHandle, Mfn, Pfn};
use crate::pv::mm::{L1Operation, emulated_write, entry};
use crate::sim::{PvGuest, SimConfig, on_cpu, world_with};

#[test]
fn elements_that_fail_do_not_keep_the_processor() {
    let mut pair = Pair::new();
    let op = GnttabUnmapGrantRef {
        host_addr: 0,
        dev_bus_addr: 0,
        handle: 0xdead,
        status: GntStatus(1),
        _pad: [0; 2],
    };
    let list = std::vec![op; 100];
    let addr = pair.back.put(&pair.hv, ARGUMENTS, &list[..]);
    pair.hv.machine.yield_after(Some(0));
    let cmd = u64::from(GnttabOp::UNMAP_GRANT_REF.0);
    let nr = HypercallNr::GRANT_TABLE_OP;
    let rest = pair
        .back
        .hypercall_once(&pair.hv, nr, [cmd, addr, 100, 0, 0, 0])
        .expect_err("preempted");
    assert_eq!(rest[..3], [cmd, addr + 16 * 24, 84]);
    pair.hv.machine.yield_after(None);
    assert_eq!(pair.back.hypercall_once(&pair.hv, nr, rest), Ok(0));
    // Every element was looked at once.
    let last = pair.back.load(&pair.hv, addr + 99 * 24 + 16).unwrap();
    let expected = GntStatus::BAD_HANDLE.0.to_le_bytes();
    assert_eq!(last.to_le_bytes()[4..6], expected);
}

fn map(pair: &Pair, host_addr: u64, reference: u32) -> GrantHandle {
    let mut op = GnttabMapGrantRef {
        host_addr,
        flags: HOST,
        r#ref: reference,
        dom: pair.front.domain.id,
        status: GntStatus(1),
        handle: 0,
        dev_bus_addr: 0,
    };
    pair.hv
        .map_grant(&pair.back.domain, pair.back.ctx.kernel_root, &mut op);
    assert_eq!(op.status, GntStatus::OKAY);
    GrantHandle(op.handle)
}

fn unmap(pair: &Pair, host_addr: u64, replace_by: Option<u64>, handle: GrantHandle) -> GntStatus {
    let mut batch = UnmapBatch::new();
    let op = Unmap {
        host_addr,
        dev_bus_addr: 0,
        replace_by,
        handle,
    };
    let root = pair.back.ctx.kernel_root;
    let status = batch.unmap(&pair.hv, &pair.back.domain, root, op);
    batch.finish(&pair.hv, &pair.back.domain);
    status
}

#[test]
fn a_mapping_that_changes_while_it_moves_is_never_in_two_places() {
    const ROUNDS: u32 = 3000;
    let hv = world_with(SimConfig {
        cpus: 2,
        ..SimConfig::default()
    });
    let front = PvGuest::unprivileged(&hv, 5, PAGES);
    let back = PvGuest::unprivileged(&hv, 6, PAGES);
    let pair = Pair { hv, back, front };
    pair.grant(9, Pfn(3), false);
    pair.grant(10, Pfn(4), false);
    let (at, by) = (Pfn(10), Pfn(11));
    let place = |pfn| {
        let addr = pair.back.pte_addr(pfn);
        (Mfn::from_addr(addr), (addr & 0xfff) as usize / 8)
    };
    let value = |pfn| {
        let (table, index) = place(pfn);
        pair.hv.machine.words(table)[index].load(Ordering::SeqCst)
    };
    let frame = pair.front.mfn(Pfn(4));
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // The other vCPU keeps changing a bit of its own in the entry that is to move.
        scope.spawn(|| {
            on_cpu(CpuId(1), || {
                let (table, index) = place(by);
                while !stop.load(Ordering::Relaxed) {
                    let old = value(by);
                    if entry::is_present(old) {
                        let new = old ^ (1 << 9);
                        let change = L1Operation::CompareExchange { old, new };
                        let _: Result<_, Errno> =
                            emulated_write(&pair.hv, &pair.back.domain, table, index, change);
                    }
                }
            });
        });
        let mut twice = 0;
        for _ in 0..ROUNDS {
            let first = map(&pair, pair.back.va(at), 9);
            let second = map(&pair, pair.back.va(by), 10);
            let status = unmap(&pair, pair.back.va(at), Some(pair.back.va(by)), first);
            assert_eq!(status, GntStatus::OKAY);
            let shows = |pfn| entry::is_present(value(pfn)) && entry::target(value(pfn)) == frame;
            let (moved, stayed) = (shows(at), shows(by));
            twice += u32::from(moved && stayed);
            let place = if moved { at } else { by };
            while unmap(&pair, pair.back.va(place), None, second) != GntStatus::OKAY {}
        }
        stop.store(true, Ordering::Relaxed);
        assert_eq!(
            twice,
            0,
            "a page of {:?} is mapped without a grant",
            DomId(5)
        );
    });
    pair.audit(&[]);
}
