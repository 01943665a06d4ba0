//! The errnos of physdev_op, and what its calls do, on a simulated machine.

use hypercall_abi::errno::Errno;
use hypercall_abi::event_channel::{EvtchnBindPirq, EvtchnOp};
use hypercall_abi::physdev::*;
use hypercall_abi::xen::{DomId, HypercallNr};
use zerocopy::{FromZeros, Immutable, IntoBytes};

use crate::hypervisor::Hypervisor;
use crate::num::{CpuId, Gsi, Pfn};
use crate::sim::{PvGuest, SimMachine, world};

type World = Hypervisor<SimMachine>;

/// Where arguments are put.
const ARG: Pfn = Pfn(1);
/// The page of EOI bits.
const EOI_PAGE: Pfn = Pfn(2);

fn call<T: IntoBytes + Immutable>(
    hv: &World,
    guest: &mut PvGuest,
    op: PhysdevOp,
    arg: &T,
) -> Result<u64, Errno> {
    let addr = guest.put(hv, ARG, arg);
    result(guest.hypercall(hv, HypercallNr::PHYSDEV_OP, [op.0.into(), addr, 0, 0, 0, 0]))
}

fn result(returned: i64) -> Result<u64, Errno> {
    u64::try_from(returned).map_err(|_| {
        i32::try_from(-returned)
            .ok()
            .and_then(Errno::from_raw)
            .expect("an errno of the contract")
    })
}

/// The argument page as 32-bit words, after a call.
fn answer(hv: &World, guest: &PvGuest, word: u64) -> u32 {
    let value = guest
        .load(hv, guest.va(ARG) + word / 2 * 8)
        .expect("mapped");
    if word.is_multiple_of(2) {
        value as u32
    } else {
        (value >> 32) as u32
    }
}

fn gsi_map(gsi: i32, pirq: i32) -> PhysdevMapPirq {
    let mut map = PhysdevMapPirq::new_zeroed();
    map.domid = DomId::SELF;
    map.r#type = MapPirqType::GSI;
    (map.index, map.pirq) = (gsi, pirq);
    map
}

fn bind(hv: &World, guest: &mut PvGuest, pirq: u32) -> Result<u32, Errno> {
    let arg = EvtchnBindPirq {
        pirq,
        flags: 1,
        port: 0,
    };
    let addr = guest.put(hv, ARG, &arg);
    let args = [EvtchnOp::BIND_PIRQ.0.into(), addr, 0, 0, 0, 0];
    result(guest.hypercall(hv, HypercallNr::EVENT_CHANNEL_OP, args))?;
    Ok(answer(hv, guest, 2))
}

#[test]
fn a_level_interrupt_goes_from_the_device_to_the_domain_and_back() {
    let hv = world();
    let mut dom0 = PvGuest::dom0(&hv, 64);
    assert_eq!(
        call(&hv, &mut dom0, PhysdevOp::MAP_PIRQ, &gsi_map(18, 18)),
        Ok(0)
    );
    let page = PhysdevPirqEoiGmfn {
        gmfn: dom0.mfn(EOI_PAGE).0,
    };
    assert_eq!(
        call(&hv, &mut dom0, PhysdevOp::PIRQ_EOI_GMFN_V2, &page),
        Ok(0)
    );
    let port = bind(&hv, &mut dom0, 18).unwrap();
    assert_eq!(dom0.load(&hv, dom0.va(EOI_PAGE)), Ok(1 << 18));
    let routed = hv.machine.gsi(Gsi(18)).unwrap();
    assert!(!routed.masked);

    hv.handle_vector(CpuId(0), routed.vector);
    assert!(hv.event_pending_for_poll(&dom0.domain, crate::num::Port(port)));
    assert!(hv.machine.gsi(Gsi(18)).unwrap().masked);
    assert_eq!(hv.machine.take_ended(), [routed.vector]);

    assert_eq!(
        call(&hv, &mut dom0, PhysdevOp::EOI, &PhysdevEoi { irq: 18 }),
        Ok(0)
    );
    assert!(!hv.machine.gsi(Gsi(18)).unwrap().masked);

    hv.release_irqs(&dom0.domain);
    assert!(hv.machine.gsi(Gsi(18)).unwrap().masked);
}

