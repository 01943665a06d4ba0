//! Exchanges.

use std::vec::Vec;

use hypercall_abi::errno::Errno;
use hypercall_abi::guest_handle::GuestHandle;
use hypercall_abi::memory::{MemoryExchange, MemoryOp as Op, MemoryReservation};
use hypercall_abi::xen::{DomId, MmuextCmd};

use super::{LIST, LIST2, err, m2p, reservation};
use crate::num::{Mfn, Pfn};
use crate::sim::{PvGuest, world};

#[test]
fn exchange_gives_contiguous_low_memory_for_idle_pages() {
    let hv = world();
    let mut guest = PvGuest::unprivileged(&hv, 1, 64);
    let pfns: Vec<_> = (10..18).collect();
    let mfns: Vec<_> = pfns.iter().map(|&pfn| guest.mfn(Pfn(pfn)).0).collect();
    let (free, owned) = (hv.mem.free_pages(), guest.domain.pages.total_pages());
    let request = |guest: &PvGuest, bits| MemoryExchange {
        r#in: reservation(guest.list(&hv, LIST, &mfns), 8, 0),
        out: MemoryReservation {
            mem_flags: bits,
            ..reservation(guest.list(&hv, LIST2, &[10]), 1, 3)
        },
        nr_exchanged: 0,
    };
    // Mapped pages cannot go.
    let arg = request(&guest, 20);
    assert_eq!(guest.memory(&hv, Op::EXCHANGE, &arg), err(Errno::EINVAL));
    assert_eq!(guest.answer::<MemoryExchange>(&hv).nr_exchanged, 0);
    guest.audit(&hv);
    for &pfn in &pfns {
        guest.unmap(&hv, Pfn(pfn));
    }
    // Pinned ones neither.
    let pinned = Pfn(17);
    assert_eq!(guest.ext(&hv, MmuextCmd::PIN_L1_TABLE, mfns[7], 0), 0);
    let arg = request(&guest, 20);
    assert_eq!(guest.memory(&hv, Op::EXCHANGE, &arg), err(Errno::EINVAL));
    assert_eq!(
        guest.ext(&hv, MmuextCmd::UNPIN_TABLE, guest.mfn(pinned).0, 0),
        0
    );
    // No memory is that low: fails at once and changes nothing.
    let arg = request(&guest, 14);
    assert_eq!(guest.memory(&hv, Op::EXCHANGE, &arg), err(Errno::ENOMEM));
    assert_eq!(guest.answer::<MemoryExchange>(&hv).nr_exchanged, 0);
    guest.audit(&hv);
    let arg = request(&guest, 20);
    assert_eq!(guest.memory(&hv, Op::EXCHANGE, &arg), 0);
    assert_eq!(guest.answer::<MemoryExchange>(&hv).nr_exchanged, 8);
    let first = guest.read_list(&hv, LIST2, 1)[0];
    assert!(first.is_multiple_of(8) && first + 8 <= 256);
    for i in 0..8 {
        assert_eq!(m2p(&hv, first + i), 10 + i);
        assert_eq!(hv.mem.owner(Mfn(first + i)), Some(guest.domain.id));
    }
    assert_eq!(
        (hv.mem.free_pages(), guest.domain.pages.total_pages()),
        (free, owned)
    );
    guest.audit(&hv);
    // And back: one block in, eight pages out.
    let back = MemoryExchange {
        r#in: reservation(guest.list(&hv, LIST, &[first]), 1, 3),
        out: reservation(guest.list(&hv, LIST2, &pfns), 8, 0),
        nr_exchanged: 0,
    };
    assert_eq!(guest.memory(&hv, Op::EXCHANGE, &back), 0);
    guest.audit(&hv);
}

#[test]
fn exchange_refuses_what_does_not_add_up() {
    let hv = world();
    let mut guest = PvGuest::unprivileged(&hv, 1, 64);
    let list = guest.list(&hv, LIST, &[1, 2, 3, 4]);
    let exchange = |old, new, nr_exchanged| MemoryExchange {
        r#in: old,
        out: new,
        nr_exchanged,
    };
    let cases = [
        (
            exchange(reservation(list, 1, 10), reservation(list, 1, 10), 0),
            Errno::EPERM,
        ),
        (
            exchange(reservation(list, 3, 0), reservation(list, 1, 1), 0),
            Errno::EINVAL,
        ),
        (
            exchange(reservation(list, 1 << 62, 9), reservation(list, 0, 0), 0),
            Errno::EINVAL,
        ),
        (
            exchange(reservation(list, 2, 0), reservation(list, 1, 1), 3),
            Errno::EINVAL,
        ),
        (
            exchange(
                reservation(list, 2, 0),
                MemoryReservation {
                    domid: DomId(3),
                    ..reservation(list, 1, 1)
                },
                0,
            ),
            Errno::EINVAL,
        ),
        // XSA-212: the list lies in the hypervisor, or runs into it.
        (
            exchange(
                reservation(GuestHandle::from_addr(0xffff_8300_0000_0000), 2, 0),
                reservation(list, 1, 1),
                0,
            ),
            Errno::EFAULT,
        ),
        (
            exchange(
                reservation(list, u64::MAX, 0),
                reservation(list, u64::MAX, 0),
                u64::MAX - 1,
            ),
            Errno::EFAULT,
        ),
    ];
    for (i, (case, errno)) in cases.iter().enumerate() {
        assert_eq!(
            guest.memory(&hv, Op::EXCHANGE, case),
            err(*errno),
            "case {i}"
        );
    }
    guest.audit(&hv);
}
