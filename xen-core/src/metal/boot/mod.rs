//! Boot: from the first Rust function to the library's entry.
// UNSAFETY: exports the symbol that head.S calls.

mod early_log;
mod head;

use xen_core::boot::{BootInfo, options};

use crate::metal::mem::early::EarlyMemory;
use crate::metal::serial;

/// First Rust function, called by `head.S` on the boot stack with the loader's magic number and information address.
#[unsafe(no_mangle)]
extern "C" fn metal_start(magic: u32, info: u32) -> ! {
    // SAFETY: head.S has just loaded its page tables; nothing else runs.
    let memory = unsafe { EarlyMemory::new() };
    let boot = match xen_core::boot::read(magic, u64::from(info), &memory) {
        Ok(boot) => boot,
        Err(error) => {
            serial::init(&options::ComPort::first());
            panic!("{error}");
        }
    };
    let options::Parsed {
        options,
        complaints,
        dom0_extra: _,
    } = options::parse(boot.command_line);
    // Without a UART there is nobody to tell.
    let _ = serial::init(&options.com1);
    early_log::init(options.loglvl);
    print_banner(&boot);
    for complaint in &complaints {
        log::warn!("Command line: {complaint}");
    }
    panic!("the end of what there is");
}

/// What a user sees first, whatever the log level.
fn print_banner(boot: &BootInfo<'_>) {
    use core::fmt::Write;
    let mut out = serial::Writer;
    let version = env!("CARGO_PKG_VERSION");
    let _ = writeln!(
        out,
        "(XEN) Xenolith {version}: a Xen 4.17 compatible hypervisor"
    );
    let _ = writeln!(out, "(XEN) Bootloader: {}", boot.loader);
    let _ = writeln!(out, "(XEN) Command line: {}", boot.command_line);
    let _ = writeln!(out, "(XEN) Physical memory map:");
    for region in boot.memory.regions() {
        let (start, last) = (region.range.start, region.range.end - 1);
        let _ = writeln!(
            out,
            "(XEN)  [{start:#018x}, {last:#018x}] ({})",
            region.kind
        );
    }
    for (index, module) in boot.modules.as_slice().iter().enumerate() {
        let (start, len) = (module.range.start, module.range.len());
        let _ = writeln!(
            out,
            "(XEN) Module {index}: {len} bytes at {start:#x}, arguments \"{}\"",
            module.command_line
        );
    }
    if boot.modules.dropped() > 0 {
        log::warn!(
            "{} modules more than can be kept were ignored",
            boot.modules.dropped()
        );
    }
}
