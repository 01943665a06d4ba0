//! The life of interrupts on a board of switches.

extern crate std;

mod board;
mod holding;
mod migration;

use std::vec;
use std::vec::Vec;

use hypercall_abi::errno::Errno;
use hypercall_abi::xen::DomId;

use self::board::{Board, DEVICE, TABLE};
use super::*;
use crate::machine::{Irqs, Polarity, Trigger, Width};
use crate::num::{CpuId, Gsi, Mfn, Pirq};

const DOM0: PirqOwner = PirqOwner {
    id: DomId(0),
    hardware: true,
};
const GUEST: PirqOwner = PirqOwner {
    id: DomId(5),
    hardware: false,
};
const CPU: CpuId = CpuId(0);

fn table() -> IrqTable {
    IrqTable::new(Configuration {
        nr_gsis: 24,
        ioapics: vec![IoApicRange {
            base: 0xfec0_0000,
            first_gsi: Gsi(0),
            inputs: 24,
        }],
        overrides: vec![GsiDefault {
            gsi: Gsi(9),
            trigger: Trigger::Level,
            polarity: Polarity::High,
        }],
        mcfg: vec![McfgRange {
            base: 0xb000_0000,
            segment: 0,
            first_bus: 0,
            last_bus: 255,
        }],
        cpus: 2,
        rate_limit: 0,
    })
}

fn targets(arrival: Option<Arrival>) -> Vec<(u16, u32)> {
    let arrival = arrival.expect("somebody is bound");
    arrival
        .targets()
        .map(|(domain, pirq)| (domain.0, pirq.0))
        .collect()
}

fn bound(board: &Board, gsi: u32) -> IrqTable {
    let irqs = table();
    assert_eq!(
        irqs.map_gsi(DOM0, DOM0, gsi as i32, gsi as i32),
        Ok(Pirq(gsi))
    );
    assert_eq!(irqs.bind(board, DOM0, Pirq(gsi), true, CPU), Ok(()));
    irqs
}

#[test]
fn a_level_interrupt_stays_masked_until_the_domain_says_eoi() {
    let board = Board::new();
    let irqs = bound(&board, 20);
    assert_eq!(board.routes.borrow()[&20].2, Trigger::Level);
    assert!(!board.is_masked(20));
    let vector = board.vector_of(20);
    assert_eq!(targets(irqs.arrive(&board, CPU, vector, 0)), [(0, 20)]);
    assert!(board.is_masked(20));
    assert_eq!(*board.eois.borrow(), [vector]);
    assert_eq!(irqs.eoi(&board, DOM0, Pirq(20)), Ok(false));
    assert!(!board.is_masked(20));
    // A second EOI has nothing to end.
    assert_eq!(irqs.eoi(&board, DOM0, Pirq(20)), Ok(false));
    assert!(!board.is_masked(20));
}

#[test]
fn an_edge_interrupt_needs_no_eoi() {
    let board = Board::new();
    let irqs = bound(&board, 4);
    assert_eq!(board.routes.borrow()[&4].2, Trigger::Edge);
    for _ in 0..3 {
        assert_eq!(
            targets(irqs.arrive(&board, CPU, board.vector_of(4), 0)),
            [(0, 4)]
        );
        assert!(!board.is_masked(4));
    }
    assert_eq!(board.eois.borrow().len(), 3);
}

