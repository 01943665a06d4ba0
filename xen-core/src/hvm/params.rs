//! Parameters of hardware-virtualized domains (HVMOP_set_param, HVMOP_get_param).
//!
//! Contract: public header hvm/params.h: who may set or read which, and which values are refused. What a parameter
//! causes beyond being stored is returned as [`ParamEffect`].

use hypercall_abi::errno::Errno;
use hypercall_abi::hvm::params::{
    Altp2mMode, CallbackIrqType, HVM_MCA_CAP_MASK, HVMPV_FEATURE_MASK, HvmParamIndex as Index,
    NR_PARAMS, TimerMode,
};
use hypercall_abi::sched::ShutdownReason;

/// Bytes of a 32-bit TSS: the least that a virtual-8086 TSS has.
const TSS32_BYTES: u64 = 104;
/// What VM86_TSS, which has no size, stands for.
const OLD_TSS_BYTES: u64 = 128;
/// Pages that ioreq servers can have in all.
const MAX_IOREQ_PAGES: u64 = 64;
/// ACPI_S_STATE: suspended.
const SUSPENDED: u64 = 3;
/// X87_FIP_WIDTH: values that exist.
const FIP_WIDTHS: [u64; 3] = [0, 4, 8];

/// Who sets or reads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ParamCaller {
    /// The domain itself.
    Guest,
    /// One that controls it.
    Toolstack,
}

/// What the domain has, as far as parameters depend on it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ParamFacts {
    /// The ACPI timer is emulated.
    pub pm_timer: bool,
    /// An I/O APIC or an 8259 is emulated, so events can come on a line.
    pub interrupt_lines: bool,
}

/// How events reach a domain whose vCPUs have no vector of their own (CALLBACK_IRQ).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CallbackVia {
    /// They do not.
    None,
    /// The line with this number follows the first vCPU's pending flag.
    Gsi(u8),
    /// A PCI device's line does.
    PciIntx {
        /// Device, 0 to 31.
        device: u8,
        /// Pin, 0 to 3.
        pin: u8,
    },
    /// This vector, past the local APIC.
    Vector(u8),
}

impl CallbackVia {
    /// Decodes the parameter; without anything that has lines only a vector counts.
    #[must_use]
    pub fn decode(value: u64, interrupt_lines: bool) -> Self {
        let [low, middle, .., kind] = value.to_le_bytes();
        match CallbackIrqType(kind) {
            CallbackIrqType::VECTOR => Self::Vector(low),
            CallbackIrqType::GSI if interrupt_lines && low != 0 => Self::Gsi(low),
            CallbackIrqType::PCI_INTX if interrupt_lines => Self::PciIntx {
                device: middle >> 3,
                pin: low & 3,
            },
            _ => Self::None,
        }
    }
}

/// What has to be done besides storing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ParamEffect {
    /// Nothing.
    None,
    /// Events arrive like this; and shared info has the width of the mode that the caller is in.
    Callback(CallbackVia),
    /// The domain goes to, or comes back from, suspend to RAM.
    Suspend(bool),
    /// The ACPI timer is at the first or the second set of ports.
    AcpiPorts(u8),
    /// Nothing is stored, and the domain, which did this to itself, is crashed; the call still fails.
    Crash,
}

/// The parameters of one domain.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HvmParams {
    values: [u64; NR_PARAMS as usize],
}

impl HvmParams {
    /// The parameters of a new domain; `hpet`: it has one.
    #[must_use]
    pub fn new(hpet: bool) -> Self {
        let mut params = Self {
            values: [0; NR_PARAMS as usize],
        };
        params.put(Index::HPET_ENABLED, hpet.into());
        params.put(Index::TRIPLE_FAULT_REASON, ShutdownReason::REBOOT.0.into());
        params
    }

    /// A parameter's value, 0 unless it was set; for the hypervisor's own use.
    #[must_use]
    pub fn value(&self, index: Index) -> u64 {
        self.values.get(index.0 as usize).copied().unwrap_or(0)
    }

    fn put(&mut self, index: Index, value: u64) {
        if let Some(slot) = self.values.get_mut(index.0 as usize) {
            *slot = value;
        }
    }

