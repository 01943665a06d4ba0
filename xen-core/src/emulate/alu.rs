//! Results and flags of read-modify-write instructions (SDM volume 1, appendix A).

/// Carry.
pub const CF: u64 = 1;
/// Parity.
pub const PF: u64 = 1 << 2;
/// Auxiliary carry.
pub const AF: u64 = 1 << 4;
/// Zero.
pub const ZF: u64 = 1 << 6;
/// Sign.
pub const SF: u64 = 1 << 7;
/// Overflow.
pub const OF: u64 = 1 << 11;
/// The flags that arithmetic sets.
pub const STATUS: u64 = CF | PF | AF | ZF | SF | OF;

/// An operation on a destination and a source of the same width.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Op {
    /// dst + src.
    Add,
    /// dst + src + CF.
    Adc,
    /// dst - src.
    Sub,
    /// dst - src - CF.
    Sbb,
    /// dst & src.
    And,
    /// dst | src.
    Or,
    /// dst ^ src.
    Xor,
    /// dst + 1, CF kept.
    Inc,
    /// dst - 1, CF kept.
    Dec,
    /// 0 - dst.
    Neg,
    /// !dst, flags kept.
    Not,
    /// Sets bit `src`; CF = old bit.
    Bts,
    /// Clears bit `src`; CF = old bit.
    Btr,
    /// Inverts bit `src`; CF = old bit.
    Btc,
}

/// Applies `op` to operands of `bytes` bytes: the result, and RFLAGS with the flags that the operation sets.
#[must_use]
pub const fn apply(op: Op, bytes: u32, dst: u64, src: u64, rflags: u64) -> (u64, u64) {
    let mask = super::registers::mask(bytes);
    let (dst, src) = (dst & mask, src & mask);
    let carry = rflags & CF;
    match op {
        Op::Add => add(bytes, dst, src, 0, rflags),
        Op::Adc => add(bytes, dst, src, carry, rflags),
        Op::Sub => sub(bytes, dst, src, 0, rflags),
        Op::Sbb => sub(bytes, dst, src, carry, rflags),
        Op::And => logic(bytes, dst & src, rflags),
        Op::Or => logic(bytes, dst | src, rflags),
        Op::Xor => logic(bytes, dst ^ src, rflags),
        Op::Inc => keep_carry(add(bytes, dst, 1, 0, rflags), carry),
        Op::Dec => keep_carry(sub(bytes, dst, 1, 0, rflags), carry),
        Op::Neg => sub(bytes, 0, dst, 0, rflags),
        Op::Not => (!dst & mask, rflags),
        Op::Bts | Op::Btr | Op::Btc => {
            let bit = 1u64 << (src % (bytes as u64 * 8));
            let result = match op {
                Op::Bts => dst | bit,
                Op::Btr => dst & !bit,
                _ => dst ^ bit,
            };
            let old = if dst & bit != 0 { CF } else { 0 };
            (result, (rflags & !CF) | old)
        }
    }
}

/// RFLAGS after comparing `dst` with `src`.
#[must_use]
pub const fn compare(bytes: u32, dst: u64, src: u64, rflags: u64) -> u64 {
    apply(Op::Sub, bytes, dst, src, rflags).1
}

const fn keep_carry((result, rflags): (u64, u64), carry: u64) -> (u64, u64) {
    (result, (rflags & !CF) | carry)
}

const fn add(bytes: u32, dst: u64, src: u64, carry: u64, rflags: u64) -> (u64, u64) {
    let mask = super::registers::mask(bytes);
    let wide = dst as u128 + src as u128 + carry as u128;
    #[expect(clippy::cast_possible_truncation, reason = "masked to the operand")]
    let result = wide as u64 & mask;
    let overflow = (dst ^ result) & (src ^ result);
    flags(
        bytes,
        dst ^ src ^ result,
        result,
        overflow,
        wide > mask as u128,
        rflags,
    )
}