#[test]
fn a_shared_level_interrupt_waits_for_all_its_domains() {
    let board = Board::new();
    let irqs = bound(&board, 17);
    irqs.permit(GUEST, 17, true);
    assert_eq!(irqs.map_gsi(DOM0, GUEST, 17, -1), Ok(Pirq(16)));
    assert_eq!(irqs.bind(&board, GUEST, Pirq(16), true, CPU), Ok(()));
    assert_eq!(irqs.is_shared(DOM0, Pirq(17)), Some(true));
    assert_eq!(
        targets(irqs.arrive(&board, CPU, board.vector_of(17), 0)),
        [(0, 17), (5, 16)]
    );
    irqs.eoi(&board, GUEST, Pirq(16)).unwrap();
    assert!(board.is_masked(17));
    irqs.eoi(&board, DOM0, Pirq(17)).unwrap();
    assert!(!board.is_masked(17));
    // A domain that goes away in the middle owes nothing any more.
    let _ = irqs.arrive(&board, CPU, board.vector_of(17), 0);
    irqs.eoi(&board, DOM0, Pirq(17)).unwrap();
    assert!(board.is_masked(17));
    assert_eq!(irqs.release(&board, GUEST), None);
    assert!(!board.is_masked(17));
    assert_eq!(irqs.is_shared(DOM0, Pirq(17)), Some(false));
}

#[test]
fn an_interrupt_nobody_handles_is_masked_and_counted() {
    let board = Board::new();
    let irqs = bound(&board, 11);
    let vector = board.vector_of(11);
    irqs.unbind(&board, DOM0, Pirq(11));
    assert!(board.is_masked(11));
    board.mask_gsi(Gsi(11), false);
    assert!(irqs.arrive(&board, CPU, vector, 0).is_none());
    assert!(board.is_masked(11));
    assert!(irqs.arrive(&board, CPU, Vector(0xd0), 0).is_none());
    assert_eq!(*board.eois.borrow(), [vector, Vector(0xd0)]);
    let lines = irqs.describe_irqs();
    assert!(
        lines.iter().any(|line| line.contains("1 strays")),
        "{lines:?}"
    );
    let told: Vec<_> = core::iter::from_fn(|| irqs.take_news()).collect();
    assert_eq!(&told[0][..], "IRQ11 (GSI 11): nobody handles it, masked");
    assert_eq!(&told[1][..], "CPU0: No irq handler for vector d0");
    assert_eq!(told.len(), 2);
    assert!(lines.last().unwrap().ends_with(": 1"), "{lines:?}");
}

#[test]
fn the_eoi_page_tells_levels_from_edges() {
    let board = Board::new();
    let irqs = bound(&board, 20);
    assert_eq!(irqs.set_eoi_map(&board, DOM0, Mfn(0), false), Ok(()));
    assert_eq!(
        irqs.set_eoi_map(&board, DOM0, Mfn(0), true),
        Err(Errno::EBUSY)
    );
    assert!(board.eoi_bit(20), "bound before the page was registered");
    for gsi in [4, 18] {
        irqs.map_gsi(DOM0, DOM0, gsi, gsi).unwrap();
        irqs.bind(&board, DOM0, Pirq(gsi as u32), false, CPU)
            .unwrap();
    }
    assert!(!board.eoi_bit(4));
    assert!(board.eoi_bit(18));
    assert_eq!(irqs.release(&board, DOM0), Some(Mfn(0)));
}

#[test]
fn eoi_with_version_1_of_the_page_unmasks_the_port_too() {
    let board = Board::new();
    let irqs = bound(&board, 20);
    irqs.set_eoi_map(&board, DOM0, Mfn(0), true).unwrap();
    assert_eq!(irqs.eoi(&board, DOM0, Pirq(20)), Ok(true));
    assert_eq!(irqs.eoi(&board, DOM0, Pirq(19)), Err(Errno::EINVAL));
    assert_eq!(irqs.eoi(&board, DOM0, Pirq(u32::MAX)), Err(Errno::EINVAL));
}

#[test]
fn mapping_a_gsi_answers_as_documented() {
    let irqs = table();
    assert_eq!(irqs.map_gsi(DOM0, DOM0, 0, 0), Err(Errno::EPERM));
    assert_eq!(irqs.map_gsi(DOM0, DOM0, 24, 24), Err(Errno::EINVAL));
    assert_eq!(irqs.map_gsi(DOM0, DOM0, -1, -1), Err(Errno::EINVAL));
    assert_eq!(irqs.map_gsi(DOM0, DOM0, 10, 10), Ok(Pirq(10)));
    assert_eq!(irqs.map_gsi(DOM0, DOM0, 10, 10), Ok(Pirq(10)));
    assert_eq!(irqs.map_gsi(DOM0, DOM0, 10, -1), Ok(Pirq(10)));
    assert_eq!(irqs.map_gsi(DOM0, DOM0, 10, 11), Err(Errno::EEXIST));
    assert_eq!(irqs.map_gsi(DOM0, DOM0, 12, 9999), Err(Errno::EINVAL));
    assert_eq!(irqs.map_gsi(GUEST, GUEST, 12, 12), Err(Errno::EINVAL));
}

