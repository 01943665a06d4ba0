//! The registers as a guest reads and writes them: in memory in xAPIC mode, as MSRs in x2APIC mode.

use super::registers::{
    DFR, DFR_ONES, EOI, ESR, ESR_SEND_ILLEGAL, FIRST_VECTOR, ICR, ICR_BUSY, ICR_HIGH,
    ICR_X2APIC_MASK, ID, IRR, ISR, LDR, LVT_MASKED, LVT_MASKS, PPR, SELF_IPI, SVR, SVR_ENABLED,
    SVR_MASK, TDCR, TDCR_MASK, TMCCT, TMICT, TMR, TPR, VERSION, VERSION_VALUE, lvt_index, set_word,
};
use super::timer::TimerMode;
use super::{DeliveryMode, Effect, Ipi, Lapic, LapicIdentity, Shorthand};

/// First of the registers as MSRs.
const X2APIC_FIRST: u32 = 0x800;
/// Last of the MSRs that are the APIC's, existing or not.
const X2APIC_LAST: u32 = 0x8ff;

impl Lapic {
    /// Reads `width` bytes at `offset` in the page of registers. What lies outside one register gives 0.
    #[must_use]
    pub fn read_mmio(&self, offset: u32, width: u32, now_ns: u64) -> u32 {
        let Some((register, shift)) = place(offset, width) else {
            return 0;
        };
        let value = self.read(register, now_ns) >> shift;
        if width == 4 {
            value
        } else {
            value & ((1 << (width * 8)) - 1)
        }
    }

    /// Writes `width` bytes at `offset` in the page of registers. Less than a register is completed by what the
    /// register gives; what lies outside one register is dropped.
    pub fn write_mmio(&mut self, offset: u32, width: u32, value: u32, now_ns: u64) -> Effect {
        let Some((register, shift)) = place(offset, width) else {
            return Effect::None;
        };
        if width == 4 {
            return self.write(register, value, now_ns);
        }
        let mask = ((1 << (width * 8)) - 1) << shift;
        let old = self.read(register, now_ns);
        self.write(register, (old & !mask) | ((value << shift) & mask), now_ns)
    }

    /// Reads the register with MSR number `index`. None: #GP.
    #[must_use]
    pub fn read_msr(&self, index: u32, now_ns: u64) -> Option<u64> {
        let offset = self.x2apic_offset(index)?;
        if offset == ICR {
            return Some(u64::from(self.icr_high) << 32 | u64::from(self.icr));
        }
        let readable = matches!(
            offset,
            ID | VERSION | TPR | PPR | LDR | SVR | ISR..=ESR | TMICT | TMCCT | TDCR
        );
        (readable || lvt_index(offset).is_some()).then(|| self.read(offset, now_ns).into())
    }

    /// Writes the register with MSR number `index`. None: #GP, nothing changed.
    pub fn write_msr(&mut self, index: u32, value: u64, now_ns: u64) -> Option<Effect> {
        let offset = self.x2apic_offset(index)?;
        #[expect(clippy::cast_possible_truncation, reason = "the halves of the command")]
        let (low, high) = (value as u32, (value >> 32) as u32);
        let writable = match offset {
            ICR => {
                if low & !ICR_X2APIC_MASK != 0 {
                    return None;
                }
                self.icr_high = high;
                return Some(self.command(low, high));
            }
            TPR | SELF_IPI => 0xff,
            EOI | ESR => 0,
            SVR => 0xff | SVR_ENABLED,
            TMICT => u32::MAX,
            TDCR => TDCR_MASK,
            _ => LVT_MASKS[lvt_index(offset)?],
        };
        if high != 0 || low & !writable != 0 {
            return None;
        }
        Some(self.write(offset, low, now_ns))
    }

    fn x2apic_offset(&self, index: u32) -> Option<u32> {
        let exists = self.x2apic() && (X2APIC_FIRST..=X2APIC_LAST).contains(&index);
        exists.then(|| (index - X2APIC_FIRST) << 4)
    }