    /// HVMOP_get_param.
    ///
    /// # Errors
    /// `EINVAL` no such parameter, or no longer; `EPERM` not for a guest to read.
    pub fn get(&self, index: Index, caller: ParamCaller) -> Result<u64, Errno> {
        check_exists(index)?;
        match (caller, index) {
            (ParamCaller::Toolstack, _)
            | (_, Index::STORE_PFN | Index::CONSOLE_PFN | Index::ALTP2M) => {}
            _ => check_guest_may_set(index)?,
        }
        Ok(match index {
            Index::VM86_TSS => self.value(Index::VM86_TSS_SIZED) & 0xffff_ffff,
            _ => self.value(index),
        })
    }

    /// HVMOP_set_param.
    ///
    /// # Errors
    /// With the effect [`ParamEffect::Crash`] if the domain must not go on. `EINVAL` no such parameter, no longer, or
    /// a value it cannot have; `EPERM` not for a guest to set; `EEXIST` it can be set once; `ENODEV` the domain has no
    /// ACPI timer; `EOPNOTSUPP` Microsoft's interface.
    pub fn set(
        &mut self,
        index: Index,
        value: u64,
        caller: ParamCaller,
        facts: ParamFacts,
    ) -> Result<ParamEffect, (Errno, ParamEffect)> {
        let refuse = |errno| Err((errno, ParamEffect::None));
        let allowed = check_exists(index).and_then(|()| match caller {
            ParamCaller::Guest => check_guest_may_set(index),
            ParamCaller::Toolstack => Ok(()),
        });
        if let Err(errno) = allowed {
            return refuse(errno);
        }
        let old = self.value(index);
        if is_write_once(index) && old != 0 && old != value {
            return refuse(Errno::EEXIST);
        }
        let mut effect = ParamEffect::None;
        let possible = match index {
            Index::CALLBACK_IRQ => {
                let via = CallbackVia::decode(value, facts.interrupt_lines);
                effect = ParamEffect::Callback(via);
                true
            }
            Index::TIMER_MODE => value <= TimerMode::ONE_MISSED_TICK_PENDING.0,
            Index::VIRIDIAN => {
                let known = value & !HVMPV_FEATURE_MASK == 0 && value & 1 != 0;
                return refuse(if known {
                    Errno::EOPNOTSUPP
                } else {
                    Errno::EINVAL
                });
            }
            Index::ACPI_S_STATE => {
                effect = ParamEffect::Suspend(value == SUSPENDED);
                value == 0 || value == SUSPENDED
            }
            Index::ACPI_IOPORTS_LOCATION if !facts.pm_timer => return refuse(Errno::ENODEV),
            Index::ACPI_IOPORTS_LOCATION => {
                effect = ParamEffect::AcpiPorts(u8::from(value == 1));
                value <= 1
            }
            Index::TRIPLE_FAULT_REASON => value <= ShutdownReason::SOFT_RESET.0.into(),
            Index::NR_IOREQ_SERVER_PAGES => (1..=MAX_IOREQ_PAGES).contains(&value),
            Index::ALTP2M => value <= Altp2mMode::LIMITED.0,
            Index::X87_FIP_WIDTH => FIP_WIDTHS.contains(&value),
            Index::MCA_CAP => value & !HVM_MCA_CAP_MASK == 0,
            Index::VM86_TSS | Index::VM86_TSS_SIZED => return self.set_tss(index, value, caller),
            _ => true,
        };
        if !possible {
            return refuse(Errno::EINVAL);
        }
        self.put(index, value);
        Ok(effect)
    }

    fn set_tss(
        &mut self,
        index: Index,
        value: u64,
        caller: ParamCaller,
    ) -> Result<ParamEffect, (Errno, ParamEffect)> {
        let sized = match index {
            Index::VM86_TSS if value >> 32 == 0 => value | OLD_TSS_BYTES << 32,
            Index::VM86_TSS => 0,
            _ => value,
        };
        if sized >> 32 < TSS32_BYTES {
            let effect = match caller {
                ParamCaller::Guest => ParamEffect::Crash,
                ParamCaller::Toolstack => ParamEffect::None,
            };
            return Err((Errno::EINVAL, effect));
        }
        self.put(Index::VM86_TSS_SIZED, sized);
        Ok(ParamEffect::None)
    }
}