#[test]
fn binding_answers_as_documented() {
    let board = Board::new();
    let irqs = table();
    let count = irqs.nr_pirqs(DOM0);
    assert_eq!(
        irqs.bind(&board, DOM0, Pirq(count), true, CPU),
        Err(Errno::EINVAL)
    );
    assert_eq!(
        irqs.bind(&board, DOM0, Pirq(10), true, CPU),
        Err(Errno::EPERM)
    );
    irqs.map_gsi(DOM0, DOM0, 10, 10).unwrap();
    irqs.map_gsi(DOM0, GUEST, 10, 10).unwrap();
    assert_eq!(irqs.bind(&board, DOM0, Pirq(10), false, CPU), Ok(()));
    assert_eq!(
        irqs.bind(&board, GUEST, Pirq(10), true, CPU),
        Err(Errno::EBUSY)
    );
    irqs.reserve_gsi(&board, Gsi(4), Some(SERIAL_VECTOR), CPU)
        .unwrap();
    assert!(!board.is_masked(4));
    irqs.map_gsi(DOM0, DOM0, 4, 4).unwrap();
    assert_eq!(
        irqs.bind(&board, DOM0, Pirq(4), true, CPU),
        Err(Errno::EBUSY)
    );
    assert_eq!(
        irqs.reserve_gsi(&board, Gsi(10), None, CPU),
        Err(Errno::EBUSY)
    );
    irqs.permit(GUEST, 10, false);
    irqs.unbind(&board, DOM0, Pirq(10));
    assert_eq!(
        irqs.bind(&board, GUEST, Pirq(10), true, CPU),
        Err(Errno::EPERM)
    );
}

#[test]
fn a_gsi_is_set_up_once_and_never_while_in_use() {
    let board = Board::new();
    let irqs = bound(&board, 10);
    let setup = |gsi| irqs.setup_gsi(&board, Gsi(gsi), Trigger::Level, Polarity::Low, CPU);
    assert_eq!(setup(11), Ok(()));
    assert_eq!(board.routes.borrow()[&11].2, Trigger::Level);
    assert!(board.is_masked(11));
    assert_eq!(setup(11), Err(Errno::EEXIST));
    assert_eq!(setup(10), Err(Errno::EEXIST));
    assert_eq!(setup(0), Err(Errno::EEXIST));
    assert_eq!(setup(24), Err(Errno::EINVAL));
    // The mode holds when it is bound.
    irqs.map_gsi(DOM0, DOM0, 11, 11).unwrap();
    irqs.bind(&board, DOM0, Pirq(11), true, CPU).unwrap();
    let _ = irqs.arrive(&board, CPU, board.vector_of(11), 0);
    assert!(board.is_masked(11));
}

#[test]
fn modes_follow_the_override_then_the_bus() {
    let board = Board::new();
    for (gsi, trigger, polarity) in [
        (9, Trigger::Level, Polarity::High),
        (14, Trigger::Edge, Polarity::High),
        (16, Trigger::Level, Polarity::Low),
    ] {
        let irqs = bound(&board, gsi);
        assert_eq!(
            (board.routes.borrow()[&gsi].2, board.routes.borrow()[&gsi].3),
            (trigger, polarity)
        );
        drop(irqs);
    }
}