#[test]
fn mapping_answers_as_documented_and_writes_back_also_on_failure() {
    let hv = world();
    let mut dom0 = PvGuest::dom0(&hv, 64);
    let mut map = |gsi, pirq| {
        let result = call(&hv, &mut dom0, PhysdevOp::MAP_PIRQ, &gsi_map(gsi, pirq));
        (result, answer(&hv, &dom0, 3).cast_signed())
    };
    assert_eq!(map(0, 0), (Err(Errno::EPERM), 0));
    assert_eq!(map(5, 5), (Ok(0), 5));
    assert_eq!(map(5, -1), (Ok(0), 5));
    assert_eq!(map(5, 6), (Err(Errno::EEXIST), 6));
    assert_eq!(map(24, -1), (Err(Errno::EINVAL), -1));
    let mut arg = gsi_map(5, 5);
    arg.r#type = MapPirqType::UNKNOWN;
    assert_eq!(
        call(&hv, &mut dom0, PhysdevOp::MAP_PIRQ, &arg),
        Err(Errno::EINVAL)
    );
    arg.r#type = MapPirqType::MULTI_MSI;
    arg.table_base = 0x1000;
    assert_eq!(
        call(&hv, &mut dom0, PhysdevOp::MAP_PIRQ, &arg),
        Err(Errno::EINVAL)
    );
    (arg.table_base, arg.pirq, arg.entry_nr) = (0, -1, 4);
    assert_eq!(
        call(&hv, &mut dom0, PhysdevOp::MAP_PIRQ, &arg),
        Err(Errno::EOPNOTSUPP)
    );
    arg.domid = DomId(99);
    assert_eq!(
        call(&hv, &mut dom0, PhysdevOp::MAP_PIRQ, &arg),
        Err(Errno::ESRCH)
    );
}

#[test]
fn what_is_not_mapped_or_not_permitted_cannot_be_bound() {
    let hv = world();
    let mut dom0 = PvGuest::dom0(&hv, 64);
    assert_eq!(bind(&hv, &mut dom0, 7), Err(Errno::EPERM));
    assert_eq!(bind(&hv, &mut dom0, 1 << 20), Err(Errno::EINVAL));
    call(&hv, &mut dom0, PhysdevOp::MAP_PIRQ, &gsi_map(7, 7)).unwrap();
    assert!(bind(&hv, &mut dom0, 7).is_ok());
    assert_eq!(bind(&hv, &mut dom0, 7), Err(Errno::EEXIST));
}

#[test]
fn the_eoi_page_must_be_writable_and_is_registered_once() {
    let hv = world();
    let mut dom0 = PvGuest::dom0(&hv, 64);
    let table = PhysdevPirqEoiGmfn {
        gmfn: dom0.mfn(dom0.l4).0,
    };
    let op = PhysdevOp::PIRQ_EOI_GMFN_V2;
    assert_eq!(call(&hv, &mut dom0, op, &table), Err(Errno::EINVAL));
    assert_eq!(
        call(&hv, &mut dom0, op, &PhysdevPirqEoiGmfn { gmfn: u64::MAX }),
        Err(Errno::EINVAL)
    );
    let page = PhysdevPirqEoiGmfn {
        gmfn: dom0.mfn(EOI_PAGE).0,
    };
    assert_eq!(call(&hv, &mut dom0, op, &page), Ok(0));
    assert_eq!(
        call(&hv, &mut dom0, PhysdevOp::PIRQ_EOI_GMFN_V1, &page),
        Err(Errno::EBUSY)
    );
}

