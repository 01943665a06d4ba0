//! The real machine, as the library asks for it: thin bodies over the files that do the work.
// UNSAFETY: passes on promises of the library about addresses and values, each named below.

use core::sync::atomic::{AtomicU64, Ordering};

use hypercall_abi::arch_x86::CpuUserRegs;
use xen_core::hvm::GuestView;
use xen_core::irq::KICK_VECTOR;
use xen_core::machine::{
    Clock, ConsoleIo, CpuMask, CpuidLeaf, Cpus, DebugRegs, Flush, FrameWords, Frames, GuestFault,
    GuestMemory, HeapMemory, HvmCpu, HvmEntry, HvmExit, HvmState, HvmSupport, Irqs, MsiMessage,
    Pio, Polarity, Power, PvCpu, ResetKind, SegmentBase, SelectorReg, Trigger, TscScale, WallTime,
    Width,
};
use xen_core::num::{CpuId, Gsi, Mfn, Vector};

use crate::metal::cpu::{control, cpuid, debug, fpu, gdt, msr, percpu, segment, shootdown};
use crate::metal::entry::guest_copy;
use crate::metal::irq::{ioapic, lapic, msi};
use crate::metal::mem::layout::DIRECT_MAP_BASE;
use crate::metal::mem::stacks::this_cpu;
use crate::metal::mem::{heap, paging, ram::Ram, vmap};
use crate::metal::time::{clock, cmos, tsc};
use crate::metal::{pio, power, serial, svm, watchdog};

/// CR4 bits that a guest may change: TSD, DE, FSGSBASE. OSXSAVE is the host's and on wherever guests can use it.
const GUEST_CR4: u64 = 1 << 2 | 1 << 3 | 1 << 16;

/// This computer.
pub struct X86 {
    /// Memory that guests may get.
    pub ram: Ram,
}

impl Frames for X86 {
    fn max_mfn(&self) -> Mfn {
        self.ram.end()
    }

    fn words(&self, mfn: Mfn) -> &FrameWords {
        self.ram.words(mfn)
    }

    fn m2p(&self, mfn: Mfn) -> Option<&AtomicU64> {
        self.ram.m2p(mfn)
    }

    fn flush_caches(&self) {
        // SAFETY: writes back and drops caches; memory stays as it is.
        unsafe { core::arch::asm!("wbinvd", options(nostack, preserves_flags)) };
    }
}

impl HeapMemory for X86 {
    fn heap_is_low(&self) -> bool {
        heap::is_low()
    }

    fn extend_heap(&self, start: Mfn, order: u32) {
        self.ram.withdraw(start, 1 << order);
        // SAFETY: allocatable frames that nobody owns or refers to (promise of the library), in the direct map; from
        // here on `words` refuses them. A piece that is too small is lost.
        unsafe { heap::extend(DIRECT_MAP_BASE + start.addr(), 4096 << order) };
    }
}

impl GuestMemory for X86 {
    fn copy_from_guest(&self, addr: u64, buf: &mut [u8]) -> Result<(), GuestFault> {
        match self.guest_view() {
            Some(view) => view.copy_from(self, addr, buf),
            None => guest_copy::from_guest(addr, buf),
        }
    }

    fn copy_to_guest(&self, addr: u64, buf: &[u8]) -> Result<(), GuestFault> {
        match self.guest_view() {
            Some(view) => view.copy_to(self, addr, buf),
            None => guest_copy::to_guest(addr, buf),
        }
    }

    fn set_guest_view(&self, view: Option<GuestView>) {
        *this_cpu().view.lock() = view;
    }

    fn guest_view(&self) -> Option<GuestView> {
        *this_cpu().view.lock()
    }
}

impl HvmCpu for X86 {
    fn hvm_support(&self) -> HvmSupport {
        svm::support()
    }

    fn run_hvm(&self, entry: &HvmEntry, state: &mut HvmState, regs: &mut CpuUserRegs) -> HvmExit {
        svm::run(entry, state, regs)
    }

    fn forget_hvm_translations(&self) {
        if let Some(svm) = this_cpu().svm.get() {
            svm.request_flush();
        }
    }
}

impl Cpus for X86 {
    fn this_cpu(&self) -> CpuId {
        CpuId(this_cpu().number)
    }

    fn online(&self) -> CpuMask {
        percpu::online()
    }

    fn kick(&self, cpu: CpuId) {
        match percpu::find(cpu) {
            Some(target) if target.number == this_cpu().number => {
                lapic::send_to_self(KICK_VECTOR.0)
            }
            Some(target) => lapic::send_to(target.apic_id, KICK_VECTOR.0),
            None => {}
        }
    }

    fn flush_tlb(&self, mask: &CpuMask, what: Flush) {
        shootdown::flush(mask, what);
    }