#[test]
fn vectors_are_distinct_device_vectors_and_run_out_with_an_error() {
    let board = Board {
        nr_gsis: 200,
        cpus: 1,
        ..Board::new()
    };
    let irqs = IrqTable::new(Configuration {
        nr_gsis: 200,
        ..Configuration::default()
    });
    let setup = |gsi| irqs.setup_gsi(&board, Gsi(gsi), Trigger::Edge, Polarity::High, CPU);
    let mut seen: Vec<_> = (1..200)
        .take_while(|&gsi| setup(gsi).is_ok())
        .map(|gsi| board.vector_of(gsi))
        .collect();
    let count = seen.len();
    seen.sort();
    seen.dedup();
    assert_eq!((seen.len(), count as u32), (count, DEVICE_VECTORS));
    for vector in seen {
        assert!((FIRST_DEVICE_VECTOR..=LAST_DEVICE_VECTOR).contains(&vector));
        assert!(vector != Vector(0x80) && vector != Vector(0x82));
    }
    assert_eq!(setup(199), Err(Errno::ENOSPC));
    irqs.map_gsi(DOM0, DOM0, 199, 199).unwrap();
    assert_eq!(
        irqs.bind(&board, DOM0, Pirq(199), true, CPU),
        Err(Errno::ENOSPC)
    );
    // What failed has left nothing behind.
    assert_eq!(irqs.is_shared(DOM0, Pirq(199)), Some(false));
    assert_eq!(irqs.unmap(&board, DOM0, Pirq(199)), Ok(()));
}

fn request(entry: Option<u32>) -> MsiRequest {
    MsiRequest {
        device: DEVICE,
        entry,
        messages: None,
        irq: -1,
    }
}

fn anywhere(_addr: u64) -> bool {
    true
}

#[test]
fn an_msi_is_programmed_masked_and_unmasked_when_bound() {
    let board = Board::with_device();
    let irqs = table();
    let map = || irqs.map_msi(&board, DOM0, request(None), -1, CPU, &anywhere);
    assert_eq!(map(), Err(Errno::ENODEV), "not announced yet");
    irqs.add_device(DEVICE, PciDevice::default());
    let pirq = map().unwrap();
    assert_eq!(pirq.0, irqs.nr_pirqs(DOM0) - 1);
    assert_eq!(board.config(0x54, Width::Dword), 0xfee0_0000);
    assert_eq!(board.config(0x58, Width::Dword), 1);
    let vector = Vector(board.config(0x5c, Width::Byte) as u8);
    assert_eq!(board.config(0x60, Width::Dword) & 1, 1, "masked");
    assert_eq!(board.config(0x52, Width::Word) & 1, 1, "enabled");
    assert_eq!(map(), Err(Errno::EEXIST));
    irqs.bind(&board, DOM0, pirq, true, CPU).unwrap();
    assert_eq!(board.config(0x60, Width::Dword) & 1, 0);
    let arrival = irqs.arrive(&board, CPU, vector, 0).unwrap();
    assert!(arrival.may_throttle);
    // Storm: everything is pending already.
    irqs.set_eoi_map(&board, DOM0, Mfn(0), false).unwrap();
    irqs.throttle(&board, arrival.irq, 0);
    assert_eq!(board.config(0x60, Width::Dword) & 1, 1);
    assert!(board.eoi_bit(pirq.0));
    irqs.eoi(&board, DOM0, pirq).unwrap();
    assert_eq!(board.config(0x60, Width::Dword) & 1, 0);
    assert!(!board.eoi_bit(pirq.0));
    irqs.unmap(&board, DOM0, pirq).unwrap();
    assert_eq!(board.config(0x60, Width::Dword) & 1, 1);
    assert_eq!(board.config(0x52, Width::Word) & 1, 0);
    assert!(irqs.arrive(&board, CPU, vector, 0).is_none());
    assert_eq!(map(), Ok(pirq), "all of it can be had again");
}

