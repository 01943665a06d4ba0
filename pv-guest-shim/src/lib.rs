//! What a PV kernel in Rust needs to run on Xen.
//!
//! A guest kernel starts in `entry!`'s function, in 64-bit mode on the boot stack, with paging on and the layout that
//! public/xen.h describes. It is not privileged: what a native kernel does with instructions, it asks for with
//! [`hypercall`]s. `start::init` maps the page that it shares with the hypervisor (`shared`) and registers entry points for every
//! trap (`traps`); `mmu` walks and changes its page tables, [`events`], `grant` and `time` are what drivers build on. All of it is
//! for one vCPU. Code written with the `x86_64` crate maps pages through `mapper` (feature `x86_64`), and `privileged` answers its
//! INVLPG; `memory` balloons; [`xenstore`] is a client of the store over a [`byte_ring`]; `logger` (feature `log`) is a backend of the `log` crate. Link with the linker script of this crate (`link.ld`), which keeps the Xen notes.
//!
//! ```ignore
//! #![no_std]
//! #![no_main]
//! pv_guest_shim::entry!(main);
//! fn main(_start_info: &hypercall_abi::xen::StartInfo) -> ! {
//!     pv_guest_shim::println!("hello");
//!     pv_guest_shim::sched::shutdown(hypercall_abi::sched::ShutdownReason::POWEROFF)
//! }
//! ```
#![no_std]
#![deny(unsafe_code)]

pub mod byte_ring;
pub mod console;
#[cfg(target_arch = "x86_64")]
pub mod events;
pub mod frame;
#[cfg(target_os = "none")]
pub mod grant;
#[cfg(target_arch = "x86_64")]
pub mod hypercall;
#[cfg(feature = "log")]
pub mod logger;
#[cfg(all(feature = "x86_64", target_arch = "x86_64"))]
pub mod mapper;
#[cfg(target_os = "none")]
pub mod memory;
#[cfg(target_os = "none")]
pub mod mmu;
pub mod privileged;
pub mod sched;
#[cfg(target_os = "none")]
pub mod shared;
#[cfg(target_os = "none")]
pub mod start;
#[cfg(target_os = "none")]
pub mod time;
#[cfg(target_os = "none")]
pub mod traps;
pub mod xenstore;

pub use hypercall_abi;