    fn must_yield(&self) -> bool {
        // The handler of an interrupt in the hypervisor only notes its vector.
        x86_64::instructions::interrupts::enable();
        x86_64::instructions::nop();
        x86_64::instructions::interrupts::disable();
        this_cpu().has_pending()
    }

    fn take_interrupt(&self) -> Option<Vector> {
        this_cpu().take_interrupt()
    }

    fn take_nmi(&self) -> bool {
        this_cpu().take_nmi()
    }

    fn take_machine_check(&self) -> bool {
        this_cpu().take_machine_check()
    }

    fn idle(&self) {
        // Interrupts are off, and STI takes effect after HLT has begun: none is missed in between.
        if !this_cpu().has_pending() {
            x86_64::instructions::interrupts::enable_and_hlt();
            x86_64::instructions::interrupts::disable();
        }
    }
}

impl PvCpu for X86 {
    fn load_root(&self, root: Mfn) {
        // SAFETY: the library validated the table, which includes the hypervisor's slots.
        unsafe { paging::load_root(root.addr()) };
    }

    fn load_idle_root(&self) {
        // SAFETY: the hypervisor's own table.
        unsafe { paging::load_root(paging::own_root()) };
    }

    fn hypervisor_l4_slots(&self) -> [u64; 16] {
        paging::hypervisor_slots()
    }

    fn fault_address(&self) -> u64 {
        control::cr2()
    }

    fn base(&self, which: SegmentBase) -> u64 {
        segment::base(which)
    }

    fn set_base(&self, which: SegmentBase, addr: u64) {
        segment::set_base(which, addr);
    }

    fn swap_gs(&self) {
        segment::swap_gs();
    }

    fn selector(&self, reg: SelectorReg) -> u16 {
        segment::selector(reg)
    }

    fn load_selector(&self, reg: SelectorReg, selector: u16) -> Result<(), ()> {
        segment::load_selector(reg, selector)
            .then_some(())
            .ok_or(())
    }

    fn load_inactive_gs(&self, selector: u16) -> Result<(), ()> {
        segment::load_inactive_gs(selector).then_some(()).ok_or(())
    }

    fn set_gdt_slot(&self, slot: usize, frame: Option<Mfn>) {
        gdt::set_gdt_slot(this_cpu().number, slot, frame);
    }

    fn set_ldt_slot(&self, slot: usize, frame: Option<Mfn>) {
        gdt::set_ldt_slot(this_cpu().number, slot, frame);
    }

    fn load_ldt(&self, entries: u32) {
        gdt::load_ldt(this_cpu().number, entries);
    }

    fn ldt_window_offset(&self, addr: u64) -> Option<u64> {
        gdt::ldt_offset(this_cpu().number, addr)
    }

    fn gdt_window_offset(&self, addr: u64) -> Option<u64> {
        gdt::gdt_offset(this_cpu().number, addr)
    }

    fn load_debug_regs(&self, regs: &DebugRegs) {
        debug::load(regs);
    }

    fn dr6(&self) -> u64 {
        debug::dr6()
    }

    fn fpu_area_size(&self) -> usize {
        fpu::area_size()
    }

    fn host_xcr0(&self) -> u64 {
        fpu::host_xcr0()
    }

    fn save_fpu(&self, area: &mut [u8]) {
        fpu::save(&mut this_cpu().fpu.lock(), area);
    }

    fn restore_fpu(&self, area: &[u8]) -> bool {
        fpu::restore(&mut this_cpu().fpu.lock(), area)
    }

    fn set_xcr0(&self, xcr0: u64) {
        // Without XSAVE there is no such register, and a vCPU's XCR0 is just a number.
        if fpu::host_xcr0() != 0 {
            fpu::set_xcr0(xcr0);
        }
    }

    fn set_task_switched(&self, on: bool) {
        control::set_task_switched(on);
    }

    fn set_guest_cr4(&self, bits: u64) {
        let host = this_cpu().host_cr4.load(Ordering::Relaxed);
        let value = host | bits & GUEST_CR4;
        if value != control::cr4() {
            // SAFETY: the hypervisor runs the same with or without the guest's bits, which the processor has: the
            // library shows guests no others.
            unsafe { control::set_cr4(value) };
        }
    }

    fn cr4(&self) -> u64 {
        control::cr4()
    }

    fn cr0(&self) -> u64 {
        control::cr0()
    }

    fn read_msr(&self, index: u32) -> Option<u64> {
        msr::try_read(index)
    }

    fn write_msr(&self, index: u32, value: u64) -> Result<(), ()> {
        // SAFETY: the library writes registers that belong to guests only.
        unsafe { msr::try_write(index, value) }
            .then_some(())
            .ok_or(())
    }

    fn cpuid(&self, leaf: u32, subleaf: u32) -> CpuidLeaf {
        cpuid::leaf(leaf, subleaf)
    }