#[test]
fn msix_entries_are_written_where_the_device_says_but_never_to_memory() {
    let board = Board::with_device();
    let irqs = table();
    irqs.add_device(DEVICE, PciDevice::default());
    let map = |entry, is_device: &dyn Fn(u64) -> bool| {
        irqs.map_msi(&board, DOM0, request(Some(entry)), -1, CPU, is_device)
    };
    assert_eq!(
        map(4, &anywhere),
        Err(Errno::EINVAL),
        "the table has four entries"
    );
    assert_eq!(map(2, &|_| false), Err(Errno::ENXIO));
    assert!(board.registers.borrow().is_empty());
    let pirq = map(2, &anywhere).unwrap();
    let register = |offset| board.registers.borrow()[&(TABLE + 32 + offset)];
    assert_eq!(
        (register(0), register(4), register(12)),
        (0xfee0_0000, 1, 1)
    );
    irqs.bind(&board, DOM0, pirq, false, CPU).unwrap();
    assert_eq!(register(12), 0);
    assert_eq!(board.config(0x72, Width::Word) & 0x8000, 0x8000);
    assert_eq!(irqs.prepare_msix(&board, DEVICE, true), Err(Errno::EBUSY));
    // Plain MSI and MSI-X exclude each other.
    let plain = irqs.map_msi(&board, DOM0, request(None), -1, CPU, &anywhere);
    assert_eq!(plain, Err(Errno::EEXIST));
    // After a reset of the device everything is written again, unmasked because it is bound.
    board.registers.borrow_mut().clear();
    irqs.restore_msi(&board, DEVICE).unwrap();
    assert_eq!((register(0), register(12)), (0xfee0_0000, 0));
    irqs.release(&board, DOM0);
    assert_eq!(register(12), 1);
    assert_eq!(irqs.prepare_msix(&board, DEVICE, true), Ok(()));
    board.config_space.borrow_mut()[0x04] = 0;
    assert_eq!(
        map(2, &anywhere),
        Err(Errno::ENXIO),
        "memory decoding is off"
    );
}

#[test]
fn a_table_of_msix_is_protected_while_something_uses_it() {
    let board = Board::with_device();
    let irqs = table();
    irqs.add_device(DEVICE, PciDevice::default());
    // The pending bits lie a page further on.
    board.config_space.borrow_mut()[0x78..0x7c].copy_from_slice(&0x1002u32.to_le_bytes());
    let (table_page, pending_page) = (Mfn(TABLE >> 12), Mfn((TABLE >> 12) + 1));
    let protected =
        || [table_page, pending_page, Mfn((TABLE >> 12) + 2)].map(|mfn| irqs.is_msix_table(mfn));
    assert_eq!(protected(), [false; 3]);
    let map = |entry| irqs.map_msi(&board, DOM0, request(Some(entry)), -1, CPU, &anywhere);
    let first = map(0).unwrap();
    assert_eq!(protected(), [true, true, false]);
    let second = map(1).unwrap();
    irqs.unmap(&board, DOM0, first).unwrap();
    assert_eq!(protected(), [true, true, false]);
    irqs.unmap(&board, DOM0, second).unwrap();
    assert_eq!(protected(), [false; 3]);
    irqs.prepare_msix(&board, DEVICE, true).unwrap();
    assert_eq!(protected(), [true, true, false]);
    irqs.prepare_msix(&board, DEVICE, false).unwrap();
    assert_eq!(protected(), [false; 3]);
    map(2).unwrap();
    irqs.release(&board, DOM0);
    assert_eq!(protected(), [false; 3]);
}

#[test]
fn several_messages_are_refused_as_documented() {
    let board = Board::with_device();
    let irqs = table();
    irqs.add_device(DEVICE, PciDevice::default());
    let map = |messages, wanted| {
        let request = MsiRequest {
            messages: Some(messages),
            ..request(None)
        };
        irqs.map_msi(&board, DOM0, request, wanted, CPU, &anywhere)
    };
    assert_eq!(map(0, -1), Err(Errno::EDOM));
    assert_eq!(map(33, -1), Err(Errno::EDOM));
    assert_eq!(map(4, -1), Err(Errno::EOPNOTSUPP));
    assert_eq!(map(4, 100), Err(Errno::EOPNOTSUPP));
    assert!(map(1, -1).is_ok());
}

