//! A board of switches that records what is done to it.

use core::cell::{Cell, RefCell};
use core::sync::atomic::{AtomicU64, Ordering};
use std::boxed::Box;
use std::collections::BTreeMap;
use std::vec::Vec;

use crate::irq::PciAddress;
use crate::machine::{
    CpuMask, FrameWords, Frames, Irqs, MsiMessage, Pio, Polarity, Trigger, Width,
};
use crate::num::{CpuId, Gsi, Mfn, Vector};

/// Interrupt controllers, one PCI function and one page, all recording what is done to them.
pub(super) struct Board {
    pub(super) nr_gsis: u32,
    /// Bit per processor that interrupts can be sent to.
    pub(super) cpus: u64,
    /// Inputs whose interrupt waits for its EOI.
    pub(super) in_flight: RefCell<Vec<u32>>,
    /// What the executing processor has requested.
    pub(super) requested: RefCell<Vec<Vector>>,
    pub(super) routes: RefCell<BTreeMap<u32, (Vector, CpuId, Trigger, Polarity)>>,
    pub(super) masked: RefCell<BTreeMap<u32, bool>>,
    pub(super) eois: RefCell<Vec<Vector>>,
    pub(super) config_space: RefCell<[u8; 256]>,
    pub(super) registers: RefCell<BTreeMap<u64, u32>>,
    pub(super) page: Box<FrameWords>,
    pub(super) steps: Cell<u32>,
}

pub(super) const DEVICE: PciAddress = PciAddress {
    segment: 0,
    bus: 2,
    devfn: 0x18,
};
pub(super) const TABLE: u64 = 0xfe00_0000;

impl Board {
    pub(super) fn new() -> Self {
        Self {
            nr_gsis: 24,
            cpus: 0b11,
            in_flight: RefCell::default(),
            requested: RefCell::default(),
            routes: RefCell::default(),
            masked: RefCell::default(),
            eois: RefCell::default(),
            config_space: RefCell::new([0; 256]),
            registers: RefCell::default(),
            page: Box::new([const { AtomicU64::new(0) }; 512]),
            steps: Cell::new(0),
        }
    }

    /// A function with MSI at 0x50 (64-bit, maskable) and MSI-X with four entries at 0x70.
    pub(super) fn with_device() -> Self {
        let board = Self::new();
        {
            let mut space = board.config_space.borrow_mut();
            space[0x04] = 0x02;
            space[0x06] = 0x10;
            space[0x34] = 0x50;
            space[0x50..0x54].copy_from_slice(&[0x05, 0x70, 0x80, 0x01]);
            space[0x70..0x78].copy_from_slice(&[0x11, 0x00, 0x03, 0x00, 0x02, 0x00, 0x00, 0x00]);
            space[0x18..0x1c].copy_from_slice(&(TABLE as u32).to_le_bytes());
        }
        board
    }

    pub(super) fn is_masked(&self, gsi: u32) -> bool {
        self.masked.borrow().get(&gsi).copied().unwrap_or(true)
    }

    pub(super) fn vector_of(&self, gsi: u32) -> Vector {
        self.routes.borrow()[&gsi].0
    }

    pub(super) fn config(&self, offset: u16, width: Width) -> u32 {
        self.pci_read(DEVICE.segment, DEVICE.bus, DEVICE.devfn, offset, width)
    }

    pub(super) fn eoi_bit(&self, pirq: u32) -> bool {
        self.page[pirq as usize / 64].load(Ordering::Relaxed) & (1 << (pirq % 64)) != 0
    }
}

impl Irqs for Board {
    fn nr_gsis(&self) -> u32 {
        self.nr_gsis
    }

    fn route_gsi(
        &self,
        gsi: Gsi,
        vector: Vector,
        cpu: CpuId,
        trigger: Trigger,
        polarity: Polarity,
    ) -> Result<(), ()> {
        if gsi.0 >= self.nr_gsis {
            return Err(());
        }
        self.routes
            .borrow_mut()
            .insert(gsi.0, (vector, cpu, trigger, polarity));
        self.masked.borrow_mut().insert(gsi.0, true);
        Ok(())
    }

    fn interrupt_cpus(&self) -> CpuMask {
        CpuMask::from_words([self.cpus, 0, 0, 0])
    }

    fn redirect_gsi(&self, gsi: Gsi, cpu: CpuId) -> Result<(), ()> {
        let mut routes = self.routes.borrow_mut();
        routes.get_mut(&gsi.0).map(|route| route.1 = cpu).ok_or(())
    }

    fn gsi_in_flight(&self, gsi: Gsi) -> bool {
        self.in_flight.borrow().contains(&gsi.0)
    }

    fn is_requested(&self, vector: Vector) -> bool {
        self.requested.borrow().contains(&vector)
    }

    fn mask_gsi(&self, gsi: Gsi, masked: bool) {
        self.masked.borrow_mut().insert(gsi.0, masked);
    }

    fn eoi(&self, vector: Vector) {
        self.eois.borrow_mut().push(vector);
    }

    fn msi_message(&self, vector: Vector, cpu: CpuId) -> MsiMessage {
        let address = 0x1_fee0_0000 | u64::from(cpu.0) << 12;
        MsiMessage {
            address,
            data: vector.0.into(),
        }
    }

    fn ioapic_read(&self, _base: u64, _register: u32) -> Result<u32, ()> {
        Err(())
    }
}

impl Pio for Board {
    fn port_in(&self, _port: u16, _width: Width) -> u32 {
        u32::MAX
    }

    fn port_out(&self, _port: u16, _width: Width, _value: u32) {}

    fn pci_read(&self, segment: u16, bus: u8, devfn: u8, offset: u16, width: Width) -> u32 {
        self.steps.set(self.steps.get() + 1);
        let mut bytes = [0xff; 4];
        if (PciAddress {
            segment,
            bus,
            devfn,
        }) == DEVICE
        {
            bytes.copy_from_slice(&self.config_space.borrow()[offset as usize..][..4]);
        }
        u32::from_le_bytes(bytes) & (u32::MAX >> (32 - 8 * width.bytes()))
    }

    fn pci_write(&self, segment: u16, bus: u8, devfn: u8, offset: u16, width: Width, value: u32) {
        assert_eq!(
            PciAddress {
                segment,
                bus,
                devfn
            },
            DEVICE
        );
        let bytes = &value.to_le_bytes()[..width.bytes() as usize];
        self.config_space.borrow_mut()[offset as usize..][..bytes.len()].copy_from_slice(bytes);
    }

    fn mmio_read32(&self, addr: u64) -> u32 {
        self.registers.borrow().get(&addr).copied().unwrap_or(0)
    }

    fn mmio_write32(&self, addr: u64, value: u32) {
        self.registers.borrow_mut().insert(addr, value);
    }
}

impl Frames for Board {
    fn max_mfn(&self) -> Mfn {
        Mfn(1)
    }

    fn words(&self, mfn: Mfn) -> &FrameWords {
        assert_eq!(mfn, Mfn(0));
        &self.page
    }

    fn m2p(&self, _mfn: Mfn) -> Option<&AtomicU64> {
        None
    }

    fn flush_caches(&self) {}
}