    fn xcr0(&self) -> u64 {
        fpu::xcr0()
    }

    fn apic_id(&self, cpu: CpuId) -> Option<u32> {
        percpu::find(cpu).map(|cpu| cpu.apic_id)
    }
}

impl Clock for X86 {
    fn now_ns(&self) -> u64 {
        clock::now_ns()
    }

    fn tsc(&self) -> u64 {
        tsc::read()
    }

    fn tsc_khz(&self) -> u64 {
        clock::khz()
    }

    fn tsc_scale(&self) -> TscScale {
        clock::scale()
    }

    fn time_base(&self) -> (u64, u64) {
        clock::base()
    }

    fn tsc_is_reliable(&self) -> bool {
        cpuid::has_invariant_tsc()
    }

    fn set_deadline(&self, deadline_ns: Option<u64>) {
        clock::set_deadline(deadline_ns);
    }

    fn read_wallclock(&self) -> WallTime {
        cmos::read()
    }
}

impl Irqs for X86 {
    fn nr_gsis(&self) -> u32 {
        ioapic::gsi_end()
    }

    fn route_gsi(
        &self,
        gsi: Gsi,
        vector: Vector,
        cpu: CpuId,
        trigger: Trigger,
        polarity: Polarity,
    ) -> Result<(), ()> {
        let target = percpu::find(cpu).ok_or(())?;
        ioapic::route(gsi, vector, target.apic_id, trigger, polarity)
            .then_some(())
            .ok_or(())
    }

    fn interrupt_cpus(&self) -> CpuMask {
        // IO-APICs and messages have eight bits for the destination, of which all ones mean everybody.
        let reachable = |cpu: &CpuId| percpu::find(*cpu).is_some_and(|cpu| cpu.apic_id < 0xff);
        let mut mask = CpuMask::EMPTY;
        self.online()
            .iter()
            .filter(reachable)
            .for_each(|cpu| mask.insert(cpu));
        mask
    }

    fn redirect_gsi(&self, gsi: Gsi, cpu: CpuId) -> Result<(), ()> {
        let target = percpu::find(cpu).ok_or(())?;
        ioapic::redirect(gsi, target.apic_id)
            .then_some(())
            .ok_or(())
    }

    fn gsi_in_flight(&self, gsi: Gsi) -> bool {
        ioapic::in_flight(gsi)
    }

    fn is_requested(&self, vector: Vector) -> bool {
        lapic::is_requested(vector.0) || this_cpu().has_noted(vector.0)
    }

    fn mask_gsi(&self, gsi: Gsi, masked: bool) {
        ioapic::mask(gsi, masked);
    }

    fn eoi(&self, _vector: Vector) {
        lapic::end_of_interrupt();
    }

    fn msi_message(&self, vector: Vector, cpu: CpuId) -> MsiMessage {
        msi::message(vector.0, percpu::find(cpu).map_or(0, |cpu| cpu.apic_id))
    }

    fn ioapic_read(&self, base: u64, register: u32) -> Result<u32, ()> {
        ioapic::read(base, register).ok_or(())
    }
}

impl Pio for X86 {
    fn is_own_port(&self, port: u16) -> bool {
        // Xen keeps the serial line and the ACPI timer for itself.
        serial::owns_port(port) || power::owns_port(port)
    }

    fn port_in(&self, port: u16, width: Width) -> u32 {
        pio::read_port(port, width)
    }

    fn port_out(&self, port: u16, width: Width, value: u32) {
        pio::write_port(port, width, value);
    }

    fn pci_read(&self, segment: u16, bus: u8, devfn: u8, offset: u16, width: Width) -> u32 {
        pio::read_pci(segment, bus, devfn, offset, width)
    }

    fn pci_write(&self, segment: u16, bus: u8, devfn: u8, offset: u16, width: Width, value: u32) {
        pio::write_pci(segment, bus, devfn, offset, width, value);
    }

    fn mmio_read32(&self, addr: u64) -> u32 {
        vmap::read_register(addr)
    }

    fn mmio_write32(&self, addr: u64, value: u32) {
        vmap::write_register(addr, value);
    }
}

impl ConsoleIo for X86 {
    fn write_console(&self, bytes: &[u8]) {
        // A slow line is no reason to restart.
        watchdog::note_progress();
        serial::write(bytes);
    }

    fn read_console(&self) -> Option<u8> {
        serial::take_input()
    }
}

impl Power for X86 {
    fn reset(&self, _kind: ResetKind) -> ! {
        power::reset()
    }

    fn halt(&self) -> ! {
        power::halt()
    }

    fn enter_acpi_sleep(&self, _state: u32, pm1a: u16, pm1b: u16) {
        power::enter_sleep(pm1a, pm1b);
    }

    fn power_off(&self) {
        power::off();
    }
}
