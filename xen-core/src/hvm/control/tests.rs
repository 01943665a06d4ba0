//! The rules of the manual, one by one and in any order.

use proptest::prelude::*;

use super::*;

const LIMITS: ControlLimits = ControlLimits {
    cr4: 0x0076_0fff & !(1 << 11),
    efer: EFER_SCE | EFER_LME | EFER_NXE,
    xcr0: 0xe7,
    address_bits: 40,
};

fn real_mode() -> ControlRegs {
    ControlRegs {
        cr0: CR0_ET,
        ..ControlRegs::default()
    }
}

/// In the order that Linux takes from its PVH entry.
fn long_mode() -> ControlRegs {
    let mut regs = ControlRegs {
        cr0: CR0_PE | CR0_ET,
        ..ControlRegs::default()
    };
    write_cr4(&mut regs, &LIMITS, CR4_PAE).unwrap();
    write_efer(&mut regs, &LIMITS, EFER_LME).unwrap();
    write_cr3(&mut regs, &LIMITS, 0x2a1_0000).unwrap();
    let effects = write_cr0(&mut regs, CR0_PG | CR0_PE).unwrap();
    assert!(effects.contains(Effects::LONG_MODE | Effects::PAGING));
    regs
}

#[test]
fn the_way_to_long_mode_and_back() {
    let mut regs = long_mode();
    assert_eq!(regs.cr0, CR0_PG | CR0_PE | CR0_ET, "ET reads back 1");
    assert_eq!(regs.efer, EFER_LME | EFER_LMA);
    assert!(regs.is_valid(&LIMITS));
    regs.cs_l = true;
    assert_eq!(write_cr0(&mut regs, CR0_PE), Err(Gp), "from 64-bit code");
    assert_eq!(write_cr4(&mut regs, &LIMITS, 0), Err(Gp), "PAE is in use");
    assert_eq!(write_efer(&mut regs, &LIMITS, 0), Err(Gp), "LME is in use");
    regs.cs_l = false;
    assert!(
        write_cr0(&mut regs, CR0_PE)
            .unwrap()
            .contains(Effects::LONG_MODE)
    );
    assert_eq!(regs.efer, EFER_LME);
    assert_eq!(write_efer(&mut regs, &LIMITS, 0), Ok(Effects::empty()));
}

#[test]
fn bits_of_cr0() {
    let mut regs = real_mode();
    assert_eq!(write_cr0(&mut regs, 1 << 32), Err(Gp));
    assert_eq!(write_cr0(&mut regs, CR0_PG), Err(Gp), "PG without PE");
    assert_eq!(write_cr0(&mut regs, CR0_NW), Err(Gp), "NW without CD");
    assert_eq!(regs, real_mode());
    write_cr0(&mut regs, 0x7fff_ffff & !CR0_PE).unwrap();
    assert_eq!(
        regs.cr0,
        CR0_BITS & !(CR0_PG | CR0_PE),
        "reserved bits are dropped"
    );
}

#[test]
fn paging_in_long_mode_needs_pae_and_32_bit_code() {
    let mut regs = ControlRegs {
        cr0: CR0_PE | CR0_ET,
        efer: EFER_LME,
        ..ControlRegs::default()
    };
    assert_eq!(write_cr0(&mut regs, CR0_PE | CR0_PG), Err(Gp));
    regs.cr4 = CR4_PAE;
    assert!(write_cr0(&mut regs, CR0_PE | CR0_PG).is_ok());
}

#[test]
fn a_stale_cs_l_is_cleared_before_it_counts() {
    let mut regs = ControlRegs {
        cr0: CR0_PE | CR0_ET,
        cr4: CR4_PAE,
        cs_l: true,
        ..ControlRegs::default()
    };
    assert_eq!(
        write_efer(&mut regs, &LIMITS, EFER_LME),
        Ok(Effects::CLEAR_CS_L)
    );
    assert!(!regs.cs_l && write_cr0(&mut regs, CR0_PE | CR0_PG).is_ok());
}

#[test]
fn bits_outside_the_policy_fault() {
    for bit in 0..64 {
        let mut regs = real_mode();
        let written = write_cr4(&mut regs, &LIMITS, 1 << bit).is_ok();
        // PCIDE is there only in long mode.
        let allowed = LIMITS.cr4 & 1 << bit != 0 && bit != 17;
        assert_eq!(written, allowed, "CR4 bit {bit}");
        let written = write_efer(&mut real_mode(), &LIMITS, 1 << bit).is_ok();
        assert_eq!(written, matches!(bit, 0 | 8 | 10 | 11), "EFER bit {bit}");
    }
    let mut regs = real_mode();
    write_efer(&mut regs, &LIMITS, EFER_LMA).unwrap();
    assert_eq!(regs.efer, 0, "LMA is not for writing");
}

