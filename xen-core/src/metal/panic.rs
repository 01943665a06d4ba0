//! A panic of the hypervisor: say why, then stop.
// UNSAFETY: halts.

use core::fmt::Write;
use core::panic::PanicInfo;

use crate::metal::serial;

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    x86_64::instructions::interrupts::disable();
    serial::take_over();
    let _ = writeln!(
        serial::Writer,
        "(XEN) ****************************************"
    );
    let _ = writeln!(
        serial::Writer,
        "(XEN) Panic on CPU 0:\n(XEN) {}",
        info.message()
    );
    if let Some(place) = info.location() {
        let _ = writeln!(serial::Writer, "(XEN) at {place}");
    }
    let _ = writeln!(
        serial::Writer,
        "(XEN) ****************************************"
    );
    loop {
        x86_64::instructions::hlt();
    }
}
