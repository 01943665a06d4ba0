//! The state of a processor that guests share.

use std::collections::{HashMap, VecDeque};

use super::SimMachine;
use super::tlb::Cached;
use crate::hvm::GuestView;
use crate::machine::{CpuidLeaf, Cpus, DebugRegs, PvCpu, SegmentBase, SelectorReg};
use crate::num::{CpuId, Mfn, Vector};

/// Where the windows on descriptor tables are: slot 260, as in Xen.
const GDT_WINDOW: u64 = 0xffff_8200_0000_0000;
const LDT_WINDOW: u64 = GDT_WINDOW + 0x1_0000;
const WINDOW_LEN: u64 = 0x1_0000;

/// One processor.
#[derive(Debug, Default)]
pub(super) struct CpuState {
    pub(super) root: Option<Mfn>,
    pub(super) tlb: HashMap<u64, Cached>,
    pub(super) interrupts: VecDeque<Vector>,
    pub(super) nmi: bool,
    /// A machine check waits.
    pub(super) machine_check: bool,
    pub(super) deadline_ns: Option<u64>,
    pub(super) fault_address: u64,
    bases: [u64; 3],
    selectors: [u16; 4],
    gdt: [Option<Mfn>; 14],
    ldt: [Option<Mfn>; 16],
    ldt_entries: u32,
    debug: DebugRegs,
    xcr0: u64,
    task_switched: bool,
    guest_cr4: u64,
    pub(super) view: Option<GuestView>,
}

pub(super) fn default_cpuid() -> HashMap<(u32, u32), CpuidLeaf> {
    let mut leaves = HashMap::new();
    // "GenuineIntel", 40 physical and 48 linear address bits, NX and long mode, SSE2.
    leaves.insert(
        (0, 0),
        CpuidLeaf {
            a: 0xd,
            b: 0x756e_6547,
            c: 0x6c65_746e,
            d: 0x4965_6e69,
        },
    );
    leaves.insert(
        (1, 0),
        CpuidLeaf {
            a: 0x306c3,
            b: 0,
            c: 0,
            d: 0x0789_fbff,
        },
    );
    leaves.insert(
        (0x8000_0000, 0),
        CpuidLeaf {
            a: 0x8000_0008,
            b: 0,
            c: 0,
            d: 0,
        },
    );
    leaves.insert(
        (0x8000_0001, 0),
        CpuidLeaf {
            a: 0,
            b: 0,
            c: 1,
            d: 0x2010_0800,
        },
    );
    leaves.insert(
        (0x8000_0008, 0),
        CpuidLeaf {
            a: 0x3028,
            b: 0,
            c: 0,
            d: 0,
        },
    );
    leaves
}

const fn base_index(which: SegmentBase) -> usize {
    match which {
        SegmentBase::Fs => 0,
        SegmentBase::Gs => 1,
        SegmentBase::InactiveGs => 2,
    }
}

const fn selector_index(reg: SelectorReg) -> usize {
    match reg {
        SelectorReg::Ds => 0,
        SelectorReg::Es => 1,
        SelectorReg::Fs => 2,
        SelectorReg::Gs => 3,
    }
}

impl SimMachine {
    /// The root that a processor has loaded.
    #[must_use]
    pub fn loaded_root(&self, cpu: CpuId) -> Option<Mfn> {
        self.cpu(cpu).root
    }

    /// Frames in the GDT window of a processor.
    #[must_use]
    pub fn gdt_window(&self, cpu: CpuId) -> [Option<Mfn>; 14] {
        self.cpu(cpu).gdt
    }

    /// Frames in the LDT window of a processor.
    #[must_use]
    pub fn ldt_window(&self, cpu: CpuId) -> [Option<Mfn>; 16] {
        self.cpu(cpu).ldt
    }

    /// Descriptors that LDTR covers.
    #[must_use]
    pub fn ldt_entries(&self, cpu: CpuId) -> u32 {
        self.cpu(cpu).ldt_entries
    }

    /// Address of LDT window page `slot`.
    #[must_use]
    pub const fn ldt_window_addr(slot: u64) -> u64 {
        LDT_WINDOW + (slot << 12)
    }

    /// Whether CR0.TS is set.
    #[must_use]
    pub fn task_switched(&self, cpu: CpuId) -> bool {
        self.cpu(cpu).task_switched
    }

    /// The debug registers of a processor.
    #[must_use]
    pub fn debug_regs(&self, cpu: CpuId) -> DebugRegs {
        self.cpu(cpu).debug
    }

    /// Sets what CPUID answers.
    pub fn set_cpuid(&self, leaf: u32, subleaf: u32, value: CpuidLeaf) {
        self.devices().cpuid.insert((leaf, subleaf), value);
    }

    /// Gives the processor a model-specific register.
    pub fn set_msr(&self, index: u32, value: u64) {
        self.devices().msrs.insert(index, value);
    }

    /// Sets CR2.
    pub fn set_fault_address(&self, cpu: CpuId, addr: u64) {
        self.cpu(cpu).fault_address = addr;
    }
}

