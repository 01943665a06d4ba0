//! What the macros make, tried on types of the contract.

use crate::event_channel::{EvtchnStatusInterdomain, EvtchnStatusU, EvtchnStatusUnbound};
use crate::grant_table::{GntStatus, GrantFlags};
use crate::layout::TypeLayout;
use crate::xen::{DomId, HypercallNr};
use zerocopy::IntoBytes;

extern crate std;
use std::format;

#[test]
fn codes_print_xens_name_or_the_number() {
    assert_eq!(
        format!("{:?}", HypercallNr::MMU_UPDATE),
        "__HYPERVISOR_mmu_update"
    );
    assert_eq!(format!("{:?}", HypercallNr(0x7777)), "HypercallNr(0x7777)");
    assert_eq!(format!("{:?}", GntStatus(-4)), "GNTST_bad_handle");
    assert_eq!(HypercallNr(11).name(), None);
}

#[test]
fn a_union_arm_is_written_without_touching_what_lies_beyond() {
    let mut u = EvtchnStatusU::from_interdomain(EvtchnStatusInterdomain {
        dom: DomId(3),
        _pad: [0; 2],
        port: 9,
    });
    u.set_unbound(EvtchnStatusUnbound { dom: DomId(5) });
    assert_eq!(u.as_interdomain().dom, DomId(5));
    assert_eq!(u.as_interdomain().port, 9);
    assert_eq!(u.as_bytes(), [5, 0, 0, 0, 9, 0, 0, 0]);
    assert_eq!(
        EvtchnStatusU::from_virq(7).as_bytes(),
        [7, 0, 0, 0, 0, 0, 0, 0]
    );
}

#[test]
fn flags_keep_bits_without_a_name() {
    let flags = GrantFlags::from_bits_retain(0x8008);
    assert!(flags.contains(GrantFlags::READING));
    assert_eq!(flags.bits(), 0x8008);
    assert!(GrantFlags::from_bits(0x8008).is_none());
    assert_eq!(format!("{:?}", GrantFlags::READING), "GrantFlags(READING)");
}

#[test]
fn definitions_register_their_offsets() {
    let types = || crate::event_channel::LAYOUT.types.iter().copied().flatten();
    let status: &TypeLayout = types()
        .find(|t| t.c_name == "evtchn_status")
        .expect("registered");
    let port = status
        .fields
        .iter()
        .find(|f| f.name == "port")
        .expect("a field");
    assert_eq!((status.size, port.offset, port.size), (24, 4, 4));
}