#[test]
fn status_always_asks_for_eoi() {
    let hv = world();
    let mut dom0 = PvGuest::dom0(&hv, 64);
    let mut status = |irq| {
        let query = PhysdevIrqStatusQuery { irq, flags: 0xff };
        let result = call(&hv, &mut dom0, PhysdevOp::IRQ_STATUS_QUERY, &query);
        result.map(|_| answer(&hv, &dom0, 1))
    };
    assert_eq!(status(1), Ok(1));
    assert_eq!(status(u32::MAX), Err(Errno::EINVAL));
}

#[test]
fn io_privileges_are_the_callers_own() {
    let hv = world();
    let mut guest = PvGuest::unprivileged(&hv, 3, 64);
    for (iopl, expected) in [(3, Ok(0)), (4, Err(Errno::EINVAL)), (1, Ok(0))] {
        assert_eq!(
            call(
                &hv,
                &mut guest,
                PhysdevOp::SET_IOPL,
                &PhysdevSetIopl { iopl }
            ),
            expected
        );
    }
    assert_eq!(guest.ctx.iopl, 1);
    let mut bitmap = PhysdevSetIobitmap::new_zeroed();
    bitmap.bitmap = hypercall_abi::guest_handle::GuestHandle::from_addr(0x1000);
    bitmap.nr_ports = 65536;
    assert_eq!(
        call(&hv, &mut guest, PhysdevOp::SET_IOBITMAP, &bitmap),
        Ok(0)
    );
    assert_eq!(
        (guest.ctx.io_bitmap, guest.ctx.io_bitmap_ports),
        (0x1000, 65536)
    );
    bitmap.nr_ports = 65537;
    assert_eq!(
        call(&hv, &mut guest, PhysdevOp::SET_IOBITMAP, &bitmap),
        Err(Errno::EINVAL)
    );
    bitmap.nr_ports = 1;
    for hole in [
        crate::guest::HYPERVISOR_START,
        crate::guest::HYPERVISOR_START - 16,
        u64::MAX - 8,
    ] {
        bitmap.bitmap = hypercall_abi::guest_handle::GuestHandle::from_addr(hole);
        assert_eq!(
            call(&hv, &mut guest, PhysdevOp::SET_IOBITMAP, &bitmap),
            Err(Errno::EINVAL)
        );
    }
}

#[test]
fn what_concerns_the_machine_is_refused_to_guests() {
    let hv = world();
    let mut guest = PvGuest::unprivileged(&hv, 3, 64);
    let arg = [0u8; 40];
    for op in [
        PhysdevOp::MAP_PIRQ,
        PhysdevOp::UNMAP_PIRQ,
        PhysdevOp::SETUP_GSI,
        PhysdevOp::APIC_READ,
        PhysdevOp::APIC_WRITE,
        PhysdevOp::ALLOC_IRQ_VECTOR,
        PhysdevOp::MANAGE_PCI_ADD,
        PhysdevOp::MANAGE_PCI_REMOVE,
        PhysdevOp::MANAGE_PCI_ADD_EXT,
        PhysdevOp::PCI_DEVICE_ADD,
        PhysdevOp::PCI_DEVICE_REMOVE,
        PhysdevOp::PCI_MMCFG_RESERVED,
        PhysdevOp::RESTORE_MSI,
        PhysdevOp::RESTORE_MSI_EXT,
        PhysdevOp::PREPARE_MSIX,
        PhysdevOp::RELEASE_MSIX,
        PhysdevOp::DBGP_OP,
    ] {
        let mut arg = arg;
        if matches!(op, PhysdevOp::MAP_PIRQ | PhysdevOp::UNMAP_PIRQ) {
            arg[..2].copy_from_slice(&DomId::SELF.0.to_le_bytes());
        }
        assert_eq!(call(&hv, &mut guest, op, &arg), Err(Errno::EPERM), "{op:?}");
    }
    for op in [0, 11, 22, 99] {
        let op = PhysdevOp(op);
        assert_eq!(
            call(&hv, &mut guest, op, &arg),
            Err(Errno::ENOSYS),
            "{op:?}"
        );
    }
}

