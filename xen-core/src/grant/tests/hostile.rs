//! What a guest could try on top of the rules.

extern crate std;

use hypercall_abi::grant_table::{GntStatus, GnttabOp, GnttabUnmapGrantRef};
use hypercall_abi::xen::HypercallNr;

use super::{ARGUMENTS, Pair};

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
