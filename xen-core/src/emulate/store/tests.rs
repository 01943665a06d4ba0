use proptest::prelude::*;
use zerocopy::FromZeros;

use super::super::alu::{CF, ZF};
use super::super::decode::{CodeWidth, decode};
use super::*;

const AT: u64 = 0x1000;

fn regs() -> CpuUserRegs {
    let mut regs = CpuUserRegs::new_zeroed();
    regs.rdi = AT;
    regs.rsi = 0x1122_3344_5566_7788;
    regs.rax = 0xaaaa;
    regs
}

/// Runs one instruction on `old`: what is written and the registers after it.
fn run(bytes: &[u8], mut regs: CpuUserRegs, old: u64) -> Option<(Store, Option<u64>, CpuUserRegs)> {
    let instruction = decode(bytes, 0, CodeWidth::Bits64).expect("a valid instruction");
    let store = Store::decode(&instruction, &regs, |_| 0, |_, _| Some(0x77))?;
    let new = store.change(&regs, old).map(|change| change.new);
    store.finish(&mut regs, old);
    Some((store, new, regs))
}

#[test]
fn stores_of_each_size() {
    for (bytes, size, value) in [
        (&[0x48, 0x89, 0x37][..], 8, 0x1122_3344_5566_7788), // mov [rdi], rsi
        (&[0x89, 0x37], 4, 0x5566_7788),                     // mov [rdi], esi
        (&[0x66, 0x89, 0x37], 2, 0x7788),                    // mov [rdi], si
        (&[0x40, 0x88, 0x37], 1, 0x88),                      // mov [rdi], sil
        (&[0x48, 0xc7, 0x07, 0xff, 0xff, 0xff, 0xff], 8, u64::MAX), // movq [rdi], -1
        (&[0x48, 0x0f, 0xc3, 0x37], 8, 0x1122_3344_5566_7788), // movnti [rdi], rsi
    ] {
        let (store, new, after) = run(bytes, regs(), 5).unwrap();
        assert_eq!(
            (store.addr, store.bytes, new),
            (AT, size, Some(value)),
            "{bytes:x?}"
        );
        assert!(!store.change(&after, 5).unwrap().depends);
    }
}

#[test]
fn xchg_gives_the_old_value_to_the_register() {
    let (_, new, after) = run(&[0x48, 0x87, 0x37], regs(), 5).unwrap();
    assert_eq!((new, after.rsi), (Some(0x1122_3344_5566_7788), 5));
}

#[test]
fn cmpxchg_that_matches_stores_and_sets_zf() {
    let (_, new, after) = run(&[0xf0, 0x48, 0x0f, 0xb1, 0x37], regs(), 0xaaaa).unwrap();
    assert_eq!((new, after.rax), (Some(0x1122_3344_5566_7788), 0xaaaa));
    assert_eq!(after.rflags & ZF, ZF);
}

#[test]
fn cmpxchg_that_differs_reports_the_value_and_stores_nothing() {
    let (_, new, after) = run(&[0xf0, 0x48, 0x0f, 0xb1, 0x37], regs(), 0xbbbb).unwrap();
    assert_eq!((new, after.rax), (None, 0xbbbb));
    assert_eq!(after.rflags & ZF, 0);
}

#[test]
fn locked_logic_and_bit_operations() {
    // lock and [rdi], rsi
    let (_, new, _) = run(&[0xf0, 0x48, 0x21, 0x37], regs(), 0xff).unwrap();
    assert_eq!(new, Some(0x88));
    // lock btr qword [rdi], 1
    let (_, new, after) = run(&[0xf0, 0x48, 0x0f, 0xba, 0x37, 1], regs(), 3).unwrap();
    assert_eq!((new, after.rflags & CF), (Some(1), CF));
    // lock xadd [rdi], rsi
    let (_, new, after) = run(&[0xf0, 0x48, 0x0f, 0xc1, 0x37], regs(), 1).unwrap();
    assert_eq!((new, after.rsi), (Some(0x1122_3344_5566_7789), 1));
    // and qword [rdi], -2 (imm8)
    let (_, new, _) = run(&[0x48, 0x83, 0x27, 0xfe], regs(), 7).unwrap();
    assert_eq!(new, Some(6));
    // not dword [rdi]
    let (store, new, _) = run(&[0xf7, 0x17], regs(), 0).unwrap();
    assert_eq!((store.bytes, new), (4, Some(0xffff_ffff)));
}

#[test]
fn a_register_bit_number_moves_the_address_in_both_directions() {
    for (bit, addr, within) in [
        (65_u64, AT + 8, 1_u64),
        (u64::MAX, AT - 8, 63),
        (1 << 40, AT + (1 << 37), 0),
    ] {
        let mut regs = regs();
        regs.rsi = bit;
        // bts [rdi], rsi
        let (store, new, _) = run(&[0x48, 0x0f, 0xab, 0x37], regs, 0).unwrap();
        assert_eq!((store.addr, new), (addr, Some(1 << within)));
    }
}

#[test]
fn single_string_stores_move_their_pointers() {
    let (store, new, after) = run(&[0x48, 0xab], regs(), 0).unwrap();
    assert_eq!((store.addr, new, after.rdi), (AT, Some(0xaaaa), AT + 8));
    let mut backwards = regs();
    backwards.rflags = 1 << 10;
    let (_, new, after) = run(&[0x48, 0xa5], backwards, 0).unwrap();
    assert_eq!((new, after.rdi), (Some(0x77), AT - 8));
    assert_eq!(after.rsi, 0x1122_3344_5566_7780);
}

#[test]
fn what_is_not_handled_is_refused() {
    for bytes in [
        &[0xf3, 0x48, 0xab][..],   // rep stosq
        &[0x48, 0x0f, 0xc7, 0x0f], // cmpxchg16b
        &[0x0f, 0xc7, 0x0f],       // cmpxchg8b
        &[0x0f, 0x11, 0x07],       // movups [rdi], xmm0
        &[0x48, 0x8b, 0x37],       // mov rsi, [rdi]
        &[0xff, 0x37],             // push [rdi]
        &[0x8c, 0x1f],             // mov [rdi], ds
        &[0x48, 0x39, 0x37],       // cmp [rdi], rsi
    ] {
        assert!(run(bytes, regs(), 0).is_none(), "{bytes:x?}");
    }
    let mut odd = regs();
    odd.rdi = AT + 4;
    assert!(run(&[0x48, 0x89, 0x37], odd, 0).is_none(), "unaligned");
}

proptest! {
    #[test]
    fn any_instruction_is_refused_or_stays_within_its_operand(
        bytes in proptest::collection::vec(any::<u8>(), 1..16),
        values in proptest::array::uniform16(any::<u64>()),
        old: u64,
    ) {
        let mut regs = CpuUserRegs::new_zeroed();
        [regs.rax, regs.rcx, regs.rdx, regs.rbx, regs.rsp, regs.rbp, regs.rsi, regs.rdi, regs.r8, regs.r9, regs.r10,
            regs.r11, regs.r12, regs.r13, regs.r14, regs.r15] = values;
        let decoded = decode(&bytes, 0x4000, CodeWidth::Bits64).ok();
        let store = decoded.and_then(|found| Store::decode(&found, &regs, |_| 0, |_, _| Some(1)));
        if let Some(store) = store {
            let mask = registers::mask(store.bytes);
            prop_assert_eq!(store.addr % u64::from(store.bytes), 0);
            if let Some(change) = store.change(&regs, old & mask) {
                prop_assert_eq!(change.new & !mask, 0);
            }
            store.finish(&mut regs, old & mask);
        }
    }
}
