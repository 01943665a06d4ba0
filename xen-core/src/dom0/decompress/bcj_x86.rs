//! The x86 branch filter of .xz: turns the absolute targets of CALL and JMP back into relative.
//!
//! Contract: "The .xz File Format", 5.3.2 (filter 4); the algorithm follows the public-domain
//! xz-embedded description.

/// How many of the four bytes after a previous opcode still count, by history mask; None where
/// an opcode byte with this history is taken for data.
const KEPT_BYTES: [Option<u32>; 8] = [Some(0), Some(1), Some(2), None, Some(3), None, None, None];

/// Bound on repeated inversions of one operand; one is what real streams need.
const INVERSIONS: usize = 4;

/// Decodes `data` in place; `data` is a whole block whose first byte is at address `start`.
pub(super) fn decode(data: &mut [u8], start: u32) {
    // Bit n set: an opcode byte n + 1 bytes ago was not converted.
    let mut history: usize = 0;
    let mut previous: Option<usize> = None;
    let mut index = 0;
    while let Some(&[opcode, _, _, _, top]) = data.get(index..).and_then(|rest| rest.first_chunk())
    {
        if opcode & 0xfe != 0xe8 {
            index += 1 + bytes_without_opcode(data, index + 1);
            continue;
        }
        history = match previous.map(|previous| index - previous) {
            Some(gap @ 1..=3) => history << (gap - 1) & 7,
            _ => 0,
        };
        previous = Some(index);
        let kept = KEPT_BYTES[history];
        // With such a history the byte that the earlier opcode's operand ended with decides.
        let is_data = history != 0
            && kept.is_none_or(|kept| {
                data.get(index + 4 - kept as usize)
                    .is_some_and(|&byte| is_sign(byte))
            });
        if is_data || !is_sign(top) {
            history = history << 1 & 7 | 1;
            index += 1;
            continue;
        }
        let Some(operand) = data
            .get_mut(index + 1..)
            .and_then(|rest| rest.first_chunk_mut())
        else {
            break;
        };
        #[expect(clippy::cast_possible_truncation, reason = "addresses wrap at 4 GiB")]
        let next = start.wrapping_add(index as u32).wrapping_add(5);
        let mut relative = u32::from_le_bytes(*operand).wrapping_sub(next);
        if history != 0 {
            // A result that the encoder would have taken for data was stored inverted.
            let shift = kept.unwrap_or(0) * 8;
            for _ in 0..INVERSIONS {
                if !is_sign((relative >> (24 - shift)).to_le_bytes()[0]) {
                    break;
                }
                relative = (relative ^ ((1 << (32 - shift)) - 1)).wrapping_sub(next);
            }
        }
        // Sign-extend from bit 24: the encoder stores 25 significant bits.
        relative &= 0x01ff_ffff;
        if relative & 0x0100_0000 != 0 {
            relative |= 0xfe00_0000;
        }
        *operand = relative.to_le_bytes();
        index += 5;
    }
}

/// How many bytes from `index` on surely hold no opcode of CALL or JMP, eight at a time.
#[inline(always)]
fn bytes_without_opcode(data: &[u8], index: usize) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let mut skipped = 0;
    while let Some(&bytes) = data
        .get(index + skipped..)
        .and_then(|rest| rest.first_chunk::<8>())
    {
        // Zero bytes where the opcode is, and the usual test for a zero byte in a word.
        let word = u64::from_le_bytes(bytes) & (ONES * 0xfe) ^ (ONES * 0xe8);
        if word.wrapping_sub(ONES) & !word & (ONES * 0x80) != 0 {
            break;
        }
        skipped += 8;
    }
    skipped
}

/// Whether `byte` is the top byte of a small positive or negative number.
fn is_sign(byte: u8) -> bool {
    byte == 0 || byte == 0xff
}
