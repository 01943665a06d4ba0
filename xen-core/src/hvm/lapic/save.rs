//! Records of a saved domain: LAPIC and LAPIC_REGS (public header arch-x86/hvm/save.h).

use hypercall_abi::arch_x86::hvm::save::{HvmHwLapic, HvmHwLapicRegs};
use hypercall_abi::errno::Errno;

use super::registers::{
    DFR, DFR_ONES, ESR, ICR, ICR_BUSY, ICR_HIGH, ID, IRR, ISR, LDR, LVT_MASKED, LVT_MASKS,
    LVT_TIMER, LVTS, SVR, SVR_ENABLED, SVR_MASK, TDCR, TDCR_MASK, TMCCT, TMICT, TMR, TPR, VERSION,
    VERSION_VALUE,
};
use super::timer::TimerMode;
use super::{Lapic, VectorSet, base_is_valid};

/// `hvm_hw_lapic.disabled`: by the base MSR.
const HW_DISABLED: u32 = 1;
/// `hvm_hw_lapic.disabled`: by software.
const SW_DISABLED: u32 = 2;

impl Lapic {
    /// The record LAPIC.
    #[must_use]
    pub fn save(&self) -> HvmHwLapic {
        let mut disabled = 0;
        if !self.is_enabled_hw() {
            disabled |= HW_DISABLED;
        }
        if self.svr & SVR_ENABLED == 0 {
            disabled |= SW_DISABLED;
        }
        HvmHwLapic {
            apic_base_msr: self.base,
            disabled,
            timer_divisor: self.timer.divisor(),
            tdt_msr: self.tsc_deadline(),
        }
    }

    /// The record LAPIC_REGS.
    #[must_use]
    pub fn save_regs(&self, now_ns: u64) -> HvmHwLapicRegs {
        let mut page = Page { data: [0; 1024] };
        let x2apic = self.x2apic();
        let identity = self.identity();
        page.put(ID, if x2apic { identity.id.into() } else { self.id });
        page.put(VERSION, VERSION_VALUE);
        page.put(TPR, self.tpr.into());
        let x2apic_ldr = super::LapicIdentity::x2apic_ldr(identity.id);
        page.put(LDR, if x2apic { x2apic_ldr } else { self.ldr });
        page.put(DFR, self.dfr);
        page.put(SVR, self.svr);
        page.put_set(ISR, &self.isr);
        page.put_set(TMR, &self.tmr);
        page.put_set(IRR, &self.irr);
        page.put(ESR, self.esr);
        page.put(ICR, self.icr);
        page.put(ICR_HIGH, self.icr_high);
        for (offset, lvt) in (LVT_TIMER..).step_by(16).zip(self.lvt) {
            page.put(offset, lvt);
        }
        page.put(TMICT, self.timer.initial);
        page.put(TMCCT, self.timer.current(now_ns));
        page.put(TDCR, self.timer.tdcr);
        HvmHwLapicRegs { data: page.data }
    }

    /// Takes the record LAPIC. Which way it is disabled, and the divisor, follow from the base MSR and the registers.
    ///
    /// # Errors
    /// `EINVAL` if IA32_APIC_BASE cannot have the value.
    pub fn load(&mut self, record: &HvmHwLapic) -> Result<(), Errno> {
        if !base_is_valid(record.apic_base_msr) {
            return Err(Errno::EINVAL);
        }
        self.base = record.apic_base_msr;
        self.timer.tsc_deadline = record.tdt_msr;
        Ok(())
    }

    /// Takes the record LAPIC_REGS; the timer goes on from the count that it was saved at.
    pub fn load_regs(&mut self, record: &HvmHwLapicRegs, now_ns: u64) {
        let page = Page { data: record.data };
        // In x2APIC mode the id follows from the vCPU.
        self.id = page.get(ID) & 0xff00_0000;
        if self.x2apic() {
            self.id = u32::from(self.x2apic_id()) << 24;
        }
        self.tpr = page.get(TPR) as u8;
        self.ldr = page.get(LDR) & 0xff00_0000;
        self.dfr = page.get(DFR) | DFR_ONES;
        self.svr = page.get(SVR) & SVR_MASK;
        self.isr = page.get_set(ISR);
        self.tmr = page.get_set(TMR);
        self.irr = page.get_set(IRR);
        self.esr = page.get(ESR) & 0xff;
        self.icr = page.get(ICR) & !ICR_BUSY;
        self.icr_high = page.get(ICR_HIGH);
        for (index, offset) in (0..LVTS).zip((LVT_TIMER..).step_by(16)) {
            self.lvt[index] = page.get(offset) & LVT_MASKS[index];
            if self.svr & SVR_ENABLED == 0 {
                self.lvt[index] |= LVT_MASKED;
            }
        }
        self.timer.initial = page.get(TMICT);
        self.timer.tdcr = page.get(TDCR) & TDCR_MASK;
        let count = match (self.timer_mode(), page.get(TMCCT)) {
            (TimerMode::Periodic, 0) => self.timer.initial,
            (TimerMode::Periodic | TimerMode::OneShot, count) => count.min(self.timer.initial),
            (TimerMode::TscDeadline | TimerMode::Stopped, _) => 0,
        };
        self.timer.resume(count, now_ns);
    }
}

/// The page of registers, as far as it is saved.
struct Page {
    data: [u8; 1024],
}

impl Page {
    fn put(&mut self, offset: u32, value: u32) {
        if let Some(bytes) = self.data.get_mut(offset as usize..offset as usize + 4) {
            bytes.copy_from_slice(&value.to_le_bytes());
        }
    }

    fn get(&self, offset: u32) -> u32 {
        let bytes = self.data.get(offset as usize..offset as usize + 4);
        bytes
            .and_then(|bytes| bytes.try_into().ok())
            .map_or(0, u32::from_le_bytes)
    }

    fn put_set(&mut self, base: u32, set: &VectorSet) {
        for (offset, &word) in (base..).step_by(16).zip(set.words()) {
            self.put(offset, word);
        }
    }

    fn get_set(&self, base: u32) -> VectorSet {
        let mut words = [0; 8];
        for (offset, word) in (base..).step_by(16).zip(&mut words) {
            *word = self.get(offset);
        }
        VectorSet::from_words(words)
    }
}