    fn read(&self, offset: u32, now_ns: u64) -> u32 {
        match offset {
            ID if self.x2apic() => self.x2apic_id().into(),
            ID => self.id,
            VERSION => VERSION_VALUE,
            TPR => self.tpr.into(),
            PPR => self.ppr().into(),
            LDR if self.x2apic() => LapicIdentity::x2apic_ldr(self.x2apic_id()),
            LDR => self.ldr,
            DFR => self.dfr,
            SVR => self.svr,
            ISR..TMR => self.isr.words()[set_word(ISR, offset)],
            TMR..IRR => self.tmr.words()[set_word(TMR, offset)],
            IRR..ESR => self.irr.words()[set_word(IRR, offset)],
            ESR => self.esr,
            ICR => self.icr,
            ICR_HIGH => self.icr_high,
            TMICT => self.timer.initial,
            TMCCT => self.timer.current(now_ns),
            TDCR => self.timer.tdcr,
            _ => lvt_index(offset).map_or(0, |index| self.lvt[index]),
        }
    }

    fn write(&mut self, offset: u32, value: u32, now_ns: u64) -> Effect {
        match offset {
            ID => {
                self.id = value & 0xff00_0000;
                Effect::Identity
            }
            TPR => {
                self.tpr = value as u8;
                Effect::None
            }
            EOI => match self.eoi() {
                Some((vector, level)) => Effect::Eoi { vector, level },
                None => Effect::None,
            },
            LDR => {
                self.ldr = value & 0xff00_0000;
                Effect::Identity
            }
            DFR => {
                self.dfr = value | DFR_ONES;
                Effect::Identity
            }
            SVR => self.write_svr(value & SVR_MASK),
            ESR => {
                self.esr = 0;
                Effect::None
            }
            ICR => {
                let dest = self.icr_high >> 24;
                self.command(value, dest)
            }
            ICR_HIGH => {
                self.icr_high = value & 0xff00_0000;
                Effect::None
            }
            TMICT => {
                self.timer.start(self.timer_mode(), value, now_ns);
                Effect::Timer
            }
            TDCR => {
                self.timer.set_tdcr(value & TDCR_MASK, now_ns);
                Effect::Timer
            }
            SELF_IPI if self.x2apic() => {
                self.send_to_self(value as u8, false);
                Effect::None
            }
            _ => match lvt_index(offset) {
                Some(index) => self.write_lvt(index, value),
                None => Effect::None,
            },
        }
    }

    fn write_svr(&mut self, value: u32) -> Effect {
        self.svr = value;
        if value & SVR_ENABLED != 0 {
            return Effect::Enabled;
        }
        for lvt in &mut self.lvt {
            *lvt |= LVT_MASKED;
        }
        Effect::Identity
    }

    fn write_lvt(&mut self, index: usize, value: u32) -> Effect {
        let mut value = value & LVT_MASKS[index];
        if self.svr & SVR_ENABLED == 0 {
            value |= LVT_MASKED;
        }
        let from = self.timer_mode();
        self.lvt[index] = value;
        if index != 0 {
            return Effect::None;
        }
        self.timer.change_mode(from, TimerMode::of(value));
        Effect::Timer
    }

    fn command(&mut self, value: u32, dest: u32) -> Effect {
        self.icr = value & !ICR_BUSY;
        let ipi = Ipi::decode(self.icr, dest);
        let by_vector = matches!(ipi.mode, DeliveryMode::Fixed | DeliveryMode::LowestPriority);
        if by_vector && ipi.vector < FIRST_VECTOR {
            self.error(ESR_SEND_ILLEGAL);
            return Effect::None;
        }
        match ipi.mode {
            DeliveryMode::Smi | DeliveryMode::Reserved | DeliveryMode::ExtInt => Effect::None,
            _ if ipi.is_init_deassert() => Effect::None,
            _ if by_vector && ipi.shorthand == Shorthand::OnlySelf => {
                self.send_to_self(ipi.vector, ipi.level);
                Effect::None
            }
            _ => Effect::Ipi(ipi),
        }
    }

    fn send_to_self(&mut self, vector: u8, level: bool) {
        if vector < FIRST_VECTOR {
            self.error(ESR_SEND_ILLEGAL);
        } else {
            self.accept(vector, level);
        }
    }
}

/// The register that an access lies in, and the bit it starts at.
fn place(offset: u32, width: u32) -> Option<(u32, u32)> {
    let (register, byte) = (offset & !0xf, offset & 0xf);
    let inside = matches!(width, 1 | 2 | 4) && byte + width <= 4;
    (inside && register <= TDCR).then_some((register, byte * 8))
}
