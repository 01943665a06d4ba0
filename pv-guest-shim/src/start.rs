//! The first instructions of a guest, and the notes that describe it to the domain builder.
// UNSAFETY: assembly, and a pointer that the builder passes.
#![expect(unsafe_code, reason = "the start of a kernel")]

use core::arch::global_asm;

use hypercall_abi::elfnote::ElfNoteType;
use hypercall_abi::xen::StartInfo;

use crate::traps::Registers;

/// Where the linker script puts the image: PFN 0 is here.
pub const VIRT_BASE: u64 = 0xffff_ffff_8000_0000;
/// Bytes of the stack that replaces the boot stack.
const STACK_SIZE: usize = 64 << 10;

global_asm!(
    include_str!("start.S"),
    guest_os = const ElfNoteType::GUEST_OS.0,
    loader = const ElfNoteType::LOADER.0,
    xen_version = const ElfNoteType::XEN_VERSION.0,
    virt_base = const ElfNoteType::VIRT_BASE.0,
    paddr_offset = const ElfNoteType::PADDR_OFFSET.0,
    entry = const ElfNoteType::ENTRY.0,
    pae_mode = const ElfNoteType::PAE_MODE.0,
    hypercall_page = const ElfNoteType::HYPERCALL_PAGE.0,
    base = const VIRT_BASE,
    stack_size = const STACK_SIZE,
    options(att_syntax),
);

/// The state of the processor at the kernel's first instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
#[allow(missing_docs)]
pub struct InitialState {
    pub registers: Registers,
    pub rsp: u64,
    pub cs: u16,
    pub ss: u16,
    pub ds: u16,
    pub es: u16,
    pub fs: u16,
    pub gs: u16,
    /// x87 control word.
    pub fcw: u16,
    /// x87 status word.
    pub fsw: u16,
    pub mxcsr: u32,
    _reserved: u32,
}

unsafe extern "C" {
    static pv_initial_state: InitialState;
}

/// The state of the processor at the kernel's first instruction.
#[must_use]
pub fn initial_state() -> InitialState {
    // SAFETY: written by the first instructions only.
    unsafe { pv_initial_state }
}

/// Prepares the rest of the shim: the frame tables, the shared page, and entry points for all traps. 0, or a negative errno.
pub fn init(start_info: &StartInfo) -> i64 {
    crate::mmu::init(start_info);
    let result = crate::shared::map(start_info);
    crate::traps::init();
    result
}

/// Names the function in which the kernel starts: `fn(&'static StartInfo) -> !`.
#[macro_export]
macro_rules! entry {
    ($main:path) => {
        /// Called by the shim's first instructions.
        #[unsafe(no_mangle)]
        extern "C" fn pv_main(start_info: &'static $crate::hypercall_abi::xen::StartInfo) -> ! {
            let main: fn(&'static $crate::hypercall_abi::xen::StartInfo) -> ! = $main;
            main(start_info)
        }
    };
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    crate::println!("guest panic: {info}");
    crate::sched::shutdown(hypercall_abi::sched::ShutdownReason::CRASH)
}