const fn sub(bytes: u32, dst: u64, src: u64, borrow: u64, rflags: u64) -> (u64, u64) {
    let mask = super::registers::mask(bytes);
    let result = dst.wrapping_sub(src).wrapping_sub(borrow) & mask;
    let overflow = (dst ^ src) & (dst ^ result);
    let carry = (dst as u128) < src as u128 + borrow as u128;
    flags(bytes, dst ^ src ^ result, result, overflow, carry, rflags)
}

const fn logic(bytes: u32, result: u64, rflags: u64) -> (u64, u64) {
    flags(bytes, 0, result, 0, false, rflags)
}

const fn flags(
    bytes: u32,
    half: u64,
    result: u64,
    overflow: u64,
    carry: bool,
    rflags: u64,
) -> (u64, u64) {
    let sign = 1u64 << (bytes * 8 - 1);
    let mut set = 0;
    if carry {
        set |= CF;
    }
    if (result & 0xff).count_ones().is_multiple_of(2) {
        set |= PF;
    }
    if half & 0x10 != 0 {
        set |= AF;
    }
    if result == 0 {
        set |= ZF;
    }
    if result & sign != 0 {
        set |= SF;
    }
    if overflow & sign != 0 {
        set |= OF;
    }
    (result, (rflags & !STATUS) | set)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_results() {
        assert_eq!(apply(Op::Add, 1, 0xff, 1, 0), (0, CF | PF | AF | ZF));
        assert_eq!(apply(Op::Add, 1, 0x7f, 1, 0), (0x80, AF | SF | OF));
        assert_eq!(apply(Op::Sub, 4, 0, 1, 0), (0xffff_ffff, CF | PF | AF | SF));
        assert_eq!(
            apply(Op::Sub, 8, 1 << 63, 1, 0),
            (i64::MAX as u64, PF | AF | OF)
        );
        assert_eq!(apply(Op::And, 8, 6, 3, STATUS), (2, 0));
        assert_eq!(apply(Op::Inc, 8, u64::MAX, 0, CF), (0, CF | PF | AF | ZF));
        assert_eq!(apply(Op::Dec, 2, 0, 0, 0), (0xffff, PF | AF | SF));
        assert_eq!(apply(Op::Neg, 8, 1, 0, 0), (u64::MAX, CF | PF | AF | SF));
        assert_eq!(apply(Op::Neg, 8, 0, 0, CF), (0, PF | ZF));
        assert_eq!(apply(Op::Not, 4, 0, 0, STATUS), (0xffff_ffff, STATUS));
        assert_eq!(
            apply(Op::Adc, 8, u64::MAX, u64::MAX, CF),
            (u64::MAX, CF | PF | AF | SF)
        );
        assert_eq!(apply(Op::Sbb, 1, 0, 0xff, CF), (0, CF | PF | AF | ZF));
        assert_eq!(apply(Op::Btr, 8, 0b110, 1, 0), (0b100, CF));
        assert_eq!(apply(Op::Bts, 8, 0, 63, CF), (1 << 63, 0));
        assert_eq!(apply(Op::Btc, 4, 1, 32, 0), (0, CF));
    }

    proptest! {
        #[test]
        fn other_bits_of_rflags_are_kept(dst: u64, src: u64, rflags: u64, log in 0u32..4) {
            let all = [
                Op::Add, Op::Adc, Op::Sub, Op::Sbb, Op::And, Op::Or, Op::Xor, Op::Inc, Op::Dec, Op::Neg, Op::Not,
                Op::Bts, Op::Btr, Op::Btc,
            ];
            let bytes = 1 << log;
            for op in all {
                let (result, after) = apply(op, bytes, dst, src, rflags);
                prop_assert_eq!((rflags ^ after) & !STATUS, 0);
                prop_assert_eq!(result & !super::super::registers::mask(bytes), 0);
            }
        }
    }
}