#[test]
fn an_argument_that_cannot_be_read_is_a_fault() {
    let hv = world();
    let mut dom0 = PvGuest::dom0(&hv, 64);
    for op in [
        5, 6, 7, 8, 9, 10, 12, 13, 14, 15, 16, 17, 19, 20, 21, 23, 24, 25, 26, 27, 28, 29, 30, 31,
    ] {
        let returned = dom0.hypercall(&hv, HypercallNr::PHYSDEV_OP, [op, 0x1000, 0, 0, 0, 0]);
        assert_eq!(result(returned), Err(Errno::EFAULT), "op {op}");
    }
}

#[test]
fn set_up_of_a_gsi() {
    let hv = world();
    let mut dom0 = PvGuest::dom0(&hv, 64);
    let mut setup = |gsi| {
        let mut arg = PhysdevSetupGsi::new_zeroed();
        (arg.gsi, arg.triggering, arg.polarity) = (gsi, 1, 1);
        call(&hv, &mut dom0, PhysdevOp::SETUP_GSI, &arg)
    };
    assert_eq!(setup(9), Ok(0));
    assert_eq!(setup(9), Err(Errno::EEXIST));
    assert_eq!(setup(24), Err(Errno::EINVAL));
    assert_eq!(setup(-1), Err(Errno::EINVAL));
    let routed = hv.machine.gsi(Gsi(9)).unwrap();
    assert_eq!(routed.trigger, crate::machine::Trigger::Level);
    assert!(routed.masked);
}

#[test]
fn io_apics_can_be_read_and_vectors_are_numbers() {
    let hv = world();
    let mut dom0 = PvGuest::dom0(&hv, 64);
    let apic = PhysdevApic {
        apic_physbase: 0xfec0_0000,
        reg: 1,
        value: 0,
    };
    assert_eq!(call(&hv, &mut dom0, PhysdevOp::APIC_READ, &apic), Ok(0));
    assert_eq!(answer(&hv, &dom0, 3) >> 16, 23);
    let elsewhere = PhysdevApic {
        apic_physbase: 0x1234_0000,
        ..apic
    };
    assert_eq!(
        call(&hv, &mut dom0, PhysdevOp::APIC_READ, &elsewhere),
        Err(Errno::EINVAL)
    );
    assert_eq!(
        call(&hv, &mut dom0, PhysdevOp::APIC_WRITE, &elsewhere),
        Err(Errno::EINVAL)
    );
    let irq = PhysdevIrq { irq: 13, vector: 0 };
    assert_eq!(
        call(&hv, &mut dom0, PhysdevOp::ALLOC_IRQ_VECTOR, &irq),
        Ok(0)
    );
    assert_eq!(answer(&hv, &dom0, 1), 13);
}

#[test]
fn pci_functions_are_announced_and_forgotten() {
    let hv = world();
    let mut dom0 = PvGuest::dom0(&hv, 64);
    let device = PhysdevPciDevice {
        seg: 0,
        bus: 1,
        devfn: 8,
    };
    let mut do_op = |op| call(&hv, &mut dom0, op, &device);
    assert_eq!(do_op(PhysdevOp::PCI_DEVICE_REMOVE), Err(Errno::ENODEV));
    assert_eq!(do_op(PhysdevOp::RESTORE_MSI_EXT), Err(Errno::ENODEV));
    let mut add = PhysdevPciDeviceAdd::new_zeroed();
    (add.bus, add.devfn) = (1, 8);
    assert_eq!(call(&hv, &mut dom0, PhysdevOp::PCI_DEVICE_ADD, &add), Ok(0));
    let mut do_op = |op| call(&hv, &mut dom0, op, &device);
    assert_eq!(do_op(PhysdevOp::RESTORE_MSI_EXT), Ok(0));
    assert_eq!(
        do_op(PhysdevOp::PREPARE_MSIX),
        Err(Errno::ENODEV),
        "no such capability"
    );
    assert_eq!(do_op(PhysdevOp::PCI_DEVICE_REMOVE), Ok(0));
}
