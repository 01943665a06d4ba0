//! `ticks`: prints the time-stamp counter. On a machine that counts one tick per instruction (QEMU's `-icount`), that is
//! how many were executed since it was switched on.

fn main() {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: reads a register.
    let ticks = unsafe { core::arch::x86_64::_rdtsc() };
    #[cfg(not(target_arch = "x86_64"))]
    let ticks = 0;
    println!("TICKS {ticks} END");
}