/// Parameters that there were once.
fn check_exists(index: Index) -> Result<(), Errno> {
    let gone = matches!(
        index,
        Index::PAE_ENABLED
            | Index::DM_DOMAIN
            | Index::MEMORY_EVENT_CR0
            | Index::MEMORY_EVENT_CR3
            | Index::MEMORY_EVENT_CR4
            | Index::MEMORY_EVENT_INT3
            | Index::MEMORY_EVENT_SINGLE_STEP
            | Index::MEMORY_EVENT_MSR
            | Index::NESTEDHVM
            | Index::BUFIOREQ_EVTCHN
    );
    if gone || index.0 >= NR_PARAMS {
        Err(Errno::EINVAL)
    } else {
        Ok(())
    }
}

fn check_guest_may_set(index: Index) -> Result<(), Errno> {
    let allowed = matches!(
        index,
        Index::CALLBACK_IRQ
            | Index::STORE_EVTCHN
            | Index::VM86_TSS
            | Index::CONSOLE_EVTCHN
            | Index::ACPI_IOPORTS_LOCATION
            | Index::VM_GENERATION_ID_ADDR
            | Index::X87_FIP_WIDTH
            | Index::VM86_TSS_SIZED
    );
    if allowed { Ok(()) } else { Err(Errno::EPERM) }
}

