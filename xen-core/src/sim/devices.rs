//! Clock, interrupt controllers, ports, console, power switch: recorded, and played back by the test.

use std::sync::atomic::Ordering;
use std::vec::Vec;

use super::SimMachine;
use crate::machine::{
    Clock, ConsoleIo, CpuMask, Cpus, Irqs, MsiMessage, Pio, Polarity, Power, ResetKind, Trigger,
    TscScale, WallTime, Width,
};
use crate::num::{CpuId, Gsi, Vector};

/// Inputs of the one IO-APIC.
const GSIS: u32 = 24;
const IOAPIC_BASE: u64 = 0xfec0_0000;

/// How an IO-APIC input is programmed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RoutedGsi {
    /// Vector it sends.
    pub vector: Vector,
    /// To which processor.
    pub cpu: CpuId,
    /// Trigger mode.
    pub trigger: Trigger,
    /// Polarity.
    pub polarity: Polarity,
    /// Whether it is masked.
    pub masked: bool,
}

/// An access of the hardware domain that reached the machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IoAccess {
    /// OUT.
    PortOut(u16, u32),
    /// Write to configuration space: bus, devfn, offset, value.
    PciWrite(u8, u8, u16, u32),
    /// Write to a device register.
    MmioWrite(u64, u32),
}

impl Clock for SimMachine {
    fn now_ns(&self) -> u64 {
        self.now_ns.load(Ordering::SeqCst)
    }

    fn tsc(&self) -> u64 {
        self.now_ns()
    }

    fn tsc_khz(&self) -> u64 {
        1_000_000
    }

    fn tsc_scale(&self) -> TscScale {
        // One tick is one nanosecond: twice the ticks, times one half.
        TscScale {
            mul: 1 << 31,
            shift: 1,
        }
    }

    fn time_base(&self) -> (u64, u64) {
        let now = self.now_ns();
        (now, now)
    }

    fn tsc_is_reliable(&self) -> bool {
        true
    }

    fn set_deadline(&self, deadline_ns: Option<u64>) {
        self.cpu(self.this_cpu()).deadline_ns = deadline_ns;
    }

    fn read_wallclock(&self) -> WallTime {
        WallTime {
            secs: self.devices().wall_secs,
            nanos: 0,
        }
    }
}

impl Irqs for SimMachine {
    fn nr_gsis(&self) -> u32 {
        GSIS
    }

    fn route_gsi(
        &self,
        gsi: Gsi,
        vector: Vector,
        cpu: CpuId,
        trigger: Trigger,
        polarity: Polarity,
    ) -> Result<(), ()> {
        if gsi.0 >= GSIS {
            return Err(());
        }
        self.devices().gsis.insert(
            gsi,
            RoutedGsi {
                vector,
                cpu,
                trigger,
                polarity,
                masked: true,
            },
        );
        Ok(())
    }

    fn interrupt_cpus(&self) -> CpuMask {
        self.online()
    }

    fn redirect_gsi(&self, gsi: Gsi, cpu: CpuId) -> Result<(), ()> {
        self.devices()
            .gsis
            .get_mut(&gsi)
            .map(|routed| routed.cpu = cpu)
            .ok_or(())
    }

    fn gsi_in_flight(&self, _gsi: Gsi) -> bool {
        false
    }

    fn is_requested(&self, vector: Vector) -> bool {
        self.cpu(self.this_cpu()).interrupts.contains(&vector)
    }

    fn mask_gsi(&self, gsi: Gsi, masked: bool) {
        if let Some(routed) = self.devices().gsis.get_mut(&gsi) {
            routed.masked = masked;
        }
    }

    fn eoi(&self, vector: Vector) {
        self.devices().ended.push(vector);
    }

    fn msi_message(&self, vector: Vector, cpu: CpuId) -> MsiMessage {
        MsiMessage {
            address: 0xfee0_0000 | u64::from(cpu.0) << 12,
            data: vector.0.into(),
        }
    }

