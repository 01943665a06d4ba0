//! Copying.

use hypercall_abi::grant_table::{
    GntStatus, GntcopyFlags, GnttabCopy, GnttabCopyPtr, GnttabCopyPtrU, GnttabOp,
};
use hypercall_abi::xen::DomId;

use super::{HOST, Pair, READONLY, call};
use crate::machine::Frames;
use crate::num::{Mfn, Pfn};

const FROM_GRANT: u16 = GntcopyFlags::SOURCE_GREF.bits();
const TO_GRANT: u16 = GntcopyFlags::DEST_GREF.bits();

fn own(frame: Mfn, offset: u16) -> GnttabCopyPtr {
    GnttabCopyPtr {
        u: GnttabCopyPtrU::from_gmfn(frame.0),
        domid: DomId::SELF,
        offset,
        _pad: [0; 4],
    }
}

fn granted(domid: DomId, reference: u32, offset: u16) -> GnttabCopyPtr {
    GnttabCopyPtr {
        u: GnttabCopyPtrU::from_ref(reference),
        domid,
        offset,
        _pad: [0; 4],
    }
}

impl Pair {
    fn copy(
        &mut self,
        source: GnttabCopyPtr,
        dest: GnttabCopyPtr,
        len: u16,
        flags: u16,
    ) -> GntStatus {
        let op = GnttabCopy {
            source,
            dest,
            len,
            flags,
            status: GntStatus(77),
            _pad: [0; 2],
        };
        call(&self.hv, &mut self.back, GnttabOp::COPY, op).status
    }

    fn bytes(&self, frame: Mfn) -> [u8; 4096] {
        let mut bytes = [0; 4096];
        self.hv.machine.read_frame(frame, 0, &mut bytes);
        bytes
    }

    fn pattern(&self, frame: Mfn, seed: u8) {
        let bytes: [u8; 4096] =
            core::array::from_fn(|i| (i as u8).wrapping_mul(7).wrapping_add(seed) ^ (i >> 8) as u8);
        self.hv.machine.write_frame(frame, 0, &bytes);
    }
}

#[test]
fn bytes_arrive_at_any_alignment_and_nothing_else_changes() {
    let mut pair = Pair::new();
    let front = pair.front.domain.id;
    let (source, dest) = (pair.back.mfn(Pfn(6)), pair.front.mfn(Pfn(3)));
    pair.grant(9, Pfn(3), false);
    for (from, to, len) in [
        (0, 0, 4096),
        (3, 3, 100),
        (5, 2, 1000),
        (4095, 0, 1),
        (0, 4095, 1),
        (1, 4000, 96),
        (8, 16, 0),
    ] {
        pair.pattern(source, 1);
        pair.pattern(dest, 99);
        let before = pair.bytes(dest);
        let status = pair.copy(own(source, from), granted(front, 9, to), len, TO_GRANT);
        assert_eq!(status, GntStatus::OKAY);
        let (from, to, len) = (usize::from(from), usize::from(to), usize::from(len));
        let mut expected = before;
        expected[to..to + len].copy_from_slice(&pair.bytes(source)[from..from + len]);
        assert!(pair.bytes(dest) == expected, "copy {from} {to} {len}");
        assert_eq!(pair.marks(9), (false, false));
    }
    pair.audit(&[]);
}

#[test]
fn the_answers_are_xens() {
    let mut pair = Pair::new();
    let (front, back) = (pair.front.domain.id, pair.back.domain.id);
    let source = pair.back.mfn(Pfn(6));
    pair.grant(9, Pfn(3), true);
    let to_grant = granted(front, 9, 0);
    // Read-only grant.
    assert_eq!(
        pair.copy(own(source, 0), to_grant, 8, TO_GRANT),
        GntStatus::GENERAL_ERROR
    );
    assert_eq!(
        pair.copy(to_grant, own(source, 0), 8, FROM_GRANT),
        GntStatus::OKAY
    );
    // Across the end of the page.
    assert_eq!(
        pair.copy(to_grant, own(source, 4090), 8, FROM_GRANT),
        GntStatus::BAD_COPY_ARG
    );
    assert_eq!(
        pair.copy(granted(front, 9, 1), own(source, 0), 4096, FROM_GRANT),
        GntStatus::BAD_COPY_ARG
    );
    assert_eq!(
        pair.copy(
            granted(front, 9, u16::MAX),
            own(source, 0),
            u16::MAX,
            FROM_GRANT
        ),
        GntStatus::BAD_COPY_ARG
    );
    // A frame is the caller's own, and only DOMID_SELF says so.
    let by_number = GnttabCopyPtr {
        domid: back,
        ..own(source, 0)
    };
    assert_eq!(
        pair.copy(by_number, own(source, 0), 8, 0),
        GntStatus::PERMISSION_DENIED
    );
    let foreign = pair.front.mfn(Pfn(3));
    assert_eq!(
        pair.copy(own(foreign, 0), own(source, 0), 8, 0),
        GntStatus::BAD_PAGE
    );
    assert_eq!(
        pair.copy(own(Mfn(u64::MAX), 0), own(source, 0), 8, 0),
        GntStatus::BAD_PAGE
    );
    // A table cannot be written.
    let table = pair.back.mfn(pair.back.l1[0]);
    assert_eq!(
        pair.copy(own(source, 0), own(table, 0), 8, 0),
        GntStatus::GENERAL_ERROR
    );
    assert_eq!(
        pair.copy(granted(DomId(99), 9, 0), own(source, 0), 8, FROM_GRANT),
        GntStatus::BAD_DOMAIN
    );
    assert_eq!(
        pair.copy(granted(front, 4000, 0), own(source, 0), 8, FROM_GRANT),
        GntStatus::BAD_GNTREF
    );
    assert_eq!(pair.marks(9), (false, false));
    pair.audit(&[]);
}

#[test]
fn a_copy_within_one_page_reads_before_it_writes() {
    let mut pair = Pair::new();
    let page = pair.back.mfn(Pfn(6));
    pair.pattern(page, 1);
    let before = pair.bytes(page);
    assert_eq!(
        pair.copy(own(page, 0), own(page, 3), 2000, 0),
        GntStatus::OKAY
    );
    assert!(pair.bytes(page)[3..2003] == before[..2000]);
    pair.audit(&[]);
}

#[test]
fn a_copy_uses_the_frame_that_a_mapping_has_pinned() {
    let mut pair = Pair::new();
    let front = pair.front.domain.id;
    let dest = pair.back.mfn(Pfn(6));
    pair.grant(9, Pfn(3), false);
    pair.pattern(pair.front.mfn(Pfn(3)), 3);
    pair.pattern(pair.front.mfn(Pfn(4)), 4);
    let at = pair.back.va(Pfn(10));
    assert_eq!(pair.map(at, HOST | READONLY, 9).status, GntStatus::OKAY);
    // The frontend changes its mind while the grant is in use.
    pair.grant(9, Pfn(4), false);
    assert_eq!(
        pair.copy(granted(front, 9, 0), own(dest, 0), 4096, FROM_GRANT),
        GntStatus::OKAY
    );
    assert!(pair.bytes(dest) == pair.bytes(pair.front.mfn(Pfn(3))));
}
