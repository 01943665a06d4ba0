//! The smallest guest: says hello and turns the machine off.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
mod guest {
    use pv_guest_shim::hypercall_abi::sched::ShutdownReason;
    use pv_guest_shim::hypercall_abi::xen::StartInfo;

    pv_guest_shim::entry!(main);

    fn main(start_info: &'static StartInfo) -> ! {
        pv_guest_shim::println!("hello from a PV guest with {} pages", start_info.nr_pages);
        pv_guest_shim::sched::shutdown(ShutdownReason::POWEROFF)
    }
}

#[cfg(not(target_os = "none"))]
fn main() {
    println!("a PV guest: build it with --target x86_64-unknown-none");
}