    fn ioapic_read(&self, base: u64, register: u32) -> Result<u32, ()> {
        match (base, register) {
            (IOAPIC_BASE, 1) => Ok((GSIS - 1) << 16 | 0x20),
            (IOAPIC_BASE, _) => Ok(0),
            _ => Err(()),
        }
    }
}

impl Pio for SimMachine {
    fn port_in(&self, port: u16, _width: Width) -> u32 {
        self.devices().ports.get(&port).copied().unwrap_or(u32::MAX)
    }

    fn port_out(&self, port: u16, _width: Width, value: u32) {
        self.devices().io.push(IoAccess::PortOut(port, value));
    }

    fn pci_read(&self, segment: u16, bus: u8, devfn: u8, offset: u16, _width: Width) -> u32 {
        self.devices()
            .pci
            .get(&(segment, bus, devfn, offset))
            .copied()
            .unwrap_or(u32::MAX)
    }

    fn pci_write(&self, segment: u16, bus: u8, devfn: u8, offset: u16, _width: Width, value: u32) {
        let mut devices = self.devices();
        devices
            .io
            .push(IoAccess::PciWrite(bus, devfn, offset, value));
        devices.pci.insert((segment, bus, devfn, offset), value);
    }

    fn mmio_read32(&self, addr: u64) -> u32 {
        self.devices().mmio.get(&addr).copied().unwrap_or(u32::MAX)
    }

    fn mmio_write32(&self, addr: u64, value: u32) {
        let mut devices = self.devices();
        devices.io.push(IoAccess::MmioWrite(addr, value));
        devices.mmio.insert(addr, value);
    }
}

impl ConsoleIo for SimMachine {
    fn write_console(&self, bytes: &[u8]) {
        self.devices().console_out.extend_from_slice(bytes);
    }

    fn read_console(&self) -> Option<u8> {
        self.devices().console_in.pop_front()
    }
}

impl Power for SimMachine {
    fn reset(&self, kind: ResetKind) -> ! {
        panic!("sim: reset {kind:?}");
    }

    fn halt(&self) -> ! {
        panic!("sim: halt");
    }

    fn enter_acpi_sleep(&self, _state: u32, _pm1a: u16, _pm1b: u16) {}

    fn power_off(&self) {
        panic!("sim: power off");
    }
}

impl SimMachine {
    /// Lets time pass.
    pub fn advance_ns(&self, ns: u64) {
        self.now_ns.fetch_add(ns, Ordering::SeqCst);
    }

    /// The deadline that a processor's timer is set to.
    #[must_use]
    pub fn deadline(&self, cpu: CpuId) -> Option<u64> {
        self.cpu(cpu).deadline_ns
    }

    /// How an IO-APIC input is programmed.
    #[must_use]
    pub fn gsi(&self, gsi: Gsi) -> Option<RoutedGsi> {
        self.devices().gsis.get(&gsi).copied()
    }

    /// Vectors whose end was signalled since the last call.
    pub fn take_ended(&self) -> Vec<Vector> {
        core::mem::take(&mut self.devices().ended)
    }

    /// Accesses that reached the machine since the last call.
    pub fn take_io(&self) -> Vec<IoAccess> {
        core::mem::take(&mut self.devices().io)
    }

    /// Sets what IN reads from a port.
    pub fn set_port(&self, port: u16, value: u32) {
        self.devices().ports.insert(port, value);
    }

    /// Sets a word of configuration space.
    pub fn set_pci(&self, bus: u8, devfn: u8, offset: u16, value: u32) {
        self.devices().pci.insert((0, bus, devfn, offset), value);
    }

    /// Sets a device register.
    pub fn set_mmio(&self, addr: u64, value: u32) {
        self.devices().mmio.insert(addr, value);
    }

    /// What was written to the console since the last call.
    pub fn take_console(&self) -> Vec<u8> {
        core::mem::take(&mut self.devices().console_out)
    }

    /// Types on the console.
    pub fn type_console(&self, bytes: &[u8]) {
        self.devices().console_in.extend(bytes);
    }
}
