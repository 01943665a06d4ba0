use alloc::sync::Arc;
use std::vec;
use std::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::cpu_policy::CpuPolicies;
use crate::machine::CpuidLeaf;
use crate::sim::{SimConfig, SimMachine};

const fn leaf(a: u32, b: u32, c: u32, d: u32) -> CpuidLeaf {
    CpuidLeaf { a, b, c, d }
}

/// A policy with x87 and SSE under XSAVE.
fn policy() -> Arc<CpuPolicy> {
    let machine = SimMachine::new(SimConfig::default());
    machine.set_cpuid(1, 0, leaf(0x306c3, 0, 1 << 26, 0x0789_fbff));
    machine.set_cpuid(0xd, 0, leaf(3, 576, 576, 0));
    CpuPolicies::detect(&machine).pv_default
}

/// A valid area with x87 and SSE present.
fn area() -> Vec<u8> {
    let mut area = vec![0; 576];
    area[MXCSR..MXCSR + 4].copy_from_slice(&0x1f80_u32.to_le_bytes());
    area[160] = 0xaa;
    area[LEGACY_SIZE] = 3;
    area
}

#[test]
fn xcr0_rules() {
    for good in [1, 3, 7, 0xe7, 0x1b, 0x203] {
        assert!(is_valid_xcr0(good), "{good:#x}");
    }
    for bad in [
        0,
        2,
        5,
        0x27,
        0x67,
        0xe3,
        0xe1,
        0xb,
        0x13,
        1 | 1 << 62,
        1 | 1 << 8,
        u64::MAX,
    ] {
        assert!(!is_valid_xcr0(bad), "{bad:#x}");
    }
}

#[test]
fn a_whole_state_is_taken_over_and_given_back() {
    let policy = policy();
    let mut ctx = VcpuCtx::new(832);
    ctx.fpu.fill(0x5a);
    assert_eq!(set_extended(&mut ctx, &policy, 1, 3, &area()), Ok(()));
    assert_eq!((ctx.xcr0, ctx.xcr0_accum), (1, 3));
    assert_eq!(ctx.fpu[..576], area()[..]);
    assert!(
        ctx.fpu[576..].iter().all(|&byte| byte == 0),
        "nothing of the old state is left"
    );
    assert_eq!(extended_size(&ctx, &policy), 576);
}

#[test]
fn a_bad_state_changes_nothing() {
    let policy = policy();
    let mut ctx = VcpuCtx::new(832);
    let before = ctx.fpu.clone();
    let mut compacted = area();
    compacted[LEGACY_SIZE + 15] = 0x80;
    let mut reserved = area();
    reserved[LEGACY_SIZE + 63] = 1;
    let mut foreign = area();
    foreign[LEGACY_SIZE] = 7;
    let mut mxcsr = area();
    mxcsr[MXCSR + 3] = 1;
    for (xcr0, accum, area, errno) in [
        (3, 1, area(), Errno::EINVAL),
        (2, 3, area(), Errno::EINVAL),
        (7, 7, area(), Errno::EINVAL),
        (3, 3, area()[..575].to_vec(), Errno::EINVAL),
        (3, 3, vec![0; 577], Errno::EINVAL),
        (3, 3, Vec::new(), Errno::EINVAL),
        (3, 3, foreign, Errno::EINVAL),
        (3, 3, mxcsr, Errno::EINVAL),
        (3, 3, compacted, Errno::EOPNOTSUPP),
        (3, 3, reserved, Errno::EOPNOTSUPP),
    ] {
        assert_eq!(
            set_extended(&mut ctx, &policy, xcr0, accum, &area),
            Err(errno)
        );
        assert_eq!((ctx.xcr0, &ctx.fpu), (1, &before));
    }
}

#[test]
fn a_guests_fxsave_image_cannot_make_the_load_fault_and_leaves_nothing_behind() {
    let mut ctx = VcpuCtx::new(832);
    ctx.fpu.fill(0x5a);
    load_fxsave_image(&mut ctx, &[0xff; LEGACY_SIZE]);
    assert_eq!(read_u32(&ctx.fpu, MXCSR) & !DEFAULT_MXCSR_MASK, 0);
    assert_eq!(ctx.fpu[LEGACY_SIZE], 3, "x87 and SSE are present");
    assert!(ctx.fpu[LEGACY_SIZE + 1..].iter().all(|&byte| byte == 0));
    let image = fxsave_image(&ctx);
    assert_eq!((image[0], image[160]), (0xff, 0xff));
    assert!(image[SOFTWARE_BYTES].iter().all(|&byte| byte == 0));
}

#[test]
fn without_xsave_the_area_is_the_legacy_part() {
    let mut ctx = VcpuCtx::new(512);
    load_fxsave_image(&mut ctx, &[1; LEGACY_SIZE]);
    assert_eq!(ctx.fpu.len(), 512);
    let bare = CpuPolicy::default();
    assert_eq!(extended_size(&ctx, &bare), 0);
    assert_eq!(
        set_extended(&mut ctx, &bare, 1, 1, &[0; 576]),
        Err(Errno::EINVAL)
    );
}

proptest! {
    #[test]
    fn no_area_panics(xcr0: u64, accum in 0u64..8, area in proptest::collection::vec(any::<u8>(), 0..900)) {
        let mut ctx = VcpuCtx::new(832);
        let _ = set_extended(&mut ctx, &policy(), xcr0 & 7, accum, &area);
        prop_assert_eq!(ctx.fpu.len(), 832);
    }
}