impl PvCpu for SimMachine {
    fn load_root(&self, root: Mfn) {
        let mut cpu = self.cpu(self.this_cpu());
        cpu.root = Some(root);
        cpu.tlb.retain(|_, cached| cached.global);
    }

    fn load_idle_root(&self) {
        let mut cpu = self.cpu(self.this_cpu());
        cpu.root = None;
        cpu.tlb.retain(|_, cached| cached.global);
    }

    fn hypervisor_l4_slots(&self) -> [u64; 16] {
        // Recognisable, and never followed by the simulated walk.
        core::array::from_fn(|i| 0x063 | (0xf0 + i as u64) << 40)
    }

    fn fault_address(&self) -> u64 {
        self.cpu(self.this_cpu()).fault_address
    }

    fn base(&self, which: SegmentBase) -> u64 {
        self.cpu(self.this_cpu()).bases[base_index(which)]
    }

    fn set_base(&self, which: SegmentBase, addr: u64) {
        assert!(
            crate::num::is_canonical(addr),
            "sim: segment base {addr:#x} faults (XSA-193)"
        );
        self.cpu(self.this_cpu()).bases[base_index(which)] = addr;
    }

    fn swap_gs(&self) {
        self.cpu(self.this_cpu()).bases.swap(1, 2);
    }

    fn selector(&self, reg: SelectorReg) -> u16 {
        self.cpu(self.this_cpu()).selectors[selector_index(reg)]
    }

    fn load_selector(&self, reg: SelectorReg, selector: u16) -> Result<(), ()> {
        let mut cpu = self.cpu(self.this_cpu());
        let fine = selector & !3 == 0 || selector & 3 == 3;
        cpu.selectors[selector_index(reg)] = if fine { selector } else { 0 };
        match reg {
            SelectorReg::Fs => cpu.bases[0] = 0,
            SelectorReg::Gs => cpu.bases[1] = 0,
            _ => {}
        }
        if fine { Ok(()) } else { Err(()) }
    }

    fn load_inactive_gs(&self, selector: u16) -> Result<(), ()> {
        self.swap_gs();
        let result = self.load_selector(SelectorReg::Gs, selector);
        self.swap_gs();
        result
    }

    fn set_gdt_slot(&self, slot: usize, frame: Option<Mfn>) {
        self.cpu(self.this_cpu()).gdt[slot] = frame;
    }

    fn set_ldt_slot(&self, slot: usize, frame: Option<Mfn>) {
        self.cpu(self.this_cpu()).ldt[slot] = frame;
    }

    fn load_ldt(&self, entries: u32) {
        self.cpu(self.this_cpu()).ldt_entries = entries;
    }

    fn ldt_window_offset(&self, addr: u64) -> Option<u64> {
        addr.checked_sub(LDT_WINDOW)
            .filter(|&offset| offset < WINDOW_LEN)
    }

    fn gdt_window_offset(&self, addr: u64) -> Option<u64> {
        addr.checked_sub(GDT_WINDOW)
            .filter(|&offset| offset < WINDOW_LEN)
    }

    fn load_debug_regs(&self, regs: &DebugRegs) {
        assert!(regs.dr7 & (1 << 13) == 0, "sim: DR7.GD");
        self.cpu(self.this_cpu()).debug = *regs;
    }

    fn dr6(&self) -> u64 {
        self.cpu(self.this_cpu()).debug.dr6
    }

    fn fpu_area_size(&self) -> usize {
        576
    }

    fn host_xcr0(&self) -> u64 {
        3
    }

    fn save_fpu(&self, area: &mut [u8]) {
        area.fill(0);
    }

    fn restore_fpu(&self, _area: &[u8]) -> bool {
        true
    }

    fn set_xcr0(&self, xcr0: u64) {
        assert!(
            xcr0 & 1 != 0 && xcr0 & !self.host_xcr0() == 0,
            "sim: XSETBV {xcr0:#x} faults"
        );
        self.cpu(self.this_cpu()).xcr0 = xcr0;
    }

    fn set_task_switched(&self, on: bool) {
        self.cpu(self.this_cpu()).task_switched = on;
    }

    fn set_guest_cr4(&self, bits: u64) {
        self.cpu(self.this_cpu()).guest_cr4 = bits;
    }

    fn cr4(&self) -> u64 {
        0x6a0 | self.cpu(self.this_cpu()).guest_cr4
    }

    fn cr0(&self) -> u64 {
        0x8005_0033
    }

    fn read_msr(&self, index: u32) -> Option<u64> {
        self.devices().msrs.get(&index).copied()
    }

    fn write_msr(&self, index: u32, value: u64) -> Result<(), ()> {
        self.devices()
            .msrs
            .get_mut(&index)
            .map(|msr| *msr = value)
            .ok_or(())
    }

    fn cpuid(&self, leaf: u32, subleaf: u32) -> CpuidLeaf {
        let devices = self.devices();
        let exact = devices.cpuid.get(&(leaf, subleaf));
        exact.copied().unwrap_or_default()
    }

    fn xcr0(&self) -> u64 {
        self.cpu(self.this_cpu()).xcr0
    }

    fn apic_id(&self, cpu: CpuId) -> Option<u32> {
        (cpu.0 < self.config.cpus).then_some(cpu.0)
    }
}