#[test]
fn process_contexts() {
    let mut regs = long_mode();
    write_cr3(&mut regs, &LIMITS, 0x1001).unwrap();
    assert_eq!(write_cr4(&mut regs, &LIMITS, CR4_PAE | CR4_PCIDE), Err(Gp));
    assert_eq!(
        write_cr3(&mut regs, &LIMITS, 1 << 63),
        Err(Gp),
        "no contexts yet"
    );
    write_cr3(&mut regs, &LIMITS, 0x1000).unwrap();
    assert_eq!(
        write_cr4(&mut regs, &LIMITS, CR4_PAE | CR4_PCIDE),
        Ok(Effects::empty())
    );
    assert_eq!(
        write_cr3(&mut regs, &LIMITS, 1 << 63 | 0x2003),
        Ok(Effects::PAGING)
    );
    assert_eq!(regs.cr3, 0x2003);
    assert_eq!(
        write_cr0(&mut regs, CR0_PE),
        Err(Gp),
        "contexts need paging"
    );
    assert_eq!(
        write_cr4(&mut regs, &LIMITS, CR4_PAE),
        Ok(Effects::FLUSH_TLB)
    );
    assert_eq!(write_cr3(&mut regs, &LIMITS, 1 << 40), Err(Gp));
}

#[test]
fn lmsw_does_not_leave_protected_mode() {
    let mut regs = real_mode();
    load_machine_status(&mut regs, 0xffff).unwrap();
    assert_eq!(regs.cr0, 0x1f);
    load_machine_status(&mut regs, 0).unwrap();
    assert_eq!(regs.cr0, CR0_ET | CR0_PE);
    load_machine_status(&mut regs, 8).unwrap();
    clear_task_switched(&mut regs);
    assert_eq!(regs.cr0, CR0_ET | CR0_PE);
}

#[test]
fn components_of_xcr0_come_together() {
    let valid = [1, 3, 7, 0xe7];
    for value in 0..0x200 {
        let done = write_xcr(&LIMITS, 0, 0, value);
        assert_eq!(done.is_ok(), valid.contains(&value), "{value:#x}");
    }
    assert_eq!(write_xcr(&LIMITS, 3, 0, 3), Err(Gp));
    assert_eq!(write_xcr(&LIMITS, 0, 1, 3), Err(Gp));
    assert!(is_valid_xcr0(3 | 3 << 3) && !is_valid_xcr0(3 | 1 << 3));
    assert!(is_valid_xcr0(7 | 1 << 9 | 3 << 17) && !is_valid_xcr0(7 | 1 << 17));
}

#[test]
fn the_policy_decides_what_cr4_has() {
    let limits = ControlLimits::of(&CpuPolicy::EMPTY);
    assert_eq!((limits.cr4, limits.efer, limits.xcr0), (1 << 8, 0, 0));
}

proptest! {
    /// Whatever a guest writes, the processor can run it.
    #[test]
    fn the_state_stays_valid(
        writes in prop::collection::vec((0u8..6, any::<u64>(), any::<u64>(), any::<bool>()), 1..100),
    ) {
        let mut regs = real_mode();
        for (register, value, mask, cs_l) in writes {
            let value = value & mask;
            regs.cs_l = cs_l && regs.long_mode();
            let before = regs;
            let done = match register {
                0 => write_cr0(&mut regs, value & 0xffff_ffff),
                1 => write_cr3(&mut regs, &LIMITS, value & 0x80ff_ffff_ffff_f000),
                2 => write_cr4(&mut regs, &LIMITS, value & LIMITS.cr4),
                3 => write_efer(&mut regs, &LIMITS, value & 0xd01),
                4 => write_cr0(&mut regs, (before.cr0 | CR0_PE) ^ CR0_PG),
                _ => load_machine_status(&mut regs, value as u16),
            };
            if done.is_err() {
                prop_assert_eq!(regs, before);
            }
            let masked = ControlRegs { cr3: regs.cr3 & ((1 << 40) - 1), ..regs };
            prop_assert!(masked.is_valid(&LIMITS), "{:x?}", regs);
        }
    }
}
