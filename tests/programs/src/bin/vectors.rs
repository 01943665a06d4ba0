//! `vectors SEED`: fills every vector register with values made from SEED, gives the processor away again and
//! again, and ends with status 1 if a register ever comes back changed.
//!
//! Two of these with different seeds on one processor show whether whoever switches between them keeps the
//! registers apart: the guest kernel by XSAVE, and the hypervisor below it.

#[cfg(target_arch = "x86_64")]
mod x86_64 {
    use std::arch::asm;

    /// The bytes of the sixteen vector registers.
    #[repr(C, align(32))]
    #[derive(Clone, PartialEq, Eq)]
    pub struct Vectors(pub [[u8; 32]; 16]);

    const SCHED_YIELD: u64 = 24;

    macro_rules! round_trip {
        ($name:ident, $feature:literal, $move:literal, $register:literal, [$($n:literal),*]) => {
            /// Load the registers, yield `times` times with pauses between, store the registers.
            #[target_feature(enable = $feature)]
            pub fn $name(values: &mut Vectors, times: u64) {
                // SAFETY: the moves stay within `values` (sixteen times at most 32 aligned bytes) and every
                // register that is written, `syscall`'s RAX, RCX and R11 among them, is declared.
                unsafe {
                    asm!(
                        $(concat!($move, " ", $register, $n, ", [{values} + ", $n, " * 32]"),)*
                        "2:",
                        "mov rax, {sched_yield}",
                        "syscall",
                        "mov rax, 20000",
                        "3:",
                        "dec rax",
                        "jnz 3b",
                        "dec {times}",
                        "jnz 2b",
                        $(concat!($move, " [{values} + ", $n, " * 32], ", $register, $n),)*
                        values = in(reg) values.0.as_mut_ptr(),
                        times = inout(reg) times => _,
                        sched_yield = const SCHED_YIELD,
                        out("rax") _, out("rcx") _, out("r11") _,
                        out("xmm0") _, out("xmm1") _, out("xmm2") _, out("xmm3") _,
                        out("xmm4") _, out("xmm5") _, out("xmm6") _, out("xmm7") _,
                        out("xmm8") _, out("xmm9") _, out("xmm10") _, out("xmm11") _,
                        out("xmm12") _, out("xmm13") _, out("xmm14") _, out("xmm15") _,
                    );
                }
            }
        };
    }

    round_trip!(
        avx,
        "avx",
        "vmovdqa",
        "ymm",
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]
    );
    round_trip!(
        sse,
        "sse2",
        "movdqa",
        "xmm",
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]
    );
}

#[cfg(target_arch = "x86_64")]
fn main() -> std::process::ExitCode {
    use std::process::ExitCode;
    use x86_64::{Vectors, avx, sse};

    let Some(seed) = std::env::args()
        .nth(1)
        .and_then(|word| word.parse::<u8>().ok())
    else {
        eprintln!("usage: vectors SEED");
        return ExitCode::from(2);
    };
    let has_avx = std::arch::is_x86_feature_detected!("avx");
    println!("vectors {seed}: {}", if has_avx { "AVX" } else { "SSE" });
    for round in 0..200_u8 {
        let byte = |register: usize, index: usize| {
            (register as u8)
                .wrapping_mul(37)
                .wrapping_add((index as u8).wrapping_mul(11))
                ^ seed.wrapping_mul(73)
                ^ round
        };
        let expected = Vectors(std::array::from_fn(|register| {
            std::array::from_fn(|index| byte(register, index))
        }));
        let mut values = expected.clone();
        if has_avx {
            // SAFETY: the processor has AVX.
            unsafe { avx(&mut values, 5) };
        } else {
            // SAFETY: every x86-64 processor has SSE2.
            unsafe { sse(&mut values, 5) };
        }
        if values != expected {
            println!("vectors {seed}: registers changed in round {round}");
            return ExitCode::from(1);
        }
    }
    ExitCode::SUCCESS
}

#[cfg(not(target_arch = "x86_64"))]
fn main() {
    eprintln!("vectors runs on x86-64 only");
}