#[test]
fn a_capability_list_that_bites_its_tail_ends_the_search() {
    let board = Board::with_device();
    let irqs = table();
    irqs.add_device(DEVICE, PciDevice::default());
    {
        let mut space = board.config_space.borrow_mut();
        space[0x50] = 0x01;
        space[0x51] = 0x50;
    }
    let map = irqs.map_msi(&board, DOM0, request(None), -1, CPU, &anywhere);
    assert_eq!(map, Err(Errno::ENODEV));
    assert!(board.steps.get() < 100);
}

#[test]
fn free_pirqs_are_found_in_order_and_run_out() {
    let irqs = table();
    assert_eq!(irqs.reserve_pirq(GUEST, true), Ok(Pirq(16)));
    assert_eq!(irqs.reserve_pirq(GUEST, true), Ok(Pirq(17)));
    let top = irqs.nr_pirqs(GUEST) - 1;
    assert_eq!(irqs.reserve_pirq(GUEST, false), Ok(Pirq(top)));
    assert_eq!(irqs.reserve_pirq(GUEST, false), Ok(Pirq(top - 1)));
    let rest = (0..1000)
        .take_while(|_| irqs.reserve_pirq(GUEST, true).is_ok())
        .count();
    assert_eq!(rest, 24 - 18 + 15);
    assert_eq!(irqs.reserve_pirq(GUEST, true), Err(Errno::ENOSPC));
}

#[test]
fn unmapping_answers_as_documented_and_unbinds() {
    let board = Board::new();
    let irqs = bound(&board, 20);
    assert_eq!(irqs.unmap(&board, DOM0, Pirq(21)), Err(Errno::EINVAL));
    assert_eq!(irqs.unmap(&board, DOM0, Pirq(u32::MAX)), Err(Errno::EINVAL));
    let _ = irqs.arrive(&board, CPU, board.vector_of(20), 0);
    assert_eq!(irqs.unmap(&board, DOM0, Pirq(20)), Ok(()));
    assert!(board.is_masked(20));
    assert_eq!(irqs.unmap(&board, DOM0, Pirq(20)), Err(Errno::EINVAL));
    assert!(irqs.arrive(&board, CPU, board.vector_of(20), 0).is_none());
}

#[test]
fn announced_devices_come_and_go() {
    let board = Board::with_device();
    let irqs = table();
    let physical = PciAddress {
        devfn: 0x10,
        ..DEVICE
    };
    let device = PciDevice {
        virtual_of: Some(physical),
        ..PciDevice::default()
    };
    irqs.add_device(DEVICE, device);
    assert_eq!(irqs.describe_pci().len(), 2);
    assert_eq!(irqs.remove_device(&board, DEVICE), Ok(()));
    assert_eq!(irqs.remove_device(&board, DEVICE), Err(Errno::ENODEV));
    assert_eq!(irqs.restore_msi(&board, DEVICE), Err(Errno::ENODEV));
    assert_eq!(irqs.prepare_msix(&board, DEVICE, false), Err(Errno::ENODEV));
    assert_eq!(irqs.restore_msi(&board, physical), Ok(()));
}

#[test]
fn only_windows_of_the_firmware_table_are_known() {
    let irqs = table();
    assert!(irqs.knows_mcfg(0xb000_0000, 0, 0, 255));
    assert!(irqs.knows_mcfg(0xb000_0000, 0, 0, 63));
    assert!(!irqs.knows_mcfg(0xb000_0000, 1, 0, 255));
    assert!(!irqs.knows_mcfg(0xc000_0000, 0, 0, 255));
    assert_eq!(irqs.ioapic_input(0xfec0_0000, 23), Some(Some(Gsi(23))));
    assert_eq!(irqs.ioapic_input(0xfec0_0000, 24), Some(None));
    assert_eq!(irqs.ioapic_input(0xfec0_1000, 0), None);
}