/// Parameters that others rely on as soon as they are set.
fn is_write_once(index: Index) -> bool {
    matches!(
        index,
        Index::VIRIDIAN
            | Index::IOREQ_PFN
            | Index::BUFIOREQ_PFN
            | Index::IOREQ_SERVER_PFN
            | Index::NR_IOREQ_SERVER_PAGES
            | Index::ALTP2M
            | Index::MCA_CAP
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const PVH: ParamFacts = ParamFacts {
        pm_timer: false,
        interrupt_lines: false,
    };
    const HVM: ParamFacts = ParamFacts {
        pm_timer: true,
        interrupt_lines: true,
    };

    fn errno(result: Result<ParamEffect, (Errno, ParamEffect)>) -> Option<Errno> {
        result.err().map(|(errno, _)| errno)
    }

    #[test]
    fn who_may_do_what() {
        let gone = [4, 13, 20, 21, 22, 23, 24, 25, 26, 30];
        let settable = [0, 2, 15, 18, 19, 34, 36, 37];
        let readable = [0, 1, 2, 15, 17, 18, 19, 34, 35, 36, 37];
        for number in 0..64 {
            let index = Index(number);
            let exists = number < 39 && !gone.contains(&number);
            let expect = |allowed: bool| match (exists, allowed) {
                (false, _) => Some(Errno::EINVAL),
                (true, false) => Some(Errno::EPERM),
                (true, true) => None,
            };
            let params = HvmParams::new(true);
            let get = |caller| params.get(index, caller).err();
            assert_eq!(get(ParamCaller::Toolstack), expect(true), "{number}");
            let allowed = readable.contains(&number);
            assert_eq!(get(ParamCaller::Guest), expect(allowed), "{number}");
            let mut params = params;
            let value = if number == 37 { 128 << 32 } else { 0 };
            let set = errno(params.set(index, value, ParamCaller::Guest, HVM));
            assert_eq!(set, expect(settable.contains(&number)), "{number}");
        }
    }

    #[test]
    fn new_domains_have_defaults() {
        let params = HvmParams::new(true);
        assert_eq!(params.value(Index::HPET_ENABLED), 1);
        assert_eq!(params.value(Index::TRIPLE_FAULT_REASON), 1);
        assert_eq!(params.value(Index::STORE_PFN), 0);
        assert_eq!(HvmParams::new(false).value(Index::HPET_ENABLED), 0);
    }

    #[test]
    fn what_libxl_sets_for_a_pvh_guest() {
        let mut params = HvmParams::new(false);
        let writes = [
            (10, 1),
            (35, 0),
            (1, 0xfeffc),
            (6, 0xfeffb),
            (5, 0xfeffd),
            (17, 0xfefff),
            (27, 0xfeff8),
            (28, 0xfeff9),
            (29, 0xfeffa),
            (12, 0xfeffe000),
            (18, 2),
            (2, 1),
        ];
        for (number, value) in writes {
            let index = Index(number);
            let done = params.set(index, value, ParamCaller::Toolstack, PVH);
            assert_eq!(done, Ok(ParamEffect::None), "{number}");
            assert_eq!(params.get(index, ParamCaller::Toolstack), Ok(value));
        }
    }

    #[test]
    fn values_that_cannot_be() {
        let refused = [
            (9, 0, Errno::EINVAL),
            (9, 1, Errno::EOPNOTSUPP),
            (9, 1 << 20 | 1, Errno::EINVAL),
            (10, 4, Errno::EINVAL),
            (14, 1, Errno::EINVAL),
            (19, 2, Errno::EINVAL),
            (31, 6, Errno::EINVAL),
            (33, 0, Errno::EINVAL),
            (33, 65, Errno::EINVAL),
            (35, 4, Errno::EINVAL),
            (36, 5, Errno::EINVAL),
            (38, 2, Errno::EINVAL),
        ];
        for (number, value, expected) in refused {
            let mut params = HvmParams::new(true);
            let before = params.clone();
            let done = params.set(Index(number), value, ParamCaller::Toolstack, HVM);
            assert_eq!(errno(done), Some(expected), "{number} = {value:#x}");
            assert_eq!(params, before);
        }
    }

    #[test]
    fn some_can_be_set_once() {
        for number in [5, 6, 32, 33] {
            let mut params = HvmParams::new(true);
            let mut set =
                |value| errno(params.set(Index(number), value, ParamCaller::Toolstack, HVM));
            assert_eq!(set(8), None);
            assert_eq!(set(8), None);
            assert_eq!(set(9), Some(Errno::EEXIST), "{number}");
        }
    }

    #[test]
    fn callbacks() {
        let decode = |value| CallbackVia::decode(value, true);
        assert_eq!(decode(2 << 56 | 0xf3), CallbackVia::Vector(0xf3));
        assert_eq!(decode(0), CallbackVia::None);
        assert_eq!(decode(28), CallbackVia::Gsi(28));
        let pci = CallbackVia::PciIntx { device: 3, pin: 1 };
        assert_eq!(decode(1 << 56 | 3 << 11 | 1), pci);
        assert_eq!(decode(3 << 56 | 5), CallbackVia::None);
        assert_eq!(CallbackVia::decode(28, false), CallbackVia::None);
        let mut params = HvmParams::new(false);
        let done = params.set(Index::CALLBACK_IRQ, 28, ParamCaller::Guest, PVH);
        assert_eq!(done, Ok(ParamEffect::Callback(CallbackVia::None)));
    }

    #[test]
    fn effects() {
        let mut params = HvmParams::new(true);
        let mut set =
            |number, value, facts| params.set(Index(number), value, ParamCaller::Toolstack, facts);
        assert_eq!(set(14, 3, HVM), Ok(ParamEffect::Suspend(true)));
        assert_eq!(set(14, 0, HVM), Ok(ParamEffect::Suspend(false)));
        assert_eq!(set(19, 1, HVM), Ok(ParamEffect::AcpiPorts(1)));
        assert_eq!(errno(set(19, 1, PVH)), Some(Errno::ENODEV));
    }

    #[test]
    fn a_tss_too_small_ends_the_domain_that_named_it() {
        let mut params = HvmParams::new(true);
        let mut set = |index, value, caller| params.set(index, value, caller, HVM);
        let crash = Err((Errno::EINVAL, ParamEffect::Crash));
        assert_eq!(
            set(Index::VM86_TSS_SIZED, 103 << 32, ParamCaller::Guest),
            crash
        );
        assert_eq!(set(Index::VM86_TSS, 1 << 32, ParamCaller::Guest), crash);
        let refused = Err((Errno::EINVAL, ParamEffect::None));
        assert_eq!(
            set(Index::VM86_TSS_SIZED, 0, ParamCaller::Toolstack),
            refused
        );
        let done = set(Index::VM86_TSS, 0x1000, ParamCaller::Guest);
        assert_eq!(done, Ok(ParamEffect::None));
        assert_eq!(params.get(Index::VM86_TSS, ParamCaller::Guest), Ok(0x1000));
        let sized = params.get(Index::VM86_TSS_SIZED, ParamCaller::Guest);
        assert_eq!(sized, Ok(128 << 32 | 0x1000));
    }
}
